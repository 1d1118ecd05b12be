//! The recorder against the contract, and what a reader then sees.

#![cfg(not(loom))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that can't go on fails, and its children report by their output"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use ng_blackbox::read::{Clock, ReadError, RingState, Snapshot};
use ng_blackbox::{Recorder, RecorderError, RecorderOptions, find_dead};
use ng_core::events::{Event, EventKind, EventRecorder, Tier};
use tempfile::TempDir;

fn small(dir: &TempDir) -> RecorderOptions {
    RecorderOptions {
        operation_events: 1_024,
        sampled_events: 128,
        rare_events: 64,
        max_rings: 8,
        ..RecorderOptions::new(dir.path())
    }
}

fn operation(n: u64) -> Event {
    Event::operation(EventKind::TOKENS_CREATED, n, n ^ 0xff)
}

#[test]
fn the_recorder_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    ng_core::testing::events::run(|| Recorder::create(small(&dir)).unwrap());
}

#[test]
fn a_reader_sees_each_tier_with_its_window_names_and_times() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::create(RecorderOptions { config_hash: 77, ..small(&dir) }).unwrap();
    let before = ng_core::clock::precise_unix_ns();
    let mut lane = recorder.open_lane("maker");
    (0..5_000).for_each(|n| lane.record(operation(n)));
    lane.record(Event { tier: Tier::Sampled, ..operation(1) });
    lane.record_with_note(Event::rare(EventKind::QUOTA_EXCEEDED, 10, 9), &"é".repeat(150));
    recorder.record_rare(Event::rare(EventKind::STARTED, 1, 77), "hello");
    std::thread::sleep(std::time::Duration::from_millis(2));

    let snapshot = Snapshot::open(recorder.path()).unwrap();
    let after = ng_core::clock::precise_unix_ns();
    let process = snapshot.process.as_ref().unwrap();
    assert!(process.alive && !process.closed_in_order);
    assert_eq!((process.pid, process.config_hash), (u64::from(std::process::id()), 77));
    assert_eq!(snapshot.clock, Clock::Calibrated);
    let [shared, ring] = snapshot.rings.as_slice() else { panic!("two rings") };
    assert_eq!((shared.thread.as_str(), ring.thread.as_str()), ("shared", "maker"));
    assert!(shared.damage.is_empty() && ring.damage.is_empty(), "{:?}", snapshot.rings);
    let operations = &ring.tiers[0];
    // 5,000 = 156 blocks and 8 records: the window ends with the 157th block.
    assert_eq!((operations.recorded, operations.overwritten), (5_000, 5_024 - 1_024));
    assert_eq!((operations.shown, operations.torn, operations.passed), (1_000, 0, 0));

    let shown: Vec<_> = snapshot.events.iter().filter(|event| event.tier == Tier::Operation).collect();
    for (event, n) in shown.iter().zip(4_000..) {
        assert_eq!((event.sequence, event.a, event.b), (n, n, n ^ 0xff));
        assert_eq!(event.label, "tokens_created");
    }
    // Times come from two clocks and a pace: a millisecond is more than they may be apart.
    for event in &snapshot.events {
        let at = event.unix_ns.unwrap();
        assert!(at + 1_000_000 > before && at < after + 1_000_000, "{at} not in {before}..{after}");
    }
    assert!(snapshot.events.is_sorted_by_key(|event| event.unix_ns));
    let quota = snapshot.events.iter().find(|event| event.label == "quota_exceeded").unwrap();
    assert_eq!((quota.note.as_str(), quota.within_ns), ("é".repeat(100).as_str(), Some(0)));

    let json = snapshot.to_json(2);
    assert_eq!(json["format"], "ng-blackbox/1");
    assert_eq!(json["events"].as_array().unwrap().len(), 2);
    assert_eq!(json["events"][1]["values"]["config_hash"], 77);
    assert_eq!(json["events"][1]["note"], "hello");
    let (mut lines, mut text) = (Vec::new(), Vec::new());
    snapshot.write_json_lines(&mut lines, 3).unwrap();
    snapshot.write_text(&mut text, 3).unwrap();
    let lines = String::from_utf8(lines).unwrap();
    assert_eq!(lines.lines().count(), 3);
    for line in lines.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("quota_exceeded asked=10 limit=9"), "{text}");
}

#[test]
fn two_threads_are_merged_by_time() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::create(small(&dir)).unwrap();
    let mut lanes = [recorder.open_lane("even"), recorder.open_lane("odd")];
    for n in 0..40 {
        lanes[n % 2].record(Event::rare(EventKind::STORE_FULL, n as u64, 0));
        std::thread::sleep(std::time::Duration::from_micros(100));
    }
    let snapshot = Snapshot::open(recorder.path()).unwrap();
    let order: Vec<u64> = snapshot.events.iter().map(|event| event.a).collect();
    assert_eq!(order, (0..40).collect::<Vec<_>>());
}

#[test]
fn rings_of_ended_threads_stay_until_their_place_is_needed_and_keep_their_count() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::create(RecorderOptions { max_rings: 2, ..small(&dir) }).unwrap();
    for name in ["first", "second", "third"] {
        recorder.open_lane(name).record(operation(1));
    }
    let threads =
        |snapshot: Snapshot| snapshot.rings.into_iter().map(|r| (r.thread, r.state)).collect::<Vec<_>>();
    let ended = |name: &str| (name.to_owned(), RingState::Ended);
    let open = |name: &str| (name.to_owned(), RingState::Open);
    let snapshot = Snapshot::open(recorder.path()).unwrap();
    assert_eq!(threads(snapshot), [open("shared"), ended("second"), ended("third")]);
    assert_eq!((recorder.stats().recorded, recorder.stats().overwritten), ([3, 0, 0], [1, 0, 0]));

    let _lanes = [recorder.open_lane("fourth"), recorder.open_lane("fifth")];
    let error = recorder.try_open_lane("sixth").unwrap_err();
    assert!(matches!(error, RecorderError::TooManyRings { limit: 2 }), "{error}");
    for events in 1..=3 {
        let mut lane = recorder.open_lane("sixth");
        assert!(!lane.has_ring());
        lane.record(operation(1));
        lane.record_with_note(operation(1), "lost");
        assert_eq!(recorder.stats().dropped, events * 2);
    }
    assert_eq!(recorder.stats().rings, 2);
    let used: u64 =
        fs::read_dir(recorder.path()).unwrap().map(|f| f.unwrap().metadata().unwrap().len()).sum();
    let limit = RecorderOptions { max_rings: 2, ..small(&dir) }.total_bytes() as u64;
    assert_eq!(used, limit, "no more than the options say");
}

#[test]
fn a_recorder_that_is_dropped_leaves_nothing_unless_it_is_told_to() {
    let dir = tempfile::tempdir().unwrap();
    for keep_on_exit in [false, true] {
        let recorder = Recorder::create(RecorderOptions { keep_on_exit, ..small(&dir) }).unwrap();
        let mut lane = recorder.open_lane("outlives");
        let path = recorder.path().to_owned();
        drop(recorder);
        lane.record(operation(1));
        drop(lane);
        assert_eq!(path.exists(), keep_on_exit);
        if keep_on_exit {
            let process = Snapshot::open(&path).unwrap().process.unwrap();
            assert!(process.closed_in_order);
        }
    }
    assert!(find_dead(dir.path()).unwrap().is_empty(), "this process lives");
}

#[test]
fn two_recorders_of_one_process_do_not_meet_and_others_may_not_look() {
    let dir = tempfile::tempdir().unwrap();
    let [one, other] = [(); 2].map(|()| Recorder::create(small(&dir)).unwrap());
    assert_ne!(one.path(), other.path());
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(one.path().to_owned()), 0o700);
    assert_eq!(mode(one.path().join("shared.ring")), 0o600);
}

#[test]
fn a_directory_that_cannot_be_made_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "in the way").unwrap();
    let error = Recorder::create(RecorderOptions::new(file.join("rings"))).unwrap_err();
    assert!(matches!(&error, RecorderError::Directory { .. }), "{error}");
    assert!(error.to_string().contains("file/rings"), "{error}");
    // Nobody may make a directory there, root included.
    let error = Recorder::create(RecorderOptions::new("/proc/self/rings")).unwrap_err();
    assert!(matches!(&error, RecorderError::Directory { .. }), "{error}");
}

/// Mounts a file system of a mebibyte, which needs root.
#[test]
fn a_full_tmpfs_is_an_error_the_lane_counts_and_what_was_mapped_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "none"])
        .arg(dir.path())
        .output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        println!("skipped: this user may not mount a tmpfs");
        return;
    }
    let options = RecorderOptions { operation_events: 1 << 13, ..small(&dir) };
    let recorder = Recorder::create(options).unwrap();
    let mut lanes: Vec<_> = (0..5).map(|n| recorder.open_lane(&format!("lane {n}"))).collect();
    let with_ring = lanes.iter().filter(|lane| lane.has_ring()).count() as u64;
    let why = recorder.try_open_lane("one more").unwrap_err();
    for lane in &mut lanes {
        (0..100).for_each(|n| lane.record(operation(n)));
    }
    recorder.record_rare(operation(1), "still there");
    let stats = recorder.stats();
    drop((lanes, recorder));
    let unmounted = std::process::Command::new("umount").arg(dir.path()).status();
    assert!(unmounted.unwrap().success());
    assert!((1..5).contains(&with_ring), "{with_ring}");
    assert!(matches!(&why, RecorderError::Ring { cause, .. } if cause.raw_os_error() == Some(28)), "{why}");
    assert_eq!((stats.recorded[0], stats.dropped), (with_ring * 100, (5 - with_ring) * 100));
}

#[test]
fn a_directory_that_vanishes_costs_the_new_lanes_only() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::create(small(&dir)).unwrap();
    let mut lane = recorder.open_lane("before");
    fs::remove_dir_all(recorder.path()).unwrap();
    assert!(matches!(recorder.try_open_lane("after"), Err(RecorderError::Ring { .. })));
    lane.record(operation(1));
    recorder.record_rare(operation(1), "goes on");
    assert_eq!(recorder.stats().recorded, [1, 0, 1]);
}

#[test]
fn a_directory_without_rings_says_so() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(Snapshot::open(dir.path()), Err(ReadError::NoRings { .. })));
    assert!(matches!(Snapshot::open(&dir.path().join("x")), Err(ReadError::Directory { .. })));
}
