//! The product's own proof: the seed's tests at the seed's scale, then each layer switched off and
//! on, in turn, on the same work.
//!
//! | idea | modules |
//! |---|---|
//! | the work, and a stack to do it with | `work`, `bench` |
//! | each layer alone, and the full stack less each | `ablation` |
//! | after a panic and a SIGKILL | `recovery` |
//! | spans, memory, quota, disk | `spans`, `memory`, `quota`, `disk` |
//! | what is said of it | `report`, `table`, `budget` |
//!
//! A figure is a median over rounds with its quartiles. Nothing is reported that was not measured
//! in this run.

mod ablation;
mod bench;
mod budget;
mod disk;
mod memory;
mod proc;
mod quota;
mod recovery;
mod report;
mod spans;
mod spread;
mod table;
mod work;

pub use ablation::LAYERS;
pub use recovery::{Death, child};
pub use report::Report;
pub use table::write_table;
pub use work::made;

use std::path::PathBuf;

use crate::config::StackConfig;
use crate::stack::StackError;

/// What to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Tokens in each run.
    pub tokens: u64,
    /// Tokens in a batch.
    pub batch: usize,
    /// Each N-th token is logged in the sampled run.
    pub wal_every: u64,
    /// Threads that make tokens.
    pub threads: usize,
    /// Rounds of the ablation and of the two full runs.
    pub rounds: usize,
    /// Where logs, rings and spans go; removed afterwards.
    pub dir: PathBuf,
    /// Layers that are looked at in the ablation; the others stay off.
    pub layers: Vec<&'static str>,
    /// What the stacks are made of; directories and the layers' kinds are the stress's own.
    pub config: StackConfig,
}

/// Why a stress run ended early.
#[derive(Debug, thiserror::Error)]
pub enum StressError {
    /// A stack did not start.
    #[error(transparent)]
    Stack(#[from] StackError),
    /// A file or a child could not be dealt with.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// What was made is not what was asked for.
    #[error("{0}")]
    Wrong(String),
}

impl StressError {
    fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

impl Options {
    /// Where this process keeps what it writes meanwhile, below [`dir`](Self::dir); gone afterwards.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.dir.join(format!("ng-stress-{}", std::process::id()))
    }
}

/// Runs it all. `progress` hears what begins.
///
/// # Errors
/// See [`StressError`].
pub fn run(options: &Options, progress: &mut dyn FnMut(&str)) -> Result<Report, StressError> {
    let dir = options.folder();
    std::fs::create_dir_all(&dir).map_err(StressError::io(format!("create {}", dir.display())))?;
    let options = Options { dir: dir.clone(), ..options.clone() };
    let report = run_in(&options, progress);
    let removed = std::fs::remove_dir_all(&dir).map_err(StressError::io(format!("remove {}", dir.display())));
    let report = report?;
    removed?;
    Ok(report)
}

fn run_in(options: &Options, progress: &mut dyn FnMut(&str)) -> Result<Report, StressError> {
    progress("memory: bytes a token, first touch, leaks");
    let mut batches = work::Batches::new(options.threads, options.batch);
    let memory = memory::measure(options, &mut batches)?;
    progress("disk: sequential writes");
    let seq_before = disk::sequential_mb_s(&options.dir)?;
    progress("the seed's runs: nothing on, everything on");
    let runs = bench::seed_runs(options, &mut batches)?;
    progress("ablation: each layer alone, and the full stack less each");
    let ablation = ablation::measure(options, &mut batches)?;
    progress("disk: sequential writes again");
    let seq_after = disk::sequential_mb_s(&options.dir)?;
    progress("recovery: a panic and a SIGKILL");
    let recovery = recovery::measure(options)?;
    progress("spans: unsampled, 1 %, all");
    let spans = spans::measure(options)?;
    progress("quota: 8 threads at one limit, and a cleanup");
    let quota = quota::measure(options)?;
    Ok(Report::new(options, memory, [seq_before, seq_after], runs, ablation, recovery, spans, quota))
}
