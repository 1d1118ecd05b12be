//! `ng stress`.

mod progress;

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::ending::Ending;
use super::output::{print, say, write_json};
use super::{EX_IOERR, EX_USAGE, Failure, load};
use crate::stress::{Death, LAYERS, Options, StressError, child, run as stress, write_table};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Tokens in each run.
    #[arg(long, default_value_t = 9_500_000, value_parser = clap::value_parser!(u64).range(10_000..=16_000_000))]
    tokens: u64,
    /// Tokens in a batch.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    batch: u64,
    /// Log each N-th token in the sampled run.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    wal_every: u64,
    /// Threads that make tokens.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=64))]
    threads: u64,
    /// Rounds: the more, the narrower the spread.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    rounds: u64,
    /// Where logs go meanwhile; needs about 2 GB at full scale.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Layers to look at, with commas between; the others stay off.
    #[arg(long, value_delimiter = ',', default_values_t = LAYERS.map(str::to_owned))]
    layers: Vec<String>,
    /// What the stacks are made of; the layers' kinds and directories are the stress's own.
    #[arg(long)]
    config: Option<PathBuf>,
    /// One document with every figure, to FILE or `-`.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// One self-contained page with charts, to FILE or `-`.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// 200,000 tokens and 2 rounds: for function, not for speed.
    #[arg(long)]
    quick: bool,
    /// End with 1 if a budget of docs/stress.md is broken.
    #[arg(long)]
    budget: bool,
}

pub(super) fn run(args: &Args) -> Result<u8, Failure> {
    let mut layers = Vec::new();
    for name in &args.layers {
        let Some(layer) = LAYERS.into_iter().find(|layer| layer == name) else {
            return Err(Failure::new(
                EX_USAGE,
                format!("there is no layer {name:?}: choose from {}", LAYERS.join(", ")),
            ));
        };
        layers.push(layer);
    }
    let to_output = |to: &Option<PathBuf>| to.as_deref() == Some(Path::new("-"));
    if to_output(&args.json) && to_output(&args.html) {
        return Err(Failure::new(EX_USAGE, "only one of --json and --html can go to standard output"));
    }
    let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let options = Options {
        tokens: if args.quick { args.tokens.min(200_000) } else { args.tokens },
        batch: size(args.batch),
        wal_every: args.wal_every,
        threads: size(args.threads),
        rounds: if args.quick { 2 } else { size(args.rounds) },
        dir: args.dir.clone(),
        layers,
        config: load(args.config.as_ref())?.config,
    };
    let folder = options.folder();
    let ending =
        Ending::watch(move |signal| clear_away(&folder, signal)).map_err(|error| Failure::io(&error))?;
    let report = progress::shown(|stage| stress(&options, stage));
    drop(ending);
    let report = report.map_err(failure)?;
    if let Some(to) = &args.json {
        write_json(&report, to)?;
    }
    if let Some(to) = &args.html {
        super::report::write_page(&report, to)?;
    }
    if !to_output(&args.json) && !to_output(&args.html) {
        print(|out| write_table(&report, out))?;
    }
    // Wrong results are a failure whether budgets are asked for or not.
    let lost = report.recovery.lost_acknowledged + report.recovery.mismatched;
    let inexact = report.quota.false_refusals + report.quota.overshoot;
    Ok(u8::from(lost + inexact > 0 || args.budget && !report.within_budget()))
}

/// Removes what a run that is ended by a signal has written, which may be gigabytes. Its threads go on until
/// the process ends, so a new file may come up meanwhile.
fn clear_away(folder: &Path, signal: &str) {
    let mut removed = std::fs::remove_dir_all(folder);
    for _ in 0..20 {
        if !folder.exists() {
            return say(format_args!("ng: {signal}: {} is removed", folder.display()));
        }
        std::thread::sleep(Duration::from_millis(10));
        removed = std::fs::remove_dir_all(folder);
    }
    if let Err(error) = removed {
        say(format_args!("ng: {signal}: remove {} by hand: {error}", folder.display()));
    }
}

fn failure(error: StressError) -> Failure {
    match error {
        StressError::Stack(error) => error.into(),
        StressError::Wrong(text) => Failure::new(1, text),
        error @ StressError::Io { .. } => Failure::new(EX_IOERR, super::output::with_causes(&error)),
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct ChildArgs {
    dir: PathBuf,
    tokens: u64,
    #[arg(value_parser = ["panic", "kill"])]
    death: String,
}

pub(super) fn run_child(args: &ChildArgs) -> Result<u8, Failure> {
    let death = if args.death == "panic" { Death::Panic } else { Death::Kill };
    child(&args.dir, args.tokens, death).map_err(failure)?;
    Ok(0)
}
