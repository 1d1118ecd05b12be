//! The whole stack beside what a user would glue together today: `tracing` with
//! `tracing-opentelemetry`, prometheus counters and a histogram, raft-engine, a quota by compare and
//! swap, a ring of events behind a mutex, tokens in a plain vector. The same 9.5 million tokens in the
//! same batches, every layer on, in turn, all that was logged durable at the end.
//!
//! What is left out is left out in the rivals' favour: their spans go to an exporter that only counts
//! them (ours are written to a file as JSON), their histogram is fed without reading a clock, they
//! check no token, and their ring dies with the process. Each run is a process of its own, so that a
//! global subscriber or an allocator in one does not slow another.

mod glue;
mod ours;
mod raft;
mod spans;
mod tuned;
mod work;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use clap::Parser;
use rivals_common::{Args, Case, Machine, in_turn, write_json, write_table};
use serde::{Deserialize, Serialize};

const TOKENS: u64 = 9_500_000;
const QUICK_TOKENS: u64 = 200_000;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask rivals stack", about = "The whole stack beside today's glue.")]
struct Cli {
    #[command(flatten)]
    args: Args,
    /// Where the logs are written: a directory on the disk in question.
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// How many tokens; 9,500,000, or 200,000 with --quick.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1_000..=16_000_000))]
    tokens: Option<u64>,
    /// Only these systems, with commas between: `ours`, `usual`, `tuned`.
    #[arg(long, value_delimiter = ',', default_value = "ours,usual,tuned")]
    systems: Vec<String>,
    /// A system's key, each how many tokens one is logged; not for people.
    #[arg(long, hide = true, num_args = 2)]
    child: Option<Vec<String>>,
}

/// What a run is given.
struct Job {
    dir: PathBuf,
    tokens: u64,
    every: u64,
}

/// What one run took.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Outcome {
    /// From the first token until all that was logged is durable.
    wall_ms: f64,
    /// Spans that reached the exporter.
    spans_exported: u64,
    /// Sampled spans that found no room.
    spans_dropped: u64,
}

/// A system.
struct System {
    key: &'static str,
    name: &'static str,
    ours: bool,
    run: fn(&Job) -> Result<Outcome, String>,
}

const SYSTEMS: [System; 3] = [
    System { key: "ours", name: "ng-stack", ours: true, run: ours::run },
    System { key: "usual", name: "glue: the usual one", ours: false, run: glue::run },
    System { key: "tuned", name: "glue: tuned by hand", ours: false, run: tuned::run },
];

/// Each so many tokens, one is logged.
const EVERY: [u64; 2] = [1_000, 1];

#[derive(Debug, Serialize)]
struct Row {
    system: &'static str,
    ours: bool,
    wal_every: u64,
    wall_ms: f64,
    ns_per_token: f64,
    spread_ns: f64,
    spans_exported: u64,
    spans_dropped: u64,
}

#[derive(Debug, Serialize)]
struct Document {
    machine: Machine,
    rounds: usize,
    tokens: u64,
    rows: Vec<Row>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match &cli.child {
        Some(words) => child(&cli, words),
        None => measure(&cli),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("rivals stack: {why}");
            ExitCode::FAILURE
        }
    }
}

fn child(cli: &Cli, words: &[String]) -> Result<(), String> {
    let [key, every] = words else { return Err("a system and a number".to_owned()) };
    let system = SYSTEMS.iter().find(|system| system.key == key).ok_or("no such system")?;
    let every = every.parse().map_err(|error| format!("{every}: {error}"))?;
    let outcome = (system.run)(&Job { dir: cli.dir.clone(), tokens: cli.tokens.unwrap_or(TOKENS), every })?;
    println!("{}", serde_json::to_string(&outcome).map_err(|error| error.to_string())?);
    Ok(())
}

#[allow(clippy::cast_precision_loss, reason = "figures of a run")]
fn measure(cli: &Cli) -> Result<(), String> {
    if let Some(unknown) = cli.systems.iter().find(|key| SYSTEMS.iter().all(|system| system.key != *key)) {
        return Err(format!("there is no system {unknown:?}: choose from ours, usual, tuned"));
    }
    let tokens = cli.tokens.unwrap_or(if cli.args.quick { QUICK_TOKENS } else { TOKENS });
    let rounds = if cli.args.quick { 1 } else { cli.args.rounds };
    let systems = || SYSTEMS.iter().filter(|system| cli.systems.iter().any(|key| key == system.key));
    let subjects: Vec<_> =
        EVERY.iter().flat_map(|&every| systems().map(move |system| (system, every))).collect();
    let last = RefCell::new(vec![Outcome::default(); subjects.len()]);
    let mut cases: Vec<_> = subjects
        .iter()
        .enumerate()
        .map(|(at, &(system, every))| {
            let (last, dir) = (&last, &cli.dir);
            Case::new(format!("{}, log each {every}", system.name), move || {
                let outcome = start(system, every, tokens, dir)?;
                last.borrow_mut()[at] = outcome;
                Ok(outcome.wall_ms)
            })
        })
        .collect();
    let walls = in_turn(rounds, &mut cases)?;
    drop(cases);
    let rows: Vec<Row> = subjects
        .iter()
        .zip(walls)
        .zip(last.into_inner())
        .map(|((&(system, wal_every), wall), last)| Row {
            system: system.name,
            ours: system.ours,
            wal_every,
            wall_ms: wall.median,
            ns_per_token: wall.median * 1e6 / tokens as f64,
            spread_ns: wall.spread * 1e6 / tokens as f64,
            spans_exported: last.spans_exported,
            spans_dropped: last.spans_dropped,
        })
        .collect();
    let document = Document { machine: Machine::here(), rounds, tokens, rows };
    show(&document).map_err(|error| format!("standard output: {error}"))?;
    cli.args.json.as_deref().map_or(Ok(()), |path| write_json(path, &document))
}

/// One run in a process of its own, in a fresh directory with nothing of the run before on its way to
/// the disk.
fn start(system: &System, every: u64, tokens: u64, dir: &Path) -> Result<Outcome, String> {
    let io = |what: &'static str| move |error: std::io::Error| format!("{what}: {error}");
    let fresh = tempfile::tempdir_in(dir).map_err(io("make a directory"))?;
    Command::new("sync").arg("--file-system").arg(fresh.path()).status().map_err(io("sync"))?;
    let output = Command::new(std::env::current_exe().map_err(io("find this program"))?)
        .arg("--dir")
        .arg(fresh.path())
        .args(["--tokens", &tokens.to_string(), "--child", system.key, &every.to_string()])
        .stderr(Stdio::inherit())
        .output()
        .map_err(io("start a run"))?;
    if !output.status.success() {
        return Err(format!("the run ended with {}", output.status));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("what the run said: {error}"))
}

fn show(document: &Document) -> std::io::Result<()> {
    let head =
        ["system", "log each", "wall ms", "ns/token", "spread ns", "spans exported", "dropped", "times ours"];
    let ours = |every| document.rows.iter().find(|row| row.ours && row.wal_every == every);
    let rows: Vec<_> = document
        .rows
        .iter()
        .map(|row| {
            let times = ours(row.wal_every).map_or(f64::NAN, |ours| row.wall_ms / ours.wall_ms);
            vec![
                row.system.to_owned(),
                row.wal_every.to_string(),
                format!("{:.0}", row.wall_ms),
                format!("{:.1}", row.ns_per_token),
                format!("{:.1}", row.spread_ns),
                row.spans_exported.to_string(),
                row.spans_dropped.to_string(),
                format!("{times:.1}"),
            ]
        })
        .collect();
    write_table(&head, &rows)?;
    let machine = &document.machine;
    let where_ = format!(
        "{} tokens, medians of {} rounds; {}, {} cores, {}",
        document.tokens, document.rounds, machine.cpu, machine.cores, machine.kernel
    );
    write_table(&[""], &[vec![where_]])
}
