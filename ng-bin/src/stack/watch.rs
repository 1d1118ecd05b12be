//! The stack about itself: what its layers count, as metrics that are read when asked for.

use std::sync::Arc;

use ng_core::TokenStore;
use ng_core::events::Tier;
use ng_core::metrics::{MetricDesc, MetricSink, RegisterError, Scale};
use ng_core::sampling::Reason;

use super::choice::{AdmissionChoice, EventChoice, SamplerChoice, SpanChoice, WalChoice};

/// Registers them all; a layer that is off has none.
pub(super) fn register(
    sink: &dyn MetricSink,
    store: &Arc<TokenStore>,
    wal: &WalChoice,
    admission: &AdmissionChoice,
    sampler: &SamplerChoice,
    spans: &SpanChoice,
    events: &EventChoice,
) -> Result<(), RegisterError> {
    let watched = Arc::clone(store);
    let build = MetricDesc::new("neurograph_build_info", "What runs: always 1, said by the labels.");
    let build = build.label("version", env!("CARGO_PKG_VERSION"));
    sink.gauge_from(&build, Box::new(|| 1.0))?;
    let live = MetricDesc::new("neurograph_tokens", "Tokens that live in the store.");
    sink.gauge_from(&live, Box::new(move || as_float(watched.len())))?;
    let watched = Arc::clone(store);
    let reserved = MetricDesc::new("neurograph_store_reserved_bytes", "Address space taken for tokens.");
    sink.gauge_from(&reserved, Box::new(move || as_float(watched.reserved_bytes())))?;
    if !wal.is_off() {
        register_wal(sink, wal)?;
        register_wal_derived(sink, wal)?;
        #[cfg(feature = "wal")]
        if let WalChoice::Built(log) = wal {
            register_space(sink, log)?;
        }
    }
    if !admission.is_off() {
        register_admission(sink, admission)?;
    }
    if !sampler.is_off() {
        register_sampler(sink, sampler)?;
    }
    if !spans.is_off() {
        register_spans(sink, spans)?;
    }
    if !events.is_off() {
        register_events(sink, events)?;
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; counts above 2^53 are rounded")]
const fn as_float(n: u64) -> f64 {
    n as f64
}

/// Counters and gauges of one layer: name, help, how to read it.
macro_rules! watch {
    ($sink:expr, $choice:expr, $stats:ident => {
        $(counter $counter:literal, $counter_help:literal, $count:expr;)*
        $(gauge $gauge:literal, $gauge_help:literal, $level:expr;)*
    }) => {{
        $({
            let watched = $choice.clone();
            $sink.counter_from(&MetricDesc::new($counter, $counter_help), Box::new(move || {
                let $stats = watched.shared().stats();
                $count
            }))?;
        })*
        $({
            let watched = $choice.clone();
            $sink.gauge_from(&MetricDesc::new($gauge, $gauge_help), Box::new(move || {
                let $stats = watched.shared().stats();
                $level
            }))?;
        })*
    }};
}

fn register_wal(sink: &dyn MetricSink, wal: &WalChoice) -> Result<(), RegisterError> {
    watch!(sink, wal, stats => {
        counter "neurograph_wal_records_total", "Records taken over by the log's writer.", stats.records;
        counter "neurograph_wal_durable_records_total", "Records whose flush the device acknowledged.", stats.durable_records;
        counter "neurograph_wal_written_bytes_total", "Bytes written to segments.", stats.written_bytes;
        counter "neurograph_wal_syncs_total", "Syncs acknowledged.", stats.syncs;
        counter "neurograph_wal_segments_total", "Segments begun.", stats.segments;
        counter "neurograph_wal_stalls_total", "Times that a lane found no free buffer.", stats.stalls;
        counter "neurograph_wal_dropped_total", "Records that the policy let go.", stats.dropped;
        gauge "neurograph_wal_durable_lag_seconds", "Age of the oldest record that is not durable.", as_float(stats.lag_ns) / 1e9;
        gauge "neurograph_wal_poisoned", "1 once a write or a sync has failed.", f64::from(u8::from(stats.poisoned));
    });
    Ok(())
}

/// What this workspace's log knows beyond the contract.
#[cfg(feature = "wal")]
fn register_space(sink: &dyn MetricSink, log: &Arc<ng_wal::Log>) -> Result<(), RegisterError> {
    type Read = fn(&ng_wal::SpaceReport) -> u64;
    let gauges: [(&str, &str, Read); 6] = [
        ("neurograph_wal_segment_bytes", "Bytes of segments that hold records.", |space| space.held_bytes),
        (
            "neurograph_wal_spare_bytes",
            "Bytes of segments that are ready or wait to be used again.",
            |space| space.spare_bytes + space.recycled_bytes,
        ),
        ("neurograph_wal_limit_bytes", "Bytes that segment files may take; 0 for no limit.", |space| {
            space.limit_bytes
        }),
        ("neurograph_wal_full", "1 while that limit holds lanes back.", |space| u64::from(space.full)),
        (
            "neurograph_wal_since_checkpoint_bytes",
            "Bytes of segments begun since the last checkpoint.",
            |space| space.since_checkpoint_bytes,
        ),
        (
            "neurograph_wal_checkpoint_lsn",
            "The last checkpoint covers the records below this number.",
            |space| space.checkpoint_lsn,
        ),
    ];
    for (name, help, read) in gauges {
        let log = Arc::clone(log);
        sink.gauge_from(&MetricDesc::new(name, help), Box::new(move || as_float(read(&log.space()))))?;
    }
    let watched = Arc::clone(log);
    let fill = MetricDesc::new(
        "neurograph_wal_segment_fill_ratio",
        "Share of the running segment that is used; at 1 the next block begins another one.",
    );
    sink.gauge_from(&fill.unit("ratio", Scale::One), Box::new(move || watched.segment_fill()))?;
    let counters: [(&str, &str, Read); 3] = [
        ("neurograph_wal_checkpoints_total", "Checkpoints made.", |space| space.checkpoints),
        ("neurograph_wal_segments_reused_total", "Segments used again.", |space| space.reused),
        ("neurograph_wal_segments_removed_total", "Segments removed.", |space| space.removed),
    ];
    for (name, help, read) in counters {
        let log = Arc::clone(log);
        sink.counter_from(&MetricDesc::new(name, help), Box::new(move || read(&log.space())))?;
    }
    Ok(())
}

/// Time that lanes waited, in seconds; what else is a ratio of two counts.
fn register_wal_derived(sink: &dyn MetricSink, wal: &WalChoice) -> Result<(), RegisterError> {
    let watched = wal.clone();
    let stalled =
        MetricDesc::new("neurograph_wal_stalled_seconds_total", "Time that lanes waited for a buffer.");
    sink.counter_from(
        &stalled.unit("seconds", Scale::Nano),
        Box::new(move || watched.shared().stats().stalled_ns),
    )
}

fn register_admission(sink: &dyn MetricSink, admission: &AdmissionChoice) -> Result<(), RegisterError> {
    watch!(sink, admission, stats => {
        counter "neurograph_quota_refused_total", "Tokens refused for a quota.", stats.refused;
        counter "neurograph_constitution_violations_total", "Tokens outside the constitution, refused or passed.", stats.violations;
        counter "neurograph_cleanups_total", "Cleanups finished.", stats.cleanups;
        counter "neurograph_cleanup_freed_total", "Tokens that cleanups freed.", stats.freed;
        gauge "neurograph_quota_used_tokens", "Tokens in use by the quota's account.", as_float(stats.used);
        gauge "neurograph_quota_limit_tokens", "The limit in force.", as_float(stats.limit);
        gauge "neurograph_process_resident_bytes", "Resident memory as the guardian last read it.", as_float(stats.resident_bytes);
    });
    #[cfg(feature = "guardian")]
    if let AdmissionChoice::Built(guardian) = admission {
        register_guardian(sink, guardian)?;
    }
    Ok(())
}

/// What this workspace's guardian knows beyond the contract.
#[cfg(feature = "guardian")]
fn register_guardian(
    sink: &dyn MetricSink,
    guardian: &Arc<ng_guardian::Guardian>,
) -> Result<(), RegisterError> {
    type Gauge = fn(&ng_guardian::MemoryReport) -> f64;
    type Counter = fn(&ng_guardian::GuardianReport) -> u64;
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    let gauges: [(&str, &str, Gauge); 5] = [
        ("neurograph_memory_drift_bytes", "Resident memory less the bytes of admitted tokens.", |memory| {
            memory.drift_bytes as f64
        }),
        (
            "neurograph_cgroup_limit_bytes",
            "The tightest memory limit of the process's cgroup and those above; NaN if there is none.",
            |memory| memory.cgroup_limit_bytes.map_or(f64::NAN, as_float),
        ),
        (
            "neurograph_cgroup_used_bytes",
            "What is charged to the cgroup with that limit; NaN if there is none.",
            |memory| memory.cgroup_used_bytes.map_or(f64::NAN, as_float),
        ),
        (
            "neurograph_cgroup_reclaimable_bytes",
            "What of that the kernel can take back; NaN if there is no limit.",
            |memory| memory.cgroup_reclaimable_bytes.map_or(f64::NAN, as_float),
        ),
        (
            "neurograph_memory_pressure_percent",
            "Share of the last 10 s in which some task waited for memory; NaN if the kernel does not say.",
            |memory| memory.pressure_percent.unwrap_or(f64::NAN),
        ),
    ];
    for (name, help, read) in gauges {
        let watched = Arc::clone(guardian);
        let value = move || watched.memory().as_ref().map_or(f64::NAN, read);
        sink.gauge_from(&MetricDesc::new(name, help), Box::new(value))?;
    }
    let counters: [(&str, &str, Counter); 6] = [
        ("neurograph_soft_marks_total", "Times that use rose above the soft mark.", |told| {
            told.soft_crossings
        }),
        ("neurograph_cleanups_due_total", "Times that use rose above the cleanup mark.", |told| {
            told.cleanups_due
        }),
        (
            "neurograph_memory_shortages_total",
            "Times that the real memory came near the limit of its control group.",
            |told| told.shortages,
        ),
        ("neurograph_memory_drifts_total", "Times that the drift passed its bound.", |told| told.drifts),
        (
            "neurograph_constitution_problems_total",
            "Times that the constitution's history could not be put in force.",
            |told| told.constitution_problems,
        ),
        (
            "neurograph_guardian_missed_notices_total",
            "Notices that found a subscriber's channel full.",
            |told| told.missed_notices,
        ),
    ];
    for (name, help, read) in counters {
        let watched = Arc::clone(guardian);
        sink.counter_from(&MetricDesc::new(name, help), Box::new(move || read(&watched.report())))?;
    }
    for pool in guardian.quotas() {
        register_quota(sink, &pool)?;
    }
    for (name, pool) in guardian.cleanable() {
        register_pool_cleanups(sink, guardian, &name, &pool)?;
    }
    let watched = Arc::clone(guardian);
    let version = MetricDesc::new("neurograph_constitution_version", "The version in force.");
    sink.gauge_from(&version, Box::new(move || as_float(watched.constitution().version)))
}

/// A quota or a pool by its way from the root. What the guardian counts as `tokens` is there too, beside
/// the contract's own figures.
#[cfg(feature = "guardian")]
fn register_quota(sink: &dyn MetricSink, pool: &ng_guardian::Pool) -> Result<(), RegisterError> {
    let named = |name, help| MetricDesc::new(name, help).label("pool", pool.path());
    let watched = pool.clone();
    sink.gauge_from(
        &named("neurograph_pool_used", "Units in use in a pool and those below it."),
        Box::new(move || as_float(watched.level().used)),
    )?;
    let watched = pool.clone();
    sink.gauge_from(
        &named("neurograph_pool_limit", "A pool's limit in force."),
        Box::new(move || as_float(watched.level().limit)),
    )?;
    let watched = pool.clone();
    sink.counter_from(
        &named("neurograph_pool_refused_total", "Units refused to holders in a pool and those below it."),
        Box::new(move || watched.level().refused),
    )
}

/// Cleanups of one pool; they count in those of the whole too.
#[cfg(feature = "guardian")]
fn register_pool_cleanups(
    sink: &dyn MetricSink,
    guardian: &Arc<ng_guardian::Guardian>,
    name: &str,
    pool: &ng_guardian::Pool,
) -> Result<(), RegisterError> {
    type Counter = fn(&ng_guardian::PoolReport) -> u64;
    let counters: [(&str, &str, Counter); 2] = [
        ("neurograph_pool_cleanups_total", "Cleanups of one pool alone that have finished.", |told| {
            told.cleanups
        }),
        ("neurograph_pool_cleanup_freed_total", "Tokens that these freed.", |told| told.freed),
    ];
    for (metric, help, read) in counters {
        let (watched, name) = (Arc::clone(guardian), name.to_owned());
        let value = move || watched.pool_report(&name).as_ref().map_or(0, read);
        sink.counter_from(&MetricDesc::new(metric, help).label("pool", pool.path()), Box::new(value))?;
    }
    Ok(())
}

fn register_sampler(sink: &dyn MetricSink, sampler: &SamplerChoice) -> Result<(), RegisterError> {
    watch!(sink, sampler, stats => {
        counter "neurograph_sampled_failed_total", "Sampled operations that failed.", stats.failed;
        counter "neurograph_sampling_operations_total", "Operations decided on.", stats.operations;
        counter "neurograph_sampling_limited_total", "Operations left unsampled by tracing.limit_per_second.", stats.limited;
        gauge "neurograph_sampling_rate", "The rate in force.", stats.rate;
    });
    for (i, reason) in Reason::ALL.into_iter().enumerate() {
        let desc = MetricDesc::new("neurograph_sampled_total", "Sampled operations, by reason.");
        let watched = sampler.clone();
        sink.counter_from(
            &desc.label("reason", reason.label()),
            Box::new(move || watched.shared().stats().by_reason[i]),
        )?;
    }
    Ok(())
}

fn register_spans(sink: &dyn MetricSink, spans: &SpanChoice) -> Result<(), RegisterError> {
    watch!(sink, spans, stats => {
        counter "neurograph_spans_recorded_total", "Spans given by lanes.", stats.recorded;
        counter "neurograph_spans_exported_total", "Spans written out.", stats.exported;
    });
    #[cfg(feature = "telemetry")]
    if let SpanChoice::Built(writer) = spans {
        return register_writer(sink, writer);
    }
    let watched = spans.clone();
    let dropped = MetricDesc::new(SPANS_DROPPED, SPANS_DROPPED_HELP);
    sink.counter_from(&dropped, Box::new(move || watched.shared().stats().dropped))
}

const SPANS_DROPPED: &str = "neurograph_spans_dropped_total";
const SPANS_DROPPED_HELP: &str = "Spans dropped: no room, the export failed, or the receiver rejected them.";

/// What only the workspace's own writer knows.
#[cfg(feature = "telemetry")]
fn register_writer(
    sink: &dyn MetricSink,
    writer: &Arc<ng_telemetry::SpanWriter>,
) -> Result<(), RegisterError> {
    type Read = fn(&ng_telemetry::spans::SpanDrops) -> u64;
    let reasons: [(&str, Read); 3] = [
        ("full", |drops| drops.full),
        ("failed", |drops| drops.failed),
        ("rejected", |drops| drops.rejected),
    ];
    for (reason, read) in reasons {
        let watched = Arc::clone(writer);
        let desc = MetricDesc::new(SPANS_DROPPED, SPANS_DROPPED_HELP).label("reason", reason);
        sink.counter_from(&desc, Box::new(move || read(&watched.drops())))?;
    }
    let watched = Arc::clone(writer);
    let desc = MetricDesc::new(
        "neurograph_spans_waiting",
        "Spans of tracing macros and promoted ones that wait for the exporter.",
    );
    sink.gauge_from(&desc, Box::new(move || as_float(watched.waiting() as u64)))
}

fn register_events(sink: &dyn MetricSink, events: &EventChoice) -> Result<(), RegisterError> {
    watch!(sink, events, stats => {
        counter "neurograph_blackbox_dropped_total", "Events that found no ring.", stats.dropped;
        gauge "neurograph_blackbox_rings", "Rings in use.", as_float(stats.rings);
    });
    for tier in Tier::ALL {
        let i = tier as usize;
        let desc = MetricDesc::new(
            "neurograph_blackbox_overwritten_total",
            "Events that later ones of their tier have overwritten, by tier.",
        );
        let watched = events.clone();
        sink.counter_from(
            &desc.label("tier", tier.label()),
            Box::new(move || watched.shared().stats().overwritten[i]),
        )?;
        let desc = MetricDesc::new("neurograph_blackbox_events_total", "Events recorded, by tier.");
        let watched = events.clone();
        sink.counter_from(
            &desc.label("tier", tier.label()),
            Box::new(move || watched.shared().stats().recorded[i]),
        )?;
    }
    Ok(())
}
