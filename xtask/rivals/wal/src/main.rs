//! The log beside what one would take instead: a buffered writer with `fdatasync`, raft-engine,
//! okaywal and fjall. The same records, the same group size, all durable at the end, in turn with
//! the disk's own bandwidth.

mod disk;
mod ours;
mod rivals;
mod sample;

use clap::Parser;
use ng_wal::BackendKind;
use rivals_common::{Args, Case, Machine, Spread, in_turn, write_json, write_table};
use sample::{GROUP, RECORD, Sample};
use serde::Serialize;
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const RECORDS: u64 = 9_500_000;
const QUICK_RECORDS: u64 = 200_000;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask rivals wal")]
struct Cli {
    #[command(flatten)]
    args: Args,
    /// Where the logs are written: a directory on the disk in question.
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// How many records; 9,500,000, or 200,000 with --quick.
    #[arg(long, value_name = "N")]
    records: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Document {
    disk: Disk,
    machine: Machine,
    rounds: usize,
    records: u64,
    record_bytes: usize,
    group_records: usize,
    rows: Vec<Row>,
}

/// The raw sequential bandwidth in the same minutes.
#[derive(Debug, Serialize)]
struct Disk {
    seq_write_mb_s: f64,
    seq_write_mb_s_spread: f64,
}

#[derive(Debug, Serialize)]
struct Row {
    system: String,
    ours: bool,
    prewritten: bool,
    append_ns: f64,
    stall_ns: f64,
    wall_ms: f64,
    wall_ms_spread: f64,
    payload_mb_s: f64,
    device_bytes: u64,
    lag_p50_us: f64,
    lag_p99_us: f64,
}

/// A system, and how it is run in an empty directory.
struct Entry {
    system: &'static str,
    ours: bool,
    prewritten: bool,
    run: fn(&Path, bool, u64) -> Result<Sample, String>,
}

const ENTRIES: [Entry; 11] = [
    Entry { system: "ng-wal uring", ours: true, prewritten: true, run: uring },
    Entry { system: "ng-wal uring", ours: true, prewritten: false, run: uring },
    Entry { system: "ng-wal mmap", ours: true, prewritten: true, run: mmap },
    Entry { system: "ng-wal mmap", ours: true, prewritten: false, run: mmap },
    Entry { system: "ng-wal std", ours: true, prewritten: true, run: std_ },
    Entry { system: "ng-wal std", ours: true, prewritten: false, run: std_ },
    Entry { system: "BufWriter + fdatasync", ours: false, prewritten: true, run: rivals::naive },
    Entry { system: "BufWriter + fdatasync", ours: false, prewritten: false, run: rivals::naive },
    Entry { system: "raft-engine", ours: false, prewritten: false, run: rivals::raft },
    Entry { system: "okaywal", ours: false, prewritten: false, run: okay },
    Entry { system: "fjall", ours: false, prewritten: false, run: fjall },
];

fn uring(dir: &Path, prewritten: bool, count: u64) -> Result<Sample, String> {
    ours::run(dir, BackendKind::Uring, prewritten, count)
}

fn mmap(dir: &Path, prewritten: bool, count: u64) -> Result<Sample, String> {
    ours::run(dir, BackendKind::Mmap, prewritten, count)
}

fn std_(dir: &Path, prewritten: bool, count: u64) -> Result<Sample, String> {
    ours::run(dir, BackendKind::Std, prewritten, count)
}

fn okay(dir: &Path, _prewritten: bool, count: u64) -> Result<Sample, String> {
    rivals::okay(dir, count)
}

fn fjall(dir: &Path, _prewritten: bool, count: u64) -> Result<Sample, String> {
    rivals::fjall(dir, count)
}

/// A fresh directory, with nothing of the run before on its way to the disk.
fn fresh(dir: &Path) -> Result<tempfile::TempDir, String> {
    let fresh = tempfile::tempdir_in(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    Command::new("sync")
        .arg("--file-system")
        .arg(fresh.path())
        .status()
        .map_err(|error| format!("sync: {error}"))?;
    Ok(fresh)
}

fn median(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    Spread::of(samples.iter().map(of).collect()).median
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures of a run"
)]
fn row(entry: &Entry, samples: &[Sample], wall: Spread, records: u64) -> Row {
    let mut lags: Vec<f64> = samples.iter().flat_map(|sample| sample.lags.iter().copied()).collect();
    lags.sort_by(f64::total_cmp);
    let lag = |share: f64| lags.get((lags.len() as f64 * share) as usize).copied().unwrap_or(0.0);
    Row {
        system: entry.system.to_owned(),
        ours: entry.ours,
        prewritten: entry.prewritten,
        append_ns: median(samples, |sample| sample.append_ns),
        stall_ns: median(samples, |sample| sample.stall_ns),
        wall_ms: wall.median,
        wall_ms_spread: wall.spread,
        payload_mb_s: records as f64 * RECORD as f64 / 1e3 / wall.median,
        device_bytes: median(samples, |sample| sample.device_bytes as f64) as u64,
        lag_p50_us: lag(0.50),
        lag_p99_us: lag(0.99),
    }
}

#[allow(clippy::cast_precision_loss, reason = "a count of a run")]
fn measure(cli: &Cli) -> Result<Document, String> {
    let records = cli.records.unwrap_or(if cli.args.quick { QUICK_RECORDS } else { RECORDS });
    let rounds = if cli.args.quick { 1 } else { cli.args.rounds };
    let samples: Vec<RefCell<Vec<Sample>>> = ENTRIES.iter().map(|_| RefCell::default()).collect();
    let mut cases: Vec<Case<'_>> = ENTRIES
        .iter()
        .zip(&samples)
        .map(|(entry, samples)| {
            Case::new(entry.system, move || {
                let dir = fresh(&cli.dir)?;
                let sample = (entry.run)(dir.path(), entry.prewritten, records)?;
                let wall = sample.wall_ms;
                samples.borrow_mut().push(sample);
                Ok(wall)
            })
        })
        .collect();
    cases.push(Case::new("the disk itself", || {
        disk::sequential_mb_s(fresh(&cli.dir)?.path(), records * RECORD as u64)
    }));
    let mut spreads = in_turn(rounds, &mut cases)?;
    drop(cases);
    let raw = spreads.pop().unwrap_or(Spread { median: 0.0, spread: 0.0 });
    let rows = ENTRIES.iter().zip(&samples).zip(spreads);
    Ok(Document {
        disk: Disk { seq_write_mb_s: raw.median, seq_write_mb_s_spread: raw.spread },
        machine: Machine::here(),
        rounds,
        records,
        record_bytes: RECORD,
        group_records: GROUP,
        rows: rows.map(|((entry, samples), wall)| row(entry, &samples.borrow(), wall, records)).collect(),
    })
}

fn show(document: &Document) -> std::io::Result<()> {
    let head = [
        "system",
        "segments",
        "append ns",
        "stall ns",
        "wall ms",
        "±",
        "MB/s",
        "of disk",
        "MB written",
        "lag p50 µs",
        "p99 µs",
    ];
    let rows: Vec<Vec<String>> = document
        .rows
        .iter()
        .map(|row| {
            vec![
                row.system.clone(),
                if row.prewritten { "ready" } else { "empty" }.to_owned(),
                format!("{:.1}", row.append_ns),
                format!("{:.1}", row.stall_ns),
                format!("{:.0}", row.wall_ms),
                format!("{:.0}", row.wall_ms_spread),
                format!("{:.0}", row.payload_mb_s),
                format!("{:.0} %", 100.0 * row.payload_mb_s / document.disk.seq_write_mb_s),
                format!("{}", row.device_bytes / 1_000_000),
                format!("{:.0}", row.lag_p50_us),
                format!("{:.0}", row.lag_p99_us),
            ]
        })
        .collect();
    write_table(&head, &rows)?;
    let machine = &document.machine;
    let disk = vec![format!(
        "{} records of {} bytes, medians of {} rounds; the disk itself {:.0} MB/s; {}, {} cores, {}",
        document.records,
        document.record_bytes,
        document.rounds,
        document.disk.seq_write_mb_s,
        machine.cpu,
        machine.cores,
        machine.kernel
    )];
    write_table(&[""], &[disk])
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = measure(&cli).and_then(|document| {
        show(&document).map_err(|error| format!("standard output: {error}"))?;
        cli.args.json.as_deref().map_or(Ok(()), |path| write_json(path, &document))
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("rivals wal: {why}");
            ExitCode::FAILURE
        }
    }
}
