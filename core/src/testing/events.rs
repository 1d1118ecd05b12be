//! The suite of [`crate::events`].
//!
//! It asks through the contract alone, so it can't see what an implementation kept; that belongs
//! to the implementation's own tests.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use crate::clock::precise_unix_ns;
use crate::events::{Event, EventKind, EventLane, EventRecorder, RecorderStats, Tier};

/// More than any operation ring of a test holds.
const FIREHOSE: u64 = 100_000;

/// Runs the whole suite. `make` gives a recorder that nobody has used yet, with room for eight
/// lanes at a time.
pub fn run<R: EventRecorder>(make: impl Fn() -> R) {
    counts_are_exact_by_tier(&make());
    the_firehose_does_not_evict_rare_events(&make());
    a_lane_that_ends_keeps_its_counts(&make());
    many_threads_record_at_once(&make());
    any_thread_records_rare_events_while_lanes_record(&make());
    notes_of_any_length_are_taken(&make());
    nothing_is_lost_uncounted_when_lanes_abound(&make());
    what_a_lane_shows_of_its_past_is_its_own_and_the_latest_first(&make());
}

/// What a recorder that keeps nothing owes: it takes everything, and says that it kept nothing.
pub fn run_off<R: EventRecorder>(make: impl Fn() -> R) {
    let recorder = make();
    let mut lane = recorder.lane("off");
    Tier::ALL.iter().for_each(|&tier| lane.record(Event { tier, ..operation(1) }));
    drop(lane);
    recorder.record_rare(Event::rare(EventKind::STARTED, 1, 2), "a note");
    assert_eq!(recorder.stats(), RecorderStats::default());
}

fn operation(n: u64) -> Event {
    Event::operation(EventKind::TOKENS_CREATED, n, 1)
}

fn counts_are_exact_by_tier<R: EventRecorder>(recorder: &R) {
    assert_eq!(recorder.stats().recorded, [0; 3], "a new recorder has recorded nothing");
    let mut lane = recorder.lane("maker");
    for n in 0..1_001 {
        lane.record(operation(n));
        if n % 10 == 0 {
            lane.record(Event { tier: Tier::Sampled, ..operation(n) });
        }
        if n % 100 == 0 {
            lane.record(Event::rare(EventKind::QUOTA_EXCEEDED, n, 1));
        }
        if n % 125 == 0 {
            let [operations, sampled, rare] = recorder.stats().recorded;
            assert_eq!(operations, n + 1, "operation events, while the lane lives");
            assert_eq!((sampled, rare), (n / 10 + 1, n / 100 + 1), "sampled and rare ones");
        }
    }
    assert_eq!(recorder.stats().recorded, [1_001, 101, 11]);
    assert_eq!(recorder.stats().dropped, 0, "a lane with a ring drops nothing");
    assert!(recorder.stats().rings >= 1, "a lane that lives has a ring");
}

fn the_firehose_does_not_evict_rare_events<R: EventRecorder>(recorder: &R) {
    let mut lane = recorder.lane("maker");
    lane.record(Event::rare(EventKind::STARTED, 1, 2));
    lane.record(Event { tier: Tier::Sampled, ..operation(0) });
    (0..FIREHOSE).for_each(|n| lane.record(operation(n)));
    let stats = recorder.stats();
    assert_eq!(stats.recorded, [FIREHOSE, 1, 1]);
    let [operations, others @ ..] = stats.overwritten;
    assert!(operations <= FIREHOSE, "{operations} overwritten of {FIREHOSE}");
    assert_eq!(others, [0; 2], "sampled and rare events stay");
}

fn a_lane_that_ends_keeps_its_counts<R: EventRecorder>(recorder: &R) {
    for lane in 1..=50 {
        let mut events = recorder.lane("short");
        Tier::ALL.iter().for_each(|&tier| events.record(Event { tier, ..operation(lane) }));
        drop(events);
        let stats = recorder.stats();
        assert_eq!(stats.recorded, [lane; 3], "after {lane} lanes that ended");
        assert_eq!(stats.dropped, 0, "the places of ended lanes are used again");
        assert_eq!(stats.rings, 0, "no lane lives");
    }
}

fn many_threads_record_at_once<R: EventRecorder>(recorder: &R) {
    let threads = 4;
    let gate = Barrier::new(threads + 1);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let gate = &gate;
            scope.spawn(move || {
                let mut lane = recorder.lane(&format!("maker {thread}"));
                gate.wait();
                for n in 0..FIREHOSE / 4 {
                    lane.record(operation(n));
                    if n % 1_000 == 0 {
                        lane.record(Event::rare(EventKind::STORE_FULL, n, 1));
                    }
                }
            });
        }
        gate.wait();
        let mut before = recorder.stats();
        for _ in 0..100 {
            let stats = recorder.stats();
            for tier in 0..3 {
                assert!(stats.recorded[tier] >= before.recorded[tier], "recorded never goes back");
                assert!(stats.overwritten[tier] >= before.overwritten[tier], "nor does overwritten");
            }
            before = stats;
        }
    });
    let threads = threads as u64;
    assert_eq!(recorder.stats().recorded, [FIREHOSE / 4 * threads, 0, 25 * threads]);
}

fn any_thread_records_rare_events_while_lanes_record<R: EventRecorder>(recorder: &R) {
    let mut lane = recorder.lane("maker");
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for n in 0..200 {
                    recorder.record_rare(Event::rare(EventKind::QUOTA_EXCEEDED, n, 1), "no room");
                }
            });
        }
        (0..FIREHOSE).for_each(|n| lane.record(operation(n)));
    });
    recorder.record_rare(Event::rare(EventKind::STOPPED, 1, 1), "from the lane's own thread");
    assert!(began.elapsed() < Duration::from_secs(60), "recording blocks");
    assert_eq!(recorder.stats().recorded, [FIREHOSE, 0, 601]);
}

fn notes_of_any_length_are_taken<R: EventRecorder>(recorder: &R) {
    let long = "ü€".repeat(1_000);
    let notes = ["", "a", "exactly8", &long, &long[..200], &long[..202]];
    for note in notes {
        recorder.record_rare(Event::rare(EventKind::PANIC, 1, 1), note);
    }
    assert_eq!(recorder.stats().recorded[Tier::Rare as usize], notes.len() as u64);
}

fn nothing_is_lost_uncounted_when_lanes_abound<R: EventRecorder>(recorder: &R) {
    let mut lanes: Vec<_> = (0..20).map(|lane| recorder.lane(&format!("lane {lane}"))).collect();
    for lane in &mut lanes {
        (0..10).for_each(|n| lane.record(operation(n)));
    }
    let given = 200;
    let counted = |stats: RecorderStats| stats.recorded[0] + stats.dropped;
    assert_eq!(counted(recorder.stats()), given, "each event is recorded or counted as dropped");
    drop(lanes);
    assert_eq!(counted(recorder.stats()), given, "and stays so when the lanes end");
}

fn what_a_lane_shows_of_its_past_is_its_own_and_the_latest_first<R: EventRecorder>(recorder: &R) {
    let before = precise_unix_ns();
    let (mut lane, mut other) = (recorder.lane("one"), recorder.lane("other"));
    for n in 0..FIREHOSE + 7 {
        lane.record(operation(n));
        if n % 1_000 == 0 {
            other.record(operation(u64::MAX));
            lane.record(Event::rare(EventKind::STORE_FULL, n, 1));
        }
    }
    for most in [0, 1, 33, 50] {
        let mut seen = Vec::new();
        let shown = lane.recent(most, &mut |recent| seen.push(recent));
        assert_eq!(shown, seen.len());
        assert!(shown <= most, "{shown} shown, {most} asked for");
        let now = precise_unix_ns();
        // A lane may keep less than was asked for, or nothing.
        for (recent, n) in seen.iter().zip((0..FIREHOSE + 7).rev()) {
            assert_eq!(recent.event, operation(n), "the lane's own, the latest first");
            assert!(recent.earliest_unix_ns <= recent.latest_unix_ns, "{recent:?}");
            // Two clocks may be used: a millisecond is more than they may be apart.
            assert!(recent.latest_unix_ns <= now + 1_000_000, "{recent:?}, and it is {now}");
            assert!(recent.earliest_unix_ns + 1_000_000 >= before, "{recent:?}, begun at {before}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::NoRecorder;

    #[test]
    fn the_recorder_that_is_off_takes_everything_and_keeps_nothing() {
        run_off(|| NoRecorder);
    }
}
