//! Pools against a model, and in races: sums, drops in any order, panics, live limits, rates.

use super::{Pool, PoolError, PoolOptions, PoolRefusal, RateLimit, Reservation};
use proptest::prelude::*;
use std::sync::Barrier;
use std::time::Duration;

fn limit(limit: u64) -> PoolOptions {
    PoolOptions { limit, ..PoolOptions::default() }
}

#[test]
fn a_refusal_names_the_pool_that_is_full_and_its_top_holders_by_their_way_from_it() {
    let root = Pool::new("connections", limit(100)).unwrap();
    let acme = root.child("acme", limit(80)).unwrap();
    let web = acme.child("web", PoolOptions::default()).unwrap();
    let mut big = web.reservation("big");
    big.try_grow(70).unwrap();
    let mut small = acme.reservation("small");
    small.try_grow(5).unwrap();
    let full = small.try_grow(6).unwrap_err();
    assert_eq!(
        full.to_string(),
        "connections/acme quota: 6 more would pass the limit of 80 (in use 75); top holders: web/big 70, small 5"
    );
    let mut other = root.lane("other");
    other.admit(25).unwrap();
    let full = small.try_grow(1).unwrap_err();
    let PoolRefusal::Quota { pool, used, limit, top, .. } = full else { panic!("{full}") };
    assert_eq!((&*pool, used, limit), ("connections", 100, 100));
    assert_eq!(top[0], ("acme/web/big".to_owned(), 70));
    assert_eq!(root.level().refused, 7);
    assert_eq!(acme.level().refused, 7);
    assert_eq!(web.level().refused, 0);
}

#[test]
fn a_group_takes_what_another_group_has_leased_and_does_not_use() {
    let root = Pool::new("tokens", limit(1_000)).unwrap();
    let (a, b) = (root.child("a", limit(900)).unwrap(), root.child("b", limit(900)).unwrap());
    let (mut lane_a, mut lane_b) = (a.lane("a"), b.lane("b"));
    lane_a.admit(1).unwrap();
    let admitted = (0..2_000).filter(|_| lane_b.admit(1).is_ok()).count();
    assert_eq!(admitted, 900, "its own limit");
    let admitted = (0..2_000).filter(|_| lane_a.admit(1).is_ok()).count();
    assert_eq!(admitted, 99, "what is left at the root");
    lane_b.release(50);
    let admitted = (0..2_000).filter(|_| lane_a.admit(1).is_ok()).count();
    assert_eq!(admitted, 50);
}

#[test]
fn a_pool_that_ends_leaves_what_is_in_use_to_the_pool_above() {
    let root = Pool::new("tokens", limit(100)).unwrap();
    let child = root.child("tenant", limit(50)).unwrap();
    let mut lane = child.lane("lane");
    lane.admit(30).unwrap();
    drop(child);
    assert_eq!(root.level().used, 30);
    lane.admit(20).unwrap();
    drop(lane);
    assert_eq!(root.level().used, 50);
    let mut lane = root.lane("heir");
    lane.release(50);
    assert!(lane.admit(100).is_ok());
    assert!(lane.admit(1).is_err());
    let again = root.child("tenant", limit(10)).unwrap();
    assert_eq!(again.level().used, 0, "the name starts anew");
}

#[test]
fn a_panic_gives_a_reservation_back() {
    let root = Pool::new("bytes", limit(100)).unwrap();
    let child = root.child("query", limit(90)).unwrap();
    let held = child.clone();
    let panicked = std::thread::spawn(move || {
        let mut all = held.reservation("sort");
        all.try_grow(80).unwrap();
        let _part = all.split(30);
        panic!("on purpose");
    });
    assert!(panicked.join().is_err());
    assert_eq!((child.level().used, root.level().used), (0, 0));
    assert!(child.lane("next").admit(90).is_ok());
}

#[test]
fn a_reservation_is_resized_split_and_taken_without_a_unit_lost() {
    let pool = Pool::new("bytes", limit(1_000)).unwrap();
    let mut a = pool.reservation("a");
    a.try_resize(600).unwrap();
    let mut b = a.split(250);
    assert_eq!((a.size(), b.size()), (350, 250));
    let mut c = b.take();
    assert_eq!((b.size(), c.size()), (0, 250));
    assert!(b.try_grow(401).is_err());
    b.try_grow(400).unwrap();
    assert_eq!(pool.level().used, 1_000);
    assert_eq!(c.shrink(1_000), 250, "no more than it holds");
    assert_eq!(a.split(9_999).size(), 350, "dropped at once");
    assert_eq!(pool.level().used, 400);
    assert_eq!(b.free(), 400);
    assert_eq!(pool.level().used, 0);
    drop((a, b, c));
    assert!(pool.lane("all").admit(1_000).is_ok());
}

#[test]
fn bad_limits_and_names_are_told_and_nothing_is_made() {
    let zero = Pool::new("connections", limit(0)).unwrap_err();
    assert_eq!(zero.to_string(), "connections: limit = 0 lets nothing in: write 1 or more");
    let root = Pool::new("connections", limit(10)).unwrap();
    assert!(
        root.child("a", limit(11)).unwrap_err().to_string().starts_with("connections/a: limit = 11 is above")
    );
    assert!(matches!(root.child("a/b", limit(1)), Err(PoolError::BadName { .. })));
    assert!(matches!(root.child("", limit(1)), Err(PoolError::BadName { .. })));
    let rate = Some(RateLimit { per_second: 5, burst: 0 });
    let none = root.child("a", PoolOptions { rate, ..limit(1) }).unwrap_err();
    assert!(matches!(none, PoolError::Zero { option: "rate.burst", .. }));
    assert!(matches!(root.set_limit(0), Err(PoolError::Zero { option: "limit", .. })));
    assert_eq!(root.level().limit, 10);
}

#[test]
fn a_rate_lets_a_burst_through_and_then_so_many_a_second() {
    let rate = Some(RateLimit { per_second: 1_000, burst: 50 });
    let pool = Pool::new("requests", PoolOptions { rate, ..PoolOptions::default() }).unwrap();
    let mut lane = pool.lane("client");
    lane.admit(50).unwrap();
    let refusal = lane.admit(20).unwrap_err();
    let PoolRefusal::Rate { retry_after: Some(wait), per_second: 1_000, burst: 50, .. } = refusal else {
        panic!("{refusal}")
    };
    assert!(wait <= Duration::from_millis(20), "{wait:?}");
    assert_eq!(pool.level().used, 50, "what the rate refused is not in use");
    std::thread::sleep(wait);
    lane.admit(20).unwrap();
    let never = lane.admit(51).unwrap_err();
    assert!(never.to_string().ends_with("ask for less at once"), "{never}");
    let child = pool.child("tenant", PoolOptions::default()).unwrap();
    let mut reservation = child.reservation("bulk");
    assert!(matches!(reservation.try_grow(50), Err(PoolRefusal::Rate { pool, .. }) if pool == "requests"));
    assert_eq!((reservation.size(), child.level().used), (0, 0));
}

/// Many short races over a tree: exactly the limits are let in, whoever sits idle meanwhile.
#[test]
fn exactly_the_limits_of_a_tree_are_let_in_while_idle_holders_sit_on_leases() {
    for (round, threads) in [2, 3, 4, 8, 16].into_iter().cycle().take(200).enumerate() {
        let root_limit = 200 + round as u64 * 13;
        let root = Pool::new("tokens", PoolOptions { max_lease: 32, ..limit(root_limit) }).unwrap();
        let own = root_limit * 2 / 3;
        let groups = [root.child("a", limit(own)).unwrap(), root.child("b", limit(own)).unwrap()];
        let mut idle: Vec<_> = groups.iter().map(|group| group.lane("idle")).collect();
        idle.iter_mut().for_each(|lane| lane.admit(1).unwrap());
        let gate = Barrier::new(threads);
        let admitted: Vec<u64> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads)
                .map(|worker| {
                    let (gate, group) = (&gate, &groups[worker % 2]);
                    scope.spawn(move || {
                        let mut lane = group.lane("worker");
                        gate.wait();
                        let (mut held, mut step) = (0, 0);
                        while lane.admit(1).is_ok() {
                            held += 1;
                            step += 1;
                            if step % 7 == 0 {
                                lane.release(3);
                                held -= 3;
                            }
                        }
                        held
                    })
                })
                .collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).collect()
        });
        let sum: u64 = admitted.iter().sum::<u64>() + 2;
        let used = groups.each_ref().map(|group| group.level().used);
        assert_eq!(used.iter().sum::<u64>(), sum, "round {round}");
        assert_eq!(root.level().used, sum);
        assert!(used.iter().all(|used| *used <= own), "round {round}: {used:?}");
        // A worker stops at its first refusal; a release after that leaves room, so each is asked
        // once more.
        for group in &groups {
            let mut lane = group.lane("last");
            while lane.admit(1).is_ok() {}
        }
        assert_eq!(root.level().used, root_limit, "round {round} with {threads} threads");
    }
}

#[test]
fn limits_that_change_at_every_level_while_lanes_race_are_kept() {
    let root = Pool::new("tokens", PoolOptions { max_lease: 16, ..limit(500) }).unwrap();
    let groups = [root.child("a", limit(300)).unwrap(), root.child("b", limit(300)).unwrap()];
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let group = &groups[worker % 2];
            scope.spawn(move || {
                let mut lane = group.lane("worker");
                let mut held = 0_u64;
                for step in 0..20_000_u64 {
                    let n = 1 + step % 5;
                    if lane.admit(n).is_ok() {
                        held += n;
                    }
                    if held > 60 {
                        lane.release(50);
                        held -= 50;
                    }
                }
                lane.release(held);
            });
        }
        for step in 0..300_u64 {
            root.set_limit(50 + step * 97 % 700).unwrap();
            groups[(step % 2) as usize].set_limit(20 + step * 53 % 400).unwrap();
        }
    });
    assert_eq!(root.level().used, 0);
    root.set_limit(101).unwrap();
    groups[0].set_limit(70).unwrap();
    groups[1].set_limit(70).unwrap();
    let mut lanes = groups.each_ref().map(|group| group.lane("late"));
    assert_eq!((0..200).filter(|_| lanes[0].admit(1).is_ok()).count(), 70);
    assert_eq!((0..200).filter(|_| lanes[1].admit(1).is_ok()).count(), 31);
}

#[derive(Debug, Clone)]
enum Step {
    Grow(usize, u64),
    Shrink(usize, u64),
    Split(usize, u64),
    Drop(usize),
    Open(usize),
    Limit(usize, u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..8_usize, 0..120_u64).prop_map(|(at, n)| Step::Grow(at, n)),
        3 => (0..8_usize, 0..90_u64).prop_map(|(at, n)| Step::Shrink(at, n)),
        2 => (0..8_usize, 0..90_u64).prop_map(|(at, n)| Step::Split(at, n)),
        2 => (0..8_usize).prop_map(Step::Drop),
        3 => (0..4_usize).prop_map(Step::Open),
        1 => (0..4_usize, 1..400_u64).prop_map(|(pool, n)| Step::Limit(pool, n)),
    ]
}

/// Pool 0 is the root, 1 and 2 are its children, 3 is a child of 1.
const ABOVE: [&[usize]; 4] = [&[0], &[1, 0], &[2, 0], &[3, 1, 0]];

proptest! {
    /// Any sequence, against plain sums: a request is let in exactly if it fits at each level, no
    /// sum of children passes its parent, and nothing is left when all is dropped, in any order.
    #[test]
    fn pools_are_plain_sums(steps in prop::collection::vec(step(), 1..150), max_lease in 1..100_u64) {
        let root = Pool::new("units", PoolOptions { limit: 300, max_lease, rate: None }).unwrap();
        let a = root.child("a", limit(200)).unwrap();
        let b = root.child("b", limit(200)).unwrap();
        let c = a.child("c", limit(150)).unwrap();
        let pools = [root, a, b, c];
        let mut limits = [300, 200, 200, 150_u64];
        let mut used = [0_u64; 4];
        let mut held: Vec<(usize, Reservation)> = Vec::new();
        for step in steps {
            match step {
                Step::Open(pool) => held.push((pool, pools[pool].reservation("holder"))),
                Step::Limit(pool, n) => {
                    pools[pool].set_limit(n).unwrap();
                    limits[pool] = n;
                }
                Step::Grow(at, n) => {
                    let Some((pool, reservation)) = held.get_mut(at) else { continue };
                    let fits = n == 0 || ABOVE[*pool].iter().all(|above| used[*above] + n <= limits[*above]);
                    prop_assert_eq!(reservation.try_grow(n).is_ok(), fits);
                    ABOVE[*pool].iter().for_each(|above| used[*above] += if fits { n } else { 0 });
                }
                Step::Shrink(at, n) => {
                    let Some((pool, reservation)) = held.get_mut(at) else { continue };
                    let n = reservation.shrink(n);
                    ABOVE[*pool].iter().for_each(|above| used[*above] -= n);
                }
                Step::Split(at, n) => {
                    let Some((pool, reservation)) = held.get_mut(at) else { continue };
                    let (pool, part) = (*pool, reservation.split(n));
                    held.push((pool, part));
                }
                Step::Drop(at) => {
                    if at < held.len() {
                        let (pool, reservation) = held.swap_remove(at);
                        ABOVE[pool].iter().for_each(|above| used[*above] -= reservation.size());
                    }
                }
            }
            for (pool, used) in pools.iter().zip(used) {
                prop_assert_eq!(pool.level().used, used);
            }
            prop_assert!(used[1] + used[2] <= used[0]);
        }
        held.reverse();
        drop(held);
        for (pool, limit) in pools.iter().zip(limits) {
            prop_assert_eq!(pool.level().used, 0);
            prop_assert_eq!(pool.level().limit, limit);
        }
    }
}
