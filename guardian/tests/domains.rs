//! Pools of domains: what one lane admits another may release, and no sum goes wrong.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Heard, eventually};
use ng_core::admission::{Admission, AdmissionLane};
use ng_core::events::EventKind;
use ng_guardian::{
    Guardian, GuardianError, GuardianLane, GuardianOptions, Limits, Mark, Notice, PoolError, PoolSpec,
};
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;

fn of_domain(name: &str, parent: &str, limit: u64, domain: u8) -> PoolSpec {
    PoolSpec { domain: Some(domain), ..PoolSpec::new(name, limit).within(parent) }
}

/// 100 tokens in all; acme 60, of which domain 1 has 50 and domain 2 what acme has; domain 3 has 30.
fn guardian(max_lease: u64) -> Guardian {
    Guardian::start(GuardianOptions {
        limits: Limits { max_tokens: 100, max_memory_bytes: u64::MAX },
        max_lease,
        memory_interval: Duration::from_secs(3_600),
        pools: vec![
            of_domain("one", "acme", 50, 1),
            of_domain("two", "acme", u64::MAX, 2),
            PoolSpec::new("acme", 60).within("tokens"),
            of_domain("three", "tokens", 30, 3),
        ],
        ..GuardianOptions::default()
    })
    .unwrap()
}

#[test]
fn a_plan_that_contradicts_itself_starts_nothing() {
    let pools = vec![of_domain("one", "nobody", 1, 1)];
    let error = Guardian::start(GuardianOptions { pools, ..GuardianOptions::default() }).unwrap_err();
    assert!(matches!(error, GuardianError::Pool(PoolError::UnknownParent { .. })), "{error}");
    assert!(error.to_string().starts_with("guardian: one is in \"nobody\""), "{error}");
}

#[test]
fn a_planned_pool_is_found_by_its_name_and_told_of_once() {
    let heard = Arc::new(Heard::default());
    let pools = vec![PoolSpec { soft_mark: Some(0.5), ..PoolSpec::new("connections", 10) }];
    let memory_interval = Duration::from_millis(1);
    let options =
        GuardianOptions { pools, memory_interval, events: Some(heard.clone()), ..Default::default() };
    let guardian = Guardian::start(options).unwrap();
    let notices = guardian.subscribe(16);
    let connections = guardian.quota("connections").unwrap();
    let mut lane = connections.lane("acceptor");
    for _ in 0..6 {
        lane.admit(1).unwrap();
    }
    let told = notices.next_within(Duration::from_secs(20)).unwrap();
    assert_eq!(
        told,
        Notice::PoolMarkCrossed { pool: "connections".to_owned(), mark: Mark::Soft, used: 6, limit: 10 }
    );
    let reads = guardian.memory().map_or(0, |memory| memory.reads);
    eventually("it looks again", || guardian.memory().is_none_or(|memory| memory.reads > reads + 2));
    assert_eq!(heard.of(EventKind::MARK_CROSSED).len(), 1);
    assert_eq!(heard.of(EventKind::MARK_CROSSED)[0].1, "soft mark of connections");
}

/// One step: a lane admits or releases tokens of a domain.
#[derive(Debug, Clone, Copy)]
struct Step {
    lane: usize,
    domain: u8,
    n: u64,
    admits: bool,
}

fn step() -> impl Strategy<Value = Step> {
    (0..4_usize, 0..5_u8, 1..40_u64, any::<bool>()).prop_map(|(lane, domain, n, admits)| Step {
        lane,
        domain,
        n,
        admits,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// Whichever lane admits and releases, each pool holds what its domains hold, limits are kept to
    /// the token, and nothing is refused while there is room.
    #[test]
    fn sums_are_those_of_the_domains_whoever_releases(
        max_lease in 1..64_u64,
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let guardian = guardian(max_lease);
        let mut lanes: Vec<GuardianLane> = (0..4).map(|domain| guardian.open_lane_of(domain, "lane")).collect();
        let mut held = [0_u64; 5];
        for Step { lane, domain, n, admits } in steps {
            let mine = &mut held[usize::from(domain)];
            if admits {
                let room = {
                    let [zero, one, two, three, four] = held;
                    let all = 100 - (zero + one + two + three + four);
                    let acme = 60 - (one + two);
                    all.min(match domain { 1 => acme.min(50 - one), 2 => acme, 3 => 30 - three, _ => u64::MAX })
                };
                let home = usize::from(domain) == lane;
                let answer = if home { lanes[lane].admit(n) } else { lanes[lane].admit_in(domain, n) };
                prop_assert_eq!(answer.is_ok(), n <= room, "{} of {} in domain {}: {:?}", n, room, domain, answer);
                if answer.is_ok() {
                    held[usize::from(domain)] += n;
                }
            } else {
                let n = n.min(*mine);
                *mine -= n;
                lanes[lane].release_in(domain, n);
            }
            let used = |name: &str| guardian.quota(name).unwrap().level().used;
            let [_, one, two, three, _] = held;
            prop_assert_eq!([used("one"), used("two"), used("acme"), used("three")], [one, two, one + two, three]);
            prop_assert_eq!(used("tokens"), held.iter().sum::<u64>());
        }
        drop(lanes);
        prop_assert_eq!(guardian.stats().used, held.iter().sum::<u64>());
    }
}

/// Four lanes at once on tokens of four domains, each releasing what others admitted.
#[test]
fn lanes_that_release_each_others_tokens_at_once_keep_every_sum() {
    let guardian = guardian(16);
    std::thread::scope(|scope| {
        for domain in 0..4 {
            let guardian = &guardian;
            scope.spawn(move || {
                let mut lane = guardian.open_lane_of(domain, "maker");
                for round in 0..5_000_u64 {
                    let of = u8::try_from(round % 4).unwrap();
                    if lane.admit_in(of, 1 + round % 3).is_ok() {
                        lane.release_in(of, 1 + round % 3);
                    }
                }
            });
        }
    });
    for name in ["tokens", "acme", "one", "two", "three"] {
        assert_eq!(guardian.quota(name).unwrap().level().used, 0, "{name}");
    }
    let mut lane = guardian.open_lane_of(2, "after");
    assert!(lane.admit(60).is_ok() && lane.admit(1).is_err(), "all of acme's room came back");
}

#[test]
fn what_exists_already_counts_beyond_the_limit_and_recalls_what_was_leased() {
    let guardian = guardian(16);
    let mut lane = guardian.open_lane_of(3, "early");
    lane.admit(1).unwrap();
    guardian.adopt(3, 40);
    assert_eq!(guardian.quota("three").unwrap().level().used, 41);
    assert!(lane.admit(1).is_err(), "though it had leased some");
    lane.release(11);
    assert!(lane.admit(1).is_err());
    lane.release(1);
    lane.admit(1).unwrap();
    assert!(lane.admit(1).is_err());
    guardian.adopt(0, 60);
    assert_eq!((guardian.stats().used, guardian.stats().limit), (90, 100));
}
