//! A finished span as exporters see it: the fixed part that a lane writes, and what only a span of
//! `tracing` macros has.

use std::borrow::Cow;

use ng_core::spans::{FinishedSpan, SpanId, TraceId};

/// A finished span with the ids that it has in the export.
#[derive(Debug, Clone, PartialEq)]
pub struct SpanRecord {
    /// Its trace.
    pub trace: TraceId,
    /// The span itself.
    pub id: SpanId,
    /// What the lane said of it; its `trace` may be `None`, the one above is in force.
    pub span: FinishedSpan,
    /// What a fixed size has no room for.
    pub details: Option<Box<Details>>,
}

/// Attributes, events and links of any number up to the limits, counted beyond.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Details {
    /// What it is to others.
    pub kind: SpanKind,
    /// The module that it comes from; the instrumentation scope.
    pub target: &'static str,
    /// Its name, where that is not fixed (`otel.name`); [`FinishedSpan::name`] otherwise.
    pub name: Option<String>,
    /// After those of the fixed part.
    pub attributes: Vec<(Cow<'static, str>, Text)>,
    /// How many attributes went over the limit.
    pub dropped_attributes: u32,
    /// What happened in it, in order.
    pub events: Vec<SpanEvent>,
    /// How many events went over the limit.
    pub dropped_events: u32,
    /// Spans that it follows from.
    pub links: Vec<(TraceId, SpanId)>,
    /// How many links went over the limit.
    pub dropped_links: u32,
    /// Why it failed.
    pub status_message: Option<String>,
    /// The caller's `tracestate`, as it goes on.
    pub trace_state: Option<Box<str>>,
    /// Whether its parent is in another process.
    pub remote_parent: bool,
}

/// What happened in a span.
#[derive(Debug, Clone, PartialEq)]
pub struct SpanEvent {
    /// When, in nanoseconds since 1970.
    pub unix_ns: u64,
    /// What: the message, or the callsite's name.
    pub name: Cow<'static, str>,
    /// What more is known.
    pub attributes: Vec<(Cow<'static, str>, Text)>,
    /// How many attributes went over the limit.
    pub dropped_attributes: u32,
}

/// A value of an attribute that may be computed.
#[derive(Debug, Clone, PartialEq)]
pub enum Text {
    /// A whole number.
    I64(i64),
    /// A number.
    F64(f64),
    /// Yes or no.
    Bool(bool),
    /// A text; whole numbers beyond 64 bits, with sign, are texts too.
    Owned(String),
    /// A fixed text.
    Fixed(&'static str),
}

/// What a span is to others (OpenTelemetry's `SpanKind`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum SpanKind {
    /// Work within this process.
    #[default]
    Internal = 1,
    /// It answers a request.
    Server = 2,
    /// It makes a request.
    Client = 3,
    /// It leaves a message for later.
    Producer = 4,
    /// It takes a message up.
    Consumer = 5,
}

impl SpanRecord {
    /// The name in force.
    #[must_use]
    pub fn name(&self) -> &str {
        self.details.as_ref().and_then(|details| details.name.as_deref()).unwrap_or(self.span.name)
    }
}
