//! What is read of the documents: of `ng stress --json` (docs/stress.md has the schema), and of `cargo
//! xtask rivals stack --json`.
//!
//! Only what is drawn is read, and each part may be missing: a document of an older or a newer program
//! still makes a page.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::ReportError;

/// A figure taken several times.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Quartiles {
    /// The middle one.
    pub median: f64,
    /// A quarter of them is below.
    pub lower: f64,
    /// A quarter of them is above.
    pub upper: f64,
}

/// One of the seed's runs.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Run {
    /// Until all was durable, in milliseconds.
    pub wall_ms: f64,
    /// Its quartiles.
    pub wall_spread_ms: Option<Quartiles>,
    /// Payload made durable, in MB a second.
    pub payload_mb_s: Option<f64>,
    /// Half of the records were durable this soon, in µs.
    pub durable_p50_us: Option<f64>,
    /// 99 of 100 were.
    pub durable_p99_us: Option<f64>,
    /// All were.
    pub durable_max_us: Option<f64>,
}

/// What a layer costs.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Layer {
    /// Alone over the bare store, in ns a token.
    pub alone_ns: f64,
    /// What the full stack saves without it.
    pub removed_ns: f64,
    /// The distance of the quartiles of `removed_ns`.
    pub spread_ns: f64,
    /// `measured` or `inconclusive`.
    pub verdict: String,
}

/// The machine.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Machine {
    /// The processor.
    pub cpu: String,
    /// Its cores.
    pub cores: u64,
    /// The kernel's release.
    pub kernel: String,
    /// Where the logs were.
    pub filesystem: String,
}

/// The disk beside the runs.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Disk {
    /// The faster reading, in MB a second.
    pub seq_write_mb_s: Option<f64>,
}

/// Memory as the operating system saw it.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// Resident, by token.
    pub bytes_per_token: Option<f64>,
    /// Before anything was made.
    pub rss_baseline_bytes: Option<f64>,
    /// With all tokens and every layer on.
    pub rss_peak_bytes: Option<f64>,
    /// What of it is neither.
    pub stack_overhead_bytes: Option<f64>,
    /// What stayed after everything was dropped.
    pub leaked_bytes: Option<f64>,
}

/// A budget, and whether it holds.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Budget {
    /// What is bounded.
    pub name: String,
    /// What was measured.
    pub measured: f64,
    /// The bound.
    pub bound: f64,
    /// Whether it may not be more, or not less.
    pub at_most: bool,
    /// Whether it holds.
    pub holds: bool,
}

/// The stress document.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Stress {
    /// Tokens in each run.
    pub tokens: u64,
    /// Rounds.
    pub rounds: u64,
    /// Threads that made tokens.
    #[serde(default = "one")]
    pub threads: u64,
    /// Where.
    #[serde(default)]
    pub machine: Machine,
    /// Nothing on.
    pub baseline: Option<Run>,
    /// Everything on, a record now and then.
    pub full_sampled_wal: Option<Run>,
    /// Everything on, every token durable.
    pub full_every_token: Option<Run>,
    /// The disk.
    #[serde(default)]
    pub disk: Disk,
    /// The layers' costs, by section.
    #[serde(default)]
    pub layers: BTreeMap<String, Layer>,
    /// Memory.
    #[serde(default)]
    pub memory: Memory,
    /// The budgets.
    #[serde(default)]
    pub budgets: Vec<Budget>,
}

const fn one() -> u64 {
    1
}

/// A line of the rivals' document.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Rival {
    /// What it is called.
    pub system: String,
    /// Whether it is ours.
    pub ours: bool,
    /// Each so many tokens, one was logged.
    pub wal_every: u64,
    /// By token, in nanoseconds.
    pub ns_per_token: f64,
    /// The distance of its quartiles.
    pub spread_ns: f64,
}

/// The document of `cargo xtask rivals stack`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Rivals {
    /// The systems.
    pub rows: Vec<Rival>,
}

/// Reads a stress document; `path` is what errors call it.
///
/// # Errors
/// [`ReportError::Document`].
pub fn stress(text: &str, path: &str) -> Result<Stress, ReportError> {
    serde_json::from_str(text).map_err(|source| ReportError::Document {
        path: path.to_owned(),
        command: "ng stress --json",
        source,
    })
}

/// Reads a rivals' document.
///
/// # Errors
/// [`ReportError::Document`].
pub fn rivals(text: &str, path: &str) -> Result<Rivals, ReportError> {
    serde_json::from_str(text).map_err(|source| ReportError::Document {
        path: path.to_owned(),
        command: "cargo xtask rivals stack --json",
        source,
    })
}
