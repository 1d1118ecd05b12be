//! So many units a second, by the generic cell rate algorithm (ITU-T I.371) of `governor`. It
//! counts what was let in, not what is in use, and reads a clock at each request: only pools that
//! have a rate pay for it.

use super::refusal::PoolRefusal;
use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use std::fmt;
use std::num::NonZeroU32;
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

/// A rate in force.
pub(crate) struct Limiter {
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
    pub(crate) fn new(pool: &str, rate: RateLimit) -> Option<Self> {
        let quota =
            Quota::per_second(NonZeroU32::new(rate.per_second)?).allow_burst(NonZeroU32::new(rate.burst)?);
        let clock = SinceStart(Instant::now());
        let limiter = RateLimiter::direct_with_clock(quota, clock.clone());
        Some(Self { pool: pool.to_owned(), rate, clock, limiter })
    }

    /// Counts `n` units, or refuses them and counts none.
    pub(crate) fn check(&self, n: u64) -> Result<(), PoolRefusal> {
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
