//! Quotas by name: tokens, bytes, connections, or whatever else can be counted; in trees (global →
//! tenant → group of lanes), each level exact. They know nothing of tokens or of cleanups.
//!
//! | idea | module |
//! |---|---|
//! | a limit within limits | `pool` |
//! | a thread's hot way to take single units | `lane` |
//! | a variable amount that gives itself back | `reservation` |
//! | trees out of a list | `plan` |
//! | so many units a second | `rate` |
//! | what a refused caller is told | `refusal` |

mod lane;
mod plan;
mod pool;
mod rate;
mod refusal;
mod reservation;
#[cfg(all(test, not(loom)))]
mod tests;

pub use lane::PoolLane;
pub use plan::PoolSpec;
pub(crate) use plan::{DOMAINS, Planned, PlannedPool};
pub use pool::{Pool, PoolError, PoolLevel, PoolOptions};
pub use rate::RateLimit;
pub(crate) use rate::Rates;
pub use refusal::PoolRefusal;
pub use reservation::Reservation;
