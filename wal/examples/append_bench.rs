//! What an append costs, and how long it takes until all records are durable, as one JSON line.
//!
//! `cargo run --release -p ng-wal --example append_bench -- DIR [RECORDS] [LANES] [BACK END] [BUFFERS]`
//!
//! `append_ns` is the processor time of a lane's thread per record, system calls included;
//! `wall_ms` ends when the last record is durable. `single` calls `append` for each record,
//! `runs_of_64` calls `append_run` for 64 at a time. `writer_ms` is the processor time of all other
//! threads of the process meanwhile. The lags are of epochs, from the first record of each until the
//! device has it.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a bench reports on standard output"
)]

use ng_core::wal::{RecordKind, WalLane, WalSink};
use ng_wal::recover::Reader;
use ng_wal::{BackendKind, Log, LogLane, LogOptions};
use std::path::Path;
use std::time::{Duration, Instant};

const RECORD: usize = 64;
const KIND: RecordKind = RecordKind::USER;
const PATIENCE: Duration = Duration::from_secs(120);

fn single(lane: &mut LogLane, records: usize) {
    // Made beforehand: a record that is written in pieces right before it is copied would measure
    // the processor's store forwarding.
    let tokens: [[u8; RECORD]; 64] = std::array::from_fn(|i| [i as u8 | 1; RECORD]);
    for i in 0..records {
        lane.append(KIND, &tokens[i % 64]).unwrap();
    }
}

fn runs(lane: &mut LogLane, records: usize) {
    let run = [7_u8; RECORD * 64];
    for _ in 0..records / 64 {
        lane.append_run(KIND, RECORD, &run).unwrap();
    }
}

/// The processor time that this thread has used.
fn thread_time() -> Duration {
    used_by(libc::CLOCK_THREAD_CPUTIME_ID)
}

#[expect(unsafe_code, reason = "a clock of processor time has no safe wrapper")]
fn used_by(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writing, and every thread and process has its clock.
    let answer = unsafe { libc::clock_gettime(clock, &raw mut time) };
    assert_eq!(answer, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn measure(
    dir: &Path,
    name: &str,
    backend: BackendKind,
    records: usize,
    lanes: usize,
    buffers: Option<usize>,
    work: fn(&mut LogLane, usize),
) {
    let spares = (records * RECORD).div_ceil(60 << 20) + 1;
    let options = LogOptions { spare_segments: spares.min(64), backend, ..LogOptions::new(dir.join(name)) };
    let options = LogOptions { buffers: buffers.unwrap_or(options.buffers), ..options };
    let log = Log::open(options).unwrap();
    log.wait_spares(PATIENCE);
    let process = used_by(libc::CLOCK_PROCESS_CPUTIME_ID);
    let start = Instant::now();
    let used: Duration = std::thread::scope(|scope| {
        let lanes = (0..lanes).map(|_| {
            let mut lane = log.open_lane().unwrap();
            scope.spawn(move || {
                let before = thread_time();
                work(&mut lane, records / lanes);
                thread_time() - before
            })
        });
        lanes.collect::<Vec<_>>().into_iter().map(|lane| lane.join().unwrap()).sum()
    });
    log.flush(PATIENCE).unwrap();
    let wall = start.elapsed();
    let others = used_by(libc::CLOCK_PROCESS_CPUTIME_ID) - process - used;
    let backend = log.backend().kind.label();
    let (stats, lags) = (log.stats(), log.lags());
    let append_ns = used.as_nanos() as f64 / stats.records as f64;
    log.close(PATIENCE).unwrap();
    drop(log);
    let start = Instant::now();
    let mut sum = 0_u64;
    let reader = Reader::open(&dir.join(name)).unwrap();
    let report = reader
        .for_each_run(|run| sum += run.bytes.iter().step_by(RECORD).map(|b| u64::from(*b)).sum::<u64>());
    let replayed = report.unwrap().records as f64 / start.elapsed().as_secs_f64();
    assert!(sum > 0 || records == 0);
    println!(
        "{{\"what\":\"{name}\",\"backend\":\"{backend}\",\"lanes\":{lanes},\"records\":{},\"append_ns\":{append_ns:.2},\"stalled_ms\":{:.1},\"wall_ms\":{:.1},\"writer_ms\":{:.1},\"syncs\":{},\"blocks\":{},\"lag_p50_us\":{},\"lag_p99_us\":{},\"replay_records_per_s\":{replayed:.0}}}",
        stats.durable_records,
        stats.stalled_ns as f64 / 1e6,
        wall.as_secs_f64() * 1e3,
        others.as_secs_f64() * 1e3,
        stats.syncs,
        stats.blocks,
        lags.p50.as_micros(),
        lags.p99.as_micros(),
    );
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().unwrap_or_else(|| "append_bench".to_owned());
    let records = arguments.next().map_or(9_500_000, |count| count.parse().unwrap());
    let lanes = arguments.next().map_or(1, |count| count.parse().unwrap());
    let backend = match arguments.next().as_deref() {
        None | Some("auto") => BackendKind::Auto,
        Some("uring") => BackendKind::Uring,
        Some("mmap") => BackendKind::Mmap,
        Some("std") => BackendKind::Std,
        Some(other) => panic!("{other} is no back end: auto, uring, mmap or std"),
    };
    let buffers = arguments.next().map(|count| count.parse().unwrap());
    measure(Path::new(&dir), "single", backend, records, lanes, buffers, single);
    measure(Path::new(&dir), "runs_of_64", backend, records, lanes, buffers, runs);
}
