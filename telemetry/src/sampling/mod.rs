//! Head sampling: which operations are looked at, decided before they begin.
//!
//! A lane pays a countdown for an operation that nobody samples. The countdown is drawn from the
//! geometric distribution, so each operation is sampled with the same probability whatever came
//! before it, and no call pattern can fall in step with it. Nothing here reads a clock.
//!
//! | file | idea |
//! |---|---|
//! | `sampler` | the shared side: the rate, and the counts by reason |
//! | `gate` | the lane: the countdown, and decisions on operations with a context |

mod gate;
mod sampler;

pub use gate::Gate;
pub use sampler::{RateError, Sampler};
