//! The one document that a stress run makes; its schema is docs/stress.md.

use std::collections::BTreeMap;

use super::Options;
use super::ablation::{Ablation, LayerCost};
use super::bench::{SeedRun, SeedRuns};
use super::budget::{self, Budget};
use super::memory::Memory;
use super::proc::Machine;
use super::quota::Quota;
use super::recovery::Recovery;
use super::spans::Spans;

/// What the disk did beside the runs.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct Disk {
    /// The faster of the two readings, in MB (10⁶ bytes) a second.
    pub seq_write_mb_s: f64,
    /// Before and after the runs.
    pub readings_mb_s: [f64; 2],
    /// What the full run with every token logged reached of it.
    pub share_of_disk: f64,
}

/// All figures of one run.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Report {
    /// Tokens in each run.
    pub tokens: u64,
    /// Tokens in a batch.
    pub batch: usize,
    /// Threads that made them.
    pub threads: usize,
    /// Rounds.
    pub rounds: usize,
    /// Where.
    pub machine: Machine,
    /// Nothing on.
    pub baseline: SeedRun,
    /// Everything on, each N-th token logged.
    pub full_sampled_wal: SeedRun,
    /// Everything on, every token logged and durable.
    pub full_every_token: SeedRun,
    /// The disk in the same minutes.
    pub disk: Disk,
    /// Each layer's cost, by its section in the configuration.
    pub layers: BTreeMap<&'static str, LayerCost>,
    /// Whether the costs add up.
    pub ablation: Ablation,
    /// After a panic and a SIGKILL.
    pub recovery: Recovery,
    /// The cost of a span.
    pub spans: Spans,
    /// Resident memory.
    pub memory: Memory,
    /// The quota under fire.
    pub quota: Quota,
    /// The budgets, and which hold.
    pub budgets: Vec<Budget>,
}

impl Report {
    #[expect(clippy::too_many_arguments, reason = "one for each part of the run")]
    pub(super) fn new(
        options: &Options,
        memory: Memory,
        readings_mb_s: [f64; 2],
        runs: SeedRuns,
        ablation: Ablation,
        recovery: Recovery,
        spans: Spans,
        quota: Quota,
    ) -> Self {
        let seq_write_mb_s = readings_mb_s[0].max(readings_mb_s[1]);
        let mut report = Self {
            tokens: options.tokens,
            batch: options.batch,
            threads: options.threads,
            rounds: options.rounds,
            machine: Machine::of(&options.dir),
            baseline: runs.baseline,
            full_sampled_wal: runs.full_sampled_wal,
            full_every_token: runs.full_every_token,
            disk: Disk {
                seq_write_mb_s,
                readings_mb_s,
                share_of_disk: runs.full_every_token.payload_mb_s / seq_write_mb_s,
            },
            layers: ablation.layers.iter().map(|layer| (layer.name, layer.clone())).collect(),
            ablation,
            recovery,
            spans,
            memory,
            quota,
            budgets: Vec::new(),
        };
        report.budgets = budget::check(&report);
        report
    }

    /// Whether every budget holds.
    #[must_use]
    pub fn within_budget(&self) -> bool {
        self.budgets.iter().all(|budget| budget.holds)
    }
}
