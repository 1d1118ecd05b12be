//! Telemetry beside what one would take instead: a counter, a histogram, and a span that nobody
//! samples and one that is sampled, by the system's own call and by `tracing` macros.
//!
//! Each is measured on an operation that keeps the processor busy (about 25 ns): the same loop runs
//! with it and without it, by turns, and what is reported is the difference. So nothing hides in the
//! gaps of a loop that waits.

mod metrics;
mod operation;
mod served;
mod spans;

use std::process::ExitCode;

use clap::Parser;
use operation::Subject;
use rivals_common::{Case, Machine, finish, in_turn, write_json, write_table};
use serde::Serialize;

#[derive(Debug, Parser)]
#[command(name = "rivals-telemetry", about = "Telemetry beside what one would take instead.")]
struct Cli {
    #[command(flatten)]
    common: rivals_common::Args,
    /// Measures one system whenever standard input asks for it: how the program calls itself.
    #[arg(long, hide = true, value_name = "CASE/SYSTEM")]
    serve: Option<String>,
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
}

#[derive(Debug, Serialize)]
struct Document {
    machine: Machine,
    rounds: usize,
    /// What the operation takes by itself, on one thread.
    operation_ns: f64,
    rows: Vec<Row>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match &cli.serve {
        Some(which) => spans::served(which).and_then(|subject| served::serve(&subject)),
        None => measure(&cli.common),
    };
    finish("rivals-telemetry", done)
}

fn measure(args: &rivals_common::Args) -> Result<(), String> {
    let mut subjects = metrics::subjects()?;
    subjects.extend(spans::subjects()?);
    let operation_ns = operation::alone();
    let measured: Vec<(&Subject, usize)> =
        subjects.iter().flat_map(|subject| [1, 2].map(|threads| (subject, threads))).collect();
    let mut cases: Vec<_> = measured
        .iter()
        .map(|&(subject, threads)| {
            let name = format!("{} {} ×{threads}", subject.case, subject.system);
            Case::new(name, move || operation::added(subject, threads, args.quick))
        })
        .collect();
    let rounds = if args.quick { 1 } else { args.rounds };
    let spreads = in_turn(rounds, &mut cases)?;
    drop(cases);
    let rows: Vec<Row> = measured
        .iter()
        .zip(spreads)
        .map(|(&(subject, threads), spread)| Row {
            case: subject.case,
            system: subject.system,
            ours: subject.system.starts_with("ng-telemetry"),
            threads,
            ns: spread.median,
            spread_ns: spread.spread,
        })
        .collect();
    let head = ["case, system", "threads", "ns added", "spread"];
    let table: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            vec![
                format!("{} {}{}", row.case, row.system, if row.ours { " (ours)" } else { "" }),
                row.threads.to_string(),
                format!("{:.2}", row.ns),
                format!("{:.2}", row.spread_ns),
            ]
        })
        .collect();
    write_table(&head, &table).map_err(|error| format!("standard output: {error}"))?;
    println!("on an operation of {operation_ns:.1} ns");
    match &args.json {
        Some(to) => write_json(to, &Document { machine: Machine::here(), rounds, operation_ns, rows }),
        None => Ok(()),
    }
}
