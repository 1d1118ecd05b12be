//! The observability stack of a hot in-process engine, composed: write-ahead log, quotas, metrics,
//! traces and flight recorder, configured in one file, at nanoseconds an operation.
//!
//! # In five minutes
//!
//! **A stack** is made of a configuration; every layer has a section, and `kind = "off"` switches it
//! off. **A lane** is one thread's way into all layers at once: it takes no lock, reads no clock and
//! makes no system call.
//!
//! ```
//! use std::time::Duration;
//!
//! use ng_core::TokenSpec;
//! use ng_core::lane::BatchReport;
//! use ng_stack::Stack;
//! use ng_stack::config::Loader;
//!
//! # let dir = tempfile::tempdir()?;
//! # let (wal, rings) = (dir.path().join("wal"), dir.path().join("rings"));
//! let text = format!(r#"
//!     [wal]
//!     dir = {wal:?}
//!     [guardian]
//!     max_tokens = 1_000
//!     cleanup = false
//!     [tracing]
//!     output = ""
//!     [blackbox]
//!     dir = {rings:?}
//! "#);
//! let stack = Stack::builder().loaded(Loader::new().text("ng.toml", text.clone()).load()?).build()?;
//!
//! // One token: checked, admitted, logged, kept, counted, recorded.
//! let mut lane = stack.lane("maker")?;
//! let made = lane.create(&TokenSpec::new().with_weight(0.5))?;
//! assert_eq!(lane.get(made.id).unwrap().weight, 0.5);
//!
//! // Many at a time are made faster, and each stands or falls alone: one has no room here.
//! let mut report = BatchReport::default();
//! lane.create_batch(&vec![TokenSpec::new(); 1_000], &mut report);
//! assert_eq!((report.made(), report.refused().len()), (999, 1));
//!
//! // Nothing waited for the disk. Whoever must be sure, waits for the lane's last ticket.
//! stack.wal().wait_durable(lane.last_ticket(), Duration::from_secs(10))?;
//!
//! // Each layer says what it does: as numbers, and for Prometheus.
//! assert_eq!(stack.admission().stats().used, 1_000);
//! let mut scrape = String::new();
//! stack.metrics().render(&mut scrape);
//! assert!(scrape.contains("neurograph_tokens_created_total 1000"));
//!
//! // The end makes everything durable; the next start has it back.
//! drop(lane);
//! stack.shutdown(Duration::from_secs(10))?;
//! let again = Stack::builder().loaded(Loader::new().text("ng.toml", text).load()?).build()?;
//! assert_eq!(again.store().len(), 1_000);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **An engine that makes no tokens** takes the layers from its lane, with records, counters and
//! events of its own; `examples/order_book.rs` and `examples/line_protocol.rs` are two, and the
//! second puts its layers together without a configuration, so that what it leaves out is not
//! even compiled in.
//!
//! ```
//! use ng_core::admission::AdmissionLane as _;
//! use ng_core::metrics::{MetricDesc, MetricLane as _};
//! use ng_core::wal::{RecordKind, WalLane as _};
//! use ng_stack::{Stack, config::Loader};
//!
//! # let dir = tempfile::tempdir()?;
//! # let (wal, rings) = (dir.path().join("wal"), dir.path().join("rings"));
//! # let text = format!("[wal]\ndir = {wal:?}\n[tracing]\noutput = \"\"\n[blackbox]\ndir = {rings:?}");
//! # let stack = Stack::builder().loaded(Loader::new().text("ng.toml", text).load()?).build()?;
//! let trades = stack.metrics().counter(&MetricDesc::new("trades_total", "Trades made."))?;
//! let mut lane = stack.lane("matcher")?;
//! let ticket = lane.layers().op("trade", |layers| {
//!     layers.admission.admit(1)?;
//!     let ticket = layers.wal.append(RecordKind::USER, b"7 lots at 100")?;
//!     layers.metrics.add(trades, 1);
//!     Ok::<_, Box<dyn std::error::Error>>(ticket)
//! })?;
//! stack.wal().wait_durable(ticket, std::time::Duration::from_secs(10))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **A layer of one's own** implements a trait of `ng-core` and goes to the builder
//! (`Stack::builder().wal(mine)`); `examples/custom_wal.rs`, `custom_admission.rs`,
//! `custom_telemetry.rs` and `custom_recorder.rs` have one for each of the six traits. The suites in
//! `ng_core::testing` say whether it keeps the trait's promises.
//!
//! **A configuration** is checked as a whole and says what is wrong, where, and what was meant; every
//! value knows where it came from. [`reload::Reloader`] reads it again while the stack runs.
//!
//! ```
//! use ng_stack::config::Loader;
//!
//! let errors = Loader::new().text("ng.toml", "[log]\nlevl = \"warn\"").load().unwrap_err();
//! assert!(errors.to_string().contains("did you mean `level`?"));
//! ```
//!
//! # The modules
//!
//! | idea | modules |
//! |---|---|
//! | what the stack shall be | [`config`] |
//! | the running stack, its lanes, recovery | [`stack`] |
//! | a configuration read again | [`reload`] |
//! | real input, and tokens out again | `ingest`, `export` (feature `cli`) |
//! | the stack as a service | `serve` (feature `serve`) |
//! | what a machine offers | `doctor` (feature `cli`) |
//! | the proof | `stress` (feature `cli`) |
//! | the program's words | `cli` (feature `cli`) |
//!
//! # The features
//!
//! All are on by default; without any, a lane is the bare store.
//!
//! | feature | what it builds in |
//! |---|---|
//! | `wal`, `uring`, `mmap` | the log, and two of its back ends |
//! | `guardian` | quotas, memory watch, the constitution |
//! | `telemetry`, `otlp` | metrics, sampling and spans, and their sending by OTLP |
//! | `blackbox` | the flight recorder |
//! | `cli`, `serve` | the program `ng`, and its service |

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
