//! A thread's hot way to take units one by one or in batches: plain loads and stores on its own
//! lease. It keeps no account of its own: whoever takes gives back.

use super::pool::Pool;
use super::rate::Rates;
use super::refusal::PoolRefusal;
use crate::lease::Lease;
use std::fmt;
use std::sync::Arc;

/// One thread's side of a [`Pool`]. Dropping it gives back what it has leased and not used; what
/// it admitted stays in use, and is released by a lane of the same pool.
pub struct PoolLane {
    lease: Lease,
    rates: Rates,
    resource: Arc<str>,
}

impl PoolLane {
    pub(super) fn new(pool: &Pool, holder: &str) -> Self {
        let lease = pool.lease(holder);
        Self { lease, rates: pool.rates(), resource: pool.resource().into() }
    }

    /// Takes `n` units, all or none.
    ///
    /// # Errors
    /// [`PoolRefusal`]; nothing has happened then, except that of a request which an upper pool's
    /// rate refused the lower pools' rates have counted the units.
    #[inline(always)]
    pub fn admit(&mut self, n: u64) -> Result<(), PoolRefusal> {
        // With a rate the lease is careful, and always says no here.
        if self.lease.try_take(n) {
            return Ok(());
        }
        self.admit_slowly(n)
    }

    /// Gives back `n` units that some lane of this pool took.
    #[inline(always)]
    pub fn release(&mut self, n: u64) {
        self.lease.release(n);
    }

    #[cold]
    #[inline(never)]
    fn admit_slowly(&mut self, n: u64) -> Result<(), PoolRefusal> {
        if let Err(shortfall) = self.lease.take_from_pool(n) {
            return Err(PoolRefusal::quota(&self.resource, n, shortfall));
        }
        self.rates.check(n).inspect_err(|_| self.lease.release(n))
    }
}

impl fmt::Debug for PoolLane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolLane").field("lease", &self.lease).field("rates", &self.rates).finish()
    }
}
