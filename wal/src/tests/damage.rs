//! Logs that something else laid hands on: each fault has its name, no record is ever wrong, and no
//! file is changed.

use super::*;
use crate::BlockFault;
use crate::LogError;
use crate::format::ALIGNMENT;
use ng_core::wal::{WalLane, WalSink};
use std::collections::BTreeMap;

type Image = BTreeMap<PathBuf, Vec<u8>>;

/// A log with records `ids`, one flush every `each`.
fn log_of(disk: &SimStorage, ids: std::ops::Range<u64>, each: u64) -> Log {
    let log = open(LogOptions { interval: Duration::from_secs(60), ..tiny() }, disk);
    let mut lane = log.open_lane().unwrap();
    for id in ids {
        lane.append(KIND, &numbered(id)).unwrap();
        if id % each == each - 1 {
            log.flush(PATIENCE).unwrap();
        }
    }
    log.flush(PATIENCE).unwrap();
    drop(lane);
    log
}

fn closed(ids: u64, each: u64) -> Image {
    let disk = SimStorage::default();
    log_of(&disk, 0..ids, each).close(PATIENCE).unwrap();
    disk.image()
}

/// Reads, and holds what comes to be the first records and the files to be as they were.
fn read_prefix(image: &Image) -> Result<(usize, Report), RecoverError> {
    let disk = SimStorage::of_image(image.clone());
    let outcome = read(&disk).map(|(records, report)| {
        for (i, record) in records.iter().enumerate() {
            assert_eq!(id_of(record), i as u64, "not a prefix");
        }
        (records.len(), report)
    });
    assert_eq!(&disk.image(), image, "a reader changed a file");
    outcome
}

/// An edited copy.
fn edited(image: &Image, number: u32, change: impl FnOnce(&mut Vec<u8>)) -> Image {
    let disk = SimStorage::of_image(image.clone());
    disk.edit(&segment(number), change);
    disk.image()
}

/// Where the used part of a segment ends.
fn used(image: &Image, number: u32) -> usize {
    let bytes = &image[&segment(number)];
    let last = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    (last + 1).next_multiple_of(ALIGNMENT)
}

#[test]
fn every_flipped_byte_is_found_and_no_record_is_ever_wrong() {
    let image = closed(40, 20);
    let end = used(&image, 1);
    let last_block = end - ALIGNMENT;
    let disk = SimStorage::of_image(image);
    for at in 0..end + ALIGNMENT {
        disk.edit(&segment(1), |bytes| bytes[at] ^= 0x41);
        match read(&disk) {
            // Only the mark of the clean end can pass for a tear, and there is no record in it.
            Ok((records, report)) => {
                assert!(at >= last_block, "byte {at} went unnoticed");
                assert_eq!(records.len(), 40);
                // Behind the close nothing is the log's.
                assert!(report.torn.is_some() || at >= end, "byte {at} went unnoticed");
            }
            Err(RecoverError::Damaged { path, offset, durable_to, .. }) => {
                assert_eq!((path, durable_to), (segment(1), 40));
                assert!(offset as usize <= at && at < last_block, "byte {at} reported at {offset}");
            }
            Err(_) => assert!(at < ALIGNMENT, "byte {at}: only a header has other faults"),
        }
        disk.edit(&segment(1), |bytes| bytes[at] ^= 0x41);
    }
}

#[test]
fn at_every_length_a_cut_file_gives_a_prefix() {
    let image = closed(40, 10);
    let end = used(&image, 1);
    let mut seen = Vec::new();
    for length in (0..=end).rev() {
        let (records, report) = read_prefix(&edited(&image, 1, |bytes| bytes.truncate(length))).unwrap();
        let boundary = length == 0 || (length >= ALIGNMENT && length.is_multiple_of(ALIGNMENT));
        assert!(boundary || report.torn.is_some(), "a cut at {length} went unnoticed");
        seen.push(records);
    }
    seen.dedup();
    assert_eq!(seen, [40, 30, 20, 10, 0], "only whole epochs count");
}

#[test]
fn damage_in_the_middle_is_told_from_a_torn_tail() {
    let image = closed(40, 10);
    let broken = edited(&image, 1, |bytes| bytes[2 * ALIGNMENT + 200] ^= 1);
    let error = read_prefix(&broken).unwrap_err();
    let RecoverError::Damaged { path, offset, fault, recovered_to, durable_to } = error else {
        panic!("{error}")
    };
    assert_eq!((path, offset), (segment(1), 2 * ALIGNMENT as u64));
    assert!(matches!(fault, BlockFault::Checksum { .. }));
    assert_eq!((recovered_to, durable_to), (10, 40));
    let error = Log::open_in(tiny(), Arc::new(SimStorage::of_image(broken)), None).unwrap_err();
    assert!(matches!(error, LogError::Recover(RecoverError::Damaged { .. })), "{error}");
}

#[test]
fn a_hole_where_a_block_was_is_damage_too() {
    let image = closed(40, 10);
    let hole = edited(&image, 1, |bytes| bytes[2 * ALIGNMENT..3 * ALIGNMENT].fill(0));
    let error = read_prefix(&hole).unwrap_err();
    assert!(
        matches!(error, RecoverError::Damaged { fault: BlockFault::Empty, recovered_to: 10, .. }),
        "{error}"
    );
}

#[test]
fn a_torn_last_block_is_a_torn_tail_and_its_records_never_come_back() {
    let disk = SimStorage::default();
    let log = log_of(&disk, 0..30, 10);
    // As if the process had died: no mark of a clean end.
    let image = disk.image();
    drop(log);
    let last = used(&image, 1) - ALIGNMENT;
    let torn = edited(&image, 1, |bytes| bytes[last + 512..last + 1024].fill(0));
    let (records, report) = read_prefix(&torn).unwrap();
    assert_eq!(records, 20);
    let tail = report.torn.unwrap();
    assert_eq!((tail.path, tail.offset), (segment(1), last as u64));
    // The log goes on behind it, in a new segment; then the old block is whole again.
    let disk = SimStorage::of_image(torn);
    let log = log_of(&disk, 20..25, 10);
    log.close(PATIENCE).unwrap();
    let whole = &image[&segment(1)];
    disk.edit(&segment(1), |bytes| bytes.copy_from_slice(whole));
    let (records, report) = read_prefix(&disk.image()).unwrap();
    assert_eq!((records, report.torn, report.segments), (25, None, 2));
}

#[test]
fn a_missing_middle_segment_is_named() {
    let mut image = closed(600, 10);
    assert!(read_prefix(&image).unwrap().1.segments > 3);
    image.remove(&segment(2));
    let error = read_prefix(&image).unwrap_err();
    assert!(matches!(&error, RecoverError::Missing { path } if *path == segment(2)), "{error}");
}

#[test]
fn a_zeroed_header_in_the_middle_is_named() {
    let image = edited(&closed(600, 10), 2, |bytes| bytes[..ALIGNMENT].fill(0));
    let error = read_prefix(&image).unwrap_err();
    assert!(matches!(&error, RecoverError::DamagedHeader { path } if *path == segment(2)), "{error}");
}

#[test]
fn a_zeroed_segment_in_the_middle_is_named() {
    let image = edited(&closed(600, 10), 2, |bytes| bytes.fill(0));
    let error = read_prefix(&image).unwrap_err();
    assert!(matches!(&error, RecoverError::DamagedHeader { path } if *path == segment(2)), "{error}");
}

#[test]
fn zeroed_blocks_of_a_middle_segment_are_damage() {
    let image = edited(&closed(600, 10), 2, |bytes| bytes[ALIGNMENT..].fill(0));
    let error = read_prefix(&image).unwrap_err();
    assert!(matches!(&error, RecoverError::Damaged { path, .. } if *path == segment(2)), "{error}");
}

#[test]
fn a_file_of_another_program_is_named() {
    let mut image = closed(10, 10);
    image.insert(segment(7), b"#!/bin/sh\n".repeat(1000));
    let error = read_prefix(&image).unwrap_err();
    assert!(matches!(&error, RecoverError::Foreign { path } if *path == segment(7)), "{error}");
}

#[test]
fn a_file_with_another_name_is_none_of_ours() {
    let mut image = closed(10, 10);
    image.insert(Path::new(DIR).join("notes.txt"), b"mine".to_vec());
    assert_eq!(read_prefix(&image).unwrap().0, 10);
}

#[test]
fn a_future_version_is_named() {
    let image = edited(&closed(10, 10), 1, |bytes| bytes[8] = 2);
    let error = read_prefix(&image).unwrap_err();
    assert!(matches!(error, RecoverError::Version { found: 2, .. }), "{error}");
    assert!(error.to_string().contains("version 2"), "{error}");
}

#[test]
fn two_directories_mixed_are_named() {
    let mut image = closed(10, 10);
    let other = closed(600, 10);
    image.insert(segment(3), other[&segment(3)].clone());
    let error = read_prefix(&image).unwrap_err();
    assert!(matches!(&error, RecoverError::Mixed { path, .. } if *path == segment(1)), "{error}");
}

#[test]
fn a_segment_under_another_name_is_named() {
    let mut image = closed(10, 10);
    let moved = image.remove(&segment(1)).unwrap();
    image.insert(segment(5), moved);
    let error = read_prefix(&image).unwrap_err();
    assert!(matches!(error, RecoverError::Renamed { found: 1, .. }), "{error}");
}

#[test]
fn blocks_of_an_earlier_life_of_the_file_are_never_read() {
    let old = closed(40, 10);
    let new = closed(10, 10);
    let end = used(&new, 1);
    // The old blocks lie behind the new end, as in a file that was used again.
    let recycled = edited(&new, 1, |bytes| bytes[end..].copy_from_slice(&old[&segment(1)][end..]));
    let (records, report) = read_prefix(&recycled).unwrap();
    assert_eq!(records, 10);
    // It was closed, so what lies behind is no tail of its own.
    assert_eq!(report.torn, None);
    let cut = end - ALIGNMENT;
    let unclosed = edited(&new, 1, |bytes| bytes[cut..].copy_from_slice(&old[&segment(1)][cut..]));
    let (records, report) = read_prefix(&unclosed).unwrap();
    assert_eq!(records, 10);
    assert_eq!(report.torn.map(|torn| (torn.fault, torn.dropped_blocks)), Some((BlockFault::Stale, 0)));
}

#[test]
fn an_epoch_without_its_end_is_left_out_whole() {
    let disk = SimStorage::default();
    let log = log_of(&disk, 0..10, 10);
    let mut lane = log.open_lane().unwrap();
    // Full blocks of the running epoch are written at once, its end is a minute away.
    for id in 10..400 {
        lane.append(KIND, &numbered(id)).unwrap();
    }
    let since = std::time::Instant::now();
    while log.stats().blocks < 3 {
        assert!(since.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
    let (records, report) = read_prefix(&disk.killed().image()).unwrap();
    assert_eq!(records, 10);
    let torn = report.torn.unwrap();
    assert_eq!(torn.fault, BlockFault::OpenEpoch);
    assert!(torn.dropped_blocks >= 1 && torn.dropped_records >= 1);
}

#[test]
fn an_empty_directory_is_an_empty_log() {
    let (records, report) = read_prefix(&Image::new()).unwrap();
    assert_eq!((records, report), (0, Report::default()));
}

#[test]
fn opening_and_closing_leaves_no_segments_behind() {
    let disk = SimStorage::of_image(closed(10, 10));
    let settled = {
        let log = open(tiny(), &disk);
        assert!(log.wait_spares(PATIENCE));
        drop(log);
        disk.image()
    };
    for _ in 0..3 {
        let log = open(tiny(), &disk);
        assert!(log.wait_spares(PATIENCE));
        drop(log);
    }
    assert_eq!(disk.image(), settled);
    assert_eq!(read_prefix(&settled).unwrap().0, 10);
}
