//! The exporter that writes OTLP's own file format: a request to a line
//! (<https://opentelemetry.io/docs/specs/otel/protocol/file-exporter/>), which a collector reads
//! back and sends on.

use std::path::Path;

use super::{
    exporter::{ExportError, Exporter},
    json::{SpanJson, put_text},
    json_lines::Appended,
    record::SpanRecord,
};

/// The exporter.
#[derive(Debug)]
pub struct OtlpFile {
    file: Appended,
    json: SpanJson,
    /// What stands before the spans of each line.
    head: Vec<u8>,
    line: Vec<u8>,
}

impl OtlpFile {
    /// Opens `path`, and makes it if it isn't there; what is in it stays. `service` goes into each
    /// line as the resource's `service.name`.
    ///
    /// # Errors
    /// [`ExportError::Open`] if it can't be opened for appending.
    pub fn open(path: &Path, service: &str) -> Result<Self, ExportError> {
        let file = Appended::open(path)?;
        Ok(Self { file, json: SpanJson::default(), head: head(service), line: Vec::new() })
    }
}

/// The resource and the scope, up to the list of spans.
fn head(service: &str) -> Vec<u8> {
    let mut head =
        br#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"#
            .to_vec();
    put_text(&mut head, service);
    head.extend_from_slice(br#"}}]},"scopeSpans":[{"scope":{"name":"neurograph","version":"#);
    put_text(&mut head, env!("CARGO_PKG_VERSION"));
    head.extend_from_slice(br#"},"spans":["#);
    head
}

impl Exporter for OtlpFile {
    fn export(&mut self, spans: &[SpanRecord]) -> Result<(), ExportError> {
        self.line.clear();
        self.line.extend_from_slice(&self.head);
        for (at, record) in spans.iter().enumerate() {
            if at > 0 {
                self.line.push(b',');
            }
            self.json.write(&mut self.line, record);
        }
        self.line.extend_from_slice(b"]}]}]}\n");
        self.file.append(&self.line)
    }
}
