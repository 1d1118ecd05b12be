//! Spans and metrics to a receiver that speaks OTLP (Jaeger, a collector, Prometheus, Phoenix), over
//! gRPC or over HTTP with protobuf. Everything of OpenTelemetry's crates stays in here.
//!
//! Threads that are not the lanes' do it: a receiver that is dead or slow costs spans, which are
//! counted, and never a lane's time.
//!
//! | file | idea |
//! |---|---|
//! | `options` | where to, and how |
//! | `client` | how a request reaches it, and what the receiver says |
//! | `resource` | who sends |
//! | `spans` | the exporter of spans |
//! | `metrics` | a snapshot of the registry as OTLP has it |
//! | `push` | the thread that sends it |

mod client;
mod metrics;
mod options;
mod push;
mod resource;
mod spans;

pub use options::{OtlpError, OtlpOptions, Protocol};
pub use push::{MetricPusher, PushStats};
pub use spans::OtlpSpans;
