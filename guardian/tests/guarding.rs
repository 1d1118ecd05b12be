//! Marks, cleanups, live changes and the constitution, as an engine meets them.

#![allow(clippy::unwrap_used, reason = "what a test's helper can't have fails the test")]
#![cfg(not(loom))]

mod common;

use common::{Heard, eventually};
use ng_core::admission::{Admission, AdmissionLane, Reclaim};
use ng_core::events::EventKind;
use ng_core::token::Token;
use ng_guardian::{
    Constitution, ConstitutionError, Guardian, GuardianError, GuardianLane, GuardianOptions, Limits, Mark,
    Notice, Pool, PoolError, PoolOptions, RateLimit,
};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

/// So long that nothing in a test waits for it: what happens, happens because a lane asked.
const NEVER: Duration = Duration::from_secs(3_600);

fn options(max_tokens: u64) -> GuardianOptions {
    let limits = Limits { max_tokens, max_memory_bytes: u64::MAX };
    GuardianOptions { limits, memory_interval: NEVER, ..GuardianOptions::default() }
}

/// Frees what it is asked for, as long as it has some.
struct Store {
    lane: Mutex<GuardianLane>,
    stock: AtomicU64,
    calls: AtomicU64,
}

impl Store {
    fn new(guardian: &Guardian, stock: u64) -> Arc<Self> {
        let lane = Mutex::new(guardian.open_lane("cleanup"));
        Arc::new(Self { lane, stock: AtomicU64::new(stock), calls: AtomicU64::new(0) })
    }

    fn set(self: &Arc<Self>, guardian: &Guardian) {
        let weak: Weak<Self> = Arc::downgrade(self);
        guardian.set_reclaim(weak);
    }
}

impl Reclaim for Store {
    fn reclaim(&self, tokens: u64) -> u64 {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let freed = tokens.min(self.stock.load(Ordering::SeqCst));
        self.stock.fetch_sub(freed, Ordering::SeqCst);
        self.lane.lock().unwrap().release(freed);
        freed
    }
}

#[test]
fn a_cleanup_at_the_mark_frees_down_to_the_target_though_lanes_only_batch() {
    let heard = Arc::new(Heard::default());
    let memory_interval = Duration::from_millis(1);
    let options = GuardianOptions { events: Some(heard.clone()), memory_interval, ..options(100_000) };
    let guardian = Guardian::start(options).unwrap();
    let store = Store::new(&guardian, u64::MAX);
    store.set(&guardian);
    let mut lane = guardian.open_lane("batches");
    for _ in 0..96 {
        lane.admit(1_000).unwrap();
    }
    eventually("the cleanup ends", || guardian.report().cleanups == 1);
    let report = guardian.report();
    let cleanup = report.last_cleanup.unwrap();
    assert_eq!((cleanup.asked, cleanup.freed), (16_000, 16_000));
    assert_eq!((cleanup.used_before, cleanup.used_after), (96_000, 80_000));
    assert_eq!((guardian.stats().used, guardian.stats().freed), (80_000, 16_000));
    assert_eq!(report.soft_crossings, 1);
    eventually("the end is told", || heard.of(EventKind::CLEANUP_ENDED).len() == 1);
    let begun = heard.of(EventKind::CLEANUP_BEGUN);
    assert_eq!((begun[0].0.a, begun[0].0.b), (96_000, 80_000));
    for _ in 0..16 {
        lane.admit(1_000).unwrap();
    }
    eventually("the mark was armed again", || guardian.report().cleanups == 2);
}

#[test]
fn what_recovery_found_above_a_mark_is_cleaned_up_though_no_lane_asks() {
    let guardian = Guardian::start(GuardianOptions { present: vec![(0, 960)], ..options(1_000) }).unwrap();
    let store = Store::new(&guardian, u64::MAX);
    store.set(&guardian);
    eventually("the cleanup ends", || guardian.stats().cleanups == 1);
    assert_eq!(guardian.stats().used, 800);
}

#[test]
fn a_mark_that_single_admissions_pass_is_seen() {
    let options = GuardianOptions { memory_interval: Duration::from_millis(1), ..options(1_000) };
    let guardian = Guardian::start(options).unwrap();
    let store = Store::new(&guardian, u64::MAX);
    store.set(&guardian);
    let mut lane = guardian.open_lane("one by one");
    lane.admit(920).unwrap();
    for _ in 0..31 {
        lane.admit(1).unwrap();
    }
    eventually("the cleanup ends", || guardian.stats().cleanups >= 1);
    assert_eq!(guardian.stats().used, 800);
}

#[test]
fn a_cleanup_that_frees_nothing_does_not_spin_and_refusals_say_so() {
    let options = GuardianOptions { memory_interval: Duration::from_millis(1), ..options(1_000) };
    let guardian = Guardian::start(options).unwrap();
    let store = Store::new(&guardian, 0);
    store.set(&guardian);
    let mut lane = guardian.open_lane("full");
    lane.admit(1_000).unwrap();
    eventually("the cleanup was tried", || guardian.report().cleanups == 1);
    let mut refused = 0;
    eventually("a refusal says that it was in vain", || {
        refused += 1;
        lane.admit(1).unwrap_err().reason == Some("the last cleanup could not free enough")
    });
    let reads = guardian.memory().map_or(0, |memory| memory.reads);
    eventually("many turns go by", || guardian.memory().is_none_or(|memory| memory.reads > reads + 20));
    assert_eq!(store.calls.load(Ordering::SeqCst), 1, "use did not change");
    assert_eq!(guardian.stats().refused, refused);
    // Now there is something to free, and it is said.
    store.stock.store(u64::MAX, Ordering::SeqCst);
    store.set(&guardian);
    eventually("it is tried again", || guardian.stats().used == 800);
    eventually("the reason is gone", || {
        let refusal = lane.admit(201).unwrap_err();
        refusal.reason.is_none()
    });
}

#[test]
fn without_a_reclaim_refusals_say_that_nothing_can_free() {
    let guardian = Guardian::start(options(100)).unwrap();
    let mut lane = guardian.open_lane("full");
    lane.admit(100).unwrap();
    eventually("the reason is known", || {
        lane.admit(1).unwrap_err().reason == Some("nothing is set that could free tokens")
    });
    assert_eq!((guardian.report().cleanups_due, guardian.report().cleanups), (1, 0));
}

#[test]
fn a_cleanup_that_panics_is_counted_and_the_guardian_lives_on() {
    struct Panics;
    impl Reclaim for Panics {
        fn reclaim(&self, _tokens: u64) -> u64 {
            panic!("on purpose");
        }
    }
    let guardian = Guardian::start(options(100)).unwrap();
    let panics: Arc<dyn Reclaim> = Arc::new(Panics);
    guardian.set_reclaim(Arc::downgrade(&panics));
    let mut lane = guardian.open_lane("full");
    lane.admit(100).unwrap();
    eventually("the refusal says it", || {
        lane.admit(1).unwrap_err().reason == Some("the last cleanup panicked")
    });
    assert_eq!(guardian.report().panics, 1);
    let store = Store::new(&guardian, u64::MAX);
    store.set(&guardian);
    eventually("another one frees", || guardian.stats().used == 80);
}

#[test]
fn a_guardian_owned_by_what_it_calls_can_end_on_its_own_thread() {
    struct Owner {
        guardian: Mutex<Option<Guardian>>,
        ended: std::sync::mpsc::Sender<()>,
    }
    impl Reclaim for Owner {
        fn reclaim(&self, _tokens: u64) -> u64 {
            drop(self.guardian.lock().unwrap().take());
            self.ended.send(()).unwrap();
            0
        }
    }
    let guardian = Guardian::start(options(100)).unwrap();
    let mut lane = guardian.open_lane("last");
    let (ended, receive) = std::sync::mpsc::channel();
    let owner = Arc::new(Owner { guardian: Mutex::new(None), ended });
    let weak: Weak<Owner> = Arc::downgrade(&owner);
    guardian.set_reclaim(weak);
    *owner.guardian.lock().unwrap() = Some(guardian);
    lane.admit(100).unwrap();
    receive.recv_timeout(Duration::from_secs(20)).expect("it waits for itself");
}

#[test]
fn marks_are_told_to_the_hook_in_order() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let hook = Arc::clone(&told);
    let on_mark: ng_guardian::MarkHook = Arc::new(move |crossed| hook.lock().unwrap().push(crossed));
    let guardian = Guardian::start(GuardianOptions { on_mark: Some(on_mark), ..options(100) }).unwrap();
    let mut lane = guardian.open_lane("lane");
    lane.admit(100).unwrap();
    eventually("both are told", || told.lock().unwrap().len() == 2);
    let told = told.lock().unwrap();
    assert_eq!((told[0].mark, told[1].mark), (Mark::Soft, Mark::Cleanup));
    assert_eq!((told[1].used, told[1].limit), (100, 100));
}

#[test]
fn the_tighter_quota_is_the_limit_and_refuses_in_its_own_unit() {
    let limits = Limits { max_tokens: 100, max_memory_bytes: 640 + 63 };
    let guardian = Guardian::start(GuardianOptions { limits, ..options(1) }).unwrap();
    let mut lane = guardian.open_lane("lane");
    lane.admit(10).unwrap();
    let refusal = lane.admit(1).unwrap_err();
    assert_eq!((refusal.quota, refusal.asked, refusal.used, refusal.limit), ("bytes", 64, 640, 703));
    assert_eq!(refusal.top, [("lane".to_owned(), 640)]);
    guardian.set_limits(Limits { max_tokens: 11, max_memory_bytes: u64::MAX }).unwrap();
    lane.admit(1).unwrap();
    assert_eq!(lane.admit(1).unwrap_err().quota, "tokens");
    let zero = Limits { max_tokens: 0, ..Limits::default() };
    assert!(matches!(guardian.set_limits(zero), Err(GuardianError::TooSmall { option: "max_tokens", .. })));
    assert_eq!(guardian.stats().limit, 11, "a bad change changes nothing");
}

#[test]
fn limits_that_change_while_lanes_race_are_kept_in_the_end() {
    let guardian = Guardian::start(options(1_000)).unwrap();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|_| {
                let mut lane = guardian.open_lane("worker");
                scope.spawn(move || (0..20_000).filter(|_| lane.admit(1).is_ok()).count() as u64)
            })
            .collect();
        for limit in (1..200).map(|step| 1_000 + step * 97 % 5_000) {
            guardian.set_limits(Limits { max_tokens: limit, max_memory_bytes: u64::MAX }).unwrap();
        }
        let admitted: u64 = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
        assert_eq!(guardian.stats().used, admitted);
        assert!(admitted <= 6_000, "no limit was ever above 6,000");
    });
    let used = guardian.stats().used;
    guardian.set_limits(Limits { max_tokens: used + 5, max_memory_bytes: u64::MAX }).unwrap();
    let mut lane = guardian.open_lane("late");
    assert_eq!((0..10).filter(|_| lane.admit(1).is_ok()).count(), 5);
}

#[test]
fn a_storm_of_refusals_is_one_event_until_the_next_interval() {
    let heard = Arc::new(Heard::default());
    let guardian = Guardian::start(GuardianOptions { events: Some(heard.clone()), ..options(10) }).unwrap();
    let mut lane = guardian.open_lane("storm");
    lane.admit(10).unwrap();
    for _ in 0..10_000 {
        lane.admit(2).unwrap_err();
    }
    eventually("the first is told", || heard.of(EventKind::QUOTA_EXCEEDED).len() == 1);
    assert_eq!(guardian.stats().refused, 20_000, "tokens refused are counted exactly");
    drop(guardian);
    let events = heard.of(EventKind::QUOTA_EXCEEDED);
    assert!(events.len() <= 2, "the rest is told at the end: {events:?}");
    assert_eq!((events[0].0.a, events[0].0.b), (2, 10));
    let told: u64 =
        events.iter().map(|event| event.1.split(' ').next().unwrap().parse::<u64>().unwrap()).sum();
    assert_eq!(told, 10_000, "none is left untold");
}

#[test]
fn a_constitution_changes_while_lanes_run_and_a_bad_one_changes_nothing() {
    let guardian = Guardian::start(options(100)).unwrap();
    let mut lane = guardian.open_lane("lane");
    let mut token = Token::default();
    token.weight = 5.0;
    assert_eq!(lane.check(&token), Ok(()));
    let narrow = Constitution { version: 2, weight: -1.0..=1.0, ..Constitution::default() };
    guardian.set_constitution(narrow.clone()).unwrap();
    assert_eq!(lane.check(&token), Ok(()), "seen with the next batch only");
    lane.refresh();
    let violation = lane.check(&token).unwrap_err();
    assert_eq!(violation.to_string(), "weight = 5 is outside the constitution's -1..=1 (version 2)");
    let bad = Constitution { version: 3, weight: f32::NAN..=1.0, ..narrow.clone() };
    assert!(matches!(guardian.set_constitution(bad), Err(ConstitutionError::EmptyRange { .. })));
    let old = guardian.set_constitution(narrow.clone()).unwrap_err();
    assert_eq!(
        old.to_string(),
        "constitution.version = 2 is not above the version in force: write 3 or more"
    );
    assert_eq!(guardian.constitution(), narrow);
    let lenient = Constitution { version: 3, strict: false, ..narrow };
    guardian.set_constitution(lenient).unwrap();
    lane.refresh();
    assert_eq!(lane.check(&token), Ok(()), "counted and passed");
    drop(lane);
    assert_eq!(guardian.stats().violations, 2);
}

#[cfg(target_os = "linux")]
#[test]
fn the_memory_is_read_before_the_first_report_and_again_each_interval() {
    let options = GuardianOptions { memory_interval: Duration::from_millis(1), ..options(1 << 40) };
    let guardian = Guardian::start(options).unwrap();
    let first = guardian.memory().unwrap();
    assert!(first.resident_bytes > 1 << 16 && first.peak_resident_bytes >= first.resident_bytes);
    guardian.open_lane("lane").admit(1 << 30).unwrap();
    eventually("it is read again", || guardian.memory().unwrap().reads > first.reads);
    let later = guardian.memory().unwrap();
    assert_eq!(later.counted_bytes, 64 << 30);
    assert_eq!(later.drift_bytes, i64::try_from(later.resident_bytes).unwrap() - (64 << 30));
    assert!(guardian.stats().resident_bytes > 0);
}

#[test]
fn lanes_of_a_tenant_are_held_to_the_tenants_quota_and_to_the_whole() {
    let guardian = Guardian::start(options(1_000)).unwrap();
    let tenant =
        guardian.tokens().child("acme", PoolOptions { limit: 300, ..PoolOptions::default() }).unwrap();
    let mut lane = guardian.open_lane_in(&tenant, "importer").unwrap();
    lane.admit(300).unwrap();
    let refusal = lane.admit(1).unwrap_err();
    assert_eq!((refusal.quota, refusal.used, refusal.limit), ("tokens", 300, 300));
    assert_eq!(refusal.top, [("acme/importer".to_owned(), 300)]);
    let mut other = guardian.open_lane("other");
    other.admit(700).unwrap();
    lane.release(10);
    assert!(other.admit(11).is_err());
    other.admit(10).unwrap();
    let refusal = lane.admit(1).unwrap_err();
    assert_eq!((refusal.used, refusal.limit), (1_000, 1_000), "the whole is full, the tenant is not");
    assert_eq!(guardian.stats().used, 1_000);
    let stranger = Pool::new("tokens", PoolOptions::default()).unwrap();
    assert!(matches!(guardian.open_lane_in(&stranger, "x"), Err(PoolError::Stranger { .. })));
}

#[test]
fn quotas_on_other_things_are_found_by_name() {
    let guardian = Guardian::start(options(10)).unwrap();
    let few = PoolOptions { limit: 2, max_lease: 1, rate: None };
    guardian.define_quota("connections", few).unwrap();
    assert!(matches!(guardian.define_quota("connections", few), Err(PoolError::Exists { .. })));
    assert!(matches!(guardian.define_quota("tokens", few), Err(PoolError::Exists { .. })));
    let mut held = guardian.quota("connections").unwrap().reservation("client");
    held.try_grow(2).unwrap();
    assert!(held.try_grow(1).unwrap_err().to_string().starts_with("connections quota: 1 more"));
    let levels: Vec<_> =
        guardian.quotas().iter().map(|quota| (quota.path().to_owned(), quota.level().used)).collect();
    assert_eq!(levels, [("tokens".to_owned(), 0), ("connections".to_owned(), 2)]);
    assert!(guardian.quota("files").is_none());
}

#[test]
fn a_rate_refuses_by_name_and_leaves_nothing_in_use() {
    let rate = Some(RateLimit { per_second: 1, burst: 100 });
    let guardian = Guardian::start(GuardianOptions { rate, ..options(1_000) }).unwrap();
    let mut lane = guardian.open_lane("fast");
    assert_eq!((0..150).filter(|_| lane.admit(1).is_ok()).count(), 100);
    let refusal = lane.admit(60).unwrap_err();
    assert_eq!((refusal.quota, refusal.asked, refusal.limit), ("tokens_per_second", 60, 1));
    assert_eq!((guardian.stats().used, guardian.stats().refused), (100, 110));
}

#[test]
fn subscribers_hear_of_marks_cleanups_refusals_and_constitutions_in_order() {
    let guardian = Guardian::start(options(100)).unwrap();
    let heard = guardian.subscribe(64);
    let deaf = guardian.subscribe(1);
    let store = Store::new(&guardian, u64::MAX);
    store.set(&guardian);
    let mut lane = guardian.open_lane("lane");
    lane.admit(96).unwrap();
    let mut notices = Vec::new();
    while notices.len() < 4 {
        notices.push(heard.next_within(Duration::from_secs(20)).expect("four notices"));
    }
    assert!(matches!(notices[0], Notice::MarkCrossed(crossed) if crossed.mark == Mark::Soft), "{notices:?}");
    assert!(matches!(notices[1], Notice::MarkCrossed(crossed) if crossed.mark == Mark::Cleanup));
    assert_eq!(notices[2], Notice::CleanupBegun { used: 96, target: 80 });
    assert!(matches!(&notices[3], Notice::CleanupEnded(cleanup) if cleanup.freed == 16));
    lane.admit(21).unwrap_err();
    let refused = heard.next_within(Duration::from_secs(20));
    assert_eq!(refused, Some(Notice::Refused { requests: 1, tokens: 21, limit: 100 }));
    guardian.set_constitution(Constitution { version: 2, ..Constitution::default() }).unwrap();
    let changed = Notice::ConstitutionChanged { version: 2, previous: 1, reason: None };
    assert_eq!(heard.next_within(Duration::from_secs(20)), Some(changed));
    assert_eq!((deaf.missed(), guardian.report().missed_notices), (5, 5));
}
