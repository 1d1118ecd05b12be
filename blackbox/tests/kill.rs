//! A process that writes at full speed is killed at a random moment, again and again: what it
//! leaves is contiguous to the last write, and nothing in it is wrong.

#![cfg(not(loom))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that can't go on fails, and its children report by their output"
)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ng_blackbox::read::{RingState, Snapshot, TierSummary};
use ng_blackbox::{Recorder, RecorderError, RecorderOptions, find_dead, prune_dead};
use ng_core::events::{Event, EventKind, EventRecorder, Tier};

/// Tells the child where to write; unset in the parent.
const CHILD: &str = "NG_BLACKBOX_TEST_CHILD";
const THREADS: u64 = 3;
const KILLS: u32 = 25;

fn options(dir: &Path) -> RecorderOptions {
    RecorderOptions {
        operation_events: 1 << 12,
        sampled_events: 1 << 9,
        rare_events: 1 << 7,
        max_rings: 8,
        ..RecorderOptions::new(dir)
    }
}

/// The second number that belongs to the `n`-th event of a tier.
fn answer(n: u64, tier: Tier) -> u64 {
    (n ^ tier as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17)
}

/// Runs this test binary again as the child of one test.
fn child(test: &str, dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1", "--include-ignored"])
        .env(CHILD, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The directory that this process, as a child, shall write to.
fn am_child() -> Option<PathBuf> {
    std::env::var_os(CHILD).map(PathBuf::from)
}

/// Tmpfs where there is one: what the recorder is made for.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn write_until_killed(dir: &Path) -> ! {
    let recorder = Recorder::create(options(dir)).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let recorder = &recorder;
            scope.spawn(move || {
                let mut lane = recorder.open_lane(&format!("maker {thread}"));
                for n in 0.. {
                    // Once each tier has something, so that a slow start is no loss.
                    if n == 1 {
                        println!("open");
                    }
                    let event = |tier, n| Event {
                        kind: EventKind(0x0100 + tier as u16),
                        tier,
                        a: n,
                        b: answer(n, tier),
                    };
                    lane.record(event(Tier::Operation, n));
                    if n % 16 == 0 {
                        lane.record(event(Tier::Sampled, n / 16));
                    }
                    if n % 256 == 0 {
                        let rare = n / 256;
                        lane.record_with_note(event(Tier::Rare, rare), &format!("note {rare}"));
                    }
                }
            });
        }
    });
    unreachable!("the threads write for ever")
}

#[test]
fn a_killed_process_leaves_everything_up_to_its_last_write() {
    let test = "a_killed_process_leaves_everything_up_to_its_last_write";
    kill_again_and_again(test, KILLS, directory);
}

/// `cargo test -p ng-blackbox --release --test kill -- --ignored --nocapture`
#[test]
#[ignore = "takes minutes: 500 kills on tmpfs and 500 on a disk"]
fn five_hundred_kills_each_on_tmpfs_and_on_disk_leave_nothing_wrong() {
    let test = "five_hundred_kills_each_on_tmpfs_and_on_disk_leave_nothing_wrong";
    kill_again_and_again(test, 500, directory);
    // The build's own directory is on a disk, as a rule.
    let disk = || tempfile::tempdir_in(std::env::current_exe().unwrap().parent().unwrap()).unwrap();
    kill_again_and_again(test, 500, disk);
}

fn kill_again_and_again(test: &str, kills: u32, directory: impl Fn() -> tempfile::TempDir) {
    if let Some(dir) = am_child() {
        write_until_killed(&dir);
    }
    let dir = directory();
    let (mut torn, mut checked) = (0, 0);
    for kill in 0..kills {
        let mut child = child(test, dir.path());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for _ in 0..THREADS {
            lines.by_ref().map(Result::unwrap).find(|line| line.ends_with("open")).unwrap();
        }
        // Odd numbers of microseconds, so that the moment does not beat with anything.
        std::thread::sleep(Duration::from_micros(u64::from(kill * 7_919 % 15_013)));
        child.kill().unwrap();
        child.wait().unwrap();

        let dead = find_dead(dir.path()).unwrap();
        assert_eq!(dead.len(), 1, "kill {kill}: {dead:?}");
        assert_eq!(dead[0].pid, child.id());
        let snapshot = Snapshot::open(&dead[0].path).unwrap();
        assert!(!snapshot.process.as_ref().unwrap().alive);
        assert!(snapshot.unreadable.is_empty(), "kill {kill}: {:?}", snapshot.unreadable);
        assert_eq!(snapshot.rings.len() as u64, THREADS + 1);
        for (index, ring) in snapshot.rings.iter().enumerate().skip(1) {
            assert_eq!(ring.damage, [""; 0], "kill {kill}");
            assert_eq!(ring.state, RingState::Open);
            for tier in &ring.tiers {
                torn += check(&snapshot, index, tier, &format!("kill {kill}, {}, {tier:?}", ring.thread));
            }
        }
        checked += snapshot.events.len();
        assert_eq!(prune_dead(dir.path(), 0, 0).unwrap(), 1);
    }
    // Not asserted: most kills hit between records.
    println!(
        "{kills} kills in {}: {checked} events checked, {torn} torn, all detected",
        dir.path().display()
    );
}

/// Checks one tier of one ring, and says how many torn records it had.
fn check(snapshot: &Snapshot, ring: usize, tier: &TierSummary, what: &str) -> u64 {
    let events: Vec<_> =
        snapshot.events.iter().filter(|event| event.ring == ring && event.tier == tier.tier).collect();
    assert!(!events.is_empty(), "{what}: nothing was left");
    assert!(tier.torn <= 1, "{what}: only the record being written may be torn");
    assert_eq!(tier.passed, 0, "{what}");
    assert_eq!(events.len() as u64, tier.recorded - tier.overwritten, "{what}: a gap");
    for (event, sequence) in events.iter().zip(tier.overwritten..) {
        assert_eq!(event.sequence, sequence, "{what}: in order, without a gap");
        assert_eq!((event.a, event.b), (sequence, answer(sequence, tier.tier)), "{what}: wrong");
        assert_eq!(event.kind, 0x0100 + tier.tier as u16, "{what}: wrong kind");
        if tier.tier == Tier::Rare {
            assert_eq!(event.note, format!("note {sequence}"), "{what}: wrong note");
        }
    }
    tier.torn
}

#[test]
fn a_living_process_is_read_without_a_wrong_event() {
    let dir = directory();
    let recorder = Recorder::create(options(dir.path())).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut lane = recorder.open_lane("maker");
            for n in 0.. {
                let tier = Tier::Operation;
                lane.record(Event { kind: EventKind::USER, tier, a: n, b: answer(n, tier) });
                if stop.load(std::sync::atomic::Ordering::Relaxed) {
                    return;
                }
            }
        });
        for _ in 0..50 {
            let snapshot = Snapshot::open(recorder.path()).unwrap();
            for event in &snapshot.events {
                assert_eq!((event.a, event.b), (event.sequence, answer(event.sequence, event.tier)));
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

/// A limit on the size of files stands for a full file system: both show when the ring is made.
#[test]
fn a_full_file_system_is_an_error_and_not_a_signal() {
    if let Some(dir) = am_child() {
        under_a_file_size_limit(&dir);
        println!("child is done");
        return;
    }
    let dir = directory();
    let child = child("a_full_file_system_is_an_error_and_not_a_signal", dir.path());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("child is done"), "{}: {said}", output.status);
}

#[expect(unsafe_code, reason = "setrlimit(2) and signal(2) have no safe wrapper")]
fn under_a_file_size_limit(dir: &Path) {
    // Larger than the shared ring, smaller than a lane's.
    let limit = 1 << 17;
    let recorder = {
        let limits = libc::rlimit { rlim_cur: limit, rlim_max: limit };
        // SAFETY: the limit is a plain struct on the stack, and ignoring a signal runs no handler.
        let done = unsafe {
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limits)
        };
        assert_eq!(done, 0);
        Recorder::create(options(dir)).unwrap()
    };
    let error = recorder.try_open_lane("maker").unwrap_err();
    assert!(matches!(error, RecorderError::Ring { .. }), "{error}");
    let mut lane = recorder.open_lane("maker");
    lane.record(Event::operation(EventKind::TOKENS_CREATED, 1, 1));
    recorder.record_rare(Event::rare(EventKind::STORE_FULL, 1, 1), "still there");
    let stats = recorder.stats();
    assert_eq!((stats.dropped, stats.recorded), (1, [0, 0, 1]));
    let files: Vec<_> = std::fs::read_dir(recorder.path()).unwrap().collect();
    assert_eq!(files.len(), 1, "nothing half made is left: {files:?}");
    let error = Recorder::create(RecorderOptions { rare_events: 1 << 10, ..options(dir) }).unwrap_err();
    assert!(matches!(error, RecorderError::Ring { .. }), "{error}");
    assert_eq!(std::fs::read_dir(dir).unwrap().count(), 1, "nor of a recorder that could not be");
}
