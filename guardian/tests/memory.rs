//! Real memory: drift told once, the allocator's figures, and the limit of a real control group.
#![cfg(all(target_os = "linux", not(loom)))]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test reports by panicking; skips are said")]

use ng_core::events::{Event, EventKind, EventLane, EventRecorder, NoRecorder, RecorderStats};
use ng_guardian::{AllocatorFigures, Guardian, GuardianOptions, Notice};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const CHILD: &str = "NG_GUARDIAN_TEST_CHILD";

fn often() -> GuardianOptions {
    GuardianOptions { memory_interval: Duration::from_millis(2), ..GuardianOptions::default() }
}

#[derive(Default)]
struct Heard(Mutex<Vec<(Event, String)>>);

impl EventRecorder for Heard {
    fn lane(&self, name: &str) -> Box<dyn EventLane> {
        NoRecorder.lane(name)
    }

    fn record_rare(&self, event: Event, note: &str) {
        self.0.lock().unwrap().push((event, note.to_owned()));
    }

    fn stats(&self) -> RecorderStats {
        RecorderStats::default()
    }
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
    let deadline = Instant::now() + Duration::from_secs(20);
    while guardian.memory().unwrap().reads < reads + 5 {
        assert!(Instant::now() < deadline, "it is read no more");
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(guardian.memory().unwrap().drift_bytes >= drift_bytes);
    assert_eq!(guardian.report().drifts, 1);
    assert_eq!(
        heard.0.lock().unwrap().iter().filter(|heard| heard.0.kind == EventKind::MEMORY_DRIFT).count(),
        1
    );
    assert_eq!(block.len(), 64 << 20);
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

/// Not a test of its own: the process that [`the_limit_of_a_real_control_group_is_seen`] starts in
/// a group.
#[test]
fn child_that_reports_its_group() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    std::fs::write(Path::new(&dir).join("cgroup.procs"), std::process::id().to_string()).unwrap();
    let guardian = Guardian::start(often()).unwrap();
    let memory = guardian.memory().unwrap();
    println!("limit {:?} used {:?}", memory.cgroup_limit_bytes, memory.cgroup_used_bytes.is_some());
}

#[test]
fn the_limit_of_a_real_control_group_is_seen() {
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
}

#[test]
fn without_a_limit_the_rest_is_reported_all_the_same() {
    let memory = Guardian::start(often()).unwrap().memory().unwrap();
    assert!(memory.resident_bytes > 0);
    assert_eq!(memory.cgroup_limit_bytes.is_some(), memory.cgroup_used_bytes.is_some());
    assert!(memory.pressure_percent.is_none_or(|percent| (0.0..=100.0).contains(&percent)));
}
