//! Spans: where those of sampled operations go.
//!
//! A lane copies a span into a ring of its own. One thread, `ng-spans`, empties the rings and gives
//! what is in them to an [`Exporter`]. A lane never waits for that; what doesn't fit is dropped and
//! counted.
//!
//! | file | idea |
//! |---|---|
//! | `lane`, `ring` | the lane |
//! | `depot` | what the thread waits for |
//! | `writer` | the shared side, and the thread |
//! | `record` | a span as exporters see it |
//! | `exporter` | what an exporter is; the ones that keep nothing and everything |
//! | `json` | a span in OTLP's JSON encoding |
//! | `json_lines`, `otlp_file`, `chrome` | the ones that write files |

mod chrome;
mod depot;
mod exporter;
mod json;
mod json_lines;
mod lane;
mod otlp_file;
mod record;
mod ring;
mod writer;

pub use chrome::ChromeTrace;
pub use exporter::{Discard, ExportError, Exporter, Memory};
pub use json_lines::JsonLines;
pub use lane::SpanRing;
pub(crate) use lane::{Ids, is_by_lot};
pub use otlp_file::OtlpFile;
pub use record::{Details, SpanEvent, SpanKind, SpanRecord, Text};
pub(crate) use ring::Line;
pub use writer::{SpanDrops, SpanIntake, SpanOptions, SpanWriter, StartError};
