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

use super::{
    exporter::{ExportError, Exporter},
    json::SpanJson,
    record::SpanRecord,
};

/// The exporter.
#[derive(Debug)]
pub struct JsonLines {
    file: Appended,
    json: SpanJson,
    /// Kept from call to call, so that it is allocated once.
    lines: Vec<u8>,
}

/// A file that only ever ends with a whole line.
#[derive(Debug)]
pub(super) struct Appended {
    path: PathBuf,
    file: File,
    /// Half a line may stand before it.
    torn: bool,
}

impl Appended {
    /// Opens `path` for appending, and makes it if it isn't there.
    pub(super) fn open(path: &Path) -> Result<Self, ExportError> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map_err(|source| ExportError::Open { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), file, torn: false })
    }

    /// Appends whole lines, or none of them.
    pub(super) fn append(&mut self, lines: &[u8]) -> Result<(), ExportError> {
        let bytes = lines.len();
        let failed = |offset, source| ExportError::Write { path: self.path.clone(), offset, bytes, source };
        let offset = self.file.metadata().map_err(|source| failed(0, source))?.len();
        // A pipe can't be cut back: there the next line begins with an end of line.
        let written = if self.torn { self.file.write_all(b"\n") } else { Ok(()) };
        let written = written.and_then(|()| self.file.write_all(lines));
        self.torn = written.is_err() && self.file.set_len(offset).is_err();
        written.map_err(|source| failed(offset, source))
    }
}

impl JsonLines {
    /// Opens `path`, and makes it if it isn't there; what is in it stays.
    ///
    /// # Errors
    /// [`ExportError::Open`] if it can't be opened for appending.
    pub fn open(path: &Path) -> Result<Self, ExportError> {
        Ok(Self { file: Appended::open(path)?, json: SpanJson::default(), lines: Vec::new() })
    }
}

impl Exporter for JsonLines {
    fn export(&mut self, spans: &[SpanRecord]) -> Result<(), ExportError> {
        self.lines.clear();
        for record in spans {
            self.json.write(&mut self.lines, record);
            self.lines.push(b'\n');
        }
        self.file.append(&self.lines)
    }
}
