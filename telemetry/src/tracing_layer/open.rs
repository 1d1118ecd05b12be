//! A span that is under way: what it gathers until it is closed, within limits.

use std::{borrow::Cow, fmt};

use ng_core::{
    clock::stamp_unix_ns,
    spans::{FinishedSpan, MAX_ATTRIBUTES, SpanId, TraceId, Value},
};
use tracing::{
    Event, Level,
    field::{Field, Visit},
};

use super::thread::Sampled;
use crate::spans::{Details, SpanEvent, SpanKind, SpanRecord, Text};

/// How much a span of `tracing` macros may gather. What is beyond is dropped, and counted on the
/// span itself, as OTLP has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanLimits {
    /// Attributes of a span, and of each event: 64.
    pub attributes: usize,
    /// Events: 128.
    pub events: usize,
    /// Links: 32.
    pub links: usize,
    /// Bytes of a text: 1,024. A longer one is cut.
    pub text_bytes: usize,
}

impl Default for SpanLimits {
    fn default() -> Self {
        Self { attributes: 64, events: 128, links: 32, text_bytes: 1_024 }
    }
}

/// The span.
#[derive(Debug)]
pub(super) struct Open {
    record: Box<SpanRecord>,
    /// How many of the fixed attributes are in use.
    fixed: usize,
    state: Option<std::sync::Arc<str>>,
    remote_parent: bool,
    target: &'static str,
}

impl Open {
    pub(super) fn new(
        name: &'static str,
        target: &'static str,
        trace: TraceId,
        id: SpanId,
        parent: Option<&Sampled>,
        (reason, probability): (ng_core::sampling::Reason, f64),
    ) -> Self {
        let start_ns = stamp_unix_ns();
        let span = FinishedSpan {
            trace: None,
            parent: parent.and_then(|parent| parent.span),
            name,
            start_ns,
            end_ns: start_ns,
            failed: false,
            reason,
            probability,
            attributes: [None; MAX_ATTRIBUTES],
        };
        Self {
            record: Box::new(SpanRecord { trace, id, span, details: None }),
            fixed: 0,
            state: parent.and_then(|parent| parent.state.clone()),
            remote_parent: parent.is_some_and(|parent| parent.remote),
            target,
        }
    }

    /// As its children need it.
    pub(super) fn scope(&self) -> Sampled {
        Sampled {
            trace: self.record.trace,
            span: Some(self.record.id),
            reason: self.record.span.reason,
            probability: self.record.span.probability,
            state: self.state.clone(),
            remote: false,
        }
    }

    fn details(&mut self) -> &mut Details {
        let target = self.target;
        self.record.details.get_or_insert_with(|| Box::new(Details { target, ..Details::default() }))
    }

    /// Something to gather fields with.
    pub(super) const fn gather<'a>(&'a mut self, limits: &'a SpanLimits) -> Gather<'a> {
        Gather { open: self, limits }
    }

    /// An event within the span. One of level ERROR says that the span failed.
    pub(super) fn event(&mut self, event: &Event<'_>, limits: &SpanLimits) {
        let failed = *event.metadata().level() == Level::ERROR;
        self.record.span.failed |= failed;
        let full = self.record.details.as_ref().is_some_and(|d| d.events.len() >= limits.events);
        if full {
            self.details().dropped_events += 1;
            return;
        }
        let name = event.metadata().name();
        let mut gathered = GatherEvent {
            event: SpanEvent {
                unix_ns: stamp_unix_ns(),
                name: Cow::Borrowed(name),
                attributes: vec![("level".into(), Text::Fixed(event.metadata().level().as_str()))],
                dropped_attributes: 0,
            },
            limits,
        };
        event.record(&mut gathered);
        let event = gathered.event;
        if failed && self.details().status_message.is_none() {
            self.details().status_message = Some(event.name.clone().into_owned());
        }
        self.details().events.push(event);
    }

    /// The span follows from another.
    pub(super) fn link(&mut self, trace: TraceId, span: SpanId, limits: &SpanLimits) {
        let details = self.details();
        if details.links.len() < limits.links {
            details.links.push((trace, span));
        } else {
            details.dropped_links += 1;
        }
    }

    /// It has ended.
    pub(super) fn close(mut self) -> Box<SpanRecord> {
        self.record.span.end_ns = stamp_unix_ns().max(self.record.span.start_ns);
        if self.fixed < MAX_ATTRIBUTES && self.record.details.is_none() {
            self.record.span.attributes[self.fixed] = Some(("code.namespace", Value::Str(self.target)));
        }
        if let Some(state) = self.state.take() {
            self.details().trace_state = Some((&*state).into());
        }
        if self.remote_parent {
            self.details().remote_parent = true;
        }
        self.record
    }
}

fn cut(text: &str, limits: &SpanLimits) -> String {
    text[..text.floor_char_boundary(limits.text_bytes)].to_owned()
}

/// What `{:?}` gives, up to a number of bytes: a huge value is never written out whole.
fn shown(value: &dyn fmt::Debug, limits: &SpanLimits) -> String {
    struct Cut<'a>(String, &'a SpanLimits);
    impl fmt::Write for Cut<'_> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.push_str(&text[..text.floor_char_boundary(self.1.text_bytes - self.0.len())]);
            if self.0.len() + 4 > self.1.text_bytes { Err(fmt::Error) } else { Ok(()) }
        }
    }
    let mut out = Cut(String::new(), limits);
    // An error is how it stops early.
    let _ = fmt::write(&mut out, format_args!("{value:?}"));
    out.0
}

/// Fields of a span, into its attributes.
pub(super) struct Gather<'a> {
    open: &'a mut Open,
    limits: &'a SpanLimits,
}

impl Gather<'_> {
    fn fixed(&mut self, field: &Field, value: Value, text: Text) {
        let open = &mut *self.open;
        if field.name() == "sampling.root" {
            return;
        }
        if open.fixed < MAX_ATTRIBUTES && open.fixed < self.limits.attributes {
            open.record.span.attributes[open.fixed] = Some((field.name(), value));
            open.fixed += 1;
        } else {
            self.text(field, text);
        }
    }

    fn text(&mut self, field: &Field, text: Text) {
        let (fixed, limit) = (self.open.fixed, self.limits.attributes);
        let details = self.open.details();
        if fixed + details.attributes.len() < limit {
            details.attributes.push((Cow::Borrowed(field.name()), text));
        } else {
            details.dropped_attributes += 1;
        }
    }

    /// Fields that OpenTelemetry gives a meaning.
    fn special(&mut self, field: &Field, text: &str) -> bool {
        match field.name() {
            "otel.name" => self.open.details().name = Some(cut(text, self.limits)),
            "otel.kind" => {
                self.open.details().kind = match text.to_ascii_lowercase().as_str() {
                    "server" => SpanKind::Server,
                    "client" => SpanKind::Client,
                    "producer" => SpanKind::Producer,
                    "consumer" => SpanKind::Consumer,
                    _ => SpanKind::Internal,
                }
            }
            "otel.status_code" => self.open.record.span.failed = text.eq_ignore_ascii_case("error"),
            "otel.status_message" | "otel.status_description" => {
                self.open.details().status_message = Some(cut(text, self.limits));
            }
            _ => return false,
        }
        true
    }
}

impl Visit for Gather<'_> {
    fn record_u64(&mut self, field: &Field, value: u64) {
        let text = i64::try_from(value).map_or_else(|_| Text::Owned(value.to_string()), Text::I64);
        self.fixed(field, Value::U64(value), text);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        match u64::try_from(value) {
            Ok(positive) => self.fixed(field, Value::U64(positive), Text::I64(value)),
            Err(_) => self.text(field, Text::I64(value)),
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.fixed(field, Value::F64(value), Text::F64(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.fixed(field, Value::Bool(value), Text::Bool(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if !self.special(field, value) {
            self.text(field, Text::Owned(cut(value, self.limits)));
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.open.record.span.failed = true;
        self.text(field, Text::Owned(cut(&value.to_string(), self.limits)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = shown(value, self.limits);
        if !self.special(field, &text) {
            self.text(field, Text::Owned(text));
        }
    }
}

/// Fields of an event.
struct GatherEvent<'a> {
    event: SpanEvent,
    limits: &'a SpanLimits,
}

impl GatherEvent<'_> {
    fn add(&mut self, field: &Field, text: Text) {
        if self.event.attributes.len() < self.limits.attributes {
            self.event.attributes.push((Cow::Borrowed(field.name()), text));
        } else {
            self.event.dropped_attributes += 1;
        }
    }
}

impl Visit for GatherEvent<'_> {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, i64::try_from(value).map_or_else(|_| Text::Owned(value.to_string()), Text::I64));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Text::I64(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, Text::F64(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, Text::Bool(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.event.name = Cow::Owned(cut(value, self.limits));
        } else {
            self.add(field, Text::Owned(cut(value, self.limits)));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = shown(value, self.limits);
        if field.name() == "message" {
            self.event.name = Cow::Owned(text);
        } else {
            self.add(field, Text::Owned(text));
        }
    }
}
