//! An amount that grows, shrinks and gives itself back, also when its owner panics. It never waits
//! for room: whoever is refused decides what to do.

use super::pool::Pool;
use super::rate::Rates;
use super::refusal::PoolRefusal;
use crate::lease::Lease;
use std::fmt;

/// Units held by one owner, such as the bytes of a buffer. Nothing at first; given back when
/// dropped.
///
/// ```
/// use ng_guardian::{Pool, PoolOptions};
///
/// let bytes = Pool::new("bytes", PoolOptions { limit: 1 << 20, ..PoolOptions::default() })?;
/// let mut sort = bytes.reservation("sort");
/// sort.try_grow(900_000)?;
/// let run = sort.split(400_000);
/// assert_eq!((sort.size(), run.size()), (500_000, 400_000));
/// sort.shrink(100_000);
/// assert_eq!(bytes.level().used, 800_000);
/// drop((sort, run));
/// assert_eq!(bytes.level().used, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Reservation {
    lease: Lease,
    rates: Rates,
    pool: Pool,
    holder: String,
    size: u64,
}

impl Reservation {
    pub(super) fn new(pool: Pool, holder: &str) -> Self {
        let (lease, rates) = (pool.lease(holder), pool.rates());
        Self { lease, rates, pool, holder: holder.to_owned(), size: 0 }
    }

    /// Holds `n` units more, all or none.
    ///
    /// # Errors
    /// [`PoolRefusal`]; nothing has happened then, except that of a request which an upper pool's
    /// rate refused the lower pools' rates have counted the units.
    #[inline]
    pub fn try_grow(&mut self, n: u64) -> Result<(), PoolRefusal> {
        if !self.lease.try_take(n)
            && let Err(shortfall) = self.lease.take_from_pool(n)
        {
            return Err(PoolRefusal::quota(self.pool.resource(), n, shortfall));
        }
        self.rates.check(n).inspect_err(|_| self.lease.release(n))?;
        self.size += n;
        Ok(())
    }

    /// Holds `size` units from now on: grows or shrinks.
    ///
    /// # Errors
    /// [`PoolRefusal`] if it can't grow so far; it stays as it was then.
    pub fn try_resize(&mut self, size: u64) -> Result<(), PoolRefusal> {
        if size > self.size {
            return self.try_grow(size - self.size);
        }
        self.shrink(self.size - size);
        Ok(())
    }

    /// Gives `n` units back, or all that it holds if that is less. Returns how many.
    #[inline]
    pub fn shrink(&mut self, n: u64) -> u64 {
        let n = n.min(self.size);
        self.lease.release(n);
        self.size -= n;
        n
    }

    /// Gives everything back; the reservation can grow again. Returns how much it was.
    pub fn free(&mut self) -> u64 {
        self.shrink(self.size)
    }

    /// A second reservation that holds `n` of this one's units, or all of them if that is less.
    /// Nothing is asked of the pool, so it can't be refused.
    #[must_use = "dropping it gives its units back"]
    pub fn split(&mut self, n: u64) -> Self {
        let n = n.min(self.size);
        let lease = self.lease.split(&self.holder, n);
        self.size -= n;
        let rates = self.rates.clone();
        Self { lease, rates, pool: self.pool.clone(), holder: self.holder.clone(), size: n }
    }

    /// A second reservation that holds all of this one's units.
    #[must_use = "dropping it gives its units back"]
    pub fn take(&mut self) -> Self {
        self.split(self.size)
    }

    /// Units held.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The pool that they are of.
    #[must_use]
    pub const fn pool(&self) -> &Pool {
        &self.pool
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.free();
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").field("pool", &self.pool.path()).field("size", &self.size).finish()
    }
}
