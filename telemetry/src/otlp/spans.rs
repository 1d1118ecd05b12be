//! The exporter of spans: OpenTelemetry's own, fed with `SpanData` that is built here. Retries with
//! backoff, compression, headers and TLS are that library's.

use std::{
    borrow::Cow,
    collections::HashMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ng_core::spans::Value;
use opentelemetry::{
    InstrumentationScope, KeyValue, SpanId, TraceFlags, TraceId,
    trace::{Event, Link, SpanContext, SpanKind as OtelKind, Status, TraceState},
};
use opentelemetry_otlp::{
    Compression, RetryPolicy, SpanExporter, WithExportConfig as _, WithHttpConfig as _, WithTonicConfig as _,
};
use opentelemetry_sdk::{
    Resource,
    trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks},
};
use tokio::runtime::Runtime;
use tonic::metadata::{MetadataKey, MetadataMap};

use super::options::{OtlpError, OtlpOptions, Protocol};
use crate::{
    context::threshold,
    spans::{ExportError, Exporter, SpanKind, SpanRecord, Text},
};

/// The exporter.
#[derive(Debug)]
pub struct OtlpSpans {
    runtime: Runtime,
    exporter: SpanExporter,
    endpoint: String,
    timeout: Duration,
}

/// A runtime for one thread: it works only while that waits for a request.
pub(super) fn runtime() -> Result<Runtime, OtlpError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(OtlpError::Runtime)
}

/// Headers as gRPC takes them.
pub(super) fn metadata(options: &OtlpOptions) -> Result<MetadataMap, OtlpError> {
    let mut map = MetadataMap::new();
    for (name, value) in &options.headers {
        let bad = || OtlpError::Header(name.clone());
        let key = MetadataKey::from_bytes(name.to_ascii_lowercase().as_bytes()).map_err(|_| bad())?;
        map.insert(key, value.parse().map_err(|_| bad())?);
    }
    Ok(map)
}

impl OtlpSpans {
    /// An exporter to a receiver. It connects with the first spans, so a receiver that is not there
    /// yet is no error.
    ///
    /// # Errors
    /// See [`OtlpError`].
    pub fn new(options: &OtlpOptions) -> Result<Self, OtlpError> {
        let address = options.address("/v1/traces")?;
        let metadata = metadata(options)?;
        let runtime = runtime()?;
        let _within = runtime.enter();
        let retry = RetryPolicy::recommended().with_max_retries(options.retries);
        let client = |why: &dyn std::fmt::Display| OtlpError::Client {
            endpoint: options.shown(),
            why: why.to_string(),
        };
        let mut exporter = match options.protocol {
            Protocol::Grpc => {
                let mut builder = SpanExporter::builder()
                    .with_tonic()
                    .with_endpoint(address)
                    .with_timeout(options.timeout)
                    .with_metadata(metadata)
                    .with_retry_policy(retry);
                if options.gzip {
                    builder = builder.with_compression(Compression::Gzip);
                }
                builder.build().map_err(|error| client(&error))?
            }
            Protocol::Http => {
                let headers: HashMap<String, String> = options.headers.iter().cloned().collect();
                let mut builder = SpanExporter::builder()
                    .with_http()
                    .with_endpoint(address)
                    .with_timeout(options.timeout)
                    .with_headers(headers)
                    .with_retry_policy(retry);
                if options.gzip {
                    builder = builder.with_compression(Compression::Gzip);
                }
                builder.build().map_err(|error| client(&error))?
            }
        };
        exporter.set_resource(&resource(&options.service));
        drop(_within);
        Ok(Self { runtime, exporter, endpoint: options.shown(), timeout: options.timeout })
    }
}

fn resource(service: &str) -> Resource {
    let attributes = [
        KeyValue::new("service.name", service.to_owned()),
        KeyValue::new("process.pid", i64::from(std::process::id())),
        KeyValue::new("telemetry.sdk.language", "rust"),
    ];
    Resource::builder_empty().with_attributes(attributes).build()
}

impl Exporter for OtlpSpans {
    fn export(&mut self, spans: &[SpanRecord]) -> Result<(), ExportError> {
        let batch = spans.iter().map(span_data).collect();
        let endpoint = &self.endpoint;
        let failed = |why: String| ExportError::Other(format!("OTLP to {endpoint}: {why}").into());
        // The library bounds its retries by the timeout, and not a request that hangs.
        let (exporter, timeout) = (&self.exporter, self.timeout);
        let exported =
            self.runtime.block_on(async { tokio::time::timeout(timeout, exporter.export(batch)).await });
        match exported {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed(format!("no answer within {timeout:?}"))),
        }
    }
}

fn time(unix_ns: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(unix_ns)
}

fn fixed(value: Value) -> opentelemetry::Value {
    match value {
        // OTLP's integers are signed; a greater one keeps its digits as text.
        Value::U64(n) => i64::try_from(n).map_or_else(|_| n.to_string().into(), opentelemetry::Value::from),
        Value::F64(n) => n.into(),
        Value::Str(text) => text.into(),
        Value::Bool(truth) => truth.into(),
    }
}

fn computed((key, value): &(Cow<'static, str>, Text)) -> KeyValue {
    let value: opentelemetry::Value = match value {
        Text::I64(n) => (*n).into(),
        Text::F64(n) => (*n).into(),
        Text::Bool(truth) => (*truth).into(),
        Text::Owned(text) => text.clone().into(),
        Text::Fixed(text) => (*text).into(),
    };
    KeyValue::new(key.clone(), value)
}

/// A span as OpenTelemetry's exporters take it.
fn span_data(record: &SpanRecord) -> SpanData {
    let span = &record.span;
    let details = record.details.as_deref();
    let id = |id: ng_core::spans::SpanId| SpanId::from_bytes(id.0.to_be_bytes());
    let trace = |trace: ng_core::spans::TraceId| TraceId::from_bytes(trace.0.to_be_bytes());
    let context = |of, span, state| SpanContext::new(trace(of), id(span), TraceFlags::SAMPLED, false, state);
    let state = threshold::trace_state(record).and_then(|text| text.parse::<TraceState>().ok());
    let own = span.attributes.iter().map_while(Option::as_ref);
    let mut attributes: Vec<KeyValue> = own.map(|&(key, value)| KeyValue::new(key, fixed(value))).collect();
    attributes.extend(details.iter().flat_map(|details| &details.attributes).map(computed));
    attributes.push(KeyValue::new("sampling.reason", span.reason.label()));
    attributes.push(KeyValue::new("sampling.probability", span.probability));

    let mut events = SpanEvents::default();
    let mut links = SpanLinks::default();
    if let Some(details) = details {
        events.dropped_count = details.dropped_events;
        events.events = details
            .events
            .iter()
            .map(|event| {
                let attributes = event.attributes.iter().map(computed).collect();
                Event::new(event.name.clone(), time(event.unix_ns), attributes, event.dropped_attributes)
            })
            .collect();
        links.dropped_count = details.dropped_links;
        let link = |&(of, span)| Link::with_context(context(of, span, TraceState::NONE));
        links.links = details.links.iter().map(link).collect();
    }
    let message = || details.and_then(|details| details.status_message.clone()).unwrap_or_default();
    SpanData {
        span_context: context(record.trace, record.id, state.unwrap_or_default()),
        parent_span_id: span.parent.map_or(SpanId::INVALID, id),
        parent_span_is_remote: details.is_some_and(|details| details.remote_parent),
        span_kind: match details.map_or(SpanKind::Internal, |details| details.kind) {
            SpanKind::Internal => OtelKind::Internal,
            SpanKind::Server => OtelKind::Server,
            SpanKind::Client => OtelKind::Client,
            SpanKind::Producer => OtelKind::Producer,
            SpanKind::Consumer => OtelKind::Consumer,
        },
        name: match details.and_then(|details| details.name.clone()) {
            Some(name) => Cow::Owned(name),
            None => Cow::Borrowed(span.name),
        },
        start_time: time(span.start_ns),
        end_time: time(span.end_ns),
        attributes,
        dropped_attributes_count: details.map_or(0, |details| details.dropped_attributes),
        events,
        links,
        status: if span.failed { Status::error(message()) } else { Status::Unset },
        instrumentation_scope: InstrumentationScope::builder(details.map_or("neurograph", |details| {
            if details.target.is_empty() { "neurograph" } else { details.target }
        }))
        .with_version(env!("CARGO_PKG_VERSION"))
        .build(),
    }
}
