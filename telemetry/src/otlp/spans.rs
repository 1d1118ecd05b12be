//! The exporter of spans: OpenTelemetry's own model of a span, made of ours and brought to OTLP by that
//! library, sent by the [client](super::client), which sees what the receiver answers.

use std::{
    borrow::Cow,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ng_core::spans::Value;
use opentelemetry::{
    InstrumentationScope, KeyValue, SpanId, TraceFlags, TraceId,
    trace::{Event, Link, SpanContext, SpanKind as OtelKind, Status, TraceState},
};
use opentelemetry_proto::{
    tonic::collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse, trace_service_client::TraceServiceClient,
    },
    transform::{
        common::tonic::ResourceAttributesWithSchema, trace::tonic::group_spans_by_resource_and_scope,
    },
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use tokio::runtime::Runtime;
use tonic::{Response, codec::CompressionEncoding, transport::Channel};

use super::{
    client::{Client, Signal, Verdict, runtime},
    options::{OtlpError, OtlpOptions},
    resource::describe,
};
use crate::{
    context::threshold,
    spans::{ExportError, Exporter, SpanKind, SpanRecord, Text},
};

/// The exporter.
#[derive(Debug)]
pub struct OtlpSpans {
    runtime: Runtime,
    client: Client<Traces>,
    receiver: String,
    timeout: Duration,
    resource: ResourceAttributesWithSchema,
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
        Ok(Self { runtime, client, receiver, timeout, resource: describe(&options.service) })
    }
}

impl Exporter for OtlpSpans {
    fn export(&mut self, spans: &[SpanRecord]) -> Result<(), ExportError> {
        let batch = spans.iter().map(span_data).collect();
        let request = ExportTraceServiceRequest {
            resource_spans: group_spans_by_resource_and_scope(batch, &self.resource),
        };
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
