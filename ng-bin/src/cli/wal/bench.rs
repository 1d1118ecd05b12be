//! `ng wal bench`: how quick a log is in some directory.

use super::untaken;
use crate::cli::Failure;
use crate::cli::output::{print, say, write_json};
use ng_core::wal::{RecordKind, WalLane, WalSink};
use ng_wal::recover::Reader;
use ng_wal::{Log, LogOptions};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const RECORD: usize = 64;
const PATIENCE: Duration = Duration::from_secs(300);

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// A directory on the disk in question; what is made there is removed again.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// How many records of 64 bytes.
    #[arg(long, value_name = "N", default_value_t = 9_500_000)]
    records: u64,
    /// One JSON document instead of words.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, serde::Serialize)]
struct Document {
    records: u64,
    /// Of the thread that appends, without its waits for the disk.
    append_ns: f64,
    stalled_ms: f64,
    /// Until the last record is durable.
    wall_ms: f64,
    payload_mb_s: f64,
    device_bytes: u64,
    syncs: u64,
    replay_records_per_s: f64,
}

/// Removes the log, whatever happens.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            say(format_args!("ng: remove {}: {error}", self.0.display()));
        }
    }
}

pub(super) fn run(args: &Args) -> Result<u8, Failure> {
    std::fs::metadata(&args.dir).map_err(|error| Failure::io(&error))?;
    let place = Temporary(args.dir.join(format!("ng-wal-bench-{}", std::process::id())));
    let log = Log::open(LogOptions::new(&place.0)).map_err(|error| untaken(&error))?;
    let failed = |error: &dyn std::error::Error| Failure::io(error);
    let mut lane = log.open_lane().map_err(|error| failed(&error))?;
    let tokens: [[u8; RECORD]; 64] = std::array::from_fn(|i| [i as u8 | 1; RECORD]);
    let start = Instant::now();
    for i in 0..args.records {
        lane.append(RecordKind::USER, &tokens[i as usize % 64]).map_err(|error| failed(&error))?;
    }
    let appended = start.elapsed();
    log.flush(PATIENCE).map_err(|error| failed(&error))?;
    let wall = start.elapsed();
    drop(lane);
    let stats = log.stats();
    log.close(PATIENCE).map_err(|error| failed(&error))?;
    drop(log);
    let start = Instant::now();
    let reader = Reader::open(&place.0).map_err(|error| failed(&error))?;
    let read = reader.for_each_run(|run| {
        std::hint::black_box(run.bytes.first());
    });
    let read = read.map_err(|error| failed(&error))?.records;
    let replay = start.elapsed();
    let records = args.records as f64;
    let stalled = Duration::from_nanos(stats.stalled_ns);
    let document = Document {
        records: read,
        append_ns: appended.saturating_sub(stalled).as_nanos() as f64 / records.max(1.0),
        stalled_ms: stalled.as_secs_f64() * 1e3,
        wall_ms: wall.as_secs_f64() * 1e3,
        payload_mb_s: records * RECORD as f64 / 1e6 / wall.as_secs_f64(),
        device_bytes: stats.written_bytes,
        syncs: stats.syncs,
        replay_records_per_s: read as f64 / replay.as_secs_f64(),
    };
    if args.json {
        write_json(&document, Path::new("-"))?;
    } else {
        print(|out| {
            writeln!(
                out,
                "{} records of {RECORD} bytes, durable in {:.1} ms",
                document.records, document.wall_ms
            )?;
            writeln!(
                out,
                "append   {:.1} ns a record, and {:.1} ms of waiting for the disk",
                document.append_ns, document.stalled_ms
            )?;
            writeln!(
                out,
                "disk     {:.0} MB/s of payload, {} bytes written, {} syncs",
                document.payload_mb_s, document.device_bytes, document.syncs
            )?;
            writeln!(out, "replay   {:.1} million records a second", document.replay_records_per_s / 1e6)
        })?;
    }
    Ok(0)
}
