//! The limit on the log's files: who waits, who is refused, and that it is kept.

use super::tokens::*;
use super::*;
use crate::checkpoint::CheckpointError;
use crate::{AtLimit, OnFull};
use ng_core::TokenStore;
use ng_core::wal::{AppendError, WalLane, WalSink};
use std::sync::atomic::{AtomicBool, Ordering};

/// A limit of ten segments beyond what must be.
fn limited(at_limit: AtLimit) -> LogOptions {
    let options = LogOptions { at_limit, recycled_segments: 4, prewrite_bytes_s: 0, ..tiny() };
    let max_log_bytes = options.smallest_max_log_bytes() + 10 * options.segment_bytes;
    LogOptions { max_log_bytes, ..options }
}

/// What the files of segments take.
fn taken(disk: &SimStorage) -> u64 {
    let of_segments = |path: &Path| {
        let name = path.to_string_lossy();
        name.ends_with(".wal") || name.ends_with(".free")
    };
    disk.image().iter().filter(|(path, _)| of_segments(path)).map(|(_, bytes)| bytes.len() as u64).sum()
}

#[test]
fn at_the_limit_fail_refuses_with_the_figures_and_what_was_accepted_is_durable() {
    let disk = SimStorage::default();
    let options = limited(AtLimit::Fail);
    let log = open(options.clone(), &disk);
    let store = Arc::new(TokenStore::new());
    let mut hand = Hand::new(&log, &store, 0);
    while hand.create().is_some() {}
    let mut lane = log.open_lane().unwrap();
    let error = lane.append(ng_core::records::TOKEN_DELETED, &[0; 8]).unwrap_err();
    let AppendError::NoRoom { used_bytes, limit_bytes } = error else { panic!("{error}") };
    assert_eq!(limit_bytes, options.max_log_bytes);
    assert!(used_bytes <= limit_bytes && error.to_string().contains("make a checkpoint"), "{error}");
    // Not poisoned: all of it is there, and a checkpoint makes room.
    log.flush(PATIENCE).unwrap();
    assert!(taken(&disk) <= options.max_log_bytes);
    let made = hand.history.len();
    let (found, _) = recover(&disk.power_cut(1)).unwrap();
    assert_eq!(hold(&found, 0, &hand.history, made, "at the limit"), made);
    assert!(log.space().full);
    log.checkpoint(&store, PATIENCE).unwrap();
    assert!(!log.space().full);
    assert!(hand.create().is_some());
    log.flush(PATIENCE).unwrap();
    let (found, _) = recover(&disk.power_cut(2)).unwrap();
    hold(&found, 0, &hand.history, made + 1, "after the checkpoint");
}

/// Lanes that the limit holds back stand in the middle of an operation, and the checkpoint that is
/// to make room waits for them: without the loan this is a deadlock.
#[test]
fn lanes_that_wait_at_the_limit_and_the_checkpoint_that_they_wait_for_both_go_on() {
    for (seed, at_limit) in [(1, AtLimit::Wait), (2, AtLimit::Checkpoint)] {
        let disk = SimStorage::default();
        let options = limited(at_limit);
        let log = open(options.clone(), &disk);
        let store = Arc::new(TokenStore::new());
        let (log, store, stop) = (&log, &store, &AtomicBool::new(false));
        let mut histories = Vec::new();
        std::thread::scope(|scope| {
            let _ends = Ends(stop);
            let hands: Vec<_> = (0..2)
                .map(|domain| {
                    scope.spawn(move || {
                        let mut hand = Hand::new(log, store, domain);
                        let mut random = Seeded(seed << 4 | u64::from(domain));
                        (0..20_000).for_each(|_| assert!(hand.work(&mut random)));
                        hand.history
                    })
                })
                .collect();
            let watch = scope.spawn(|| {
                let mut most = 0;
                while !stop.load(Ordering::Relaxed) {
                    most = most.max(taken(&disk));
                    std::thread::sleep(Duration::from_millis(5));
                }
                most
            });
            let maker = scope.spawn(move || {
                let mut made = 0;
                while !stop.load(Ordering::Relaxed) {
                    // Under `Wait` nobody says when: whoever sees that the log is full.
                    let due = log.wait_checkpoint_due(Duration::from_millis(10));
                    assert!(!(due && at_limit == AtLimit::Wait));
                    if due || log.space().full {
                        let outcome = log.checkpoint(store, Duration::from_secs(10));
                        // Else the others would wait for ever.
                        if outcome.is_err() {
                            drop(log.close(Duration::from_secs(10)));
                        }
                        outcome.unwrap();
                        made += 1;
                    }
                }
                made
            });
            histories.extend(hands.into_iter().map(|hand| hand.join().unwrap()));
            stop.store(true, Ordering::Relaxed);
            assert!(maker.join().unwrap() > 3, "the limit was reached again and again");
            let most = watch.join().unwrap();
            assert!(most <= options.max_log_bytes, "{most} of {}", options.max_log_bytes);
        });
        log.flush(PATIENCE).unwrap();
        let (found, _) = recover(&disk.power_cut(seed)).unwrap();
        for (domain, history) in (0..).zip(&histories) {
            assert_eq!(hold(&found, domain, history, 20_000, "at the limit"), 20_000);
        }
    }
}

/// The log of an engine whose records are no tokens: nobody can make a checkpoint of the store, and
/// lanes that waited for one would wait for ever.
#[test]
fn a_log_of_records_that_are_no_tokens_refuses_at_its_limit_once_nobody_makes_room() {
    for at_limit in [AtLimit::Checkpoint, AtLimit::Wait] {
        let disk = SimStorage::default();
        let options = limited(at_limit);
        let log = open(options.clone(), &disk);
        let store = TokenStore::new();
        let appended = std::thread::scope(|scope| {
            let log = &log;
            let lane = scope.spawn(move || {
                let mut lane = log.open_lane().unwrap();
                let error = (0..).find_map(|id| lane.append(KIND, &numbered(id)).err().map(|why| (id, why)));
                error.unwrap()
            });
            if at_limit == AtLimit::Checkpoint {
                assert!(log.wait_checkpoint_due(PATIENCE), "at half of the limit");
                let error = log.checkpoint(&store, PATIENCE).unwrap_err();
                assert!(matches!(error, CheckpointError::Foreign { kind } if kind == KIND), "{error}");
            }
            while !log.space().full {
                std::thread::yield_now();
            }
            // It may stand there already, or come there later.
            log.refuse_at_limit();
            let (appended, error) = lane.join().unwrap();
            let AppendError::NoRoom { limit_bytes, .. } = error else { panic!("{error}") };
            assert_eq!(limit_bytes, options.max_log_bytes);
            appended
        });
        // Not poisoned: what was accepted is durable, within the limit, and readable.
        log.flush(PATIENCE).unwrap();
        assert!(taken(&disk) <= options.max_log_bytes);
        let (records, report) = read(&disk.power_cut(3)).unwrap();
        assert!(records.iter().map(|record| id_of(record)).eq(0..appended), "{report:?}");
        // A snapshot of the engine's own makes room.
        let mut lane = log.open_lane().unwrap();
        assert!(lane.append(KIND, b"no room").is_err());
        let mut snapshot = log.begin_checkpoint(PATIENCE).unwrap();
        snapshot.record(KIND, b"all of it").unwrap();
        snapshot.commit(PATIENCE).unwrap();
        lane.append(KIND, &numbered(appended)).unwrap();
        log.flush(PATIENCE).unwrap();
        assert_eq!(log.space().checkpoint_lsn, appended);
    }
}

#[test]
fn lanes_that_wait_at_the_limit_go_on_by_the_snapshot_of_an_engine_of_another_kind() {
    let disk = SimStorage::default();
    let options = limited(AtLimit::Checkpoint);
    let log = open(options.clone(), &disk);
    const RECORDS: u64 = 40_000;
    let made = std::thread::scope(|scope| {
        let log = &log;
        let lane = scope.spawn(move || {
            let mut lane = log.open_lane().unwrap();
            (0..RECORDS).for_each(|id| assert!(lane.append(KIND, &numbered(id)).is_ok()));
        });
        let mut made = 0;
        while !lane.is_finished() {
            if log.wait_checkpoint_due(Duration::from_millis(10)) {
                let snapshot = log.begin_checkpoint(PATIENCE).unwrap();
                snapshot.commit(PATIENCE).unwrap();
                made += 1;
            }
        }
        lane.join().unwrap();
        made
    });
    assert!(made > 3, "the limit was reached again and again");
    log.flush(PATIENCE).unwrap();
    assert!(taken(&disk) <= options.max_log_bytes);
    let covered = log.space().checkpoint_lsn;
    let mut next = covered;
    let image = disk.power_cut(1);
    crate::recover::replay::replay_in(Path::new(DIR), &image, |run| {
        for record in run.records() {
            assert_eq!(id_of(record.payload), next);
            next += 1;
        }
    })
    .unwrap();
    assert_eq!(next, RECORDS, "the snapshots are empty, and the log goes on from {covered}");
}

#[test]
fn at_the_limit_a_lane_waits_no_longer_than_it_may() {
    let patience = Duration::from_millis(20);
    for on_full in [OnFull::BlockFor(patience), OnFull::Fail] {
        let disk = SimStorage::default();
        let log = open(LogOptions { on_full, ..limited(AtLimit::Wait) }, &disk);
        let mut lane = log.open_lane().unwrap();
        let error = loop {
            match lane.append(KIND, &[7; 64]) {
                Ok(_) | Err(AppendError::Full { .. }) => {}
                Err(error) => break error,
            }
        };
        assert!(matches!(error, AppendError::NoRoom { .. }), "{error}");
    }
}

#[test]
fn a_checkpoint_is_due_after_so_many_bytes_and_not_again_at_once() {
    let disk = SimStorage::default();
    let options = LogOptions { checkpoint_bytes: 5 * (40 << 10), ..tiny() };
    let log = open(options.clone(), &disk);
    let store = Arc::new(TokenStore::new());
    let mut hand = Hand::new(&log, &store, 0);
    assert!(!log.wait_checkpoint_due(Duration::ZERO));
    (0..4_000).for_each(|_| assert!(hand.create().is_some()));
    assert!(log.wait_checkpoint_due(PATIENCE));
    log.checkpoint(&store, PATIENCE).unwrap();
    assert!(!log.wait_checkpoint_due(Duration::ZERO));
    (0..4_000).for_each(|_| assert!(hand.create().is_some()));
    log.flush(PATIENCE).unwrap();
    drop(hand);
    log.close(PATIENCE).unwrap();
    drop(log);
    // The next life knows how much there is since the checkpoint.
    assert!(open(options, &disk).wait_checkpoint_due(Duration::ZERO));
}
