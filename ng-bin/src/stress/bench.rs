//! One run: a fresh stack on a store whose memory was touched before, the work, and the wait until
//! all that was logged is durable.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ng_core::TokenStore;

use super::proc::Calls;
use super::spread::Spread;
use super::work::{self, Batches};
use super::{Options, StressError};
use crate::config::{BlackboxKind, GuardianKind, MetricsKind, StackConfig, TracingKind, WalKind};
use crate::stack::Stack;

/// How long a run may wait for the disk.
const PATIENCE: Duration = Duration::from_secs(120);

/// Which layers a run has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct On {
    pub(super) guardian: bool,
    pub(super) wal: bool,
    pub(super) metrics: bool,
    pub(super) tracing: bool,
    pub(super) blackbox: bool,
}

impl On {
    pub(super) const NONE: Self =
        Self { guardian: false, wal: false, metrics: false, tracing: false, blackbox: false };

    pub(super) fn only(layers: &[&str]) -> Self {
        let mut on = Self::NONE;
        layers.iter().for_each(|layer| on.set(layer, true));
        on
    }

    pub(super) fn set(&mut self, layer: &str, to: bool) {
        match layer {
            "guardian" => self.guardian = to,
            "wal" => self.wal = to,
            "metrics" => self.metrics = to,
            "tracing" => self.tracing = to,
            _ => self.blackbox = to,
        }
    }
}

/// The configuration of a run in `dir`.
pub(super) fn config(options: &Options, on: On, every: u64, dir: &Path) -> StackConfig {
    let mut config = options.config.clone();
    let off = StackConfig::default();
    config.wal.kind = if on.wal { WalKind::Log } else { WalKind::Off };
    config.wal.dir = dir.join("wal");
    config.wal.every = every;
    let bytes = options.tokens / every * 66 + (16 << 20);
    config.wal.spare_segments = (bytes / (config.wal.segment_mib << 20) + 2).min(64);
    config.guardian.kind = if on.guardian { GuardianKind::Leases } else { GuardianKind::Off };
    config.guardian.max_tokens = off.guardian.max_tokens.max(options.tokens * 10_000_000 / 9_500_000);
    config.guardian.max_memory_bytes = off.guardian.max_memory_bytes.max(options.tokens * 106);
    config.metrics.kind = if on.metrics { MetricsKind::Sharded } else { MetricsKind::Off };
    config.tracing.kind = if on.tracing { TracingKind::Sampled } else { TracingKind::Off };
    config.tracing.output = Some(dir.join("spans.jsonl"));
    config.blackbox.kind = if on.blackbox { BlackboxKind::Rings } else { BlackboxKind::Off };
    config.blackbox.keep_on_exit = false;
    config
}

/// What one run took.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Run {
    /// From the first token until all was durable.
    pub(super) wall: Duration,
    /// From the first token to the last, on the slowest thread.
    pub(super) making: Duration,
    pub(super) durable_records: u64,
    pub(super) dropped_spans: u64,
    pub(super) stalled: Duration,
    pub(super) calls: Calls,
    /// From an append until it is durable: the median, the 99th percentile, the longest.
    pub(super) lag: [Duration; 3],
}

impl Run {
    pub(super) fn ns_per_token(&self, tokens: u64) -> f64 {
        per(self.wall, tokens)
    }
}

#[expect(clippy::cast_precision_loss, reason = "nanoseconds of a few seconds")]
pub(super) fn per(time: Duration, tokens: u64) -> f64 {
    time.as_nanos() as f64 / tokens as f64
}

/// A store whose memory for the run is there already.
pub(super) fn warm_store(options: &Options) -> Result<Arc<TokenStore>, StressError> {
    let store = Arc::new(TokenStore::new());
    // Each lane fills ranges of 4,096: a little more than the tokens are.
    let slots = options.tokens + 4_096 * options.threads as u64;
    store.populate(0, u32::try_from(slots).unwrap_or(u32::MAX)).map_err(crate::stack::StackError::from)?;
    Ok(store)
}

/// One run of the work in a fresh stack.
pub(super) fn once(options: &Options, batches: &mut Batches, on: On, every: u64) -> Result<Run, StressError> {
    let store = warm_store(options)?;
    on_store(options, batches, on, every, &store)
}

/// One run of the work in a fresh stack on `store`.
pub(super) fn on_store(
    options: &Options,
    batches: &mut Batches,
    on: On,
    every: u64,
    store: &Arc<TokenStore>,
) -> Result<Run, StressError> {
    let dir = options.dir.join("run");
    std::fs::create_dir_all(&dir).map_err(StressError::io("create the run's directory"))?;
    let config = config(options, on, every, &dir);
    let stack = Stack::builder().config(config).store(Arc::clone(store)).build()?;
    if !stack.wait_ready(PATIENCE) {
        return Err(StressError::Wrong("the log's segments were not ready in two minutes".to_owned()));
    }
    let run = timed(options, batches, &stack)?;
    if stack.store().len() != options.tokens {
        let found = stack.store().len();
        return Err(StressError::Wrong(format!("{found} tokens in the store, not {}", options.tokens)));
    }
    let expected = if on.wal { options.tokens / every } else { 0 };
    // Each thread has its own countdown to the next token that is logged.
    if run.durable_records > expected || run.durable_records + options.threads as u64 <= expected {
        return Err(StressError::Wrong(format!("{} records durable, not {expected}", run.durable_records)));
    }
    stack.shutdown(PATIENCE).map_err(|error| StressError::Wrong(error.to_string()))?;
    std::fs::remove_dir_all(&dir).map_err(StressError::io("remove the run's directory"))?;
    Ok(run)
}

fn timed(options: &Options, batches: &mut Batches, stack: &Stack) -> Result<Run, StressError> {
    let mut lanes = Vec::new();
    for i in 0..options.threads {
        lanes.push(stack.lane(&format!("maker-{i}"))?);
    }
    let share = options.tokens.div_ceil(options.threads as u64);
    let began = Instant::now();
    let made: Result<Vec<_>, StressError> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..)
            .zip(lanes.into_iter().zip(batches.iter_mut()))
            .map(|(i, (mut lane, specs))| {
                scope.spawn(move || {
                    let before = Calls::of_this_thread()?;
                    let (from, to) = (i * share, options.tokens.min((i + 1) * share));
                    work::make_with(specs, &mut lane, from, to, options.batch)?;
                    Ok((began.elapsed(), Calls::of_this_thread()?.since(before)))
                })
            })
            .collect();
        let panicked = |_| Err(StressError::Wrong("a thread that made tokens panicked".to_owned()));
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(panicked)).collect()
    });
    stack.wal().flush(PATIENCE).map_err(|error| StressError::Wrong(error.to_string()))?;
    let wall = began.elapsed();
    let made = made?;
    let stats = stack.wal().stats();
    Ok(Run {
        wall,
        making: made.iter().map(|made| made.0).max().unwrap_or_default(),
        durable_records: stats.durable_records,
        dropped_spans: stack.spans().stats().dropped,
        stalled: Duration::from_nanos(stats.stalled_ns),
        lag: stack.durable_lag(),
        calls: Calls {
            io: made.iter().map(|made| made.1.io).sum(),
            waits: made.iter().map(|made| made.1.waits).sum(),
        },
    })
}

/// One of the seed's runs, over several rounds.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct SeedRun {
    /// Wall time until all was durable, in milliseconds: the median.
    pub wall_ms: f64,
    /// Its quartiles.
    pub wall_spread_ms: Spread,
    /// Until the last token was made: the median, in milliseconds.
    pub making_ms: f64,
    /// Wall time by token, in nanoseconds.
    pub ns_per_token: f64,
    /// Records that were durable at the end, in the last round.
    pub durable_records: u64,
    /// Payload made durable, in MB (10⁶ bytes) a second of wall time.
    pub payload_mb_s: f64,
    /// Time that makers stood waiting for a log buffer, in milliseconds: the median.
    pub stalled_ms: f64,
    /// Reads and writes by the making threads for 1,000 tokens, from the kernel's count; those of
    /// reading the count itself are in it.
    pub io_calls_per_1000: f64,
    /// Times that the making threads gave up the processor, for 1,000 tokens.
    pub waits_per_1000: f64,
    /// Sampled spans that found no room, in the last round.
    pub dropped_spans: u64,
    /// From an append until the record is durable, in µs, by epoch: the median of the rounds' medians.
    pub durable_p50_us: f64,
    /// The same for 99 of 100.
    pub durable_p99_us: f64,
    /// The same for the longest.
    pub durable_max_us: f64,
}

/// The runs of the seed's tests 1 and 2, and test 2 with a record for every token.
#[derive(Debug, Clone, Copy)]
pub(super) struct SeedRuns {
    pub(super) baseline: SeedRun,
    pub(super) full_sampled_wal: SeedRun,
    pub(super) full_every_token: SeedRun,
}

pub(super) fn seed_runs(options: &Options, batches: &mut Batches) -> Result<SeedRuns, StressError> {
    let everything = On::only(&super::LAYERS);
    let kinds = [(On::NONE, 1), (everything, options.wal_every), (everything, 1)];
    let mut runs: [Vec<Run>; 3] = Default::default();
    for _ in 0..options.rounds {
        for ((on, every), runs) in kinds.into_iter().zip(&mut runs) {
            runs.push(once(options, batches, on, every)?);
        }
    }
    let [baseline, sampled, every] = runs.map(|runs| summary(options, &runs));
    Ok(SeedRuns { baseline, full_sampled_wal: sampled, full_every_token: every })
}

fn summary(options: &Options, runs: &[Run]) -> SeedRun {
    let ms = |time: &dyn Fn(&Run) -> Duration| {
        Spread::of(runs.iter().map(|run| time(run).as_secs_f64() * 1e3).collect())
    };
    let wall = ms(&|run| run.wall);
    let lag = |at: usize| ms(&|run| run.lag[at]).median * 1e3;
    let last = runs.last().copied().unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "counts of a run")]
    let (tokens, records, calls) =
        (options.tokens as f64, last.durable_records as f64, (last.calls.io as f64, last.calls.waits as f64));
    SeedRun {
        wall_ms: wall.median,
        wall_spread_ms: wall,
        making_ms: ms(&|run| run.making).median,
        ns_per_token: wall.median * 1e6 / tokens,
        durable_records: last.durable_records,
        payload_mb_s: records * 64.0 / 1e6 / (wall.median / 1e3),
        stalled_ms: ms(&|run| run.stalled).median,
        io_calls_per_1000: calls.0 * 1e3 / tokens,
        waits_per_1000: calls.1 * 1e3 / tokens,
        dropped_spans: last.dropped_spans,
        durable_p50_us: lag(0),
        durable_p99_us: lag(1),
        durable_max_us: lag(2),
    }
}
