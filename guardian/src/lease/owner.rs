//! One thread's lease: takes and releases with two plain stores, and asks the pool when that
//! isn't enough. It never looks at another thread's words.

use super::pool::{Holder, LeasePool, Shortfall};
use super::words::{MAX_QUICK, MAX_UNITS};
use std::sync::Arc;

/// A thread's right to take from a [`LeasePool`]. When it is dropped its unused units go back to
/// the pool; units in use stay in use. One that is leaked instead keeps its few hundred bytes,
/// and its unused units can be recalled as anyone's.
#[derive(Debug)]
pub(crate) struct Lease {
    pool: Arc<LeasePool>,
    holder: Holder,
    /// Units of a take that found no room, until [`Lease::take_from_pool`] has settled it.
    pending: i64,
}

impl Lease {
    pub(super) fn new(pool: Arc<LeasePool>, holder: Holder) -> Self {
        Self { pool, holder, pending: 0 }
    }

    /// Takes `n` units if this lease has them and is a quick one. After a `false`
    /// [`Lease::take_from_pool`] must come next, with the same `n`.
    #[inline(always)]
    pub(crate) fn try_take(&mut self, n: u64) -> bool {
        debug_assert!(self.pending == 0, "a take of {} was not settled", self.pending);
        if n > MAX_QUICK {
            return false;
        }
        let has = self.holder.words.try_take(n.cast_signed());
        if !has {
            self.pending = n.cast_signed();
        }
        has
    }

    /// Takes `n` units out of a careful lease, or with a new lease out of the pool, recalling the others'
    /// leases if it must. `true` if this is what reached the alarm set with [`LeasePool::set_alarm`].
    ///
    /// # Errors
    /// [`Shortfall`] if `n` more would pass the limit; nothing was taken then.
    #[cold]
    pub(crate) fn take_from_pool(&mut self, n: u64) -> Result<bool, Shortfall> {
        let pending = std::mem::take(&mut self.pending);
        debug_assert!(pending == 0 || pending == n.cast_signed(), "{pending} are pending, not {n}");
        if pending != 0 && self.holder.words.has_carefully() {
            return Ok(false);
        }
        self.pool.take(&self.holder, n, pending)
    }

    /// Releases `n` units that some lease of the pool took. More than twice a lease's size goes
    /// on to the pool.
    #[inline(always)]
    pub(crate) fn release(&mut self, n: u64) {
        debug_assert!(self.pending == 0, "a take of {} was not settled", self.pending);
        debug_assert!(n <= MAX_UNITS.cast_unsigned(), "{n} units were never taken");
        if self.holder.words.put_back(n.cast_signed()) {
            self.pool.give_back(&self.holder);
        }
    }

    /// Holds `n` units that are in use already, even beyond the limit.
    pub(crate) fn adopt(&mut self, n: u64) {
        self.pool.adopt(&self.holder, n);
    }

    /// A second lease of the same pool, which has `n` of this one's units in use from now on.
    pub(crate) fn split(&mut self, name: &str, n: u64) -> Self {
        let other = self.pool.open(name);
        self.pool.hand_over(&self.holder, &other.holder, n.cast_signed());
        other
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.pending != 0 {
            // Whoever took it can't have been told that it has it.
            self.holder.words.take_granted(-self.pending);
        }
        self.pool.end(&self.holder);
    }
}
