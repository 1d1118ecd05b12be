//! What may be found in a log's directory that is no sound log: each has its name, none a panic,
//! and no file is changed by whoever meets it: the reader, the engine's start, or `verify`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test reports by panicking")]
#![cfg(not(loom))]

use ng_core::wal::{AppendError, RecordKind, WalLane, WalSink};
use ng_wal::recover::{Reader, Verdict, verify};
use ng_wal::{Log, LogOptions};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
const PAGE: usize = 4096;

fn options(dir: &Path) -> LogOptions {
    LogOptions {
        block_bytes: 8192,
        segment_bytes: 40 << 10,
        interval: Duration::from_secs(60),
        ..LogOptions::new(dir)
    }
}

/// A closed log of 200 records and several segments.
fn a_log() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(options(dir.path())).unwrap();
    let mut lane = log.open_lane().unwrap();
    for id in 0..200_u64 {
        lane.append(RecordKind::USER, &id.to_le_bytes()).unwrap();
        if id % 10 == 9 {
            log.flush(PATIENCE).unwrap();
        }
    }
    drop(lane);
    log.close(PATIENCE).unwrap();
    dir
}

fn segment(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:010}.wal"))
}

fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let paths = paths.filter(|path| path.file_name().unwrap() != "LOCK");
    paths.map(|path| (path.clone(), std::fs::read(&path).unwrap())).collect()
}

/// Everyone who meets `harm` names it with `words`, and changes nothing.
fn refused(harm: impl FnOnce(&Path), words: &[&str]) {
    let dir = a_log();
    harm(dir.path());
    let before = files(dir.path());
    let read =
        Reader::open(dir.path()).and_then(|reader| reader.for_each_run(|_| {})).unwrap_err().to_string();
    let judged = match verify(dir.path()) {
        Err(error) => error.to_string(),
        Ok(found) => match found.verdict {
            Verdict::Damaged(damage) => damage.cause.to_string(),
            other => panic!("{other:?}"),
        },
    };
    assert_eq!(judged, read);
    for word in words {
        assert!(read.contains(word), "`{word}` is not in: {read}");
    }
    assert!(files(dir.path()) == before, "a file was changed: {read}");
}

#[test]
fn a_foreign_file_is_named() {
    refused(
        |dir| std::fs::write(segment(dir, 9), "PK\u{3}\u{4}".repeat(4_000)).unwrap(),
        &["0000000009.wal", "not a segment", "move it away"],
    );
}

#[test]
fn an_empty_file_is_no_loss_where_nothing_was_in_it_and_one_where_something_was() {
    refused(|dir| edit(&segment(dir, 2), Vec::clear), &["0000000002.wal"]);
    let dir = a_log();
    std::fs::write(segment(dir.path(), 99), "").unwrap();
    assert!(matches!(verify(dir.path()).unwrap().verdict, Verdict::Sound));
}

#[test]
fn a_truncated_segment_in_the_middle_is_named_at_each_page() {
    for pages in 0..10 {
        refused(|dir| edit(&segment(dir, 2), |bytes| bytes.truncate(pages * PAGE)), &["0000000002.wal"]);
        refused(
            |dir| edit(&segment(dir, 2), |bytes| bytes.truncate(pages * PAGE + 700)),
            &["0000000002.wal"],
        );
    }
}

#[test]
fn a_zeroed_segment_in_the_middle_is_named() {
    refused(|dir| edit(&segment(dir, 2), |bytes| bytes.fill(0)), &["0000000002.wal", "restore"]);
    refused(|dir| edit(&segment(dir, 2), |bytes| bytes[PAGE..].fill(0)), &["0000000002.wal", "restore"]);
}

#[test]
fn a_future_version_is_named_and_not_taken_for_damage() {
    refused(|dir| edit(&segment(dir, 1), |bytes| bytes[8] = 9), &["version 9", "the program that wrote it"]);
}

#[test]
fn a_hand_edited_segment_is_named_with_its_offset() {
    refused(
        |dir| edit(&segment(dir, 1), |bytes| bytes[2 * PAGE + 140] ^= 0x20),
        &["0000000001.wal", "offset 8192", "checksum"],
    );
    // A byte more in the middle, as an editor leaves it.
    refused(
        |dir| edit(&segment(dir, 1), |bytes| bytes.insert(PAGE + 200, b'\n')),
        &["0000000001.wal", "checksum"],
    );
}

#[test]
fn a_missing_middle_segment_is_named() {
    refused(|dir| std::fs::remove_file(segment(dir, 2)).unwrap(), &["0000000002.wal", "missing"]);
}

#[test]
fn two_directories_mixed_are_named() {
    let other = a_log();
    refused(
        |dir| {
            std::fs::copy(segment(other.path(), 3), segment(dir, 3)).unwrap();
        },
        &["belongs to log", "move it away"],
    );
}

#[test]
fn a_recycled_segment_with_old_blocks_gives_only_the_new_ones() {
    let (old, dir) = (a_log(), tempfile::tempdir().unwrap());
    let log = Log::open(options(dir.path())).unwrap();
    let mut lane = log.open_lane().unwrap();
    lane.append(RecordKind::USER, b"new").unwrap();
    log.flush(PATIENCE).unwrap();
    drop((lane, log));
    let old = std::fs::read(segment(old.path(), 1)).unwrap();
    edit(&segment(dir.path(), 1), |bytes| bytes[3 * PAGE..].copy_from_slice(&old[3 * PAGE..]));
    let mut payloads = Vec::new();
    let visit = |run: ng_wal::Run<'_>| payloads.extend(run.records().map(|one| one.payload.to_vec()));
    Reader::open(dir.path()).unwrap().for_each_run(visit).unwrap();
    assert_eq!(payloads, [b"new"]);
}

#[test]
fn a_payload_larger_than_a_block_is_refused_with_the_limit_and_the_log_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let limit = options.largest_payload();
    let log = Log::open(options).unwrap();
    let mut lane = log.open_lane().unwrap();
    lane.append(RecordKind::USER, &vec![7; limit]).unwrap();
    let error = lane.append(RecordKind::USER, &vec![7; limit + 1]).unwrap_err();
    assert_eq!(error, AppendError::TooLarge { bytes: limit + 1, limit });
    assert!(error.to_string().contains("raise wal.block_bytes"), "{error}");
    lane.append(RecordKind::USER, b"on").unwrap();
    drop(lane);
    log.close(PATIENCE).unwrap();
    let mut lengths = Vec::new();
    let visit = |run: ng_wal::Run<'_>| lengths.extend(run.records().map(|one| one.payload.len()));
    Reader::open(dir.path()).unwrap().for_each_run(visit).unwrap();
    assert_eq!(lengths, [limit, 2]);
}
