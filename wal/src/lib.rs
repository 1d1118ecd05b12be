//! The write-ahead log: every record durable in group commits, none lost that was acknowledged.
//!
//! Lanes copy records into blocks of their own; one writer thread seals the blocks, gives records
//! their numbers and ends an epoch each millisecond; when the sync that covers an epoch returns,
//! its records are durable. *Durable* means that the device acknowledged the flush.
//!
//! | idea | modules |
//! |---|---|
//! | what a user holds | [`Log`], [`LogLane`], [`LogOptions`] |
//! | the lane's path | `lane`, `handover`, `buffer` |
//! | the writer's | `writer`, `hub`, `segments` |
//! | how blocks reach the device | `backend`, chosen by [`BackendKind`] |
//! | the bytes | `format`, drawn in `docs/wal-format.md` |
//! | reading them back | [`recover`] |
//! | what lets old segments go | [`checkpoint`], `space` |
//! | the disk, and its stand-in | `storage` |

// Helpers of tests count as production code to clippy where `cfg(test)` is not all that gates them.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on fails"))]
// What only a ring asks of the pool, the storage and the waker stays in their interfaces without it.
#![cfg_attr(not(feature = "uring"), allow(dead_code, reason = "used by the back end `uring`"))]

mod backend;
mod buffer;
pub mod checkpoint;
mod durable;
mod error;
mod format;
mod handover;
mod hub;
mod lag;
mod lane;
mod log;
mod options;
pub mod recover;
mod segments;
mod space;
mod storage;
mod sync;
#[cfg(all(test, not(loom)))]
mod tests;
mod writer;

pub use backend::choose::Chosen;
pub use durable::WhenDurable;
pub use error::{IoError, LogError, RecoverError};
pub use format::run::{GAP, Record, Run};
pub use format::{ALIGNMENT, BlockFault, FORMAT_VERSION};
pub use lag::LagReport;
pub use lane::LogLane;
pub use log::{DROP_PATIENCE, Log};
pub use options::{AtLimit, BackendKind, LogOptions, Mode, OnFull, OptionError};
pub use space::SpaceReport;
