//! The panic hook and `catch`. Hooks are the process's, so these tests take turns.

#![cfg(not(loom))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that can't go on fails, and its children report by their output"
)]
use std::fs;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ng_blackbox::read::Snapshot;
use ng_blackbox::{PanicCounts, PanicOptions, Recorder, RecorderOptions, install_panic_hook};
use ng_core::events::{Event, EventKind};
use tempfile::TempDir;

static TURN: Mutex<()> = Mutex::new(());

/// A quiet hook underneath, a recorder on top. The default hook comes back with the next turn.
fn set_up() -> (MutexGuard<'static, ()>, TempDir, Arc<Recorder>) {
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = tempfile::tempdir().unwrap();
    let options = RecorderOptions { rare_events: 64, ..RecorderOptions::new(dir.path()) };
    (turn, dir, Arc::new(Recorder::create(options).unwrap()))
}

fn panic_on_a_thread(message: &'static str) {
    std::thread::spawn(move || panic!("{message}")).join().unwrap_err();
}

#[test]
fn a_panic_is_recorded_marked_and_dumped_and_the_previous_hook_runs() {
    let (_turn, dir, recorder) = set_up();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let previous = Arc::clone(&seen);
    std::panic::set_hook(Box::new(move |info| {
        eprintln!("{info}");
        previous.lock().unwrap().push(info.payload_as_str().unwrap_or_default().to_owned());
    }));
    let dump = dir.path().join("dump.json");
    let options = PanicOptions { dump_to: Some(dump.clone()), last_events: 2 };
    let hook = install_panic_hook(&recorder, options);
    let mut lane = recorder.open_lane("maker");
    (0..10).for_each(|n| lane.record(Event::operation(EventKind::TOKENS_CREATED, n, 1)));
    // A message made at run time: a constant one would be a `&str` payload.
    let what = std::hint::black_box("room");
    let line = line!() + 1;
    let error = std::thread::spawn(move || panic!("no {what} left")).join().unwrap_err();
    assert_eq!(error.downcast_ref::<String>().unwrap(), "no room left");

    assert_eq!(*seen.lock().unwrap(), ["no room left"]);
    let counts = PanicCounts { panics: 1, recovered: 0, dumps: 1, failed_dumps: 0 };
    assert_eq!(recorder.panic_counts(), counts);
    let document: serde_json::Value = serde_json::from_slice(&fs::read(&dump).unwrap()).unwrap();
    let events = document["events"].as_array().unwrap();
    assert_eq!((events.len(), events[1]["kind"].as_str()), (2, Some("panic")));
    assert_eq!(events[1]["values"]["line"], line);
    let note = events[1]["note"].as_str().unwrap();
    assert!(note.contains("panics.rs") && note.ends_with("no room left"), "{note}");
    let marks = &Snapshot::open(recorder.path()).unwrap().rings[0].marks;
    assert_eq!((marks.len(), marks[0].what, marks[0].a), (1, 1, u64::from(line)));

    drop(hook);
    panic_on_a_thread("after the hook is gone");
    assert_eq!(recorder.panic_counts(), counts);
    assert_eq!(seen.lock().unwrap().len(), 2, "the hook before still runs");
    drop(std::panic::take_hook());
}

#[test]
fn panics_that_are_joined_leave_room_for_the_marks_of_later_ones() {
    let (_turn, _dir, recorder) = set_up();
    std::panic::set_hook(Box::new(|_| {}));
    let _hook = install_panic_hook(&recorder, PanicOptions::default());
    for _ in 0..21 {
        panic_on_a_thread("joined");
    }
    let snapshot = Snapshot::open(recorder.path()).unwrap();
    let shared = &snapshot.rings[0];
    assert_eq!((shared.marks_left, shared.damage.len()), (21, 0), "{:?}", shared.damage);
    let numbers: Vec<_> = shared.marks.iter().map(|mark| mark.number).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 17, 18, 19, 20], "the first four and the last four");
    assert_eq!(snapshot.process.unwrap().panics, 21);
    drop(std::panic::take_hook());
}

#[test]
fn a_dump_that_fails_is_counted_and_nothing_more() {
    let (_turn, dir, recorder) = set_up();
    std::panic::set_hook(Box::new(|_| {}));
    let dump_to = Some(dir.path().join("absent/dump.json"));
    let _hook = install_panic_hook(&recorder, PanicOptions { dump_to, last_events: 5 });
    panic_on_a_thread("no place for the dump");
    let counts = recorder.panic_counts();
    assert_eq!((counts.panics, counts.dumps, counts.failed_dumps), (1, 0, 1));
    drop(std::panic::take_hook());
}

#[test]
fn a_recovered_panic_is_counted_and_one_that_is_not_keeps_the_rings() {
    for recover in [true, false] {
        let (_turn, _dir, recorder) = set_up();
        std::panic::set_hook(Box::new(|_| {}));
        let _hook = install_panic_hook(&recorder, PanicOptions::default());
        if recover {
            assert_eq!(recorder.catch(|| 7).unwrap(), 7);
            assert!(recorder.catch(|| panic!("recovered")).is_err());
        } else {
            panic_on_a_thread("not recovered");
        }
        let counts = recorder.panic_counts();
        assert_eq!((counts.panics, counts.recovered), (1, u64::from(recover)));
        let path = recorder.path().to_owned();
        drop(recorder);
        assert_eq!(path.exists(), !recover);
        panic_on_a_thread("the recorder is gone, and the hook does not keep it");
        drop(std::panic::take_hook());
    }
}

#[test]
fn threads_that_panic_at_once_are_all_recorded_and_dumped() {
    let (_turn, dir, recorder) = set_up();
    std::panic::set_hook(Box::new(|_| {}));
    let dump = dir.path().join("dump.json");
    let options = PanicOptions { dump_to: Some(dump.clone()), last_events: 100 };
    let _hook = install_panic_hook(&recorder, options);
    let threads: Vec<_> = (0..8).map(|n| std::thread::spawn(move || panic!("thread {n}"))).collect();
    threads.into_iter().for_each(|thread| drop(thread.join().unwrap_err()));
    let counts = recorder.panic_counts();
    assert_eq!((counts.panics, counts.dumps, counts.failed_dumps), (8, 8, 0));
    serde_json::from_slice::<serde_json::Value>(&fs::read(&dump).unwrap()).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "the rings and the dump, no leftovers");
    drop(std::panic::take_hook());
}
