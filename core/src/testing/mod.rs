//! The contract suites: what every implementation of a layer must do, run by each of them.
//!
//! An implementation's tests call the suite with a way to make a fresh instance. A suite panics
//! with what was broken; it never looks inside an implementation.
#![allow(clippy::missing_panics_doc, reason = "a suite reports by panicking")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a suite reports by panicking")]

pub mod admission;
pub mod events;
pub mod metrics;
pub mod sampling;
pub mod spans;
pub mod wal;
