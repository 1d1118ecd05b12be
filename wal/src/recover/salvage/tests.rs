//! Damage of each kind, salvaged; and salvages stopped at each of their steps.

use super::*;
use crate::format::ALIGNMENT;
use crate::format::segment::file_name;
use crate::recover::Reader;
use crate::{GAP, Log, LogOptions};
use ng_core::records::{TOKEN_DELETED, TOKEN_FIRST, TokenRecord, encode_deleted};
use ng_core::wal::{RecordKind, WalLane, WalSink};
use ng_core::{TokenId, TokenSpec, TokenStore};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use zerocopy::IntoBytes;

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

/// Tokens `0..300` in epochs of ten, a checkpoint after `covered` of them if that is above 0, and
/// every fifth one deleted at the end. What is under an id is its weight.
fn tokens(dir: &Path, covered: u32) {
    let offline = |dir: &Path| {
        let taken = super::super::take(dir).unwrap();
        let store = TokenStore::new();
        let mut restorer = store.restorer();
        taken
            .replay(|run| {
                restorer.run(run.kind, run.record_len, run.bytes).unwrap();
            })
            .unwrap();
        drop(restorer);
        taken.checkpoint(&store).unwrap();
    };
    let write = |records: &mut dyn Iterator<Item = (RecordKind, Vec<u8>)>| {
        let log = Log::open(options(dir)).unwrap();
        let mut lane = log.open_lane().unwrap();
        for (i, (kind, record)) in records.enumerate() {
            lane.append(kind, &record).unwrap();
            if i % 10 == 9 {
                log.flush(PATIENCE).unwrap();
            }
        }
        drop(lane);
        log.close(PATIENCE).unwrap();
    };
    let made = |id: u32| (TOKEN_FIRST, TokenSpec::new().with_weight(id as f32).at(id, 5).as_bytes().to_vec());
    let deleted = |id: u32| (TOKEN_DELETED, encode_deleted(TokenId::from_raw(id), 2).to_vec());
    write(&mut (0..covered).map(made));
    if covered > 0 {
        offline(dir);
    }
    write(&mut (covered..300).map(made));
    write(&mut (0..300).step_by(5).map(deleted));
}

/// The ids that a replay of checkpoint and log puts back; each token is held to be its own.
fn put_back(dir: &Path) -> BTreeSet<u32> {
    let store = TokenStore::new();
    let mut restorer = store.restorer();
    super::super::replay(dir, |run| {
        // What a salvage could not read is a run of the log's own.
        if run.kind != GAP {
            restorer.run(run.kind, run.record_len, run.bytes).unwrap();
        }
    })
    .unwrap();
    drop(restorer);
    let live = store.snapshot().filter_map(|record| match record {
        TokenRecord::Created { token, .. } => Some((token.id().raw(), token.weight)),
        TokenRecord::Deleted { .. } => None,
    });
    live.inspect(|(id, weight)| assert!((*weight - *id as f32).abs() < 0.1, "{id} is another's"))
        .map(|(id, _)| id)
        .collect()
}

/// The tokens that are there after `lost` records were lost: who was not made, and who was not
/// deleted.
fn expected(lost: &[(u64, u64)]) -> BTreeSet<u32> {
    let gone = |lsn: u64| lost.iter().any(|(from, to)| (*from..*to).contains(&lsn));
    let made = (0..300_u32).filter(|id| !gone(u64::from(*id)));
    // A deletion that is there leaves the slot empty, whether the making of its token is there or not.
    made.filter(|id| id % 5 != 0 || gone(300 + u64::from(id / 5))).collect()
}

fn checkpoint_in(dir: &Path) -> Option<PathBuf> {
    let mut paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    paths.find(|path| path.extension().is_some_and(|extension| extension == "ckpt"))
}

/// The number of the first segment.
fn first(dir: &Path) -> u32 {
    segments_of(dir).unwrap().iter().find_map(|name| number_of(name)).unwrap()
}

#[test]
fn damage_behind_a_checkpoint_costs_its_own_records_and_the_checkpoint_stays_in_force() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    tokens(dir, 150);
    assert_eq!(put_back(dir), expected(&[]));
    let number = first(dir) + 1;
    damage(dir, number, |bytes| bytes[3 * ALIGNMENT + 300] ^= 1);
    let Salvage::Done(done) = salvage(dir).unwrap() else { panic!("nothing was done") };
    let gone = lost(&done.losses);
    let [(from, to)] = gone[..] else { panic!("{gone:?}") };
    assert!(from >= 150 && to - from == 10, "{gone:?}");
    assert_eq!(put_back(dir), expected(&gone));
    let kept = super::super::checkpoints(dir).unwrap();
    assert_eq!(kept.iter().map(|one| (one.lsn, one.complete)).collect::<Vec<_>>(), [(150, true)]);
    assert!(checkpoint_in(&done.aside).is_some(), "the old one is kept aside");
    assert!(matches!(super::super::verify(dir).unwrap().verdict, Verdict::Sound));
    // The engine goes on from both.
    Log::open(options(dir)).unwrap().close(PATIENCE).unwrap();
    assert_eq!(put_back(dir), expected(&gone));
}

#[test]
fn a_damaged_checkpoint_costs_what_only_it_held_and_the_log_behind_it_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    tokens(dir, 150);
    let begins = Reader::open(dir).unwrap().report().first_lsn;
    assert!(begins > 0, "the segments that it covers are gone");
    let path = checkpoint_in(dir).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[ALIGNMENT + 300] ^= 1;
    fs::write(&path, bytes).unwrap();
    let Verdict::Damaged(damage) = super::super::verify(dir).unwrap().verdict else { panic!("not damaged") };
    assert_eq!((&damage.losses[0].path, damage.losses[0].offset), (&path, ALIGNMENT as u64));
    let Salvage::Done(done) = salvage(dir).unwrap() else { panic!("nothing was done") };
    assert_eq!((lost(&done.losses), lost(&damage.losses)), (vec![(0, begins)], vec![(0, begins)]));
    assert_eq!(put_back(dir), expected(&[(0, begins)]));
    assert_eq!(checkpoint_in(dir), None, "a damaged checkpoint is not taken over");
    assert!(checkpoint_in(&done.aside).is_some());
    let found = super::super::verify(dir).unwrap();
    assert!(matches!(found.verdict, Verdict::Sound));
    assert_eq!((found.report.first_lsn, found.report.lost), (0, begins), "the gap is told from now on");
}

#[test]
fn segments_missing_behind_a_checkpoint_cost_their_records_and_both_ends_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    tokens(dir, 150);
    // All that lies between: what the checkpoint covers, and the first segments behind it.
    let numbers = first(dir)..first(dir) + 3;
    numbers.for_each(|number| fs::remove_file(dir.join(file_name(number))).unwrap());
    let begins = Reader::open(dir).unwrap().report().first_lsn;
    assert!(begins > 150);
    let judged = super::super::verify(dir).unwrap();
    let Verdict::Damaged(damage) = judged.verdict else { panic!("{judged:?}") };
    assert!(matches!(damage.cause, RecoverError::Uncovered { lsn: 150, .. }), "{}", damage.cause);
    let Salvage::Done(done) = salvage(dir).unwrap() else { panic!("nothing was done") };
    assert_eq!((lost(&done.losses), lost(&damage.losses)), (vec![(150, begins)], vec![(150, begins)]));
    assert_eq!(put_back(dir), expected(&[(150, begins)]));
    let found = super::super::verify(dir).unwrap();
    assert_eq!((found.report.lost, found.checkpoint.unwrap().lsn), (begins - 150, 150));
}

#[test]
fn a_salvage_with_a_checkpoint_stopped_at_any_step_can_be_run_again() {
    let original = tempfile::tempdir().unwrap();
    tokens(original.path(), 150);
    let number = first(original.path()) + 1;
    damage(original.path(), number, |bytes| bytes[3 * ALIGNMENT + 300] ^= 1);
    let mut answer = None;
    for stop in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        for (path, bytes) in files(original.path()) {
            fs::write(dir.join(path.file_name().unwrap()), bytes).unwrap();
        }
        let through = Work { dir, stop_before: Some(stop), done: 0 }.run().is_ok();
        if !through {
            salvage(dir).unwrap();
        }
        let found = put_back(dir);
        assert_eq!(answer.get_or_insert_with(|| found.clone()), &found, "step {stop}");
        assert!(checkpoint_in(dir).is_some(), "step {stop}");
        if through {
            assert!(stop > 40 && found.len() > 200, "{stop} steps, {} tokens", found.len());
            break;
        }
    }
}
