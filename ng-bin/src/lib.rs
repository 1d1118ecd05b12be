//! The observability stack composed: configuration, and what is made of it.
//!
//! | idea | modules |
//! |---|---|
//! | what the stack shall be | [`config`] |
//! | real input, and tokens out again | `ingest`, `export` (feature `cli`) |
//! | what a machine offers | `doctor` (feature `cli`) |
//! | the proof | `stress` (feature `cli`) |
//! | the stack as a service | `serve` (feature `serve`) |
//! | the program's words | `cli` (feature `cli`) |
//! | a configuration read again | [`reload`] |
//! | the running stack, its lanes, recovery | [`stack`] |

// Helpers of tests count as production code to clippy where `cfg(test)` is not all that gates them.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on fails"))]

#[cfg(feature = "cli")]
pub mod cli;
pub mod config;
#[cfg(feature = "cli")]
pub mod doctor;
#[cfg(feature = "cli")]
pub mod export;
#[cfg(feature = "cli")]
pub mod ingest;
pub mod reload;
#[cfg(feature = "cli")]
pub mod report;
#[cfg(feature = "serve")]
pub mod serve;
pub mod stack;
#[cfg(feature = "cli")]
pub mod stress;
#[cfg(feature = "top")]
pub mod top;

pub use stack::{Stack, StackError, StackLane};

// The README's example is a test.
#[cfg(all(doctest, feature = "wal", feature = "telemetry", feature = "blackbox"))]
#[doc = include_str!("../../README.md")]
struct Readme;
