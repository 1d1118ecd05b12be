//! Logs: what `tracing` events say, for people or as JSON, on standard error or wherever a writer
//! leads, with the trace's id where the thread is within a sampled span.
//!
//! One callsite that goes wild must not drown the others nor the disk: each may say so much a
//! second, what is beyond is counted, and the next line that comes through says how much was left
//! out. Unlike the span layer, this one has filters of its own ([`tracing_subscriber::EnvFilter`]).
//!
//! | file | idea |
//! |---|---|
//! | `limit` | how much each callsite may say |
//! | `line` | one line, human or JSON |

mod limit;
mod line;

pub use limit::{LogLimit, LogStats};
pub use line::{LogFormat, Logs};
