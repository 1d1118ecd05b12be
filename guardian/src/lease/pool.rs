//! One node of a tree of pools, as its leases and its owner hold it. The books are the tree's.

use super::owner::Lease;
use super::tree::{ROOT, Tree};
use super::words::{MAX_UNITS, Words};
use crate::sync::{Mutex, lock};
use std::sync::Arc;

/// An exact limit, within the limits of the pools above it. See the [module](super).
#[derive(Debug)]
pub(crate) struct LeasePool {
    tree: Arc<Mutex<Tree>>,
    node: usize,
    max_lease: i64,
    /// Held so that a node outlives those below it.
    _parent: Option<Arc<Self>>,
}

/// What is in use, and of how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Level {
    /// Units in use. Exact while no lease is being used; otherwise each lease's part is as of
    /// some moment during the call.
    pub(crate) used: u64,
    /// The limit.
    pub(crate) limit: u64,
    /// Units refused since the pool was made, whichever limit on their way refused them.
    pub(crate) refused: u64,
}

/// Why units were not given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shortfall {
    /// What was in use and allowed, at the pool that had too little.
    pub(crate) level: Level,
    /// That pool's way from the root: `tenant/group`; empty for the root.
    pub(crate) path: String,
    /// Whether it is the root.
    pub(crate) at_root: bool,
    /// The leases that hold most in that pool, largest first, by their way from it.
    pub(crate) top: Vec<(String, u64)>,
    /// This refusal is what noticed that the alarm was reached.
    pub(crate) alarm: bool,
}

/// A lease, as its owner names itself to the pool.
#[derive(Debug)]
pub(super) struct Holder {
    pub(super) key: u64,
    pub(super) words: Arc<Words>,
}

fn units(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(MAX_UNITS).min(MAX_UNITS)
}

impl LeasePool {
    /// A pool of `limit` units whose leases are of up to `max_lease`; both are capped at 2⁵².
    pub(crate) fn new(limit: u64, max_lease: u64) -> Arc<Self> {
        let tree = Arc::new(Mutex::new(Tree::new(units(limit))));
        Arc::new(Self { tree, node: ROOT, max_lease: units(max_lease), _parent: None })
    }

    /// A pool within this one: what is taken there is taken here and above too. When its last
    /// lease and handle are gone, what is still in use is this pool's.
    pub(crate) fn child(self: &Arc<Self>, name: &str, limit: u64) -> Arc<Self> {
        let node = lock(&self.tree).open_node(self.node, name, units(limit));
        let (tree, parent) = (Arc::clone(&self.tree), Some(Arc::clone(self)));
        Arc::new(Self { tree, node, max_lease: self.max_lease, _parent: parent })
    }

    /// A new lease, empty until its first use.
    pub(crate) fn open(self: &Arc<Self>, name: &str) -> Lease {
        let words = Arc::new(Words::new(2 * self.max_lease));
        let key = lock(&self.tree).open(self.node, name, &words);
        Lease::new(Arc::clone(self), Holder { key, words })
    }

    /// What is in use, and of how much.
    pub(crate) fn level(&self) -> Level {
        lock(&self.tree).level(self.node)
    }

    /// The limit, without adding up what is in use.
    pub(crate) fn limit(&self) -> u64 {
        u64::try_from(lock(&self.tree).limit(self.node)).unwrap_or(0)
    }

    /// Changes the limit, at most 2⁵². Below what is in use, nothing is given until it has sunk.
    pub(crate) fn set_limit(&self, limit: u64) {
        lock(&self.tree).set_limit(self.node, units(limit));
    }

    /// Asks that the first request which finds `units` or more in use here and below says so, once.
    /// `true` if so many are in use already; then nothing is set.
    pub(crate) fn set_alarm(&self, at: u64) -> bool {
        lock(&self.tree).set_alarm(self.node, i64::try_from(at).unwrap_or(i64::MAX))
    }

    /// Whether [`Lease::try_take`] never takes from a lease here and below from now on, those that are
    /// open included: only the cold path does, where more is asked than the limit.
    pub(crate) fn set_rated(&self, rated: bool) {
        lock(&self.tree).set_rated(self.node, rated);
    }

    /// Whether both are nodes of one tree.
    pub(crate) fn is_kin(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.tree, &other.tree)
    }

    pub(super) fn take(&self, holder: &Holder, n: u64, pending: i64) -> Result<bool, Shortfall> {
        if n == 0 {
            return Ok(false);
        }
        let mut tree = lock(&self.tree);
        if tree.settle(holder.key, pending) {
            return Ok(tree.alarm_reached(holder.key));
        }
        tree.take(holder.key, n, self.max_lease)
    }

    pub(super) fn give_back(&self, holder: &Holder) {
        lock(&self.tree).give_back(holder.key, self.max_lease);
    }

    pub(super) fn hand_over(&self, from: &Holder, to: &Holder, n: i64) {
        lock(&self.tree).hand_over(from.key, to.key, n);
    }

    pub(super) fn adopt(&self, holder: &Holder, n: u64) {
        lock(&self.tree).adopt(holder.key, units(n));
    }

    pub(super) fn end(&self, holder: &Holder) {
        lock(&self.tree).end(holder.key);
    }
}

impl Drop for LeasePool {
    fn drop(&mut self) {
        if self.node != ROOT {
            lock(&self.tree).close_node(self.node);
        }
    }
}
