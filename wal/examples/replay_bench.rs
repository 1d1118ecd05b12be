//! How fast a log of tokens is read back from the page cache, checksums included: handed out only,
//! and put back into a store. One JSON line for each round.
//!
//! `cargo run --release -p ng-wal --example replay_bench -- DIR [RECORDS] [ROUNDS]`
//!
//! The log is written first, unless DIR is there. `first_read` is from wherever the files are: a log
//! that was written past the page cache is not in it. From then on it is.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a bench reports on standard output")]

use ng_core::records::TOKEN_FIRST;
use ng_core::wal::{WalLane, WalSink};
use ng_core::{TokenSpec, TokenStore};
use ng_wal::recover::Reader;
use ng_wal::{Log, LogOptions};
use std::path::Path;
use std::time::{Duration, Instant};
use zerocopy::IntoBytes;

const PATIENCE: Duration = Duration::from_secs(120);

fn write(dir: &Path, records: u32) {
    let log = Log::open(LogOptions::new(dir)).unwrap();
    let mut lane = log.open_lane().unwrap();
    for id in 0..records {
        lane.append(TOKEN_FIRST, TokenSpec::new().at(id, 5).as_bytes()).unwrap();
    }
    drop(lane);
    log.close(PATIENCE).unwrap();
}

/// Handing out alone: a byte of each record is looked at.
fn hand_out(dir: &Path) -> u64 {
    let mut sum = 0_u64;
    let reader = Reader::open(dir).unwrap();
    let visit =
        |run: ng_wal::Run<'_>| sum += run.bytes.iter().step_by(64).map(|b| u64::from(*b)).sum::<u64>();
    let records = reader.for_each_run(visit).unwrap().records;
    std::hint::black_box(sum);
    records
}

fn restore(dir: &Path, store: &TokenStore) -> u64 {
    let reader = Reader::open(dir).unwrap();
    let mut restorer = store.restorer();
    let visit = |run: ng_wal::Run<'_>| {
        restorer.run(run.kind, run.record_len, run.bytes).unwrap();
    };
    reader.for_each_run(visit).unwrap().records
}

fn report(what: &str, records: u64, took: Duration) {
    println!(
        "{{\"what\":\"{what}\",\"records\":{records},\"ms\":{:.1},\"records_per_s\":{:.0}}}",
        took.as_secs_f64() * 1e3,
        records as f64 / took.as_secs_f64()
    );
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().unwrap_or_else(|| "replay_bench".to_owned());
    let records = arguments.next().map_or(9_500_000, |count| count.parse().unwrap());
    let rounds = arguments.next().map_or(5, |count| count.parse().unwrap());
    let dir = Path::new(&dir);
    if !dir.exists() {
        write(dir, records);
    }
    let start = Instant::now();
    let records = u32::try_from(hand_out(dir)).unwrap();
    report("first_read", u64::from(records), start.elapsed());
    for _ in 0..rounds {
        let start = Instant::now();
        report("hand_out", hand_out(dir), start.elapsed());
        let store = TokenStore::new();
        let start = Instant::now();
        report("restore_cold_memory", restore(dir, &store), start.elapsed());
        assert_eq!(store.len(), u64::from(records));
        drop(store);
        let store = TokenStore::new();
        store.populate(0, records).unwrap();
        let start = Instant::now();
        report("restore_populated", restore(dir, &store), start.elapsed());
        assert_eq!(store.len(), u64::from(records));
    }
}
