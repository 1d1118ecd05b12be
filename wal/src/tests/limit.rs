//! The limit on the log's files: who waits, who is refused, and that it is kept.

use super::tokens::*;
use super::*;
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
