//! The exporter of spans: OTLP's own messages, built here and sent by the [client](super::client).

use std::{borrow::Cow, time::Duration};

use ng_core::spans::{SpanId, TraceId, Value};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse, trace_service_client::TraceServiceClient,
    },
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value as Any},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span, SpanFlags, Status, span, status::StatusCode},
};
use tokio::runtime::Runtime;
use tonic::{Response, codec::CompressionEncoding, transport::Channel};

use super::{
    client::{Client, Signal, Verdict, runtime},
    options::{OtlpError, OtlpOptions},
};
use crate::{
    context::threshold,
    spans::{Details, ExportError, Exporter, SpanKind, SpanRecord, Text},
};

/// The flag of a sampled span (W3C Trace Context).
const SAMPLED: u32 = 1;

/// The exporter.
#[derive(Debug)]
pub struct OtlpSpans {
    runtime: Runtime,
    client: Client<Traces>,
    receiver: String,
    timeout: Duration,
    resource: Resource,
}

/// Spans, as the client sends them.
struct Traces;

impl Signal for Traces {
    type Request = ExportTraceServiceRequest;
    type Response = ExportTraceServiceResponse;
    type Stub = TraceServiceClient<Channel>;
    const PATH: &'static str = "/v1/traces";
    const VARIABLES: &'static str = "TRACES";

    fn stub(channel: Channel, gzip: bool) -> Self::Stub {
        let stub = TraceServiceClient::new(channel).accept_compressed(CompressionEncoding::Gzip);
        if gzip { stub.send_compressed(CompressionEncoding::Gzip) } else { stub }
    }

    async fn call(
        mut stub: Self::Stub,
        request: tonic::Request<Self::Request>,
    ) -> Result<Response<Self::Response>, tonic::Status> {
        stub.export(request).await
    }

    fn partial(response: Self::Response) -> (i64, String) {
        response.partial_success.map(|said| (said.rejected_spans, said.error_message)).unwrap_or_default()
    }
}

impl OtlpSpans {
    /// An exporter to a receiver. It connects with the first spans, so a receiver that is not there
    /// yet is no error.
    ///
    /// # Errors
    /// See [`OtlpError`].
    pub fn new(options: &OtlpOptions) -> Result<Self, OtlpError> {
        let runtime = runtime()?;
        let client = {
            let _within = runtime.enter();
            Client::new(options)?
        };
        let (receiver, timeout) = (options.shown(), options.timeout);
        Ok(Self { runtime, client, receiver, timeout, resource: resource(&options.service) })
    }
}

fn resource(service: &str) -> Resource {
    let attributes = vec![
        pair("service.name", Any::StringValue(service.to_owned())),
        pair("process.pid", Any::IntValue(std::process::id().into())),
        pair("telemetry.sdk.language", Any::StringValue("rust".to_owned())),
    ];
    Resource { attributes, ..Resource::default() }
}

impl Exporter for OtlpSpans {
    fn export(&mut self, spans: &[SpanRecord]) -> Result<(), ExportError> {
        let request = request(&self.resource, spans);
        match self.runtime.block_on(self.client.send(&request, self.timeout)) {
            Ok(Verdict { rejected: 0, message }) if message.is_empty() => Ok(()),
            Ok(Verdict { rejected, message }) => Err(ExportError::Partial {
                receiver: self.receiver.clone(),
                sent: spans.len(),
                rejected,
                message,
            }),
            Err(why) => Err(ExportError::Other(format!("OTLP to {}: {why}", self.receiver).into())),
        }
    }
}

/// The request that carries them all, by their scope.
fn request(resource: &Resource, spans: &[SpanRecord]) -> ExportTraceServiceRequest {
    let mut scopes: Vec<(&'static str, ScopeSpans)> = Vec::new();
    for record in spans {
        let scope = scope_of(record.details.as_deref());
        // The latest first: spans of one scope come in rows.
        let at = scopes.iter().rposition(|(known, _)| *known == scope).unwrap_or_else(|| {
            scopes.push((scope, scope_spans(scope)));
            scopes.len() - 1
        });
        scopes[at].1.spans.push(span(record));
    }
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource.clone()),
            scope_spans: scopes.into_iter().map(|(_, spans)| spans).collect(),
            ..ResourceSpans::default()
        }],
    }
}

fn scope_of(details: Option<&Details>) -> &'static str {
    details.map(|details| details.target).filter(|target| !target.is_empty()).unwrap_or("neurograph")
}

fn scope_spans(scope: &str) -> ScopeSpans {
    let scope = InstrumentationScope {
        name: scope.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    ScopeSpans { scope: Some(scope), ..ScopeSpans::default() }
}

fn pair(key: &str, value: Any) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn fixed(value: Value) -> Any {
    match value {
        // OTLP's integers are signed; a greater one keeps its digits as text.
        Value::U64(n) => i64::try_from(n).map_or_else(|_| Any::StringValue(n.to_string()), Any::IntValue),
        Value::F64(n) => Any::DoubleValue(n),
        Value::Str(text) => Any::StringValue(text.to_owned()),
        Value::Bool(truth) => Any::BoolValue(truth),
    }
}

fn computed((key, value): &(Cow<'static, str>, Text)) -> KeyValue {
    let value = match value {
        Text::I64(n) => Any::IntValue(*n),
        Text::F64(n) => Any::DoubleValue(*n),
        Text::Bool(truth) => Any::BoolValue(*truth),
        Text::Owned(text) => Any::StringValue(text.clone()),
        Text::Fixed(text) => Any::StringValue((*text).to_owned()),
    };
    pair(key, value)
}

fn trace_bytes(trace: TraceId) -> Vec<u8> {
    trace.0.to_be_bytes().to_vec()
}

fn span_bytes(span: SpanId) -> Vec<u8> {
    span.0.to_be_bytes().to_vec()
}

const fn flags(is_remote: bool) -> u32 {
    let remote = if is_remote { SpanFlags::ContextIsRemoteMask as u32 } else { 0 };
    SAMPLED | SpanFlags::ContextHasIsRemoteMask as u32 | remote
}

/// A span as OTLP has it.
fn span(record: &SpanRecord) -> Span {
    let span = &record.span;
    let details = record.details.as_deref();
    let own = span.attributes.iter().map_while(Option::as_ref);
    let mut attributes: Vec<KeyValue> = own.map(|&(key, value)| pair(key, fixed(value))).collect();
    attributes.extend(details.iter().flat_map(|details| &details.attributes).map(computed));
    attributes.push(pair("sampling.reason", Any::StringValue(span.reason.label().to_owned())));
    attributes.push(pair("sampling.probability", Any::DoubleValue(span.probability)));
    let (code, message) = match span.failed {
        true => (StatusCode::Error, details.and_then(|details| details.status_message.clone())),
        false => (StatusCode::Unset, None),
    };
    Span {
        trace_id: trace_bytes(record.trace),
        span_id: span_bytes(record.id),
        trace_state: threshold::trace_state(record).unwrap_or_default(),
        parent_span_id: span.parent.map(span_bytes).unwrap_or_default(),
        flags: flags(details.is_some_and(|details| details.remote_parent)),
        name: record.name().to_owned(),
        kind: kind(details.map_or(SpanKind::Internal, |details| details.kind)) as i32,
        start_time_unix_nano: span.start_ns,
        end_time_unix_nano: span.end_ns,
        attributes,
        dropped_attributes_count: details.map_or(0, |details| details.dropped_attributes),
        events: details.iter().flat_map(|details| &details.events).map(event).collect(),
        dropped_events_count: details.map_or(0, |details| details.dropped_events),
        links: details.iter().flat_map(|details| &details.links).map(link).collect(),
        dropped_links_count: details.map_or(0, |details| details.dropped_links),
        status: Some(Status { code: code as i32, message: message.unwrap_or_default() }),
    }
}

const fn kind(kind: SpanKind) -> span::SpanKind {
    match kind {
        SpanKind::Internal => span::SpanKind::Internal,
        SpanKind::Server => span::SpanKind::Server,
        SpanKind::Client => span::SpanKind::Client,
        SpanKind::Producer => span::SpanKind::Producer,
        SpanKind::Consumer => span::SpanKind::Consumer,
    }
}

fn event(event: &crate::spans::SpanEvent) -> span::Event {
    span::Event {
        time_unix_nano: event.unix_ns,
        name: event.name.clone().into_owned(),
        attributes: event.attributes.iter().map(computed).collect(),
        dropped_attributes_count: event.dropped_attributes,
    }
}

fn link(&(trace, id): &(TraceId, SpanId)) -> span::Link {
    span::Link {
        trace_id: trace_bytes(trace),
        span_id: span_bytes(id),
        flags: flags(false),
        ..span::Link::default()
    }
}
