//! The flight recorder: what each thread did last, readable after a panic, a SIGKILL or the OOM
//! killer.
//!
//! Each thread writes typed events of fixed size into rings of its own in a file mapped shared, so
//! that the kernel keeps them when the process is gone. Rings come in three tiers, so that the
//! firehose can't evict what matters.
//!
//! ```
//! use ng_blackbox::read::Snapshot;
//! use ng_blackbox::{Recorder, RecorderOptions};
//! use ng_core::events::{Event, EventKind};
//!
//! # let dir = tempfile::tempdir()?;
//! # let dir = dir.path();
//! let recorder = Recorder::create(RecorderOptions::new(dir))?;
//! let mut lane = recorder.open_lane("maker");
//! lane.record(Event::operation(EventKind::TOKENS_CREATED, 7, 100));
//!
//! let snapshot = Snapshot::open(recorder.path())?; // from any process, before or after the death
//! assert_eq!(snapshot.events[0].label, "tokens_created");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | idea | modules |
//! |---|---|
//! | writing | [`Recorder`], [`RecorderLane`], [`RecorderOptions`] |
//! | panics | [`install_panic_hook`], [`Recorder::catch`] |
//! | signals | [`install_crash_handlers`] |
//! | reading | [`read`] |
//! | what dead processes left | [`find_dead`], [`prune_dead`], [`read::Autopsy`] |

// Helpers of tests count as production code to clippy where `cfg(test)` is not all that gates them.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that can't go on fails"))]
#![cfg_attr(loom, allow(dead_code, unreachable_pub, reason = "only the ring is modelled"))]

mod format;
mod region;
mod ring;
mod seal;
mod sync;
mod ticks;

#[cfg(not(loom))]
mod code_map;
#[cfg(all(not(loom), target_os = "linux"))]
mod crash;
#[cfg(not(loom))]
mod error;
#[cfg(all(not(loom), target_os = "linux"))]
mod fork;
#[cfg(not(loom))]
mod lane;
#[cfg(not(loom))]
mod options;
#[cfg(not(loom))]
mod panics;
#[cfg(not(loom))]
mod process;
#[cfg(not(loom))]
pub mod read;
#[cfg(not(loom))]
mod recorder;
#[cfg(not(loom))]
mod ring_file;

#[cfg(all(not(loom), target_os = "linux"))]
pub use crash::{CrashError, CrashHandlers, install_crash_handlers};
#[cfg(not(loom))]
pub use {
    code_map::MAPS_FILE,
    error::RecorderError,
    lane::RecorderLane,
    options::RecorderOptions,
    panics::{PanicHook, PanicOptions, install_panic_hook},
    process::{ProcessRings, find_all, find_dead, prune_dead},
    recorder::{PanicCounts, Recorder},
};
