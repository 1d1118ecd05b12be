//! Contracts of the NeuroGraph observability stack, and the engine's own core: the token, the
//! store that keeps it, and the lane that makes it.
//!
//! Implementations of a layer depend on this crate alone; it depends on none of them.
//!
//! | idea | modules |
//! |---|---|
//! | what is kept | [`token`], [`spec`], [`store`] |
//! | what a layer promises | [`wal`], [`admission`], [`metrics`], [`sampling`], [`spans`], [`events`] |
//! | the hot path | [`lane`], [`clock`], [`fence`] |
//! | what the log says of tokens | [`records`] |
//! | proof that a layer keeps its promise | `testing` (feature `testing`) |

// Helpers of tests count as production code to clippy where `cfg(test)` is not all that gates them.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on fails"))]

pub mod admission;
pub mod clock;
pub mod events;
pub mod fence;
pub mod lane;
pub mod metrics;
pub mod records;
pub mod sampling;
pub mod spans;
pub mod spec;
pub mod store;
mod sync;
#[cfg(feature = "testing")]
pub mod testing;
pub mod token;
pub mod wal;

pub use spec::TokenSpec;
pub use store::TokenStore;
pub use token::{Token, TokenId};
