//! The lease protocol under loom: every interleaving of an owner and whoever recalls its lease,
//! up to three preemptions, with each of the two fence pairs of `fences`.

use super::fences::{self, Kind};
use super::{Lease, LeasePool};
use loom::thread;

fn model(run: fn()) {
    for kind in [Kind::Full, Kind::Membarrier] {
        fences::choose(kind);
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(run);
    }
}

fn take(lease: &mut Lease, n: u64) -> bool {
    lease.try_take(n) || lease.take_from_pool(n).is_ok()
}

/// Both want all that is left, which is in the owner's lease.
#[test]
fn loom_a_unit_is_given_to_the_owner_or_to_the_thief() {
    model(|| {
        let pool = LeasePool::new(8, 1);
        let (mut owner, mut thief) = (pool.open("owner"), pool.open("thief"));
        // One taken, one leased; then the thief has all but the leased one.
        assert!(take(&mut owner, 1) && take(&mut thief, 6));
        let owner = thread::spawn(move || fences::second(|| (take(&mut owner, 1), owner)));
        let stolen = take(&mut thief, 1);
        let (kept, owner) = fences::quiet(|| owner.join()).unwrap();
        assert!(kept ^ stolen, "kept {kept}, stolen {stolen}");
        assert_eq!(pool.level().used, 8);
        drop(owner);
    });
}

/// What was released before the request began is found, wherever it lies.
#[test]
fn loom_a_release_is_found_by_a_recall_or_comes_after_it() {
    model(|| {
        let pool = LeasePool::new(2, 1);
        let (mut owner, mut thief) = (pool.open("owner"), pool.open("thief"));
        assert!(take(&mut owner, 2));
        let owner = thread::spawn(move || {
            fences::second(|| {
                owner.release(1);
                owner
            })
        });
        let early = take(&mut thief, 1);
        let owner = fences::quiet(|| owner.join()).unwrap();
        assert!(early || take(&mut thief, 1), "the release has ended");
        assert!(!take(&mut thief, 1));
        assert_eq!(pool.level().used, 2);
        drop(owner);
    });
}

/// Release and take again race with a thief: never more than the limit, and none lost.
#[test]
fn loom_an_owner_that_releases_and_takes_again_meets_a_thief() {
    model(|| {
        let pool = LeasePool::new(2, 1);
        let (mut owner, mut thief) = (pool.open("owner"), pool.open("thief"));
        assert!(take(&mut owner, 2));
        let owner = thread::spawn(move || {
            fences::second(|| {
                owner.release(1);
                (take(&mut owner, 1), owner)
            })
        });
        let stolen = take(&mut thief, 1);
        let (again, owner) = fences::quiet(|| owner.join()).unwrap();
        assert!(again ^ stolen, "again {again}, stolen {stolen}");
        assert_eq!(pool.level().used, 2);
        drop(owner);
    });
}

/// A limit that sinks while the owner takes: afterwards nothing is given that the new limit
/// does not allow.
#[test]
fn loom_a_limit_that_sinks_recalls_a_busy_owner() {
    model(|| {
        let pool = LeasePool::new(8, 1);
        let mut owner = pool.open("owner");
        assert!(take(&mut owner, 1), "and one is leased");
        let owner = thread::spawn(move || fences::second(|| (take(&mut owner, 1), owner)));
        pool.set_limit(1);
        let (taken, mut owner) = fences::quiet(|| owner.join()).unwrap();
        assert_eq!(pool.level().used, 1 + u64::from(taken));
        assert!(!take(&mut owner, 1));
    });
}

/// Two pools within one: what one group leased and does not use is found by the other.
#[test]
fn loom_a_unit_leased_in_one_group_is_found_by_another() {
    model(|| {
        let root = LeasePool::new(2, 1);
        let (a, b) = (root.child("a", 2), root.child("b", 2));
        let (mut owner, mut thief) = (a.open("owner"), b.open("thief"));
        assert!(take(&mut owner, 1));
        let owner = thread::spawn(move || fences::second(|| (take(&mut owner, 1), owner)));
        let stolen = take(&mut thief, 1);
        let (kept, owner) = fences::quiet(|| owner.join()).unwrap();
        assert!(kept ^ stolen, "kept {kept}, stolen {stolen}");
        assert_eq!(root.level().used, 2);
        drop(owner);
    });
}

/// A rate that comes while the owner takes: what it took stands, and from then on nothing is had without
/// the cold path. Then it goes again.
#[test]
fn loom_a_lease_that_becomes_careful_is_never_quick_again_until_it_may() {
    model(|| {
        let pool = LeasePool::new(8, 1);
        let mut owner = pool.open("owner");
        assert!(take(&mut owner, 1), "and one is leased");
        let owner = thread::spawn(move || fences::second(|| (take(&mut owner, 1), owner)));
        pool.set_rated(true);
        let (taken, mut owner) = fences::quiet(|| owner.join()).unwrap();
        assert!(taken && !owner.try_take(1), "there is room, and it is asked for");
        assert!(owner.take_from_pool(1).is_ok());
        assert_eq!(pool.level().used, 3);
        pool.set_rated(false);
        assert!(take(&mut owner, 1));
        assert_eq!(pool.level().used, 4);
    });
}

/// The same, and someone else takes all that is left: it is given to one of them.
#[test]
fn loom_a_unit_is_given_once_while_leases_become_careful() {
    model(|| {
        let pool = LeasePool::new(3, 1);
        let (mut owner, mut thief) = (pool.open("owner"), pool.open("thief"));
        assert!(take(&mut owner, 1) && take(&mut thief, 1));
        let owner = thread::spawn(move || fences::second(|| (take(&mut owner, 1), owner)));
        pool.set_rated(true);
        let stolen = take(&mut thief, 1);
        let (kept, owner) = fences::quiet(|| owner.join()).unwrap();
        assert!(kept ^ stolen, "kept {kept}, stolen {stolen}");
        assert_eq!(pool.level().used, 3);
        drop(owner);
    });
}
