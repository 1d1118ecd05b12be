//! Damaged ring files: the reader never panics, never shows a wrong event, and says what it found.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used, reason = "what a test's helper can't have fails the test")]

use std::fs;
use std::path::{Path, PathBuf};

use ng_blackbox::read::{Autopsy, ReadError, RecordedEvent, Snapshot};
use ng_blackbox::{Recorder, RecorderOptions};
use ng_core::events::{Event, EventKind, Tier};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// A directory of rings that a recorder left, with several laps in one of them.
fn left_behind(dir: &Path) -> PathBuf {
    left_behind_after(dir, 333)
}

fn left_behind_after(dir: &Path, rounds: u64) -> PathBuf {
    let recorder = Recorder::create(RecorderOptions {
        operation_events: 128,
        sampled_events: 64,
        rare_events: 64,
        keep_on_exit: true,
        ..RecorderOptions::new(dir)
    })
    .unwrap();
    let mut lane = recorder.open_lane("maker");
    for n in 0..rounds {
        lane.record(Event::operation(EventKind::TOKENS_CREATED, n << 24, n));
        lane.record(Event { tier: Tier::Sampled, ..Event::operation(EventKind::OPERATION, n, n) });
        if n % 4 == 0 {
            lane.record_with_note(Event::rare(EventKind::QUOTA_EXCEEDED, n, 7), &format!("the {n}th"));
        }
    }
    recorder.path().to_owned()
}

/// What of an event may never be wrong; its time may, when a clock pair is damaged.
fn content(event: &RecordedEvent) -> (Tier, u64, u16, u64, u64, &str) {
    (event.tier, event.sequence, event.kind, event.a, event.b, &event.note)
}

/// Whether [`left_behind`] ever recorded this.
fn was_written(event: &RecordedEvent) -> bool {
    let n = event.sequence;
    let expected = match event.tier {
        Tier::Operation => (EventKind::TOKENS_CREATED, n << 24, n, String::new()),
        Tier::Sampled => (EventKind::OPERATION, n, n, String::new()),
        Tier::Rare => (EventKind::QUOTA_EXCEEDED, n * 4, 7, format!("the {}th", n * 4)),
    };
    n < 333 && (EventKind(event.kind), event.a, event.b, event.note.clone()) == expected
}

fn ring_file(directory: &Path) -> PathBuf {
    directory.join("ring-000001.ring")
}

fn of_the_lane(snapshot: &Snapshot) -> Vec<&RecordedEvent> {
    let ring = snapshot.rings.iter().position(|ring| ring.file.starts_with("ring-"));
    snapshot.events.iter().filter(|event| Some(event.ring) == ring).collect()
}

#[test]
fn any_damaged_byte_shows_no_wrong_event() {
    let dir = tempfile::tempdir().unwrap();
    let directory = left_behind(dir.path());
    let file = ring_file(&directory);
    let sound = fs::read(&file).unwrap();
    let whole = Snapshot::open(&directory).unwrap();
    let whole: Vec<_> = of_the_lane(&whole).into_iter().map(content).collect();
    let mut runner = TestRunner::new(Config { cases: 400, failure_persistence: None, ..Config::default() });
    // Half of the cases in the live page and in the tiers, where damage can do most.
    let at = prop_oneof![0..sound.len(), 8_192usize..8_960, 12_288usize..18_000];
    runner
        .run(&(at, 1u8..), |(at, change)| {
            let mut damaged = sound.clone();
            damaged[at] ^= change;
            fs::write(&file, &damaged).unwrap();
            let snapshot = Snapshot::open(&directory).unwrap();
            let events = of_the_lane(&snapshot);
            for event in &events {
                prop_assert!(whole.contains(&content(event)), "byte {}: wrong event {:?}", at, event);
            }
            // One byte costs one record, or the lap's end that a damaged head hides.
            prop_assert!(events.len() + 32 >= whole.len(), "byte {}: {} left", at, events.len());
            drop(snapshot.to_json(10));
            snapshot.write_text(&mut Vec::new(), 10).unwrap();
            Ok(())
        })
        .unwrap();
}

#[test]
fn any_number_of_damaged_bytes_and_any_length_shows_no_wrong_event() {
    let dir = tempfile::tempdir().unwrap();
    let directory = left_behind(dir.path());
    let file = ring_file(&directory);
    let sound = fs::read(&file).unwrap();
    let mut runner = TestRunner::new(Config { cases: 200, failure_persistence: None, ..Config::default() });
    let damage = prop::collection::vec(
        // Zeros and the bytes of another place do what random ones can't.
        (0..sound.len(), prop_oneof![any::<u8>(), Just(0)]),
        0..2_000,
    );
    runner
        .run(&(damage, 0..=sound.len()), |(damage, length)| {
            let mut damaged = sound.clone();
            for (at, byte) in damage {
                damaged[at] = byte;
            }
            damaged.truncate(length);
            fs::write(&file, &damaged).unwrap();
            let snapshot = Snapshot::open(&directory).unwrap();
            for event in of_the_lane(&snapshot) {
                // An older lap may show through where heads and anchors are damaged; it is whole.
                prop_assert!(was_written(event), "wrong event {:?}", event);
            }
            drop(snapshot.to_json(usize::MAX));
            snapshot.write_text(&mut Vec::new(), usize::MAX).unwrap();
            snapshot.write_chrome(&mut Vec::new()).unwrap();
            snapshot.write_perfetto(&mut Vec::new()).unwrap();
            drop(Autopsy::of(&snapshot).to_string());
            Ok(())
        })
        .unwrap();
}

/// Every way in which a death can mix a record with the one that had its slot a lap ago.
#[test]
fn a_record_torn_between_two_laps_is_never_shown() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let directory = left_behind_after(dirs[0].path(), 332);
    let later = fs::read(ring_file(&directory)).unwrap();
    let earlier = fs::read(ring_file(&left_behind_after(dirs[1].path(), 332 - 128))).unwrap();
    let slots = 12_288 + 64..12_288 + 64 + 128 * 32;
    for mixture in 1..15u8 {
        let mut bytes = later.clone();
        for at in slots.clone() {
            let word = (at - slots.start) / 8 % 4;
            if mixture & 1 << word != 0 {
                bytes[at] = earlier[at];
            }
        }
        fs::write(ring_file(&directory), &bytes).unwrap();
        let snapshot = Snapshot::open(&directory).unwrap();
        let shown: Vec<_> =
            of_the_lane(&snapshot).into_iter().filter(|event| event.tier == Tier::Operation).collect();
        assert!(shown.iter().all(|event| was_written(event)), "mixture {mixture:04b}");
        // The third word, the kind, is the same in both laps: a mixture of it alone is whole. One of
        // the three others is the former record as a whole: sound, but not what belongs there.
        let torn = snapshot.rings[1].tiers[0].torn;
        assert_eq!(torn == 0, mixture & 0b1011 == 0, "mixture {mixture:04b}: {torn} torn");
        assert!(torn == 0 || shown.is_empty(), "mixture {mixture:04b}");
    }
}

#[test]
fn a_damaged_record_is_counted_and_the_others_are_shown() {
    let dir = tempfile::tempdir().unwrap();
    let directory = left_behind(dir.path());
    let file = ring_file(&directory);
    let mut bytes = fs::read(&file).unwrap();
    // Record 320 is in the first block of slots, behind four anchors of 16 bytes.
    bytes[12_288 + 64 + (320 % 128) * 32 + 3] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let snapshot = Snapshot::open(&directory).unwrap();
    let tier = &snapshot.rings[1].tiers[0];
    assert_eq!((tier.recorded, tier.torn, tier.shown), (333, 1, 333 - 224 - 1));
    assert!(of_the_lane(&snapshot).iter().all(|e| e.tier != Tier::Operation || e.sequence != 320));
}

#[test]
fn a_damaged_header_is_replaced_by_its_copy_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let directory = left_behind(dir.path());
    let file = ring_file(&directory);
    let mut bytes = fs::read(&file).unwrap();
    bytes[..64].fill(0xee);
    fs::write(&file, &bytes).unwrap();
    let snapshot = Snapshot::open(&directory).unwrap();
    assert_eq!(snapshot.rings[1].thread, "maker");
    assert!(snapshot.rings[1].damage[0].contains("header at byte 0"), "{:?}", snapshot.rings[1].damage);
    let end = bytes.len() - 64;
    bytes[end - 8_000..].fill(0);
    fs::write(&file, &bytes).unwrap();
    let snapshot = Snapshot::open(&directory).unwrap();
    assert_eq!(snapshot.rings.len(), 1, "the shared ring is still there");
    assert!(snapshot.unreadable[0].starts_with("ring-000001.ring: no header"), "{:?}", snapshot.unreadable);
}

#[test]
fn a_damaged_anchor_of_the_last_block_does_not_move_the_window_back() {
    let dir = tempfile::tempdir().unwrap();
    let directory = left_behind(dir.path());
    let file = ring_file(&directory);
    let mut bytes = fs::read(&file).unwrap();
    // Block 10 of 32 records has the third of four anchors.
    bytes[12_288 + 2 * 16] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let ring = &Snapshot::open(&directory).unwrap().rings[1];
    assert_eq!((ring.tiers[0].recorded, ring.tiers[0].overwritten), (333, 224));
    assert!(ring.damage[0].contains("anchors do not agree with head 320"), "{:?}", ring.damage);
}

#[test]
fn a_damaged_head_is_told_by_the_anchors() {
    let dir = tempfile::tempdir().unwrap();
    let directory = left_behind(dir.path());
    let file = ring_file(&directory);
    let sound = fs::read(&file).unwrap();
    for head in [0u64, 256, 999, 1 << 40, u64::MAX] {
        let mut bytes = sound.clone();
        bytes[8_192 + 64..8_192 + 72].copy_from_slice(&head.to_le_bytes());
        fs::write(&file, &bytes).unwrap();
        let ring = &Snapshot::open(&directory).unwrap().rings[1];
        assert_eq!((ring.tiers[0].recorded, ring.tiers[0].torn), (333, 0), "head {head}");
        assert!(ring.damage[0].contains(&head.to_string()), "{:?}", ring.damage);
    }
}

#[test]
fn files_that_are_no_rings_are_named_and_cost_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let directory = left_behind(dir.path());
    fs::write(directory.join("empty.ring"), "").unwrap();
    fs::write(directory.join("foreign.ring"), vec![b'x'; 100_000]).unwrap();
    fs::create_dir(directory.join("directory.ring")).unwrap();
    let snapshot = Snapshot::open(&directory).unwrap();
    assert_eq!((snapshot.rings.len(), snapshot.unreadable.len()), (2, 3), "{:?}", snapshot.unreadable);
    let only = tempfile::tempdir().unwrap();
    fs::write(only.path().join("x.ring"), "").unwrap();
    let snapshot = Snapshot::open(only.path()).unwrap();
    assert!(snapshot.process.is_none() && snapshot.unreadable.len() == 1);
    assert!(!matches!(Snapshot::open(only.path()), Err(ReadError::NoRings { .. })));
}
