//! The exporter that writes OTLP's own file format: a request to a line
//! (<https://opentelemetry.io/docs/specs/otel/protocol/file-exporter/>), which a collector reads
//! back and sends on.

use std::path::Path;

use serde::Serialize;

use super::{
    exporter::{ExportError, Exporter},
    json::JsonSpan,
    json_lines::Appended,
    record::SpanRecord,
};

/// The exporter.
#[derive(Debug)]
pub struct OtlpFile {
    file: Appended,
    service: String,
    line: Vec<u8>,
}

impl OtlpFile {
    /// Opens `path`, and makes it if it isn't there; what is in it stays. `service` goes into each
    /// line as the resource's `service.name`.
    ///
    /// # Errors
    /// [`ExportError::Open`] if it can't be opened for appending.
    pub fn open(path: &Path, service: &str) -> Result<Self, ExportError> {
        Ok(Self { file: Appended::open(path)?, service: service.to_owned(), line: Vec::new() })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    resource_spans: [ResourceSpans<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans<'a> {
    resource: Resource<'a>,
    scope_spans: [ScopeSpans<'a>; 1],
}

#[derive(Serialize)]
struct Resource<'a> {
    attributes: [ServiceName<'a>; 1],
}

#[derive(Serialize)]
struct ServiceName<'a> {
    key: &'static str,
    value: StringValue<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StringValue<'a> {
    string_value: &'a str,
}

#[derive(Serialize)]
struct ScopeSpans<'a> {
    scope: Scope,
    spans: Vec<JsonSpan<'a>>,
}

#[derive(Serialize)]
struct Scope {
    name: &'static str,
    version: &'static str,
}

impl Exporter for OtlpFile {
    fn export(&mut self, spans: &[SpanRecord]) -> Result<(), ExportError> {
        self.line.clear();
        let value = StringValue { string_value: &self.service };
        let request = Request {
            resource_spans: [ResourceSpans {
                resource: Resource { attributes: [ServiceName { key: "service.name", value }] },
                scope_spans: [ScopeSpans {
                    scope: Scope { name: "neurograph", version: env!("CARGO_PKG_VERSION") },
                    spans: spans.iter().map(JsonSpan).collect(),
                }],
            }],
        };
        serde_json::to_writer(&mut self.line, &request).map_err(|error| ExportError::Other(error.into()))?;
        self.line.push(b'\n');
        self.file.append(&self.line)
    }
}
