//! The suite of [`crate::admission`].
//!
//! [`run`] is for an admission with a limit, [`run_unlimited`] for one that lets everyone in.
//! Both hold for lanes used through the trait alone.

use crate::admission::{Admission, AdmissionLane, AdmissionStats};
use crate::token::Token;
use std::sync::{Arc, Barrier};

/// Rounds of each race: many short ones find more than few long ones.
const ROUNDS: u64 = 100;

/// What every admission with a limit must do. `make` gives a fresh one that admits `limit` tokens.
///
/// # Panics
/// With what was broken.
pub fn run(make: impl Fn(u64) -> Arc<dyn Admission>) {
    admits_the_limit_and_no_more(&make);
    a_refusal_says_what_the_caller_needs(&make);
    a_batch_is_let_in_whole_or_not_at_all(&make);
    what_is_released_can_be_admitted_again_by_anyone(&make);
    a_lane_that_ends_gives_back_only_what_it_did_not_use(&make);
    no_one_is_refused_while_an_idle_lane_holds_room(&make);
    races_admit_exactly_the_limit(&make);
    races_of_admitting_and_releasing_keep_the_count(&make);
    what_a_domain_was_admitted_is_given_back_by_any_lane(&make);
    run_unlimited(|| make(1 << 40));
}

/// What every admission must do far from its limit, one without a limit too.
///
/// # Panics
/// With what was broken.
pub fn run_unlimited(make: impl Fn() -> Arc<dyn Admission>) {
    let admission = make();
    let mut lane = admission.lane("suite");
    for n in [0, 1, 1_000, 1_000_000] {
        assert_eq!(lane.admit(n), Ok(()), "{n} tokens are far from any limit");
        lane.refresh();
        assert_eq!(lane.check(&Token::default()), Ok(()), "the default token violates no sane constitution");
        lane.release(n);
    }
    let stats = admission.stats();
    assert_eq!(stats.used, 0, "all was released");
    assert_eq!((stats.refused, stats.violations), (0, 0), "nothing was refused");
    assert!(stats.limit >= 1 << 40, "the limit is what was asked for, or none");
    drop(admission);
    assert_eq!(lane.admit(1), Ok(()), "a lane may outlive its admission");
}

fn what_a_domain_was_admitted_is_given_back_by_any_lane(make: &impl Fn(u64) -> Arc<dyn Admission>) {
    let admission = make(100);
    let mut zero = admission.lane_in(0, "zero");
    let mut five = admission.lane_in(5, "five");
    assert!(zero.admit(10).is_ok() && five.admit(20).is_ok() && zero.admit_in(5, 30).is_ok());
    assert_eq!(admission.stats().used, 60, "each counts once");
    five.release_in(0, 10);
    zero.release_in(5, 50);
    assert_eq!(admission.stats().used, 0, "all was given back");
    assert!(five.admit(100).is_ok() && zero.admit_in(5, 1).is_err(), "the limit is the same as before");
}

fn admits_the_limit_and_no_more(make: &impl Fn(u64) -> Arc<dyn Admission>) {
    for limit in [1, 2, 100, 5_000] {
        let admission = make(limit);
        let mut lane = admission.lane("only");
        let admitted = (0..limit + 10).filter(|_| lane.admit(1).is_ok()).count() as u64;
        assert_eq!(admitted, limit, "the N-th is let in, the N+1-th is not");
        let expected = AdmissionStats { used: limit, limit, refused: 10, ..admission.stats() };
        assert_eq!(admission.stats(), expected, "each refused token is counted");
    }
}

fn a_refusal_says_what_the_caller_needs(make: &impl Fn(u64) -> Arc<dyn Admission>) {
    let admission = make(10);
    let (mut small, mut large) = (admission.lane("small"), admission.lane("large"));
    small.admit(2).unwrap();
    large.admit(7).unwrap();
    let refusal = small.admit(2).unwrap_err();
    assert!(!refusal.quota.is_empty(), "a refusal names the quota");
    assert_eq!((refusal.asked, refusal.used, refusal.limit), (2, 9, 10), "in the quota's own unit");
    assert_eq!(refusal.top.first(), Some(&("large".to_owned(), 7)), "the largest holder comes first");
    assert!(refusal.top.is_sorted_by(|a, b| a.1 >= b.1), "holders are sorted: {:?}", refusal.top);
}

fn a_batch_is_let_in_whole_or_not_at_all(make: &impl Fn(u64) -> Arc<dyn Admission>) {
    let admission = make(100);
    let mut lane = admission.lane("batches");
    lane.admit(64).unwrap();
    assert!(lane.admit(64).is_err(), "128 are more than 100");
    assert_eq!(admission.stats().used, 64, "a refused batch leaves nothing behind");
    assert_eq!(lane.admit(36), Ok(()), "and takes nothing from those that fit");
    assert!(lane.admit(u64::MAX).is_err(), "an absurd request is refused, not wrapped");
    assert_eq!(lane.admit(0), Ok(()), "nothing always fits");
    assert_eq!(admission.stats().used, 100);
}

fn what_is_released_can_be_admitted_again_by_anyone(make: &impl Fn(u64) -> Arc<dyn Admission>) {
    let admission = make(50);
    let (mut a, mut b) = (admission.lane("a"), admission.lane("b"));
    a.admit(50).unwrap();
    for n in [1, 7, 42] {
        assert!(b.admit(1).is_err(), "it is full");
        a.release(n);
        assert_eq!(b.admit(n), Ok(()), "{n} were released by another lane");
        assert!(b.admit(1).is_err(), "and no more than {n}");
        std::mem::swap(&mut a, &mut b);
    }
    a.release(50);
    assert_eq!(admission.stats().used, 0, "a lane may release what another was let in with");
    assert_eq!(b.admit(50), Ok(()));
}

fn a_lane_that_ends_gives_back_only_what_it_did_not_use(make: &impl Fn(u64) -> Arc<dyn Admission>) {
    let admission = make(1_000);
    let mut ends = admission.lane("ends");
    ends.admit(10).unwrap();
    drop(ends);
    assert_eq!(admission.stats().used, 10, "its tokens are still there");
    let mut lane = admission.lane("stays");
    assert_eq!(lane.admit(990), Ok(()), "what it had in reserve is not lost");
    assert!(lane.admit(1).is_err(), "what it used is not given twice");
}

fn no_one_is_refused_while_an_idle_lane_holds_room(make: &impl Fn(u64) -> Arc<dyn Admission>) {
    let admission = make(5_000);
    let mut idle: Vec<_> = (0..8).map(|_| admission.lane("idle")).collect();
    for lane in &mut idle {
        lane.admit(1).unwrap();
    }
    let forgotten = idle.pop();
    std::mem::forget(forgotten);
    let mut lane = admission.lane("busy");
    let admitted = (0..6_000).filter(|_| lane.admit(1).is_ok()).count();
    assert_eq!(admitted, 4_992, "the reserves of seven idle lanes and a leaked one can be had");
}

fn races_admit_exactly_the_limit(make: &impl Fn(u64) -> Arc<dyn Admission>) {
    for round in 0..ROUNDS {
        let threads = 2 + round % 7;
        let limit = 500 + round * 31;
        let admission = make(limit);
        let mut idle = admission.lane("idle");
        idle.admit(1).unwrap();
        let admitted: u64 = race(threads, &*admission, |lane, _| {
            let mut admitted = 0;
            while lane.admit(1).is_ok() {
                admitted += 1;
            }
            admitted
        });
        assert_eq!(admitted + 1, limit, "round {round}: {threads} threads and an idle holder");
        assert_eq!(admission.stats().used, limit);
        assert_eq!(admission.stats().refused, threads, "each thread was refused once");
    }
}

fn races_of_admitting_and_releasing_keep_the_count(make: &impl Fn(u64) -> Arc<dyn Admission>) {
    for round in 0..ROUNDS {
        let threads = 2 + round % 3;
        // Each holds at most 8 at a time, and there is room for just that: no refusal is right.
        let admission = make(threads * 8);
        let refused: u64 = race(threads, &*admission, |lane, thread| {
            let mut refused = 0;
            for step in 0..100 {
                let n = 1 + (step + thread) % 8;
                match lane.admit(n) {
                    Ok(()) => lane.release(n),
                    Err(_) => refused += 1,
                }
            }
            refused
        });
        assert_eq!(refused, 0, "round {round}: refused although there was room");
        assert_eq!(admission.stats().used, 0, "round {round}: all was released");
    }
}

fn race(
    threads: u64,
    admission: &dyn Admission,
    work: impl Fn(&mut dyn AdmissionLane, u64) -> u64 + Sync,
) -> u64 {
    let gate = Barrier::new(usize::try_from(threads).unwrap());
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                let (gate, work) = (&gate, &work);
                let mut lane = admission.lane("racer");
                scope.spawn(move || {
                    gate.wait();
                    work(&mut *lane, thread)
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    })
}
