//! One thread's lease: takes and releases with two plain stores, and asks the pool when that
//! isn't enough. It never looks at another thread's words.

use super::pool::{Holder, LeasePool, Shortfall};
use super::words::MAX_UNITS;
use std::sync::Arc;

/// A thread's right to take from a [`LeasePool`]. When it is dropped its unused units go back to
/// the pool; units in use stay in use. One that is leaked instead keeps its few hundred bytes,
/// and its unused units can be recalled as anyone's.
#[derive(Debug)]
pub(crate) struct Lease {
    pool: Arc<LeasePool>,
    holder: Holder,
    /// Twice the units above which unused ones go back.
    keep: i64,
}

impl Lease {
    pub(super) fn new(pool: Arc<LeasePool>, holder: Holder, max_lease: i64) -> Self {
        Self { pool, holder, keep: 4 * max_lease }
    }

    /// Takes `n` units if this lease has them and is a quick one. `false` says only that the pool
    /// must be asked.
    #[inline(always)]
    pub(crate) fn try_take(&mut self, n: u64) -> bool {
        n <= MAX_UNITS.cast_unsigned() && self.holder.words.try_take(n.cast_signed())
    }

    /// Takes `n` units out of a careful lease, or with a new lease out of the pool, recalling the others' leases if it must.
    /// `true` if this is what reached the alarm set with [`LeasePool::set_alarm`].
    ///
    /// # Errors
    /// [`Shortfall`] if `n` more would pass the limit; nothing was taken then.
    #[cold]
    pub(crate) fn take_from_pool(&mut self, n: u64) -> Result<bool, Shortfall> {
        if n <= MAX_UNITS.cast_unsigned() && self.holder.words.try_take_carefully(n.cast_signed()) {
            return Ok(false);
        }
        self.pool.take(&self.holder, n)
    }

    /// Releases `n` units that some lease of the pool took. More than twice a lease's size goes
    /// on to the pool.
    #[inline(always)]
    pub(crate) fn release(&mut self, n: u64) {
        debug_assert!(n <= MAX_UNITS.cast_unsigned(), "{n} units were never taken");
        if self.holder.words.put_back(n.cast_signed()) > self.keep {
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
        self.pool.end(&self.holder);
    }
}
