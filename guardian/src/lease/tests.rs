//! Sequences against a model, and thousands of short races with an idle holder.

use super::{Lease, LeasePool};
use proptest::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};

fn take(lease: &mut Lease, n: u64) -> bool {
    lease.try_take(n) || lease.take_from_pool(n).is_ok()
}

/// Workers are threads that live through all rounds: starting a thread costs more than a round.
fn rounds<R: Send>(threads: usize, count: usize, work: impl Fn(usize, usize) -> R + Sync) -> Vec<Vec<R>> {
    let gate = Barrier::new(threads);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                let (gate, work) = (&gate, &work);
                scope.spawn(move || {
                    (0..count)
                        .map(|round| {
                            gate.wait();
                            work(round, worker)
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    })
}

#[test]
fn exactly_the_limit_is_let_in_while_an_idle_holder_sits_on_a_lease() {
    for threads in [2, 3, 4, 8, 16] {
        let count = 500;
        let limit = |round: usize| 40 + (round as u64 * 37) % 3_000;
        let pools: Vec<_> = (0..count)
            .map(|round| {
                let pool = LeasePool::new(limit(round), 64);
                let mut idle = pool.open("idle");
                assert!(take(&mut idle, 1), "the idle holder has a lease from the first unit on");
                (pool, idle)
            })
            .collect();
        let taken = rounds(threads, count, |round, worker| {
            let mut lease = pools[round].0.open("worker");
            let mut taken = 0;
            while take(&mut lease, 1 + (worker as u64 % 2) * (taken % 3)) {
                taken += 1 + (worker as u64 % 2) * (taken % 3);
            }
            // What batches were too large for, single units fill up.
            while take(&mut lease, 1) {
                taken += 1;
            }
            taken
        });
        for round in 0..count {
            let sum: u64 = taken.iter().map(|worker| worker[round]).sum();
            assert_eq!(sum + 1, limit(round), "round {round} with {threads} threads");
            assert_eq!(pools[round].0.level().used, limit(round));
        }
    }
}

#[test]
fn whoever_holds_less_than_its_share_is_never_refused() {
    // Each worker holds at most 8 units at a time, and there is room for just that.
    let threads = 4;
    let pools: Vec<_> = (0..300).map(|_| LeasePool::new(threads as u64 * 8, 4)).collect();
    let refused = rounds(threads, pools.len(), |round, worker| {
        let mut lease = pools[round].open("worker");
        let mut refused = 0_u64;
        for step in 0..200 {
            let n = 1 + (step + worker as u64) % 8;
            if take(&mut lease, n) {
                lease.release(n);
            } else {
                refused += 1;
            }
        }
        refused
    });
    assert_eq!(refused.iter().flatten().sum::<u64>(), 0);
    assert!(pools.iter().all(|pool| pool.level().used == 0));
}

/// One worker changes the limit, up and down and below the use, while the others take and release; an idle
/// holder sits on a lease. Then all take what the last limit allows.
#[test]
fn after_limits_changed_under_takes_and_releases_exactly_the_last_limit_is_let_in() {
    for threads in [2, 3, 4, 8, 16] {
        let count = 200;
        let last = |round: usize| 30 + (round as u64 * 41) % 500;
        let pools: Vec<_> = (0..count)
            .map(|_| {
                let pool = LeasePool::new(200, 32);
                let mut idle = pool.open("idle");
                assert!(take(&mut idle, 1));
                (pool, idle, [Barrier::new(threads), Barrier::new(threads)])
            })
            .collect();
        let taken = rounds(threads, count, |round, worker| {
            let (pool, _idle, [changed, refused]) = &pools[round];
            let mut lease = pool.open("worker");
            for step in 0..40 {
                if worker == 0 {
                    pool.set_limit(1 + (step * 97 + round as u64 * 13) % 300);
                } else if take(&mut lease, 1 + step % 5) {
                    lease.release(1 + step % 5);
                }
            }
            if worker == 0 {
                pool.set_limit(last(round));
            }
            changed.wait();
            let mut taken = 0;
            while take(&mut lease, 1) {
                taken += 1;
            }
            // Nobody leaves, and so gives up a lease, before all have been refused.
            refused.wait();
            taken
        });
        for round in 0..count {
            let sum: u64 = taken.iter().map(|worker| worker[round]).sum();
            assert_eq!(sum + 1, last(round), "round {round} with {threads} threads");
        }
    }
}

/// Takes of more than `MAX_QUICK` units go to the pool at once, smaller ones may be pending there; both
/// kinds meet, with just enough room for all.
#[test]
fn takes_of_any_size_are_never_refused_while_there_is_room() {
    for (threads, sizes) in [(2, [1, 255, 256, 300]), (8, [1, 64, 64, 1]), (16, [255, 1, 300, 2])] {
        let most = sizes.into_iter().max().unwrap();
        let pools: Vec<_> = (0..60).map(|_| LeasePool::new(threads as u64 * most, 32)).collect();
        let refused = rounds(threads, pools.len(), |round, worker| {
            let mut lease = pools[round].open("worker");
            let taken = (0..120).map(|step| sizes[(step + worker) % sizes.len()]);
            taken
                .filter(|n| {
                    !take(&mut lease, *n) || {
                        lease.release(*n);
                        false
                    }
                })
                .count()
        });
        assert_eq!(refused.iter().flatten().sum::<usize>(), 0, "{threads} threads");
        assert!(pools.iter().all(|pool| pool.level().used == 0));
    }
}

#[test]
fn use_never_passes_the_limit_while_units_go_from_one_thread_to_another() {
    let pool = LeasePool::new(100, 16);
    let held = AtomicU64::new(0);
    let most = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let (give, receive) = std::sync::mpsc::channel::<u64>();
        for _ in 0..2 {
            let (give, pool, held, most) = (give.clone(), &pool, &held, &most);
            scope.spawn(move || {
                let mut lease = pool.open("maker");
                let mut made = 0;
                while made < 20_000 {
                    if take(&mut lease, 3) {
                        most.fetch_max(held.fetch_add(3, Ordering::SeqCst) + 3, Ordering::SeqCst);
                        give.send(3).unwrap();
                        made += 3;
                    } else {
                        std::thread::yield_now();
                    }
                }
            });
        }
        drop(give);
        let (pool, held) = (&pool, &held);
        scope.spawn(move || {
            let mut lease = pool.open("deleter");
            for n in receive {
                held.fetch_sub(n, Ordering::SeqCst);
                lease.release(n);
            }
        });
    });
    assert!((3..=100).contains(&most.into_inner()));
    assert_eq!(pool.level().used, 0);
}

#[test]
fn a_leaked_lease_can_still_be_recalled() {
    let pool = LeasePool::new(100, 64);
    let mut leaked = pool.open("leaked");
    assert!(take(&mut leaked, 10));
    std::mem::forget(leaked);
    let mut lease = pool.open("other");
    assert!((0..90).all(|_| take(&mut lease, 1)));
    assert!(!take(&mut lease, 1));
}

#[test]
fn a_lease_that_ends_leaves_what_is_in_use() {
    let pool = LeasePool::new(100, 64);
    let mut lease = pool.open("short");
    assert!(take(&mut lease, 10));
    drop(lease);
    assert_eq!(pool.level().used, 10);
    let mut lease = pool.open("other");
    assert!(!take(&mut lease, 91));
    let shortfall = lease.take_from_pool(91).unwrap_err();
    assert_eq!(shortfall.top, [("(ended)".into(), 10)]);
    lease.release(10);
    assert!(take(&mut lease, 100));
}

#[test]
fn a_panic_while_holding_gives_the_lease_back_and_no_more() {
    let pool = LeasePool::new(100, 64);
    let held = Arc::clone(&pool);
    let panicked = std::thread::spawn(move || {
        let mut lease = held.open("panics");
        assert!(take(&mut lease, 10));
        panic!("on purpose");
    });
    assert!(panicked.join().is_err());
    let mut lease = pool.open("other");
    assert!(take(&mut lease, 90));
    assert!(!take(&mut lease, 1));
}

#[test]
fn a_limit_below_use_gives_nothing_until_use_has_sunk() {
    let pool = LeasePool::new(100, 64);
    let (mut a, mut b) = (pool.open("a"), pool.open("b"));
    assert!(take(&mut a, 60) && take(&mut b, 20));
    pool.set_limit(50);
    assert!(!take(&mut a, 1) && !take(&mut b, 1));
    a.release(29);
    assert!(!take(&mut a, 1), "51 are in use");
    b.release(2);
    assert!(take(&mut a, 1));
    assert!(!take(&mut a, 1));
    pool.set_limit(1_000);
    assert!(take(&mut b, 950));
    assert!(!take(&mut a, 1));
    assert_eq!(pool.level().used, 1_000);
}

#[test]
fn an_alarm_is_told_once_by_whoever_reaches_it() {
    let pool = LeasePool::new(100, 1);
    let mut lease = pool.open("lease");
    assert!(!pool.set_alarm(80));
    assert_eq!(lease.take_from_pool(79), Ok(false));
    assert_eq!(lease.take_from_pool(1), Ok(true));
    assert_eq!(lease.take_from_pool(1), Ok(false));
    assert!(pool.set_alarm(80), "so many are in use already");
}

#[test]
fn a_lone_lease_always_asks_for_the_unit_that_reaches_the_alarm() {
    let pool = LeasePool::new(10_000, 1_024);
    let mut lease = pool.open("lone");
    assert!(!pool.set_alarm(5_000));
    let heard: Vec<_> =
        (1..=6_000).filter(|_| !lease.try_take(1) && lease.take_from_pool(1) == Ok(true)).collect();
    assert_eq!(heard, [5_000]);
}

#[test]
fn requests_beyond_any_limit_are_refused_and_do_no_harm() {
    let pool = LeasePool::new(u64::MAX, 8);
    let mut lease = pool.open("lease");
    assert!(!take(&mut lease, u64::MAX));
    assert!(take(&mut lease, 1 << 52), "the largest limit is 2^52");
    assert!(!take(&mut lease, 1));
    assert!(take(&mut lease, 0));
    lease.release(1 << 52);
    assert_eq!(pool.level().used, 0);
}

#[derive(Debug, Clone)]
enum Step {
    Take(usize, u64),
    Release(usize, u64),
    Limit(u64),
    Reopen(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3_usize, 0..60_u64).prop_map(|(lane, n)| Step::Take(lane, n)),
        4 => (0..3_usize, 1..90_u64).prop_map(|(lane, n)| Step::Release(lane, n)),
        1 => (1..400_u64).prop_map(Step::Limit),
        1 => (0..3_usize).prop_map(Step::Reopen),
    ]
}

proptest! {
    /// One thread, any sequence: leases must not show. Units are released by any lane.
    #[test]
    fn leases_do_not_show(steps in prop::collection::vec(step(), 1..200), max_lease in 1..100_u64) {
        let (mut used, mut limit) = (0, 200);
        let pool = LeasePool::new(limit, max_lease);
        let mut lanes: Vec<_> = (0..3).map(|_| pool.open("lane")).collect();
        for step in steps {
            match step {
                Step::Take(lane, n) => {
                    let fits = n == 0 || used + n <= limit;
                    prop_assert_eq!(take(&mut lanes[lane], n), fits);
                    used += if fits { n } else { 0 };
                }
                Step::Release(lane, n) => {
                    let n = n.min(used);
                    lanes[lane].release(n);
                    used -= n;
                }
                Step::Limit(new) => {
                    pool.set_limit(new);
                    limit = new;
                }
                Step::Reopen(lane) => lanes[lane] = pool.open("lane"),
            }
            prop_assert_eq!(pool.level().used, used);
            prop_assert_eq!(pool.level().limit, limit);
        }
    }
}
