//! Our stack as `ng` composes it, every layer on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ng_core::TokenStore;
use ng_core::lane::BatchReport;
use ng_stack::Stack;
use ng_stack::config::{BlackboxKind, GuardianKind, MetricsKind, StackConfig, TracingKind, WalKind};

use crate::work::{in_batches, limit};
use crate::{Job, Outcome};

const PATIENCE: Duration = Duration::from_secs(60);

fn config(job: &Job) -> StackConfig {
    let mut config = StackConfig::default();
    config.wal.kind = WalKind::Log;
    config.wal.dir = job.dir.join("wal");
    config.wal.every = job.every;
    let bytes = job.tokens / job.every * 66 + (16 << 20);
    config.wal.spare_segments = (bytes / (config.wal.segment_mib << 20) + 2).min(64);
    config.guardian.kind = GuardianKind::Leases;
    config.guardian.max_tokens = limit(job.tokens);
    config.guardian.max_memory_bytes = limit(job.tokens) * 100;
    config.metrics.kind = MetricsKind::Sharded;
    config.tracing.kind = TracingKind::Sampled;
    config.tracing.rate = 0.01;
    config.tracing.output = Some(job.dir.join("spans.jsonl"));
    config.blackbox.kind = BlackboxKind::Rings;
    config.blackbox.dir = job.dir.join("rings");
    config.blackbox.keep_on_exit = false;
    config
}

pub(crate) fn run(job: &Job) -> Result<Outcome, String> {
    let text = |error: &dyn std::error::Error| error.to_string();
    let store = Arc::new(TokenStore::new());
    let slots = u32::try_from(job.tokens + 4_096).map_err(|error| error.to_string())?;
    store.populate(0, slots).map_err(|error| text(&error))?;
    let stack = Stack::builder()
        .config(config(job))
        .store(Arc::clone(&store))
        .build()
        .map_err(|error| text(&error))?;
    if !stack.wait_ready(PATIENCE) {
        return Err("the log's segments were not ready in a minute".to_owned());
    }
    let mut lane = stack.lane("maker").map_err(|error| text(&error))?;
    let mut report = BatchReport::default();
    let began = Instant::now();
    in_batches(job.tokens, |_, specs| {
        lane.create_batch(specs, &mut report);
        if report.made() == specs.len() { Ok(()) } else { Err(format!("{} made", report.made())) }
    })?;
    stack.wal().flush(PATIENCE).map_err(|error| text(&error))?;
    let wall = began.elapsed();
    let durable = stack.wal().stats().durable_records;
    if store.len() != job.tokens || durable != job.tokens / job.every {
        return Err(format!("{} tokens, {durable} records durable", store.len()));
    }
    drop(lane);
    stack.spans().flush(PATIENCE);
    let spans = stack.spans().stats();
    stack.shutdown(PATIENCE).map_err(|error| text(&error))?;
    Ok(Outcome {
        wall_ms: wall.as_secs_f64() * 1e3,
        spans_exported: spans.exported,
        spans_dropped: spans.dropped,
    })
}
