//! A span in OTLP's JSON encoding
//! (<https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>: ids in hex, 64-bit numbers
//! as strings), with `sampling.reason` and `sampling.probability` among the attributes. It writes
//! to no file.

use std::borrow::Cow;

use ng_core::spans::{SpanId, TraceId, Value};
use serde::{
    Serialize, Serializer,
    ser::{SerializeMap, SerializeSeq},
};

use super::record::{SpanEvent, SpanRecord, Text};
use crate::context::threshold;

/// `STATUS_CODE_ERROR` of opentelemetry-proto, `trace.proto`.
const STATUS_ERROR: u8 = 2;

pub(super) struct JsonSpan<'a>(pub(super) &'a SpanRecord);

impl Serialize for JsonSpan<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let SpanRecord { trace, id, span, details } = self.0;
        let details = details.as_deref();
        let mut line = serializer.serialize_map(None)?;
        line.serialize_entry("traceId", &Hex(trace.0.to_be_bytes()))?;
        line.serialize_entry("spanId", &Hex(id.0.to_be_bytes()))?;
        if let Some(state) = threshold::trace_state(self.0) {
            line.serialize_entry("traceState", &state)?;
        }
        if let Some(parent) = span.parent {
            line.serialize_entry("parentSpanId", &Hex(parent.0.to_be_bytes()))?;
        }
        line.serialize_entry("name", self.0.name())?;
        line.serialize_entry("kind", &details.map_or(1, |details| details.kind as u8))?;
        line.serialize_entry("startTimeUnixNano", &Decimal(span.start_ns))?;
        line.serialize_entry("endTimeUnixNano", &Decimal(span.end_ns))?;
        line.serialize_entry("attributes", &Attributes(self.0))?;
        if let Some(details) = details {
            for (name, dropped) in [
                ("droppedAttributesCount", details.dropped_attributes),
                ("droppedEventsCount", details.dropped_events),
                ("droppedLinksCount", details.dropped_links),
            ] {
                if dropped > 0 {
                    line.serialize_entry(name, &dropped)?;
                }
            }
            if !details.events.is_empty() {
                line.serialize_entry("events", &Each(details.events.iter().map(Event)))?;
            }
            if !details.links.is_empty() {
                line.serialize_entry("links", &Each(details.links.iter().map(Link)))?;
            }
        }
        let message = details.and_then(|details| details.status_message.as_deref());
        line.serialize_entry("status", &Status(span.failed, message))?;
        line.end()
    }
}

/// A list of what an iterator gives.
struct Each<I>(I);

impl<I: Iterator<Item: Serialize> + Clone> Serialize for Each<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.clone())
    }
}

struct Status<'a>(bool, Option<&'a str>);

impl Serialize for Status<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut status = serializer.serialize_map(None)?;
        if self.0 {
            status.serialize_entry("code", &STATUS_ERROR)?;
            if let Some(message) = self.1 {
                status.serialize_entry("message", message)?;
            }
        }
        status.end()
    }
}

struct Event<'a>(&'a SpanEvent);

impl Serialize for Event<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let SpanEvent { unix_ns, name, attributes, dropped_attributes } = self.0;
        let mut event = serializer.serialize_map(None)?;
        event.serialize_entry("timeUnixNano", &Decimal(*unix_ns))?;
        event.serialize_entry("name", name)?;
        event.serialize_entry("attributes", &Each(attributes.iter().map(Owned)))?;
        if *dropped_attributes > 0 {
            event.serialize_entry("droppedAttributesCount", dropped_attributes)?;
        }
        event.end()
    }
}

struct Link<'a>(&'a (TraceId, SpanId));

impl Serialize for Link<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut link = serializer.serialize_map(Some(2))?;
        link.serialize_entry("traceId", &Hex(self.0.0.0.to_be_bytes()))?;
        link.serialize_entry("spanId", &Hex(self.0.1.0.to_be_bytes()))?;
        link.end()
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
        for attribute in self.0.details.iter().flat_map(|details| &details.attributes) {
            attributes.serialize_element(&Owned(attribute))?;
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

struct Owned<'a>(&'a (Cow<'static, str>, Text));

impl Serialize for Owned<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut attribute = serializer.serialize_map(None)?;
        attribute.serialize_entry("key", &self.0.0)?;
        attribute.serialize_entry("value", &AnyText(&self.0.1))?;
        attribute.end()
    }
}

struct AnyText<'a>(&'a Text);

impl Serialize for AnyText<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let plain = match self.0 {
            Text::F64(n) => Value::F64(*n),
            Text::Bool(truth) => Value::Bool(*truth),
            Text::Fixed(text) => Value::Str(text),
            Text::I64(n) => {
                let mut value = serializer.serialize_map(None)?;
                value.serialize_entry("intValue", &n.to_string())?;
                return value.end();
            }
            Text::Owned(text) => {
                let mut value = serializer.serialize_map(None)?;
                value.serialize_entry("stringValue", text)?;
                return value.end();
            }
        };
        AnyValue(plain).serialize(serializer)
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
