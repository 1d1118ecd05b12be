//! The guardian: an exact quota at half a nanosecond, marks at which a cleanup frees tokens, the
//! process's real memory, and the bounds that the constitution sets.
//!
//! | idea | modules |
//! |---|---|
//! | an exact limit, shared by threads that hardly meet | `lease` |
//! | the two sides of the contract | `guardian`, `lane`, `shared` |
//! | quotas by name, in trees; reservations; rates | `pools` |
//! | tokens and bytes, the bounds on a token | `quota`, `constitution` |
//! | the constitution's document, history and trial | `cdna` |
//! | the guardian's own thread, and what it looks at | `watcher`, `cleanup`, `marks`, `pool_watch`, `memory`, `news` |
//! | what it is told and what it tells | `options`, `error`, `notices`, `obstacle`, `report`, `tally` |

// Helpers of tests count as production code to clippy where `cfg(test)` is not all that gates them.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that can't go on fails"))]

pub mod cdna;
mod cleanup;
mod constitution;
mod error;
mod guardian;
mod lane;
mod lease;
mod marks;
mod memory;
mod news;
mod notices;
mod obstacle;
mod options;
mod pool_watch;
mod pools;
mod quota;
mod report;
mod shared;
mod sync;
mod tally;
mod watcher;

pub use constitution::{Constitution, ConstitutionError, LogLevel};
pub use error::GuardianError;
pub use guardian::Guardian;
pub use lane::GuardianLane;
pub use memory::{AllocatorFigures, AllocatorStats, MemoryReader, MemoryReport, RealMemory};
pub use notices::{Notice, Subscription};
pub use options::{ConstitutionHook, GuardianOptions, Mark, MarkCrossed, MarkHook, MarkLevels};
pub use pools::{
    Pool, PoolError, PoolLane, PoolLevel, PoolOptions, PoolRefusal, PoolSpec, RateLimit, Reservation,
};
pub use quota::Limits;
pub use report::{CleanupReport, GuardianReport, PoolReport};
