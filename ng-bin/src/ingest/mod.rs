//! Real input: rows of CSV, NDJSON or raw tokens, to specs for whoever takes them.
//!
//! | idea | module |
//! |---|---|
//! | where rows come from | `source`, `window` |
//! | which column fills which field | `field`, `mapping` |
//! | bytes to rows | `csv`, `ndjson`, `binary` behind `decode` |
//! | text to values | `value`, `time` |
//! | what can be wrong | `fault` |
//! | the run | `engine`, `intake`, `rejects`, `progress` |
//! | the same for a stream that comes in pieces | `push` |
//!
//! It never makes a token and never touches the log: the [`Intake`] does.

mod binary;
mod csv;
mod decode;
mod engine;
mod fault;
mod field;
mod intake;
mod mapping;
mod ndjson;
mod progress;
mod push;
mod rejects;
mod source;
pub(crate) mod time;
mod value;
mod window;

pub use binary::{decode as decode_token, encode as encode_token};
pub use engine::{Ingest, IngestError, Options, RefusedRow, Summary};
pub use fault::{BadRow, Column, Fault, Place};
pub use field::Field;
pub use intake::{Intake, Stopped, Verdicts};
pub use mapping::{Binding, Mapping, MappingError};
pub use progress::{NoProgress, Progress, Stderr};
pub use push::{RowSink, Rows};
pub use rejects::{Rejects, RejectsError};
pub use source::{Format, Source, SourceError, UnknownFormat};
pub use value::parse_id;
