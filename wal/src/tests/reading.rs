//! Logs too large for one read: read ahead by a thread, and epochs longer than what is held.

use super::*;
use crate::format::ALIGNMENT;
use ng_core::wal::{WalLane, WalSink};

/// Enough for the thread that reads ahead, in epochs that don't fit in what is held in memory.
fn large() -> (SimStorage, u64) {
    let disk = SimStorage::default();
    let options = LogOptions {
        interval: Duration::from_secs(60),
        block_bytes: 64 << 10,
        // A whole epoch's worth: a lane that finds none would end the epoch early.
        buffers: 256,
        segment_bytes: 4 << 20,
        ..LogOptions::new(DIR)
    };
    let log = open(options, &disk);
    let mut lane = log.open_lane().unwrap();
    let mut next = 0;
    for _ in 0..2 {
        // 12 MiB an epoch.
        for _ in 0..12 << 14 {
            lane.append(KIND, &wide(next)).unwrap();
            next += 1;
        }
        log.flush(PATIENCE).unwrap();
    }
    drop(lane);
    log.close(PATIENCE).unwrap();
    (disk, next)
}

fn wide(id: u64) -> [u8; 64] {
    let mut record = [id as u8; 64];
    record[..8].copy_from_slice(&id.to_le_bytes());
    record
}

fn count(disk: &SimStorage) -> (u64, Result<Report, RecoverError>) {
    let mut next = 0;
    let reader = Reader::open_in(Path::new(DIR), disk).unwrap();
    let outcome = reader.for_each_run(|run| {
        for record in run.records() {
            assert_eq!((record.lsn, record.payload), (next, &wide(next)[..]));
            next += 1;
        }
    });
    (next, outcome)
}

#[test]
fn a_long_epoch_is_read_a_second_time_and_comes_back_whole() {
    let (disk, written) = large();
    let (read, outcome) = count(&disk);
    let report = outcome.unwrap();
    assert_eq!((read, report.records, report.torn), (written, written, None));
    assert!(report.segments >= 6);
}

#[test]
fn a_reader_that_is_given_up_leaves_no_thread_waiting() {
    let (disk, _) = large();
    let mut reader = Reader::open_in(Path::new(DIR), &disk).unwrap();
    assert!(reader.next_block().unwrap().is_some());
    // Joins the thread that reads ahead, which waits to hand over its next piece.
    drop(reader);
}

#[test]
fn damage_deep_in_a_large_log_ends_it_at_the_epoch_before() {
    let (disk, written) = large();
    disk.edit(&segment(5), |bytes| bytes[40 * ALIGNMENT] ^= 1);
    let (read, outcome) = count(&disk);
    let error = outcome.unwrap_err();
    let RecoverError::Damaged { path, recovered_to, durable_to, .. } = &error else { panic!("{error}") };
    assert_eq!((path, *recovered_to, *durable_to), (&segment(5), written / 2, written));
    assert_eq!(read, written / 2, "whole epochs only");
}
