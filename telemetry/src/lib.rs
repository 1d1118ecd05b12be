//! Telemetry of the NeuroGraph stack: what is counted, which operations are looked at, and where
//! the spans of those go.
//!
//! | room | promises | shared side | lane |
//! |---|---|---|---|
//! | [`metrics`] | [`ng_core::metrics`] | [`Registry`] | [`MetricShard`] |
//! | [`sampling`] | [`ng_core::sampling`] | [`Sampler`] | [`Gate`] |
//! | [`tracing_layer`] | spans of `tracing` macros, and `op!` | [`SamplingLayer`](tracing_layer::SamplingLayer) | [`Ops`](tracing_layer::Ops) |
//! | [`promotion`] | errors and slow operations after the fact | [`Promoter`](promotion::Promoter) | – |
//! | [`logs`] | events as lines, limited per callsite | [`Logs`](logs::Logs) | – |
//! | [`context`] | W3C headers | [`Propagator`](context::Propagator) | – |
//! | `otlp` (feature) | what OTLP receivers read | `OtlpSpans`, `MetricPusher` | – |
//! | [`spans`] | [`ng_core::spans`] | [`SpanWriter`] | [`SpanRing`] |
//!
//! One rule holds in all of them: a lane writes memory of its own by plain loads and stores, and
//! whoever reads merges (`roster`). Nothing here waits for a disk on a lane.

// Helpers of tests count as production code to clippy where `cfg(test)` is not all that gates them.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on fails"))]

pub mod context;
pub mod logs;
pub mod metrics;
#[cfg(all(feature = "otlp", not(loom)))]
pub mod otlp;
mod owned;
pub mod promotion;
mod roster;
pub mod sampling;
pub mod spans;
mod sync;
pub mod tracing_layer;

pub use metrics::{MetricShard, Registry, RegistryOptions};
pub use sampling::{Gate, RateError, Sampler, SamplerError, SamplerOptions};
pub use spans::{SpanIntake, SpanOptions, SpanRing, SpanWriter};
