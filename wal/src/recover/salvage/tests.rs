//! Damage of each kind, salvaged; and salvages stopped at each of their steps.

use super::*;
use crate::format::ALIGNMENT;
use crate::format::segment::file_name;
use crate::recover::Reader;
use crate::{GAP, Log, LogOptions};
use ng_core::wal::{RecordKind, WalLane, WalSink};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

fn options(dir: &Path) -> LogOptions {
    LogOptions {
        block_bytes: 8192,
        segment_bytes: 40 << 10,
        interval: Duration::from_secs(60),
        ..LogOptions::new(dir)
    }
}

fn record(id: u64) -> Vec<u8> {
    [id; 8].map(u64::to_le_bytes).concat()
}

/// Ten records an epoch, and a block for each.
fn append(dir: &Path, ids: std::ops::Range<u64>) {
    let log = Log::open(options(dir)).unwrap();
    let mut lane = log.open_lane().unwrap();
    for id in ids {
        lane.append(RecordKind::USER, &record(id)).unwrap();
        if id % 10 == 9 {
            log.flush(PATIENCE).unwrap();
        }
    }
    drop(lane);
    log.close(PATIENCE).unwrap();
}

fn damage(dir: &Path, number: u32, change: impl FnOnce(&mut Vec<u8>)) {
    let path = dir.join(file_name(number));
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// The records that a strict reader hands out, by their numbers; each is held to be what was
/// written under that number.
fn readable(dir: &Path) -> BTreeSet<u64> {
    let mut found = BTreeSet::new();
    let visit = |run: crate::Run<'_>| {
        for one in run.records().filter(|_| run.kind != GAP) {
            assert_eq!(one.payload, record(one.lsn), "a record under another's number");
            assert!(found.insert(one.lsn));
        }
    };
    Reader::open(dir).unwrap().for_each_run(visit).unwrap();
    found
}

fn lost(losses: &[Loss]) -> Vec<(u64, u64)> {
    losses.iter().map(|loss| (loss.first_lsn, loss.end_lsn)).collect()
}

fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() && path.file_name().unwrap() != "LOCK" {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

/// Salvages a log of 300 records that `harm` was done to, holds what is left and what is reported
/// to each other, and returns the ranges that are gone.
fn salvage_after(harm: impl FnOnce(&Path)) -> Vec<(u64, u64)> {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    append(dir, 0..300);
    harm(dir);
    let before = files(dir);
    let judged = super::super::verify(dir).unwrap();
    let Verdict::Damaged(damage) = judged.verdict else { panic!("{judged:?}") };
    assert!(files(dir) == before, "verify changed a file");
    let Salvage::Done(done) = salvage(dir).unwrap() else { panic!("nothing was done") };
    assert_eq!((&damage.losses, damage.readable), (&done.losses, done.kept));
    let lost = lost(&done.losses);
    let gone: BTreeSet<u64> = lost.iter().flat_map(|(from, to)| *from..*to).collect();
    let left = readable(dir);
    assert_eq!(left.len() as u64, done.kept);
    assert!(left.is_disjoint(&gone));
    assert_eq!(left.union(&gone).copied().collect::<Vec<_>>(), (0..300).collect::<Vec<_>>());
    for (path, bytes) in before {
        assert!(fs::read(done.aside.join(path.file_name().unwrap())).unwrap() == bytes, "kept as it was");
    }
    // It opens, goes on with the next number, and has nothing more to salvage.
    append(dir, 300..320);
    assert_eq!(readable(dir).len(), left.len() + 20);
    assert!(matches!(salvage(dir).unwrap(), Salvage::NotNeeded(_)));
    lost
}

#[test]
fn a_flipped_byte_costs_the_records_of_one_block() {
    let lost = salvage_after(|dir| damage(dir, 2, |bytes| bytes[2 * ALIGNMENT + 300] ^= 1));
    let [(from, to)] = lost[..] else { panic!("{lost:?}") };
    assert_eq!(to - from, 10);
}

#[test]
fn a_lost_header_costs_no_record() {
    assert_eq!(salvage_after(|dir| damage(dir, 2, |bytes| bytes[..ALIGNMENT].fill(0))), []);
    assert_eq!(salvage_after(|dir| damage(dir, 2, |bytes| bytes[20] ^= 1)), []);
    assert_eq!(salvage_after(|dir| damage(dir, 1, |bytes| bytes[..ALIGNMENT].fill(0))), []);
}

#[test]
fn a_missing_segment_costs_its_own_records() {
    let lost = salvage_after(|dir| fs::remove_file(dir.join(file_name(2))).unwrap());
    let [(from, to)] = lost[..] else { panic!("{lost:?}") };
    assert!(from > 0 && to < 300 && to - from >= 50, "{lost:?}");
}

#[test]
fn each_hole_is_told() {
    let lost = salvage_after(|dir| {
        damage(dir, 1, |bytes| bytes[ALIGNMENT..2 * ALIGNMENT].fill(0));
        damage(dir, 2, |bytes| bytes[3 * ALIGNMENT + 9] ^= 4);
    });
    assert_eq!(lost.len(), 2, "{lost:?}");
    assert_eq!(lost[0], (0, 10));
}

#[test]
fn blocks_that_a_torn_tail_left_behind_stay_out() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    append(dir, 0..40);
    // The fourth block is torn, and another history begins behind it; then the fourth block, and
    // the mark of the close behind it, are whole again, and the second is damaged.
    let whole = fs::read(dir.join(file_name(1))).unwrap();
    damage(dir, 1, |bytes| bytes[4 * ALIGNMENT..].fill(0));
    append(dir, 30..60);
    fs::write(dir.join(file_name(1)), whole).unwrap();
    damage(dir, 1, |bytes| bytes[2 * ALIGNMENT + 200] ^= 1);
    let Salvage::Done(done) = salvage(dir).unwrap() else { panic!("nothing was done") };
    assert_eq!(lost(&done.losses), [(10, 20)]);
    assert_eq!(readable(dir).len(), 50);
}

#[test]
fn a_torn_tail_is_nothing_to_salvage() {
    let dir = tempfile::tempdir().unwrap();
    append(dir.path(), 0..40);
    damage(dir.path(), 1, |bytes| bytes[4 * ALIGNMENT..].fill(0));
    let before = files(dir.path());
    assert!(matches!(salvage(dir.path()).unwrap(), Salvage::NotNeeded(_)));
    assert!(files(dir.path()) == before);
}

#[test]
fn a_foreign_file_is_not_salvaged_but_named() {
    let dir = tempfile::tempdir().unwrap();
    append(dir.path(), 0..40);
    fs::write(dir.path().join(file_name(9)), b"#!/bin/sh\n".repeat(1000)).unwrap();
    let error = salvage(dir.path()).unwrap_err();
    assert!(matches!(error, SalvageError::Recover(RecoverError::Foreign { .. })), "{error}");
}

#[test]
fn a_log_in_use_is_not_salvaged() {
    let dir = tempfile::tempdir().unwrap();
    let _log = Log::open(options(dir.path())).unwrap();
    let error = salvage(dir.path()).unwrap_err();
    assert!(matches!(error, SalvageError::Log(LogError::Locked { .. })), "{error}");
}

#[test]
fn a_salvage_stopped_at_any_step_can_be_run_again() {
    let original = tempfile::tempdir().unwrap();
    append(original.path(), 0..300);
    damage(original.path(), 2, |bytes| bytes[2 * ALIGNMENT + 300] ^= 1);
    let mut refused = 0;
    for stop in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        for (path, bytes) in files(original.path()) {
            fs::write(dir.join(path.file_name().unwrap()), bytes).unwrap();
        }
        let stopped = Work { dir, stop_before: Some(stop), done: 0 }.run();
        let through = stopped.is_ok();
        if !through {
            // Nobody may take the half of an exchange for a log.
            match Reader::open(dir).and_then(|reader| reader.for_each_run(|_| {})) {
                Err(RecoverError::SalvageInterrupted { .. }) => refused += 1,
                Err(error) => assert!(super::super::verify::is_damage(&error), "step {stop}: {error}"),
                // The exchange is through, and only its traces are not removed yet.
                Ok(report) => assert_eq!(report.records, 300, "step {stop}"),
            }
            salvage(dir).unwrap();
        }
        assert_eq!(readable(dir).len(), 290, "step {stop}");
        append(dir, 300..310);
        assert_eq!(readable(dir).len(), 300, "step {stop}");
        if through {
            assert!(stop > 40, "the steps are not counted");
            break;
        }
    }
    assert!(refused > 10, "{refused} steps of the exchange were seen");
}
