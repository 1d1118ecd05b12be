//! Logs too large for one read: read ahead by a thread, and epochs longer than what is held.

use super::*;
use crate::format::ALIGNMENT;
use crate::recover::survey::Survey;
use crate::recover::verifier::Verifier;
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

/// All that a reading of a log finds: each block, and how it ends.
fn found(disk: &SimStorage, worth: u64) -> (Vec<(usize, u64, u64, u32)>, String) {
    let survey = Survey::of(Path::new(DIR), disk).unwrap();
    let beginning = survey.chain.first().map(|link| link.beginning());
    let mut verifier = Verifier::reading(&survey, 0, beginning, worth);
    let mut blocks = Vec::new();
    let broken = loop {
        match verifier.step(&survey) {
            Ok(Some(block)) => blocks.push((block.at, block.offset, block.first_lsn, block.crc)),
            Ok(None) => break format!("{:?}", verifier.fault()),
            Err(error) => break error.to_string(),
        }
    };
    (blocks, format!("{broken}; {:?}", verifier.conclude(&survey)))
}

/// What is done to a log.
type Harm<'a> = (&'a str, &'a dyn Fn(&SimStorage));

#[test]
fn a_thread_that_reads_ahead_finds_the_same_as_the_caller_in_sound_torn_and_damaged_logs() {
    const LONG: usize = 64 << 10;
    let whole = large().0.image();
    let used = |bytes: &[u8]| bytes.iter().rposition(|byte| *byte != 0).unwrap();
    let last = whole.iter().rfind(|(_, bytes)| bytes.iter().any(|byte| *byte != 0)).unwrap().0;
    let harms: [Harm<'_>; 7] = [
        ("sound", &|_| {}),
        ("a torn tail", &|disk| disk.edit(last, |bytes| bytes.truncate(used(bytes) - 5_000))),
        ("a zeroed tail", &|disk| {
            disk.edit(last, |bytes| {
                let from = used(bytes) - 20_000;
                bytes[from..].fill(0);
            });
        }),
        ("a flipped byte", &|disk| disk.edit(&segment(3), |bytes| bytes[3 << 20] ^= 1)),
        ("a hole", &|disk| disk.edit(&segment(2), |bytes| bytes[1 << 20..2 << 20].fill(0))),
        ("a cut segment", &|disk| disk.edit(&segment(4), |bytes| bytes.truncate((2 << 20) + 77))),
        ("a block twice", &|disk| {
            let block = ALIGNMENT..ALIGNMENT + LONG;
            disk.edit(&segment(2), |bytes| bytes.copy_within(block, ALIGNMENT + 40 * LONG));
        }),
    ];
    let mut ends = std::collections::BTreeSet::new();
    for (name, harm) in harms {
        let disk = SimStorage::of_image(whole.clone());
        harm(&disk);
        let (here, ahead) = (found(&disk, u64::MAX), found(&disk, 0));
        assert!(here == ahead, "{name}: {} and {}", here.1, ahead.1);
        assert!(ends.insert(here.1.clone()), "{name} is found to be something else: {}", here.1);
    }
}
