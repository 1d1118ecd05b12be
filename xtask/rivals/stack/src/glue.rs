//! The usual glue: each crate as its documentation shows it, with the best of its settings.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use opentelemetry_sdk::trace::Sampler;
use prometheus::{Histogram, HistogramOpts, IntCounter, Registry};
use zerocopy::IntoBytes;

use crate::raft::{GROUP, Raft};
use crate::spans::Spans;
use crate::work::{in_batches, limit, touched};
use crate::{Job, Outcome};

/// Events that the ring keeps, as in the seed.
pub(crate) const RING: usize = 1_000;

/// What the ring keeps of a token.
#[derive(Debug, Clone, Copy)]
#[expect(dead_code, reason = "kept for whoever looks after a panic")]
pub(crate) struct Event {
    pub(crate) kind: u16,
    pub(crate) first: u64,
    pub(crate) count: u64,
}

/// A ring of events that threads share.
#[derive(Debug)]
pub(crate) struct Ring(Mutex<VecDeque<Event>>);

impl Ring {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(VecDeque::with_capacity(RING)))
    }

    pub(crate) fn record(&self, event: Event) {
        let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ring.len() == RING {
            ring.pop_front();
        }
        ring.push_back(event);
    }
}

/// A quota by compare and swap.
#[derive(Debug)]
pub(crate) struct Quota {
    used: AtomicU64,
    limit: u64,
}

impl Quota {
    pub(crate) const fn new(limit: u64) -> Self {
        Self { used: AtomicU64::new(0), limit }
    }

    pub(crate) fn admit(&self, n: u64) -> bool {
        self.used
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |used| {
                used.checked_add(n).filter(|used| *used <= self.limit)
            })
            .is_ok()
    }
}

/// Two counters and a histogram.
pub(crate) struct Metrics {
    pub(crate) tokens: IntCounter,
    pub(crate) bytes: IntCounter,
    pub(crate) weights: Histogram,
}

impl Metrics {
    pub(crate) fn register() -> Result<Self, String> {
        let text = |error: prometheus::Error| error.to_string();
        let registry = Registry::new();
        let tokens = IntCounter::new("tokens_made_total", "Tokens made.").map_err(text)?;
        let bytes = IntCounter::new("token_bytes_total", "Bytes of tokens made.").map_err(text)?;
        let weights = Histogram::with_opts(HistogramOpts::new("token_weight", "Weights of tokens made."))
            .map_err(text)?;
        registry.register(Box::new(tokens.clone())).map_err(text)?;
        registry.register(Box::new(bytes.clone())).map_err(text)?;
        registry.register(Box::new(weights.clone())).map_err(text)?;
        Ok(Self { tokens, bytes, weights })
    }
}

pub(crate) fn run(job: &Job) -> Result<Outcome, String> {
    let spans = Spans::install(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(0.01))))?;
    let (quota, ring, metrics) = (Quota::new(limit(job.tokens)), Ring::new(), Metrics::register()?);
    let mut log = Raft::open(&job.dir, job.tokens / job.every)?;
    let mut store = touched(job.tokens);
    let mut uncommitted = 0;
    let began = Instant::now();
    in_batches(job.tokens, |first, specs| {
        for (number, spec) in (first..).zip(specs) {
            let _span = tracing::info_span!("create", id = number).entered();
            if !quota.admit(1) {
                return Err("refused".to_owned());
            }
            let token = spec.at(store.len() as u32, 0);
            if (number + 1).is_multiple_of(job.every) {
                log.put(number, token.as_bytes().to_vec())?;
                uncommitted += 1;
                if uncommitted == GROUP {
                    log.commit()?;
                    uncommitted = 0;
                }
            }
            store.push(token);
            metrics.tokens.inc();
            metrics.bytes.inc_by(64);
            metrics.weights.observe(f64::from(token.weight));
            ring.record(Event { kind: 1, first: number, count: 1 });
        }
        // With few records a batch of tokens is the group: 100 records, and no one waits longer.
        if job.every > 1 { log.commit() } else { Ok(()) }
    })?;
    log.commit()?;
    let wall = began.elapsed();
    let last = job.tokens / job.every * job.every - 1;
    let logged = log.get(last);
    if store.len() as u64 != job.tokens
        || metrics.tokens.get() != job.tokens
        || logged.as_deref() != store.get(last as usize).map(IntoBytes::as_bytes)
    {
        return Err("what was made is not what was asked for".to_owned());
    }
    Ok(Outcome { wall_ms: wall.as_secs_f64() * 1e3, spans_exported: spans.finish()?, spans_dropped: 0 })
}
