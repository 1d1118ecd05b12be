//! The flight recorder beside what one would take instead: the seed's own design (a mutex around a
//! deque of strings), a lock-free queue, backbeat, faultbox and tracing-flight-recorder. Each records
//! the same two events from one and two threads, and is killed with SIGKILL to see what it leaves.
//!
//! What a rival is asked for is what its own documentation shows: a payload of two numbers in the
//! case `operation`, and a message of 31 bytes beside them in the case `rare`.

mod killed;
mod systems;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Barrier;
use std::time::Instant;

use clap::Parser;
use rivals_common::{Case, Machine, Spread, finish, in_turn, write_json, write_table};
use serde::Serialize;
use systems::{Kind, SYSTEMS, System};

#[derive(Debug, Parser)]
#[command(name = "rivals-blackbox", about = "The flight recorder beside what one would take instead.")]
struct Cli {
    #[command(flatten)]
    common: rivals_common::Args,
    /// What is to be killed, and where it may write; not for people.
    #[arg(long, hide = true, num_args = 2)]
    child: Option<Vec<PathBuf>>,
}

/// One line of the table.
#[derive(Debug, Serialize)]
struct Row {
    case: &'static str,
    system: &'static str,
    ours: bool,
    threads: usize,
    ns: f64,
    spread_ns: f64,
    bytes_per_event: f64,
    survives_sigkill: bool,
    /// Of a thousand, how many could be read after a SIGKILL.
    events_after_sigkill: usize,
}

#[derive(Debug, Serialize)]
struct Document {
    machine: Machine,
    rounds: usize,
    rows: Vec<Row>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match &cli.child {
        Some(words) => killed::child(words),
        None => measure(&cli.common),
    };
    finish("rivals-blackbox", outcome)
}

/// What is measured: a system at a case, on some threads.
struct Subject {
    system: &'static System,
    kind: Kind,
    threads: usize,
}

fn measure(args: &rivals_common::Args) -> Result<(), String> {
    let mut subjects = Vec::new();
    for kind in [Kind::Operation, Kind::Rare] {
        for system in SYSTEMS {
            subjects.extend([1, 2].map(|threads| Subject { system, kind, threads }));
        }
    }
    let scratch = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    let scratch = scratch.map_err(|error| format!("no scratch directory: {error}"))?;
    let mut cases: Vec<_> = subjects
        .iter()
        .map(|Subject { system, kind, threads }| {
            let path = scratch.path();
            Case::new(format!("{} {} ×{threads}", kind.label(), system.name), move || {
                // As long as the slow ones need for a figure, and the fast ones for a steady state.
                let events = system.events(args.quick);
                round(path, system, *kind, *threads, events)
            })
        })
        .collect();
    let rounds = if args.quick { 1 } else { args.rounds };
    let spreads: Vec<Spread> = in_turn(rounds, &mut cases)?;
    drop(cases);
    let left: Vec<_> = SYSTEMS.iter().map(|system| killed::left_by(system)).collect::<Result<Vec<_>, _>>()?;
    let rows: Vec<Row> = subjects
        .iter()
        .zip(spreads)
        .map(|(Subject { system, kind, threads }, spread)| {
            let at = SYSTEMS.iter().position(|other| other.name == system.name).unwrap_or(0);
            Row {
                case: kind.label(),
                system: system.name,
                ours: system.ours,
                threads: *threads,
                ns: spread.median,
                spread_ns: spread.spread,
                bytes_per_event: system.bytes(*kind),
                survives_sigkill: left[at] > 0,
                events_after_sigkill: left[at],
            }
        })
        .collect();
    let head = ["case, system", "threads", "ns/event", "spread", "bytes/event", "left by SIGKILL, of 1,000"];
    let table: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            vec![
                format!("{} {}{}", row.case, row.system, if row.ours { " (ours)" } else { "" }),
                row.threads.to_string(),
                format!("{:.2}", row.ns),
                format!("{:.2}", row.spread_ns),
                format!("{:.0}", row.bytes_per_event),
                row.events_after_sigkill.to_string(),
            ]
        })
        .collect();
    write_table(&head, &table).map_err(|error| format!("standard output: {error}"))?;
    match &args.json {
        Some(to) => write_json(to, &Document { machine: Machine::here(), rounds, rows }),
        None => Ok(()),
    }
}

/// Nanoseconds an event of each thread, the slower one's where there are two.
fn round(dir: &Path, system: &System, kind: Kind, threads: usize, events: u64) -> Result<f64, String> {
    let shared = (system.open)(dir)?;
    let gate = Barrier::new(threads);
    let times: Vec<Option<f64>> = std::thread::scope(|scope| {
        let (shared, gate) = (&shared, &gate);
        let makers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(move || {
                    let mut took = 0.0;
                    shared.on_a_thread(kind, &mut |work| {
                        // What a lane touches for the first time is not an event's cost.
                        work(events / 10);
                        gate.wait();
                        let began = Instant::now();
                        work(events);
                        took = began.elapsed().as_secs_f64() * 1e9 / events as f64;
                    });
                    took
                })
            })
            .collect();
        makers.into_iter().map(|maker| maker.join().ok()).collect()
    });
    times
        .into_iter()
        .try_fold(0.0, |slowest: f64, time| Some(slowest.max(time?)))
        .ok_or_else(|| "a thread panicked".to_owned())
}
