//! Marks and cleanups of one pool: whose tokens go, who is told, and what a refused caller hears; and
//! what of a planned pool changes while lanes run.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Heard, eventually};
use ng_core::admission::{Admission, AdmissionLane, PoolReclaim, Reclaim};
use ng_core::events::EventKind;
use ng_guardian::{
    Guardian, GuardianLane, GuardianOptions, Limits, Mark, Notice, PoolError, PoolSpec, RateLimit,
};
use proptest::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

/// Frees what it is asked for of the domains that it is asked for, the lowest first, as long as it has some.
struct Stock {
    lane: Mutex<GuardianLane>,
    of: [AtomicU64; 6],
    calls: Mutex<Vec<(String, u64)>>,
}

impl Stock {
    fn set(guardian: &Guardian) -> Arc<Self> {
        let lane = Mutex::new(guardian.open_lane("cleanup"));
        let stock = Arc::new(Self { lane, of: Default::default(), calls: Mutex::default() });
        let weak: Weak<Self> = Arc::downgrade(&stock);
        guardian.set_reclaim(weak);
        stock
    }

    fn free(&self, domains: impl Iterator<Item = u8>, tokens: u64) -> u64 {
        let mut lane = self.lane.lock().unwrap();
        let mut missing = tokens;
        for domain in domains.take_while(|domain| *domain < 6) {
            let cell = &self.of[usize::from(domain)];
            let freed = missing.min(cell.load(Ordering::SeqCst));
            cell.fetch_sub(freed, Ordering::SeqCst);
            lane.release_in(domain, freed);
            missing -= freed;
        }
        tokens - missing
    }

    /// A token of this domain may go.
    fn add(&self, domain: u8, n: u64) {
        self.of[usize::from(domain)].fetch_add(n, Ordering::SeqCst);
    }

    fn left(&self) -> [u64; 6] {
        std::array::from_fn(|i| self.of[i].load(Ordering::SeqCst))
    }

    fn calls(&self) -> Vec<(String, u64)> {
        self.calls.lock().unwrap().clone()
    }
}

impl Reclaim for Stock {
    fn reclaim(&self, tokens: u64) -> u64 {
        self.calls.lock().unwrap().push(("".to_owned(), tokens));
        self.free(0..6, tokens)
    }

    fn reclaim_in(&self, pool: &PoolReclaim<'_>) -> u64 {
        assert!(format!("{pool:?}").contains("tokens"));
        self.calls.lock().unwrap().push((pool.pool.to_owned(), pool.tokens));
        self.free(pool.domains.iter(), pool.tokens)
    }
}

fn tenant(name: &str, parent: &str, limit: u64, domain: u8) -> PoolSpec {
    PoolSpec { domain: Some(domain), ..PoolSpec::new(name, limit).within(parent) }
}

fn cleaned(spec: PoolSpec) -> PoolSpec {
    PoolSpec { soft_mark: Some(0.7), cleanup_mark: Some(0.9), cleanup_target: 0.6, ..spec }
}

/// 10,000 tokens in all; acme 1,000 of domains 1 and 2, cleaned up above 900 down to 600, of which domain
/// 2 has 400, cleaned up above 360 down to 240; beta 1,000 of domain 3.
fn specs() -> Vec<PoolSpec> {
    vec![
        cleaned(tenant("acme", "tokens", 1_000, 1)),
        cleaned(tenant("trial", "acme", 400, 2)),
        tenant("beta", "tokens", 1_000, 3),
    ]
}

/// One whose thread looks when a lane reached something, and else hardly ever.
fn options() -> GuardianOptions {
    GuardianOptions {
        limits: Limits { max_tokens: 10_000, max_memory_bytes: u64::MAX },
        pools: specs(),
        max_lease: 16,
        memory_interval: Duration::from_secs(3_600),
        ..GuardianOptions::default()
    }
}

#[test]
fn a_pool_above_its_own_mark_is_cleaned_up_alone_as_soon_as_a_lane_passes_it() {
    let heard = Arc::new(Heard::default());
    let guardian = Guardian::start(GuardianOptions { events: Some(heard.clone()), ..options() }).unwrap();
    let stock = Stock::set(&guardian);
    let notices = guardian.subscribe(64);
    for domain in 0..6 {
        stock.add(domain, u64::MAX / 2);
    }
    let (mut acme, mut beta) = (guardian.open_lane_of(1, "acme"), guardian.open_lane_of(3, "beta"));
    beta.admit(1_000).unwrap();
    let pool = || "tokens/acme".to_owned();
    let next = || notices.next_within(Duration::from_secs(20)).unwrap();
    for _ in 0..701 {
        acme.admit(1).unwrap();
    }
    assert_eq!(next(), Notice::PoolMarkCrossed { pool: pool(), mark: Mark::Soft, used: 701, limit: 1_000 });
    for _ in 0..200 {
        acme.admit(1).unwrap();
    }
    eventually("acme is cleaned up", || guardian.pool_report("acme").unwrap().cleanups == 1);
    let used = |name: &str| guardian.quota(name).unwrap().level().used;
    assert_eq!([used("acme"), used("beta"), used("tokens")], [600, 1_000, 1_600]);
    assert_eq!(stock.calls(), [("tokens/acme".to_owned(), 301)]);
    let report = guardian.pool_report("acme").unwrap();
    let last = report.last_cleanup.unwrap();
    assert_eq!((report.soft_crossings, report.cleanups_due, report.freed), (1, 1, 301));
    assert_eq!((last.asked, last.used_before, last.used_after), (301, 901, 600));
    assert_eq!((guardian.report().cleanups, guardian.report().freed), (1, 301));
    assert_eq!(guardian.report().soft_crossings, 0, "the whole is far from its mark");
    assert_eq!(guardian.pool_report("beta").unwrap(), Default::default(), "it is full, and has no mark");

    assert_eq!(
        next(),
        Notice::PoolMarkCrossed { pool: pool(), mark: Mark::Cleanup, used: 901, limit: 1_000 }
    );
    assert_eq!(next(), Notice::PoolCleanupBegun { pool: pool(), used: 901, target: 600 });
    assert_eq!(next(), Notice::PoolCleanupEnded { pool: pool(), cleanup: last });
    let notes = |kind| heard.of(kind).into_iter().map(|(_, note)| note).collect::<Vec<_>>();
    assert_eq!(notes(EventKind::MARK_CROSSED), ["soft mark of tokens/acme", "cleanup mark of tokens/acme"]);
    assert_eq!(notes(EventKind::CLEANUP_BEGUN), ["of tokens/acme"]);
    assert_eq!(notes(EventKind::CLEANUP_ENDED), ["of tokens/acme"]);
}

#[test]
fn a_pool_within_a_pool_is_cleaned_up_for_its_own_mark_and_for_that_above_it() {
    let guardian = Guardian::start(options()).unwrap();
    let stock = Stock::set(&guardian);
    let mut lane = guardian.open_lane_of(2, "trial");
    for _ in 0..361 {
        lane.admit(1).unwrap();
        stock.add(2, 1);
    }
    eventually("trial is cleaned up", || guardian.pool_report("trial").unwrap().cleanups == 1);
    assert_eq!(guardian.quota("trial").unwrap().level().used, 240);
    // Domain 1 has nothing that may go, so what acme lacks comes from the pool within it.
    for _ in 0..661 {
        lane.admit_in(1, 1).unwrap();
    }
    eventually("acme is cleaned up", || guardian.pool_report("acme").unwrap().cleanups == 1);
    assert_eq!(guardian.quota("trial").unwrap().level().used, 0);
    assert_eq!(guardian.quota("acme").unwrap().level().used, 661);
    let calls = stock.calls();
    assert_eq!(calls, [("tokens/acme/trial".to_owned(), 121), ("tokens/acme".to_owned(), 301)]);
}

#[test]
fn a_pool_that_cannot_be_cleaned_up_says_so_in_its_refusals_and_does_not_spin() {
    let options = GuardianOptions { memory_interval: Duration::from_millis(1), ..options() };
    let guardian = Guardian::start(options).unwrap();
    let stock = Stock::set(&guardian);
    stock.add(3, 5_000);
    let (mut acme, mut beta) = (guardian.open_lane_of(1, "acme"), guardian.open_lane_of(3, "beta"));
    acme.admit(1_000).unwrap();
    eventually("it was tried", || guardian.pool_report("acme").unwrap().cleanups == 1);
    let reason = |lane: &mut GuardianLane| lane.admit(1).unwrap_err().reason.unwrap();
    eventually("it is said", || {
        reason(&mut acme).ends_with("the last cleanup of that pool could not free enough")
    });
    beta.admit(1_000).unwrap();
    assert_eq!(reason(&mut beta), "a limit of the pool that the lane is in, not of the whole");
    let reads = guardian.memory().map_or(0, |memory| memory.reads);
    eventually("many turns go by", || guardian.memory().is_none_or(|memory| memory.reads > reads + 20));
    assert_eq!(stock.calls().len(), 1, "use did not change");
    assert_eq!(stock.left()[3], 5_000, "another's tokens are no way out");
    // Now it has some that may go, and that is said.
    stock.add(1, 1_000);
    let weak: Weak<Stock> = Arc::downgrade(&stock);
    guardian.set_reclaim(weak);
    eventually("it is tried again", || guardian.quota("acme").unwrap().level().used == 600);
    eventually("the reason is gone", || {
        acme.admit(401).unwrap_err().reason
            == Some("a limit of the pool that the lane is in, not of the whole")
    });
}

#[test]
fn limits_rates_and_marks_change_in_lanes_that_are_open_and_go_back() {
    let guardian = Guardian::start(options()).unwrap();
    let mut lane = guardian.open_lane_of(3, "beta");
    lane.admit(500).unwrap();
    let with = |limit, rate| {
        let mut spec = tenant("beta", "tokens", limit, 3);
        spec.options.rate = rate;
        guardian.change_pools(&[spec])
    };
    with(400, None).unwrap();
    assert!(lane.admit(1).is_err(), "500 of 400");
    lane.release(100);
    assert!(lane.admit(1).is_err(), "400 of 400");
    lane.release(1);
    lane.admit(1).unwrap();
    with(2_000, None).unwrap();
    lane.admit(100).unwrap();
    // Within its lease, without asking; then a rate comes, and each take is asked for.
    with(2_000, Some(RateLimit { per_second: 1, burst: 10 })).unwrap();
    assert_eq!((0..50).filter(|_| lane.admit(1).is_ok()).count(), 10);
    let refusal = lane.admit(1).unwrap_err();
    assert_eq!((refusal.quota, refusal.limit), ("tokens_per_second", 1));
    // The same one goes on, though something else changes.
    with(3_000, Some(RateLimit { per_second: 1, burst: 10 })).unwrap();
    assert!(lane.admit(5).is_err());
    with(3_000, Some(RateLimit { per_second: 1, burst: 20 })).unwrap();
    assert_eq!((0..50).filter(|_| lane.admit(1).is_ok()).count(), 20);
    with(3_000, None).unwrap();
    assert_eq!((0..2_470).filter(|_| lane.admit(1).is_ok()).count(), 2_470);
    assert!(lane.admit(1).is_err());
    assert_eq!(guardian.quota("beta").unwrap().level().used, 3_000);
    assert_eq!(guardian.quota("beta").unwrap().rate(), None);
}

#[test]
fn a_mark_or_a_limit_that_comes_to_lie_below_use_starts_a_cleanup_at_once() {
    let guardian = Guardian::start(options()).unwrap();
    let stock = Stock::set(&guardian);
    let mut lane = guardian.open_lane_of(3, "beta");
    lane.admit(500).unwrap();
    stock.add(3, 500);
    guardian.change_pools(&[cleaned(tenant("beta", "tokens", 500, 3))]).unwrap();
    eventually("500 of 500", || guardian.quota("beta").unwrap().level().used == 300);
    guardian.change_pools(&[cleaned(tenant("beta", "tokens", 100, 3))]).unwrap();
    eventually("300 of 100", || guardian.quota("beta").unwrap().level().used == 60);
    guardian.change_pools(&[tenant("beta", "tokens", 100, 3)]).unwrap();
    lane.admit(40).unwrap();
    assert!(lane.admit(1).is_err(), "the mark is gone, and the limit is not");
    assert_eq!(stock.calls().len(), 2);
}

#[test]
fn a_change_with_a_fault_changes_nothing() {
    let guardian = Guardian::start(options()).unwrap();
    let good = || tenant("beta", "tokens", 7, 3);
    let bad = [
        PoolSpec::new("nobody", 1),
        tenant("acme", "tokens", 0, 1),
        PoolSpec { soft_mark: Some(0.01), ..tenant("acme", "tokens", 5, 1) },
        PoolSpec { cleanup_mark: Some(0.5), ..tenant("acme", "tokens", 5, 1) },
        {
            let mut spec = tenant("acme", "tokens", 5, 1);
            spec.options.rate = Some(RateLimit { per_second: 5, burst: 0 });
            spec
        },
    ];
    for bad in bad {
        let error = guardian.change_pools(&[good(), bad.clone()]).unwrap_err();
        assert_eq!(matches!(error, PoolError::Unknown { .. }), bad.name == "nobody", "{error}");
        let limit = |name: &str| guardian.quota(name).unwrap().level().limit;
        assert_eq!([limit("beta"), limit("acme")], [1_000, 1_000], "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    /// Lanes of three tenants take and give back at will while pools are cleaned up: no cleanup touches
    /// another's tokens, and every sum is that of what was taken, given back and freed.
    #[test]
    fn cleanups_of_one_tenant_never_touch_anothers_tokens(
        steps in proptest::collection::vec((1..4_u8, 1..60_u64, any::<bool>()), 1..80),
    ) {
        let guardian = Guardian::start(options()).unwrap();
        let stock = Stock::set(&guardian);
        let mut lane = guardian.open_lane_of(1, "maker");
        let mut made = [0_u64; 6];
        for (domain, n, makes) in steps {
            let at = usize::from(domain);
            if makes {
                if lane.admit_in(domain, n).is_ok() {
                    made[at] += n;
                    stock.add(domain, n);
                }
            } else {
                let freed = stock.free(std::iter::once(domain), n);
                made[at] -= freed;
            }
        }
        // Whoever holds the lane is no cleanup, so none is under way once all is still.
        let sums = || {
            let used = |name: &str| guardian.quota(name).unwrap().level().used;
            let [_, one, two, three, ..] = stock.left();
            ([used("trial"), used("beta"), used("acme"), used("tokens")], [two, three, one + two, one + two + three])
        };
        eventually("all is still", || {
            let (used, left) = sums();
            used == left
        });
        prop_assert_eq!(stock.left()[3], made[3], "beta has no mark: nothing of it went");
        for (pool, _) in stock.calls() {
            prop_assert!(pool == "tokens/acme" || pool == "tokens/acme/trial", "{}", pool);
        }
        let freed = made.iter().sum::<u64>() - stock.left().iter().sum::<u64>();
        eventually("it was reported", || guardian.stats().freed == freed);
    }
}
