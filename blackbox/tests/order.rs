//! Events of several threads against the order in which they happened.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::sync::atomic::{AtomicU64, Ordering};

use ng_blackbox::read::Snapshot;
use ng_blackbox::{Recorder, RecorderOptions};
use ng_core::events::{Event, EventKind, Tier};

/// By how much two threads' readings of the clock may be out of order, in nanoseconds: the
/// processors' counters are synchronised, and a reading is not ordered against the few dozen
/// instructions around it.
const BOUND_NS: u64 = 1_000;

/// Threads hand a number round; each records it in turn. The order of the numbers is the order in
/// which they happened.
fn hand_round(tier: Tier, turns: u64) -> Vec<(u64, u64, u64)> {
    let dir = tempfile::tempdir().unwrap();
    let capacities = RecorderOptions {
        operation_events: 1 << 16,
        sampled_events: 1 << 15,
        ..RecorderOptions::new(dir.path())
    };
    let recorder = Recorder::create(capacities).unwrap();
    let turn = AtomicU64::new(0);
    let threads = 3;
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (recorder, turn) = (&recorder, &turn);
            scope.spawn(move || {
                let mut lane = recorder.open_lane(&format!("thread {thread}"));
                loop {
                    let now = turn.load(Ordering::Acquire);
                    if now >= turns {
                        break;
                    }
                    if now % threads == thread {
                        lane.record(Event { tier, ..Event::operation(EventKind::USER, now, 0) });
                        turn.store(now + 1, Ordering::Release);
                    } else {
                        std::thread::yield_now();
                    }
                }
            });
        }
    });
    let snapshot = Snapshot::open(recorder.path()).unwrap();
    let mut events: Vec<_> = snapshot
        .events
        .iter()
        .map(|event| (event.a, event.unix_ns.unwrap(), event.within_ns.unwrap_or(u64::MAX)))
        .collect();
    assert_eq!(events.len() as u64, turns, "nothing was overwritten");
    events.sort_unstable();
    events
}

#[test]
fn events_with_a_reading_of_their_own_are_in_order_within_a_microsecond() {
    for tier in [Tier::Sampled, Tier::Rare] {
        let turns = if tier == Tier::Rare { 4_000 } else { 30_000 };
        let events = hand_round(tier, turns);
        let mut latest = 0;
        for (number, at, within) in events {
            assert_eq!(within, 0);
            assert!(at + BOUND_NS >= latest, "{tier:?} {number}: {} ns before an earlier one", latest - at);
            latest = latest.max(at);
        }
    }
}

#[test]
fn operations_are_in_order_within_what_each_event_says_of_itself() {
    let events = hand_round(Tier::Operation, 30_000);
    // `within` is how far apart the readings around an event are: it happened somewhere between.
    let mut earliest_possible = 0;
    for (number, at, within) in events {
        let latest_possible = at.saturating_add(within).saturating_add(BOUND_NS);
        assert!(latest_possible >= earliest_possible, "{number}");
        earliest_possible = earliest_possible.max(at.saturating_sub(within));
    }
}
