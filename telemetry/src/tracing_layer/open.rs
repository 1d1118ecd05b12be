//! A span that is under way: what it gathers until it is closed, within limits.

use std::{borrow::Cow, fmt, sync::Arc};

use ng_core::{
    clock::stamp_unix_ns,
    spans::{FinishedSpan, MAX_ATTRIBUTES, SpanId, TraceId, Value},
};
use tracing::{
    Event, Level,
    field::{Field, Visit},
};

use super::{
    sites::{ROOT_FIELD, Site},
    slots::Begun,
    thread::Sampled,
};
use crate::spans::{Details, SpanEvent, SpanKind, SpanRecord, Text};

/// The attribute that says where a span without details comes from.
pub(super) const NAMESPACE: &str = "code.namespace";

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

/// A span in the extensions: what has no place in a slot, or all of it if there was no slot.
#[derive(Debug, Default)]
pub(super) struct Open {
    /// If it has no slot.
    pub(super) begun: Option<Begun>,
    pub(super) more: Option<Box<More>>,
}

/// What no fixed place is kept for.
#[derive(Debug)]
pub(super) struct More {
    details: Box<Details>,
    failed: bool,
    /// The caller's `tracestate`.
    pub(super) state: Option<Arc<str>>,
}

impl More {
    pub(super) fn new(target: &'static str) -> Box<Self> {
        let details = Box::new(Details { target, ..Details::default() });
        Box::new(Self { details, failed: false, state: None })
    }

    /// What a span has from a parent in another process, or within one.
    pub(super) fn inherited(parent: &Sampled, target: &'static str) -> Option<Box<Self>> {
        (parent.remote || parent.state.is_some()).then(|| {
            let mut more = Self::new(target);
            more.state.clone_from(&parent.state);
            more.details.remote_parent = parent.remote;
            more
        })
    }

    /// An event within the span. One of level ERROR says that the span failed.
    pub(super) fn event(&mut self, event: &Event<'_>, limits: &SpanLimits) {
        let failed = *event.metadata().level() == Level::ERROR;
        self.failed |= failed;
        let details = &mut *self.details;
        if details.events.len() >= limits.events {
            details.dropped_events += 1;
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
        if failed && details.status_message.is_none() {
            details.status_message = Some(event.name.clone().into_owned());
        }
        details.events.push(event);
    }

    /// The span follows from another.
    pub(super) fn link(&mut self, trace: TraceId, span: SpanId, limits: &SpanLimits) {
        if self.details.links.len() < limits.links {
            self.details.links.push((trace, span));
        } else {
            self.details.dropped_links += 1;
        }
    }
}

/// A span that has ended, as the writer takes it.
pub(super) fn closed(begun: &Begun, site: &Site, end_ns: u64, more: Option<Box<More>>) -> Box<SpanRecord> {
    let mut attributes = [None; MAX_ATTRIBUTES];
    for (slot, (field, value)) in attributes.iter_mut().zip(begun.attributes()) {
        *slot = Some((site.field(field), value));
    }
    if more.is_none()
        && let Some(slot) = attributes.get_mut(begun.count())
    {
        *slot = Some((NAMESPACE, Value::Str(site.target())));
    }
    let failed = more.as_ref().is_some_and(|more| more.failed);
    let details = more.map(|more| {
        let More { mut details, state, .. } = *more;
        details.trace_state = state.map(|state| (&*state).into());
        details
    });
    let span = FinishedSpan {
        trace: None,
        parent: begun.parent,
        name: site.name,
        start_ns: begun.start_ns,
        end_ns,
        failed,
        reason: begun.reason,
        probability: begun.probability,
        attributes,
    };
    Box::new(SpanRecord { trace: begun.trace, id: begun.span, span, details })
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
    /// What has room for some of them, as long as the span begins.
    begun: Option<&'a mut Begun>,
    /// How many it has.
    fixed: usize,
    more: &'a mut Option<Box<More>>,
    target: &'static str,
    limits: &'a SpanLimits,
}

impl<'a> Gather<'a> {
    /// Of a span that begins.
    #[inline]
    pub(super) const fn beginning(
        begun: &'a mut Begun,
        more: &'a mut Option<Box<More>>,
        target: &'static str,
        limits: &'a SpanLimits,
    ) -> Self {
        Self { fixed: begun.count(), begun: Some(begun), more, target, limits }
    }

    /// Of one that has begun, with so many attributes in a fixed place.
    pub(super) const fn later(
        fixed: usize,
        more: &'a mut Option<Box<More>>,
        target: &'static str,
        limits: &'a SpanLimits,
    ) -> Self {
        Self { fixed, begun: None, more, target, limits }
    }

    fn more(&mut self) -> &mut More {
        let target = self.target;
        self.more.get_or_insert_with(|| More::new(target))
    }

    #[inline]
    fn fixed(&mut self, field: &Field, value: Value, text: impl FnOnce() -> Text) {
        if field.name() == ROOT_FIELD {
            return;
        }
        if self.fixed < self.limits.attributes
            && let Some(begun) = &mut self.begun
            && begun.add(field.index(), value)
        {
            self.fixed += 1;
        } else {
            self.text(field, text());
        }
    }

    fn text(&mut self, field: &Field, text: Text) {
        let (fixed, limit) = (self.fixed, self.limits.attributes);
        let details = &mut *self.more().details;
        if fixed + details.attributes.len() < limit {
            details.attributes.push((Cow::Borrowed(field.name()), text));
        } else {
            details.dropped_attributes += 1;
        }
    }

    /// Fields that OpenTelemetry gives a meaning.
    fn special(&mut self, field: &Field, text: &str) -> bool {
        let limits = self.limits;
        match field.name() {
            "otel.name" => self.more().details.name = Some(cut(text, limits)),
            "otel.kind" => {
                self.more().details.kind = match text.to_ascii_lowercase().as_str() {
                    "server" => SpanKind::Server,
                    "client" => SpanKind::Client,
                    "producer" => SpanKind::Producer,
                    "consumer" => SpanKind::Consumer,
                    _ => SpanKind::Internal,
                }
            }
            "otel.status_code" => self.more().failed = text.eq_ignore_ascii_case("error"),
            "otel.status_message" | "otel.status_description" => {
                self.more().details.status_message = Some(cut(text, limits));
            }
            _ => return false,
        }
        true
    }
}

impl Visit for Gather<'_> {
    #[inline]
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.fixed(field, Value::U64(value), || whole(value));
    }

    #[inline]
    fn record_i64(&mut self, field: &Field, value: i64) {
        match u64::try_from(value) {
            Ok(positive) => self.fixed(field, Value::U64(positive), || Text::I64(value)),
            Err(_) => self.text(field, Text::I64(value)),
        }
    }

    #[inline]
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.fixed(field, Value::F64(value), || Text::F64(value));
    }

    #[inline]
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.fixed(field, Value::Bool(value), || Text::Bool(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if !self.special(field, value) {
            self.text(field, Text::Owned(cut(value, self.limits)));
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.more().failed = true;
        self.text(field, Text::Owned(cut(&value.to_string(), self.limits)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = shown(value, self.limits);
        if !self.special(field, &text) {
            self.text(field, Text::Owned(text));
        }
    }
}

/// A whole number, as a text if it needs all of its bits.
fn whole(n: u64) -> Text {
    i64::try_from(n).map_or_else(|_| Text::Owned(n.to_string()), Text::I64)
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
        self.add(field, whole(value));
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
