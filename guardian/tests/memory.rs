//! Real memory: drift told once, the allocator's figures, and the limit of a real control group.
#![cfg(all(target_os = "linux", not(loom)))]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test reports by panicking; skips are said")]

mod common;

use common::{Heard, eventually};
use ng_core::admission::{Admission, AdmissionLane};
use ng_core::events::EventKind;
use ng_guardian::{AllocatorFigures, Guardian, GuardianOptions, Limits, Notice, RealMemory};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const CHILD: &str = "NG_GUARDIAN_TEST_CHILD";

fn often() -> GuardianOptions {
    GuardianOptions { memory_interval: Duration::from_millis(2), ..GuardianOptions::default() }
}

#[test]
fn drift_beyond_the_bound_is_told_once_and_always_reported() {
    let heard = Arc::new(Heard::default());
    let before = Guardian::start(often()).unwrap().memory().unwrap().resident_bytes;
    let options =
        GuardianOptions { drift_bound_bytes: before + (32 << 20), events: Some(heard.clone()), ..often() };
    let guardian = Guardian::start(options).unwrap();
    let notices = guardian.subscribe(16);
    let block = std::hint::black_box(vec![1_u8; 64 << 20]);
    let notice = notices.next_within(Duration::from_secs(20)).expect("the drift is told");
    let Notice::MemoryDrift { drift_bytes, resident_bytes } = notice else { panic!("{notice:?}") };
    assert_eq!(drift_bytes, i64::try_from(resident_bytes).unwrap(), "no token was admitted");
    let reads = guardian.memory().unwrap().reads;
    eventually("it is read again", || guardian.memory().unwrap().reads >= reads + 5);
    assert!(guardian.memory().unwrap().drift_bytes >= drift_bytes);
    assert_eq!(guardian.report().drifts, 1);
    assert_eq!(heard.of(EventKind::MEMORY_DRIFT).len(), 1);
    assert_eq!(block.len(), 64 << 20);
}

#[test]
fn tokens_that_recovery_found_are_counted_before_the_memory_is_first_looked_at() {
    let resident_bytes = 64 * 1_000_000;
    let drifts = |present: &[(u8, u64)]| {
        let reader: ng_guardian::MemoryReader =
            Arc::new(move || Some(RealMemory { resident_bytes, ..RealMemory::default() }));
        let options = GuardianOptions {
            present: present.to_vec(),
            drift_bound_bytes: 1_000_000,
            memory_reader: Some(reader),
            ..often()
        };
        let guardian = Guardian::start(options).unwrap();
        eventually("it is read", || guardian.memory().is_some_and(|memory| memory.reads >= 3));
        guardian.report().drifts
    };
    assert_eq!(drifts(&[]), 1, "memory of no token is told");
    assert_eq!(drifts(&[(0, 600_000), (3, 400_000)]), 0, "memory of recovered tokens is not");
}

#[test]
fn the_allocators_figures_are_the_users_own_and_a_panic_in_them_is_counted() {
    let figures = AllocatorFigures { allocated_bytes: 5, resident_bytes: 9 };
    let guardian =
        Guardian::start(GuardianOptions { allocator: Some(Arc::new(move || Some(figures))), ..often() });
    assert_eq!(guardian.unwrap().memory().unwrap().allocator, Some(figures));
    let panics: ng_guardian::AllocatorStats = Arc::new(|| panic!("on purpose"));
    let guardian = Guardian::start(GuardianOptions { allocator: Some(panics), ..often() }).unwrap();
    assert!(guardian.report().panics >= 1);
    assert_eq!(guardian.memory(), None, "nothing was read to the end");
}

/// A reader of which the test says what is used of 1,000 bytes.
fn of_a_thousand(used: &Arc<AtomicU64>) -> ng_guardian::MemoryReader {
    let used = Arc::clone(used);
    Arc::new(move || {
        let used_bytes = used.load(Ordering::SeqCst);
        Some(RealMemory {
            resident_bytes: used_bytes,
            limit_bytes: Some(1_000),
            used_bytes,
            ..RealMemory::default()
        })
    })
}

#[test]
fn while_memory_is_short_use_does_not_rise_and_what_was_deleted_may_be_replaced() {
    let (used, heard) = (Arc::new(AtomicU64::new(500)), Arc::new(Heard::default()));
    let options = GuardianOptions {
        memory_reader: Some(of_a_thousand(&used)),
        memory_mark: 0.90,
        memory_rearm: 0.10,
        events: Some(heard.clone()),
        ..often()
    };
    let guardian = Guardian::start(options).unwrap();
    let notices = guardian.subscribe(16);
    let (mut lane, mut other) = (guardian.open_lane("first"), guardian.open_lane("second"));
    // The other one holds room that it does not use.
    lane.admit(10_000).unwrap();
    other.admit(1).unwrap();
    used.store(900, Ordering::SeqCst);
    eventually("it is found short", || guardian.report().shortages == 1);
    for lane in [&mut lane, &mut other] {
        let refusal = lane.admit(1).unwrap_err();
        assert_eq!((refusal.quota, refusal.asked, refusal.used, refusal.limit), ("memory", 64, 900, 1_000));
        assert!(refusal.to_string().contains("real memory is near the limit"), "{refusal}");
    }
    // The place of a deleted token takes no new memory.
    lane.release(5);
    other.admit(5).unwrap();
    assert!(other.admit(1).is_err());
    // Another limit does not open what short memory closed, nor does a margin that is too small.
    guardian.set_limits(Limits { max_tokens: 20_000, ..Limits::default() }).unwrap();
    used.store(801, Ordering::SeqCst);
    let reads = guardian.memory().unwrap().reads;
    eventually("it is read", || guardian.memory().unwrap().reads > reads + 2);
    assert!(lane.admit(1).is_err());
    used.store(700, Ordering::SeqCst);
    eventually("it is short no more", || lane.admit(1).is_ok());
    lane.admit(9_998).unwrap();
    assert_eq!(lane.admit(1).unwrap_err().quota, "tokens", "the quota's own limit holds again");
    assert_eq!((guardian.stats().used, guardian.report().shortages), (20_000, 1));
    let told: Vec<_> = std::iter::from_fn(|| notices.try_next()).collect();
    assert!(told.contains(&Notice::MemoryShort { held_bytes: 900, limit_bytes: 1_000, tokens: 10_001 }));
    assert!(told.contains(&Notice::MemoryEased { held_bytes: 700, limit_bytes: 1_000 }));
    assert_eq!(heard.of(EventKind::MEMORY_SHORT).len(), 1);
    assert_eq!(heard.of(EventKind::MEMORY_EASED).len(), 1);
}

/// Of a thread, in nanoseconds; proc_pid_stat(5) counts in ticks of 10 ms, schedstat does not.
fn processor_time_of(thread: &str) -> Option<u64> {
    let tasks = std::fs::read_dir("/proc/self/task").ok()?;
    tasks.filter_map(Result::ok).map(|task| task.path()).find_map(|task| {
        let name = std::fs::read_to_string(task.join("comm")).ok()?;
        (name.trim() == thread).then_some(())?;
        std::fs::read_to_string(task.join("schedstat")).ok()?.split_ascii_whitespace().next()?.parse().ok()
    })
}

/// Not a test of its own: the process that [`short_memory_that_lasts_does_not_spin`] starts, so that
/// there is but one guardian's thread.
#[test]
fn child_that_is_short_for_long() {
    if std::env::var(CHILD).as_deref() != Ok("short") {
        return;
    }
    let used = Arc::new(AtomicU64::new(990));
    let reader = Some(of_a_thousand(&used));
    let guardian = Guardian::start(GuardianOptions { memory_reader: reader, ..GuardianOptions::default() });
    let guardian = guardian.unwrap();
    let mut lane = guardian.open_lane("refused");
    eventually("it is found short", || lane.admit(1).is_err());
    let before = processor_time_of("ng-guardian").unwrap();
    let begun = std::time::Instant::now();
    let mut refused = 0_u64;
    while begun.elapsed() < Duration::from_secs(1) {
        refused += u64::from(lane.admit(1).is_err());
    }
    println!("share {}", (processor_time_of("ng-guardian").unwrap() - before) / 1_000_000);
    assert!(refused > 1_000, "{refused}");
    assert_eq!(guardian.report().shortages, 1);
}

#[test]
fn short_memory_that_lasts_does_not_spin() {
    if std::fs::read("/proc/self/schedstat").is_err() {
        println!("skipped: the kernel counts no time for each thread");
        return;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_is_short_for_long", "--nocapture"])
        .env(CHILD, "short")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let millis = text.lines().find_map(|line| line.split_once("share ")?.1.trim().parse::<u64>().ok());
    // A thread that spun would have used most of the second.
    assert!(millis.is_some_and(|millis| millis < 100), "{text}");
}

/// Not a test of its own: the process that [`the_watcher_takes_no_more_than_a_thousandth_of_a_core`] starts.
#[test]
fn child_that_is_watched() {
    if std::env::var(CHILD).as_deref() != Ok("watched") {
        return;
    }
    let guardian = Guardian::start(GuardianOptions::default()).unwrap();
    let mut lane = guardian.open_lane("maker");
    // What starts up is no part of it.
    std::thread::sleep(Duration::from_millis(200));
    let (before, begun) = (processor_time_of("ng-guardian").unwrap(), std::time::Instant::now());
    while begun.elapsed() < Duration::from_millis(1_500) {
        lane.admit(64).unwrap();
        lane.release(64);
        std::thread::sleep(Duration::from_millis(1));
    }
    let took = processor_time_of("ng-guardian").unwrap() - before;
    println!("share {}", u128::from(took) * 1_000_000 / begun.elapsed().as_nanos());
}

/// The budget is 0.1 % of a core. Half of it is usual; a machine that takes the processor away from a
/// running thread counts that as the thread's time, so that one of three looks must keep to it.
#[test]
fn the_watcher_takes_no_more_than_a_thousandth_of_a_core() {
    if std::fs::read("/proc/self/schedstat").is_err() {
        println!("skipped: the kernel counts no time for each thread");
        return;
    }
    let shares: Vec<_> = (0..3).map(|_| share_of_a_watched_child()).collect();
    println!("the watcher took {shares:?} millionths of a core");
    assert!(shares.iter().any(|share| *share <= 1_000), "{shares:?}");
}

fn share_of_a_watched_child() -> u64 {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_is_watched", "--nocapture"])
        .env(CHILD, "watched")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text.lines().find_map(|line| line.split_once("share ")?.1.trim().parse().ok()).unwrap()
}

/// A group of our own below the root of the hierarchy; removed when dropped.
struct Group(PathBuf);

impl Group {
    fn make(bytes: u64) -> Result<Self, String> {
        let roots = [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
        let mut why = "no hierarchy with a memory controller is mounted".to_owned();
        for (root, limit) in roots {
            let dir = Path::new(root).join(format!("ng-guardian-test-{}", std::process::id()));
            let made =
                std::fs::create_dir(&dir).and_then(|()| std::fs::write(dir.join(limit), bytes.to_string()));
            match made {
                Ok(()) => return Ok(Self(dir)),
                Err(error) => {
                    why = format!("{}: {error}", dir.display());
                    drop(std::fs::remove_dir(dir));
                }
            }
        }
        Err(why)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        drop(std::fs::remove_dir(&self.0));
    }
}

/// Not a test of its own: the process that [`the_limit_of_a_real_control_group_is_seen_and_kept_clear_of`] starts in
/// a group.
#[test]
fn child_that_reports_its_group() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    if !dir.starts_with('/') {
        return;
    }
    std::fs::write(Path::new(&dir).join("cgroup.procs"), std::process::id().to_string()).unwrap();
    let guardian = Guardian::start(often()).unwrap();
    let memory = guardian.memory().unwrap();
    println!("limit {:?} used {:?}", memory.cgroup_limit_bytes, memory.cgroup_used_bytes.is_some());
    assert!(memory.cgroup_reclaimable_bytes.is_some(), "{memory:?}");
    drop(guardian);

    let options = GuardianOptions { memory_mark: 0.70, memory_rearm: 0.10, ..often() };
    let guardian = Guardian::start(options).unwrap();
    let mut lane = guardian.open_lane("maker");
    lane.admit(100).unwrap();
    let limit = memory.cgroup_limit_bytes.unwrap();
    let block = std::hint::black_box(vec![1_u8; usize::try_from(limit / 100 * 75).unwrap()]);
    eventually("real memory is short", || guardian.report().shortages == 1);
    let refusal = lane.admit(2_000).unwrap_err();
    assert_eq!((refusal.quota, refusal.limit), ("memory", limit));
    assert!(refusal.used > limit / 100 * 70, "{refusal}");
    drop(block);
    eventually("real memory is short no more", || lane.admit(2_000).is_ok());
    println!("stats {}", guardian.stats().used);
}

#[test]
fn the_limit_of_a_real_control_group_is_seen_and_kept_clear_of() {
    let limit = 192 << 20;
    let group = match Group::make(limit) {
        Ok(group) => group,
        Err(why) => {
            println!("skipped: no control group can be made here: {why}");
            return;
        }
    };
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_reports_its_group", "--nocapture"])
        .env(CHILD, &group.0)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains(&format!("limit Some({limit}) used true")), "{text}");
    assert!(text.contains("stats 2100"), "refused while real memory was short, then let in: {text}");
}

#[test]
fn without_a_limit_the_rest_is_reported_all_the_same() {
    let memory = Guardian::start(often()).unwrap().memory().unwrap();
    assert!(memory.resident_bytes > 0);
    assert_eq!(memory.cgroup_limit_bytes.is_some(), memory.cgroup_used_bytes.is_some());
    assert!(memory.pressure_percent.is_none_or(|percent| (0.0..=100.0).contains(&percent)));
}
