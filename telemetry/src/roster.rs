//! Who is counting: the shards of live lanes, and the totals of those that ended.
//!
//! A reader sums both under one lock, and a lane that ends moves from one to the other under the
//! same lock, so no count is seen twice or missed, and a sum never goes backwards. A lane that is
//! leaked stays on the roster and still counts. Writers of counts never take the lock.

use std::sync::Arc;

use crate::sync::{Mutex, lock};

/// What a lane writes and a reader merges.
pub(crate) trait Fold: Send + Sync {
    /// What is left of lanes that ended.
    type Totals: Default + Send;

    /// Adds this shard's counts to `totals`.
    fn fold_into(&self, totals: &mut Self::Totals);
}

/// The roster.
pub(crate) struct Roster<S: Fold>(Mutex<Members<S>>);

struct Members<S: Fold> {
    live: Vec<Arc<S>>,
    retired: S::Totals,
}

impl<S: Fold> Roster<S> {
    /// An empty roster.
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Members { live: Vec::new(), retired: S::Totals::default() }))
    }

    /// Puts a new lane's shard on the roster.
    pub(crate) fn enter(&self, shard: S) -> Arc<S> {
        let shard = Arc::new(shard);
        lock(&self.0).live.push(Arc::clone(&shard));
        shard
    }

    /// Takes an ended lane's shard off and keeps its counts. The caller no longer writes to it.
    pub(crate) fn leave(&self, shard: &Arc<S>) {
        let mut members = lock(&self.0);
        let members = &mut *members;
        if let Some(at) = members.live.iter().position(|live| Arc::ptr_eq(live, shard)) {
            members.live.swap_remove(at).fold_into(&mut members.retired);
        }
    }

    /// Lets `read` see the retired totals and the live shards, as of one moment.
    pub(crate) fn read<R>(&self, read: impl FnOnce(&S::Totals, &[Arc<S>]) -> R) -> R {
        let members = lock(&self.0);
        read(&members.retired, &members.live)
    }

    /// The totals over all lanes, ended ones included.
    pub(crate) fn totals(&self) -> S::Totals
    where
        S::Totals: Clone,
    {
        self.read(|retired, live| {
            let mut totals = retired.clone();
            for shard in live {
                shard.fold_into(&mut totals);
            }
            totals
        })
    }
}

impl<S: Fold> std::fmt::Debug for Roster<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Roster").finish_non_exhaustive()
    }
}
