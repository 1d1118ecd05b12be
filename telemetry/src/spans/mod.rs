//! Spans: where those of sampled operations go.
//!
//! A lane copies a span into a slab of its own. One thread, `ng-spans`, takes full slabs from a
//! bounded queue and partial ones at an interval, and gives them to an [`Exporter`]. A lane never
//! waits for that; what doesn't fit is dropped and counted.
//!
//! | file | idea |
//! |---|---|
//! | `slab` | the lane |
//! | `depot` | where slabs change hands |
//! | `writer` | the shared side, and the thread |
//! | `exporter` | what an exporter is; the ones that keep nothing and everything |
//! | `json_lines` | the one that writes a file |

mod depot;
mod exporter;
mod json_lines;
mod slab;
mod writer;

pub use exporter::{Discard, ExportError, Exporter, Memory, SpanRecord};
pub use json_lines::JsonLines;
pub use slab::SpanSlab;
pub use writer::{SpanOptions, SpanWriter, StartError};
