//! The log on a disk that tears, forgets and fails.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test reports by panicking")]

mod checkpoints;
mod crash;
mod damage;
mod direct;
mod faults;
mod fuzzed;
mod known_failures;
mod limit;
mod points;
mod reading;
mod tokens;

use crate::recover::{Reader, Report};
use crate::storage::sim::{Seeded, SimStorage};
use crate::{GAP, Log, LogOptions, RecoverError};
use ng_core::wal::{RecordKind, WalLane, WalSink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
const KIND: RecordKind = RecordKind::USER;
const BLOCK: usize = 8192;
const DIR: &str = "log";

/// A log so small that blocks and segments end all the time.
fn tiny() -> LogOptions {
    LogOptions {
        block_bytes: BLOCK,
        buffers: 4,
        segment_bytes: 40 << 10,
        interval: Duration::from_micros(300),
        ..LogOptions::new(DIR)
    }
}

fn open(options: LogOptions, disk: &SimStorage) -> Log {
    Log::open_in(options, Arc::new(disk.clone()), None).unwrap()
}

fn segment(number: u32) -> PathBuf {
    Path::new(DIR).join(crate::format::segment::file_name(number))
}

/// The user's records, in the order of the log.
fn read(disk: &SimStorage) -> Result<(Vec<Vec<u8>>, Report), RecoverError> {
    let mut records = Vec::new();
    let reader = Reader::open_in(Path::new(DIR), disk)?;
    let report = reader.for_each_run(|run| {
        let users = run.kind != GAP;
        records.extend(run.records().filter(|_| users).map(|record| record.payload.to_vec()));
    })?;
    Ok((records, report))
}

/// Lanes on several threads, each record caused by the one before it, and the power cut at any time:
/// what was acknowledged is recovered, and what is recovered is a prefix.
fn hold_causes(log: &Log, disk: &SimStorage, lanes: u64, seed: u64) {
    let (next, stop) = (&AtomicU64::new(0), &AtomicBool::new(false));
    let (acknowledged, image) = std::thread::scope(|scope| {
        for me in 0..lanes {
            let mut lane = log.open_lane().unwrap();
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let id = next.load(Ordering::Acquire);
                    if id % lanes == me {
                        lane.append(KIND, &numbered(id)).unwrap();
                        next.store(id + 1, Ordering::Release);
                    } else {
                        std::thread::yield_now();
                    }
                }
            });
        }
        std::thread::sleep(Duration::from_micros(Seeded(seed).next() % 8_000));
        // In this order: what is acknowledged now is so in the image.
        let acknowledged = log.stats().durable_records;
        let image = disk.power_cut(seed);
        stop.store(true, Ordering::Relaxed);
        (acknowledged, image)
    });
    let (records, report) = read(&image).unwrap();
    let mut ids: Vec<u64> = records.iter().map(|record| id_of(record)).collect();
    ids.sort_unstable();
    assert!(ids.iter().copied().eq(0..ids.len() as u64), "seed {seed}: an effect without its cause");
    assert!(ids.len() as u64 >= acknowledged, "seed {seed}: acknowledged records are gone: {report:?}");
}

/// A record that says which it is, of a length that follows from it.
fn numbered(id: u64) -> Vec<u8> {
    let mut record = id.to_le_bytes().to_vec();
    record.resize(8 + (id % 5) as usize * 29, id as u8);
    record
}

fn id_of(record: &[u8]) -> u64 {
    let id = u64::from_le_bytes(record[..8].try_into().unwrap());
    assert_eq!(record, numbered(id), "a record that nobody wrote");
    id
}
