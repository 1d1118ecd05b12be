//! So many units a second, by the generic cell rate algorithm (ITU-T I.371) of `governor`. It
//! counts what was let in, not what is in use, and reads a clock at each request: only pools that
//! have a rate pay for it. A pool's rate may change, come and go while holders are at work: each looks
//! at a number that says whether it did.

use super::refusal::PoolRefusal;
use crate::shared::lock;
use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use std::fmt;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Units a second, at least 1.
    pub per_second: u32,
    /// The most units at once, after a pause: at least 1.
    pub burst: u32,
}

/// The time since the limiter was made, from the monotonic clock.
#[derive(Debug, Clone)]
struct SinceStart(Instant);

impl Clock for SinceStart {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.0.elapsed().into()
    }
}

/// Where a pool's rate stands, if it has one.
#[derive(Debug)]
pub(crate) struct RateSlot {
    pool: String,
    in_force: Mutex<Option<Arc<Limiter>>>,
    changes: AtomicU64,
}

impl RateSlot {
    /// Of a pool without a rate.
    pub(crate) fn new(pool: &str) -> Arc<Self> {
        Arc::new(Self { pool: pool.to_owned(), in_force: Mutex::default(), changes: AtomicU64::new(0) })
    }

    /// The rate from now on: `rated` is told whether there is one, once holders find it here. One that is in
    /// force already goes on; another begins as after a pause. Nothing changes if it lets nothing through.
    pub(crate) fn set(&self, rate: Option<RateLimit>, rated: impl FnOnce(bool)) {
        let mut in_force = lock(&self.in_force);
        if in_force.as_ref().map(|limiter| limiter.rate) == rate {
            return;
        }
        let limiter = rate.map(|rate| Limiter::new(&self.pool, rate));
        if matches!(limiter, Some(None)) {
            return;
        }
        *in_force = limiter.flatten().map(Arc::new);
        // Both within the lock: who sees the new number reads the new rate, and of two who change it the
        // later one has the last word everywhere.
        self.changes.fetch_add(1, Ordering::Release);
        rated(rate.is_some());
    }

    /// The rate in force.
    pub(crate) fn rate(&self) -> Option<RateLimit> {
        lock(&self.in_force).as_ref().map(|limiter| limiter.rate)
    }
}

/// The rates on a holder's way to the root, nearest first, as it saw them last.
#[derive(Debug, Clone)]
pub(crate) struct Rates(Box<[Seen]>);

#[derive(Debug, Clone)]
struct Seen {
    slot: Arc<RateSlot>,
    changes: u64,
    limiter: Option<Arc<Limiter>>,
}

impl Rates {
    pub(crate) fn of(slots: &[Arc<RateSlot>]) -> Self {
        // A slot that was never changed is as new.
        let seen = |slot: &Arc<RateSlot>| Seen { slot: Arc::clone(slot), changes: 0, limiter: None };
        Self(slots.iter().map(seen).collect())
    }

    /// Counts `n` units at each rate, or says which one refuses them; those before it have counted them.
    pub(crate) fn check(&mut self, n: u64) -> Result<(), PoolRefusal> {
        for seen in &mut self.0 {
            if seen.slot.changes.load(Ordering::Acquire) != seen.changes {
                let in_force = lock(&seen.slot.in_force);
                seen.changes = seen.slot.changes.load(Ordering::Relaxed);
                seen.limiter.clone_from(&in_force);
            }
            if let Some(limiter) = &seen.limiter {
                limiter.check(n)?;
            }
        }
        Ok(())
    }
}

/// A rate in force.
struct Limiter {
    pool: String,
    rate: RateLimit,
    clock: SinceStart,
    // The middleware is named: its default is another one where somebody switched on governor's own
    // clock.
    limiter: RateLimiter<NotKeyed, InMemoryState, SinceStart, NoOpMiddleware<Nanos>>,
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter").field("pool", &self.pool).field("rate", &self.rate).finish()
    }
}

impl Limiter {
    /// `None` if the rate lets nothing through.
    fn new(pool: &str, rate: RateLimit) -> Option<Self> {
        let quota =
            Quota::per_second(NonZeroU32::new(rate.per_second)?).allow_burst(NonZeroU32::new(rate.burst)?);
        let clock = SinceStart(Instant::now());
        let limiter = RateLimiter::direct_with_clock(quota, clock.clone());
        Some(Self { pool: pool.to_owned(), rate, clock, limiter })
    }

    /// Counts `n` units, or refuses them and counts none.
    fn check(&self, n: u64) -> Result<(), PoolRefusal> {
        let Ok(units) = u32::try_from(n) else { return Err(self.refusal(n, None)) };
        let Some(units) = NonZeroU32::new(units) else { return Ok(()) };
        match self.limiter.check_n(units) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(not_until)) => Err(self.refusal(n, Some(not_until.wait_time_from(self.clock.now())))),
            Err(_more_than_a_burst) => Err(self.refusal(n, None)),
        }
    }

    fn refusal(&self, asked: u64, retry_after: Option<Duration>) -> PoolRefusal {
        let RateLimit { per_second, burst } = self.rate;
        PoolRefusal::Rate { pool: self.pool.clone(), asked, per_second, burst, retry_after }
    }
}
