//! What happens right now, as one JSON document: for the live page, for `ng top` and for
//! `GET /v1/stats`. What a layer does not know is `null`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ng_core::sampling::Reason;
use ng_core::wal::WalStats;
use serde_json::{Value, json};

use super::counters::get;
use super::phase::State;
use super::service::{Engine, Service};
use crate::config::GuardianConfig;
use crate::stack::Stack;
use crate::stack::choice::{AdmissionChoice, WalChoice};

/// Tokens made a second, over the last one.
#[derive(Debug, Default)]
pub(super) struct Rate {
    last: Mutex<Option<(Instant, u64)>>,
    per_s: AtomicU64,
}

impl Rate {
    /// Looks at the count; called once a second.
    pub(super) fn look(&self, made: u64) {
        let now = Instant::now();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((then, before)) = last.replace((now, made)) {
            #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
            let rate = made.saturating_sub(before) as f64 / now.duration_since(then).as_secs_f64().max(1e-3);
            self.per_s.store(rate.to_bits(), Ordering::Relaxed);
        }
    }

    fn per_s(&self) -> f64 {
        f64::from_bits(self.per_s.load(Ordering::Relaxed)).round()
    }
}

/// Tokens made since the start; `None` if nothing is counted.
pub(super) fn made(engine: &Engine) -> Option<u64> {
    engine.metrics.map(|ids| engine.stack.metrics().counter_value(ids.created))
}

/// The whole document. It may read files.
pub(super) fn live(service: &Service) -> Value {
    let mut document = stats(service);
    if let Some(engine) = service.engine()
        && let Some(fields) = document.as_object_mut()
    {
        let events = service.recent.events(&engine.stack);
        fields.insert("events".to_owned(), json!(*events));
        let stress = service.stress.document(service.terms().config.stress_json.as_deref());
        fields.insert("stress".to_owned(), Value::clone(&stress));
    }
    document
}

/// The same without what files say.
pub(super) fn stats(service: &Service) -> Value {
    let state = service.state();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let counters = &service.counters;
    let engine = service.engine();
    let stack = engine.map(|engine| &*engine.stack);
    json!({
        "at_unix_ms": millis(now),
        "uptime_s": service.started.elapsed().as_secs_f64(),
        "ready": state == State::Ready,
        "state": state.label(),
        "reason": state.reason(),
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "tokens": tokens(service),
        "log": stack.map_or(Value::Null, |stack| log(service, stack)),
        "memory": stack.map_or(Value::Null, |stack| memory(stack, &service.reloader.in_force().config.guardian)),
        "quotas": stack.map_or(json!([]), |stack| quotas(stack, &service.reloader.in_force().config.guardian)),
        "sampling": stack.map_or(Value::Null, sampling),
        "refusals": engine.map_or(json!([]), |engine| refusals(service, engine)),
        "events": [],
        "http": {
            "connections": get(&counters.connections),
            "connections_total": get(&counters.connections_total),
            "requests_total": get(&counters.requests),
            "in_flight": get(&counters.in_flight),
            "rejected_total": get(&counters.rejected),
            "unauthorized_total": get(&counters.unauthorized),
            "body_bytes_total": get(&counters.body_bytes),
        },
        "stress": null,
    })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(feature = "wal")]
fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn tokens(service: &Service) -> Value {
    let counted = service.engine().and_then(|engine| {
        let (ids, sink) = (engine.metrics?, engine.stack.metrics());
        let value = |id| sink.counter_value(id);
        let refused = [ids.refused_quota, ids.refused_invalid, ids.refused_store, ids.refused_log];
        Some((value(ids.created), value(ids.deleted), refused.map(value).iter().sum::<u64>()))
    });
    json!({
        "live": service.store.len(),
        "made_total": counted.map(|counts| counts.0),
        "deleted_total": counted.map(|counts| counts.1),
        "refused_total": counted.map(|counts| counts.2),
        "per_s": counted.map(|_| service.rate.per_s()),
    })
}

fn log(service: &Service, stack: &Stack) -> Value {
    let stats: WalStats = stack.wal().stats();
    let (first, lags, backend) = match stack.wal_in_use() {
        WalChoice::Off(_) => return json!({ "kind": "off" }),
        #[cfg(feature = "wal")]
        WalChoice::Built(log) => (Some(log.first_lsn()), Some(log.lags()), Some(log.backend().kind.label())),
        WalChoice::Custom(_) => (None, None, None),
    };
    #[cfg(not(feature = "wal"))]
    let _: (Option<u64>, Option<()>, Option<&str>) = (first, lags, backend);
    #[cfg(feature = "wal")]
    let lag = |of: fn(&ng_wal::LagReport) -> Duration| lags.as_ref().map(|lags| micros(of(lags)));
    #[cfg(feature = "wal")]
    let (p50, p99) = (lag(|lags| lags.p50), lag(|lags| lags.p99));
    #[cfg(not(feature = "wal"))]
    let (p50, p99) = (None::<u64>, None::<u64>);
    let behind = stats.records.saturating_sub(stats.durable_records);
    let lsn = |records: u64| (first.unwrap_or(0) + records).checked_sub(1);
    json!({
        "kind": if first.is_some() { "log" } else { "custom" },
        "backend": backend,
        "mode": format!("{:?}", service.loaded.config.wal.mode).to_lowercase(),
        "appended_lsn": lsn(stats.records),
        "durable_lsn": lsn(stats.durable_records),
        "lag_p50_us": p50,
        "lag_p99_us": p99,
        "lag_bytes": (behind * stats.payload_bytes).checked_div(stats.records).unwrap_or(0),
        "stalls_total": stats.stalls,
        "stall_ms_total": stats.stalled_ns / 1_000_000,
        "drops_total": stats.dropped,
        "bytes_total": stats.written_bytes,
        "poisoned": stats.poisoned,
    })
}

fn memory(stack: &Stack, config: &GuardianConfig) -> Value {
    let stats = stack.admission().stats();
    let mut memory = json!({
        "rss_bytes": (stats.resident_bytes > 0).then_some(stats.resident_bytes),
        "counted_bytes": stack.store().live_bytes(),
        "limit_bytes": (!stack.admission_in_use().is_off()).then_some(config.max_memory_bytes),
        "cgroup_limit_bytes": null,
        "pressure": null,
    });
    #[cfg(feature = "guardian")]
    if let AdmissionChoice::Built(guardian) = stack.admission_in_use()
        && let Some(report) = guardian.memory()
    {
        memory["cgroup_limit_bytes"] = json!(report.cgroup_limit_bytes);
        memory["pressure"] = json!(report.pressure_percent);
    }
    if memory["rss_bytes"].is_null() {
        memory["rss_bytes"] = json!(resident());
    }
    memory
}

/// Resident memory where no guardian reads it.
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

#[cfg(feature = "guardian")]
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a mark"
)]
fn mark(limit: u64, share: f64) -> u64 {
    (limit as f64 * share) as u64
}

fn quotas(stack: &Stack, config: &GuardianConfig) -> Value {
    #[cfg(feature = "guardian")]
    if let AdmissionChoice::Built(guardian) = stack.admission_in_use() {
        let (limits, refused) = (guardian.limits(), stack.admission().stats().refused);
        let used = guardian.tokens().level().used;
        let marked = |name: &str, used: u64, limit: u64| {
            json!({
                "name": name, "used": used, "limit": limit,
                "soft": mark(limit, config.soft_mark), "aggressive": mark(limit, config.cleanup_mark),
                "refused_total": refused,
            })
        };
        let bytes = used * ng_core::token::TOKEN_BYTES as u64;
        let mut quotas =
            vec![marked("tokens", used, limits.max_tokens), marked("bytes", bytes, limits.max_memory_bytes)];
        quotas.extend(guardian.quotas().iter().skip(1).map(|pool| {
            let level = pool.level();
            json!({
                "name": pool.path(), "used": level.used, "limit": level.limit,
                "soft": null, "aggressive": null, "refused_total": level.refused,
            })
        }));
        return json!(quotas);
    }
    let _ = config;
    let stats = stack.admission().stats();
    match stack.admission_in_use() {
        AdmissionChoice::Off(_) => json!([]),
        _ => json!([{
            "name": "tokens", "used": stats.used, "limit": stats.limit,
            "soft": null, "aggressive": null, "refused_total": stats.refused,
        }]),
    }
}

fn sampling(stack: &Stack) -> Value {
    let (sampler, spans) = (stack.sampler().stats(), stack.spans().stats());
    let sampled = Reason::ALL.into_iter().zip(sampler.by_reason).filter(|(reason, _)| *reason != Reason::Off);
    json!({
        "rate": sampler.rate,
        "sampled_total": sampled.map(|(_, count)| count).sum::<u64>(),
        "spans_written_total": spans.exported,
        "spans_dropped_total": spans.dropped,
    })
}

fn refusals(service: &Service, engine: &Engine) -> Value {
    let malformed = json!({ "reason": "malformed", "total": get(&service.counters.malformed) });
    let Some(ids) = engine.metrics else { return json!([malformed]) };
    let total =
        |reason: &str, id| json!({ "reason": reason, "total": engine.stack.metrics().counter_value(id) });
    json!([
        total("quota", ids.refused_quota),
        total("invalid", ids.refused_invalid),
        total("store", ids.refused_store),
        total("log", ids.refused_log),
        malformed,
    ])
}
