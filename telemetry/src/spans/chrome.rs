//! The exporter that draws: Chrome's trace-event JSON, which Perfetto, speedscope and
//! `chrome://tracing` show. Format: "Trace Event Format", Google, complete events (`"ph": "X"`).
//!
//! Each trace is a row of its own (`tid`), so that spans nest by time alone, as viewers want. The
//! file is one array; it is made anew, and is whole after [`Exporter::close`]. Before that the
//! closing bracket is missing, which the format allows.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use ng_core::spans::Value;
use serde_json::{Map, Value as Json, json};

use super::{
    exporter::{ExportError, Exporter},
    record::{SpanRecord, Text},
};

/// The exporter.
#[derive(Debug)]
pub struct ChromeTrace {
    path: PathBuf,
    file: BufWriter<File>,
    written: u64,
}

impl ChromeTrace {
    /// Makes `path`; what was in it is gone.
    ///
    /// # Errors
    /// [`ExportError::Open`] if it can't be made.
    pub fn create(path: &Path) -> Result<Self, ExportError> {
        let file =
            File::create(path).map_err(|source| ExportError::Open { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), file: BufWriter::new(file), written: 0 })
    }

    fn put(&mut self, text: &[u8]) -> Result<(), ExportError> {
        let failed = |source| ExportError::Write {
            path: self.path.clone(),
            offset: self.written,
            bytes: text.len(),
            source,
        };
        self.file.write_all(text).map_err(failed)?;
        self.written += text.len() as u64;
        Ok(())
    }
}

impl Exporter for ChromeTrace {
    fn export(&mut self, spans: &[SpanRecord]) -> Result<(), ExportError> {
        for record in spans {
            let comma: &[u8] = if self.written == 0 { b"[\n" } else { b",\n" };
            self.put(comma)?;
            let event =
                serde_json::to_vec(&event(record)).map_err(|error| ExportError::Other(error.into()))?;
            self.put(&event)?;
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<(), ExportError> {
        let bytes = self.file.buffer().len();
        let (path, offset) = (self.path.clone(), self.written - bytes as u64);
        self.file.flush().map_err(|source| ExportError::Write { path, offset, bytes, source })
    }

    fn close(&mut self) -> Result<(), ExportError> {
        let end: &[u8] = if self.written == 0 { b"[]\n" } else { b"\n]\n" };
        self.put(end)?;
        self.flush()
    }
}

fn event(record: &SpanRecord) -> Json {
    let span = &record.span;
    let mut args = Map::new();
    for &(key, value) in span.attributes.iter().map_while(Option::as_ref) {
        let value = match value {
            Value::U64(n) => json!(n),
            Value::F64(n) => json!(n),
            Value::Str(text) => json!(text),
            Value::Bool(truth) => json!(truth),
        };
        args.insert(key.to_owned(), value);
    }
    for (key, value) in record.details.iter().flat_map(|details| &details.attributes) {
        let value = match value {
            Text::I64(n) => json!(n),
            Text::F64(n) => json!(n),
            Text::Bool(truth) => json!(truth),
            Text::Owned(text) => json!(text),
            Text::Fixed(text) => json!(text),
        };
        args.insert(key.clone().into_owned(), value);
    }
    args.insert("trace".to_owned(), json!(record.trace.to_string()));
    args.insert("span".to_owned(), json!(record.id.to_string()));
    args.insert("sampling.reason".to_owned(), json!(span.reason.label()));
    if span.failed {
        args.insert("failed".to_owned(), json!(true));
    }
    // A row number that a viewer's script can hold: 2^53.
    let row = (record.trace.0 & 0xffff_ffff) as u64;
    json!({
        "name": record.name(),
        "cat": record.details.as_ref().map_or("lane", |details| details.target),
        "ph": "X",
        "ts": micros(span.start_ns),
        "dur": micros(span.end_ns.saturating_sub(span.start_ns)),
        "pid": std::process::id(),
        "tid": row,
        "args": args,
    })
}

/// The format counts microseconds.
#[expect(clippy::cast_precision_loss, reason = "a quarter of a microsecond, in the year 2026")]
fn micros(ns: u64) -> f64 {
    ns as f64 / 1_000.0
}

#[cfg(all(test, not(loom)))]
mod tests {
    use ng_core::{
        spans::{SpanId, TraceId},
        testing::spans::sample_span,
    };

    use super::*;

    #[test]
    fn the_file_is_one_array_of_complete_events_even_if_there_are_none() {
        let dir = tempfile::tempdir().unwrap();
        for count in [0, 1, 3] {
            let path = dir.path().join("trace.json");
            let mut exporter = ChromeTrace::create(&path).unwrap();
            for n in 0..count {
                let span = sample_span("drawn");
                let record = SpanRecord { trace: TraceId(7), id: SpanId(n + 1), span, details: None };
                exporter.export(&[record]).unwrap();
            }
            exporter.close().unwrap();
            let read: Vec<Json> = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            assert_eq!(read.len() as u64, count);
            for event in read {
                assert_eq!(
                    (&event["ph"], &event["name"], &event["tid"]),
                    (&"X".into(), &"drawn".into(), &7.into())
                );
                assert_eq!(event["dur"], 0.998);
                assert_eq!(event["args"]["id"], 42);
            }
        }
    }
}
