//! Head sampling: which operations are looked at, decided before they begin.
//!
//! A lane pays a countdown for an operation that nobody samples. The countdown is drawn from the
//! geometric distribution, so each operation is sampled with the same probability whatever came
//! before it, and no call pattern can fall in step with it. Nothing here reads a clock.
//!
//! | file | idea |
//! |---|---|
//! | `countdown` | the draw |
//! | `counts` | cells that count operations and count down at once |
//! | `sampler` | the shared side: which rates are in force |
//! | `operation`, `tally` | what is kept of an operation by its name; what a lane counts |
//! | `gate` | the lane: the countdown, and decisions on operations with a context |
//! | `rules` | operations with a rate of their own |
//! | `controller` | a target of samples a second, met by a thread of its own |
//! | `limiter` | how many wishes a second are granted |

mod controller;
pub(crate) mod countdown;
pub(crate) mod counts;
mod gate;
mod limiter;
mod operation;
mod rules;
mod sampler;
mod tally;

pub use controller::Adaptive;
pub use gate::Gate;
pub(crate) use limiter::Limiter;
pub(crate) use operation::Operation;
pub use rules::{Rule, RuleAction, RuleError};
pub(crate) use sampler::Shared;
pub use sampler::{MAX_OPERATIONS, RateError, Sampler, SamplerError, SamplerOptions};
pub(crate) use tally::Tally;
