//! The exporter that writes a file: one span to a line, as OTLP's JSON encoding writes a `Span`
//! (<https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>: ids in hex, 64-bit numbers
//! as strings), with `sampling.reason` and `sampling.probability` among the attributes.
//!
//! "Written" means given to the operating system; it does not sync. A line is never half there:
//! after a failed write the file is cut back to the last whole one.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use ng_core::spans::Value;
use serde::{
    Serialize, Serializer,
    ser::{SerializeMap, SerializeSeq},
};

use super::exporter::{ExportError, Exporter, SpanRecord};

/// The exporter.
#[derive(Debug)]
pub struct JsonLines {
    path: PathBuf,
    file: File,
    /// Half a line may stand before it.
    torn: bool,
    /// Kept from call to call, so that it is allocated once.
    lines: Vec<u8>,
}

impl JsonLines {
    /// Opens `path`, and makes it if it isn't there; what is in it stays.
    ///
    /// # Errors
    /// [`ExportError::Open`] if it can't be opened for appending.
    pub fn open(path: &Path) -> Result<Self, ExportError> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map_err(|source| ExportError::Open { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), file, torn: false, lines: Vec::new() })
    }
}

impl Exporter for JsonLines {
    fn export(&mut self, spans: &[SpanRecord]) -> Result<(), ExportError> {
        self.lines.clear();
        if self.torn {
            self.lines.push(b'\n');
        }
        for record in spans {
            serde_json::to_writer(&mut self.lines, &Line(record))
                .map_err(|error| ExportError::Other(error.into()))?;
            self.lines.push(b'\n');
        }
        let bytes = self.lines.len();
        let failed = |offset, source| ExportError::Write { path: self.path.clone(), offset, bytes, source };
        let offset = self.file.metadata().map_err(|source| failed(0, source))?.len();
        let written = self.file.write_all(&self.lines);
        // A pipe can't be cut back: there the next line begins with an end of line.
        self.torn = written.is_err() && self.file.set_len(offset).is_err();
        written.map_err(|source| failed(offset, source))
    }
}

/// `SPAN_KIND_INTERNAL` and `STATUS_CODE_ERROR` of opentelemetry-proto, `trace.proto`.
const KIND_INTERNAL: u8 = 1;
const STATUS_ERROR: u8 = 2;

struct Line<'a>(&'a SpanRecord);

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let SpanRecord { trace, id, span } = self.0;
        let mut line = serializer.serialize_map(None)?;
        line.serialize_entry("traceId", &Hex(trace.0.to_be_bytes()))?;
        line.serialize_entry("spanId", &Hex(id.0.to_be_bytes()))?;
        if let Some(parent) = span.parent {
            line.serialize_entry("parentSpanId", &Hex(parent.0.to_be_bytes()))?;
        }
        line.serialize_entry("name", span.name)?;
        line.serialize_entry("kind", &KIND_INTERNAL)?;
        line.serialize_entry("startTimeUnixNano", &Decimal(span.start_ns))?;
        line.serialize_entry("endTimeUnixNano", &Decimal(span.end_ns))?;
        line.serialize_entry("attributes", &Attributes(self.0))?;
        line.serialize_entry("status", &Status(span.failed))?;
        line.end()
    }
}

struct Status(bool);

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut status = serializer.serialize_map(None)?;
        if self.0 {
            status.serialize_entry("code", &STATUS_ERROR)?;
        }
        status.end()
    }
}

struct Attributes<'a>(&'a SpanRecord);

impl Serialize for Attributes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let span = &self.0.span;
        let mut attributes = serializer.serialize_seq(None)?;
        for &(key, value) in span.attributes.iter().map_while(Option::as_ref) {
            attributes.serialize_element(&Attribute(key, value))?;
        }
        attributes.serialize_element(&Attribute("sampling.reason", Value::Str(span.reason.label())))?;
        attributes.serialize_element(&Attribute("sampling.probability", Value::F64(span.probability)))?;
        attributes.end()
    }
}

struct Attribute(&'static str, Value);

impl Serialize for Attribute {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut attribute = serializer.serialize_map(None)?;
        attribute.serialize_entry("key", self.0)?;
        attribute.serialize_entry("value", &AnyValue(self.1))?;
        attribute.end()
    }
}

struct AnyValue(Value);

impl Serialize for AnyValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut value = serializer.serialize_map(None)?;
        match self.0 {
            // OTLP's integers are signed; a greater one keeps its digits as text.
            Value::U64(n) if i64::try_from(n).is_ok() => value.serialize_entry("intValue", &Decimal(n))?,
            Value::U64(n) => value.serialize_entry("stringValue", &Decimal(n))?,
            Value::F64(n) if n.is_finite() => value.serialize_entry("doubleValue", &n)?,
            // Protobuf's JSON names for what JSON has no number for.
            Value::F64(n) if n.is_nan() => value.serialize_entry("doubleValue", "NaN")?,
            Value::F64(n) if n > 0.0 => value.serialize_entry("doubleValue", "Infinity")?,
            Value::F64(_) => value.serialize_entry("doubleValue", "-Infinity")?,
            Value::Str(text) => value.serialize_entry("stringValue", text)?,
            Value::Bool(truth) => value.serialize_entry("boolValue", &truth)?,
        }
        value.end()
    }
}

/// A number as a string of digits.
struct Decimal(u64);

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// An id as lower-case hexadecimal digits, up to 16 bytes.
struct Hex<const N: usize>([u8; N]);

impl<const N: usize> Serialize for Hex<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0_u8; 32];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        let text = std::str::from_utf8(&text[..2 * N]).map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(text)
    }
}
