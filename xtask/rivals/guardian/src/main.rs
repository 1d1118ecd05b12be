//! The guardian's leases beside what one would take instead: a shared counter that is looked at after
//! it was raised, compare-and-swap, a mutex, leases that nobody can recall, governor, and DataFusion's
//! greedy memory pool. Each admits single tokens, admits and releases them, and admits batches of 64,
//! on 1, 2 and 8 threads: what a token costs, and how often the quota's word is broken.

mod exact;
mod systems;

use std::process::ExitCode;
use std::sync::Barrier;

use clap::Parser;
use rivals_common::{Case, Machine, finish, in_turn, write_json, write_table};
use serde::Serialize;
use systems::{SYSTEMS, System, Work};

#[derive(Debug, Parser)]
#[command(name = "rivals-guardian", about = "The guardian's leases beside what one would take instead.")]
struct Cli {
    #[command(flatten)]
    common: rivals_common::Args,
}

/// One line of the table.
#[derive(Debug, Serialize)]
struct Row {
    case: &'static str,
    system: &'static str,
    ours: bool,
    threads: usize,
    /// Nanoseconds of a processor for each token.
    ns: f64,
    spread_ns: f64,
    /// Units refused although there was room, over all rounds of the test; `null` where the system
    /// can't do that work.
    false_refusals: Option<u64>,
    /// Units admitted beyond the limit.
    overshoot: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Document {
    machine: Machine,
    rounds: usize,
    /// Rounds of the test of exactness, for each row.
    exactness_rounds: u64,
    rows: Vec<Row>,
}

fn main() -> ExitCode {
    finish("rivals-guardian", measure(&Cli::parse().common))
}

/// What is measured: a system at a piece of work, on some threads.
struct Subject {
    system: &'static System,
    work: Work,
    threads: usize,
}

fn measure(args: &rivals_common::Args) -> Result<(), String> {
    let mut subjects = Vec::new();
    for work in Work::ALL {
        for system in SYSTEMS {
            subjects.extend([1, 2, 8].map(|threads| Subject { system, work, threads }));
        }
    }
    let mut cases: Vec<_> = subjects
        .iter()
        .map(|Subject { system, work, threads }| {
            let name = format!("{} {} ×{threads}", work.label(), system.name);
            Case::new(name, move || round(system, *work, *threads, args.quick))
        })
        .collect();
    let rounds = if args.quick { 1 } else { args.rounds };
    let spreads = in_turn(rounds, &mut cases)?;
    drop(cases);
    let exactness_rounds = if args.quick { 3 } else { 100 };
    let mut rows = Vec::new();
    for (Subject { system, work, threads }, spread) in subjects.iter().zip(spreads) {
        eprint!("\r\x1b[Kexactness: {} {} ×{threads}", work.label(), system.name);
        let broken = exact::look(system, *work, *threads, exactness_rounds)?;
        rows.push(Row {
            case: work.label(),
            system: system.name,
            ours: system.ours,
            threads: *threads,
            ns: spread.median,
            spread_ns: spread.spread,
            false_refusals: broken.map(|broken| broken.false_refusals),
            overshoot: broken.map(|broken| broken.overshoot),
        });
    }
    eprintln!("\r\x1b[K{exactness_rounds} rounds of exactness for each row");
    let head = ["case, system", "threads", "ns/token", "spread", "refused wrongly", "beyond the limit"];
    let or_dash = |n: Option<u64>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let table: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            vec![
                format!("{} {}{}", row.case, row.system, if row.ours { " (ours)" } else { "" }),
                row.threads.to_string(),
                format!("{:.3}", row.ns),
                format!("{:.3}", row.spread_ns),
                or_dash(row.false_refusals),
                or_dash(row.overshoot),
            ]
        })
        .collect();
    write_table(&head, &table).map_err(|error| format!("standard output: {error}"))?;
    match &args.json {
        Some(to) => write_json(to, &Document { machine: Machine::here(), rounds, exactness_rounds, rows }),
        None => Ok(()),
    }
}

/// Nanoseconds of a processor for each token: with more threads than processors they share them, and
/// so does the figure.
fn round(system: &System, work: Work, threads: usize, quick: bool) -> Result<f64, String> {
    let total = if system.fast { 16_000_000 } else { 1_600_000 } / if quick { 20 } else { 1 };
    let units = total / threads as u64;
    let quota = (system.open)(u64::MAX)?;
    let gate = Barrier::new(threads);
    let times = std::thread::scope(|scope| {
        let (quota, gate) = (&quota, &gate);
        let makers: Vec<_> =
            (0..threads).map(|_| scope.spawn(move || quota.run(work, units, gate))).collect();
        makers
            .into_iter()
            .map(|maker| maker.join().map_err(|_| "a thread panicked"))
            .collect::<Result<Vec<_>, _>>()
    })?;
    let (began, ended) =
        times.iter().copied().reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))).ok_or("no thread")?;
    let took = ended.duration_since(began);
    let processors = threads.min(std::thread::available_parallelism().map_or(1, usize::from));
    #[allow(clippy::cast_precision_loss, reason = "a figure")]
    let ns = took.as_secs_f64() * 1e9 * processors as f64 / (units * threads as u64) as f64;
    Ok(ns)
}
