//! A span in OTLP's JSON encoding
//! (<https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>: ids in hex, 64-bit numbers
//! as strings), with `sampling.reason` and `sampling.probability` among the attributes. It writes
//! to no file.
//!
//! The export thread shares the machine with the lanes, so it writes bytes into one buffer and
//! keeps what is the same from span to span; a general serializer takes several times as long.

use std::borrow::Cow;

use ng_core::{
    sampling::Reason,
    spans::{SpanId, TraceId, Value},
};

use super::{
    lane::is_by_lot,
    record::{Details, SpanEvent, SpanRecord, Text},
};
use crate::context::threshold;

/// `STATUS_CODE_ERROR` of opentelemetry-proto, `trace.proto`.
const STATUS_ERROR: &str = "2";

/// Writes spans, and keeps what was the same for the last one.
#[derive(Debug, Default)]
pub(super) struct SpanJson {
    tail: Tail,
}

/// What a decision alone says: the same for nearly all spans of a lane.
#[derive(Debug, Default)]
struct Tail {
    /// Which decision; `None` before the first.
    of: Option<(Reason, u64)>,
    /// `,"traceState":"ot=th:…"`, or nothing.
    trace_state: Vec<u8>,
    /// The two attributes.
    attributes: Vec<u8>,
}

impl SpanJson {
    /// Appends a span to `out`, as an object.
    pub(super) fn write(&mut self, out: &mut Vec<u8>, record: &SpanRecord) {
        let SpanRecord { trace, id, span, details } = record;
        let details = details.as_deref();
        self.tail.remember(record);
        put(out, r#"{"traceId":""#);
        put_trace(out, *trace);
        put(out, r#"","spanId":""#);
        put_span(out, *id);
        put(out, "\"");
        if details.is_some_and(|details| details.trace_state.is_some()) {
            if let Some(state) = threshold::trace_state(record) {
                put(out, r#","traceState":"#);
                put_text(out, &state);
            }
        } else {
            out.extend_from_slice(&self.tail.trace_state);
        }
        if let Some(parent) = span.parent {
            put(out, r#","parentSpanId":""#);
            put_span(out, parent);
            put(out, "\"");
        }
        put(out, r#","name":"#);
        put_text(out, record.name());
        put(out, r#","kind":"#);
        put_decimal(out, details.map_or(1, |details| details.kind as u64));
        put(out, r#","startTimeUnixNano":""#);
        put_decimal(out, span.start_ns);
        put(out, r#"","endTimeUnixNano":""#);
        put_decimal(out, span.end_ns);
        put(out, r#"","attributes":["#);
        for &(key, value) in span.attributes.iter().map_while(Option::as_ref) {
            put_attribute(out, key, &fixed(value));
            put(out, ",");
        }
        for (key, value) in details.iter().flat_map(|details| &details.attributes) {
            put_attribute(out, key, &computed(value));
            put(out, ",");
        }
        out.extend_from_slice(&self.tail.attributes);
        put(out, "]");
        if let Some(details) = details {
            put_details(out, details);
        }
        put(out, r#","status":{"#);
        if span.failed {
            put(out, r#""code":"#);
            put(out, STATUS_ERROR);
            if let Some(message) = details.and_then(|details| details.status_message.as_deref()) {
                put(out, r#","message":"#);
                put_text(out, message);
            }
        }
        put(out, "}}");
    }
}

impl Tail {
    #[inline]
    fn remember(&mut self, record: &SpanRecord) {
        let decision = (record.span.reason, record.span.probability.to_bits());
        if self.of != Some(decision) {
            self.of = Some(decision);
            self.make(record.span.reason, record.span.probability);
        }
    }

    #[cold]
    fn make(&mut self, reason: Reason, probability: f64) {
        self.trace_state.clear();
        if let Some(state) = is_by_lot(reason).then(|| threshold::alone(probability)).flatten() {
            put(&mut self.trace_state, r#","traceState":"#);
            put_text(&mut self.trace_state, &state);
        }
        self.attributes.clear();
        put_attribute(&mut self.attributes, "sampling.reason", &Any::Text(reason.label()));
        put(&mut self.attributes, ",");
        put_attribute(&mut self.attributes, "sampling.probability", &Any::Float(probability));
    }
}

/// What only a span of `tracing` macros has.
fn put_details(out: &mut Vec<u8>, details: &Details) {
    for (name, dropped) in [
        ("droppedAttributesCount", details.dropped_attributes),
        ("droppedEventsCount", details.dropped_events),
        ("droppedLinksCount", details.dropped_links),
    ] {
        put_dropped(out, name, dropped);
    }
    if !details.events.is_empty() {
        put(out, r#","events":["#);
        put_each(out, &details.events, put_event);
        put(out, "]");
    }
    if !details.links.is_empty() {
        put(out, r#","links":["#);
        put_each(out, &details.links, |out, (trace, span)| {
            put(out, r#"{"traceId":""#);
            put_trace(out, *trace);
            put(out, r#"","spanId":""#);
            put_span(out, *span);
            put(out, r#""}"#);
        });
        put(out, "]");
    }
}

fn put_event(out: &mut Vec<u8>, event: &SpanEvent) {
    put(out, r#"{"timeUnixNano":""#);
    put_decimal(out, event.unix_ns);
    put(out, r#"","name":"#);
    put_text(out, &event.name);
    put(out, r#","attributes":["#);
    put_each(out, &event.attributes, |out, (key, value): &(Cow<'static, str>, Text)| {
        put_attribute(out, key, &computed(value));
    });
    put(out, "]");
    put_dropped(out, "droppedAttributesCount", event.dropped_attributes);
    put(out, "}");
}

fn put_each<T>(out: &mut Vec<u8>, items: &[T], one: impl Fn(&mut Vec<u8>, &T)) {
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            put(out, ",");
        }
        one(out, item);
    }
}

fn put_dropped(out: &mut Vec<u8>, name: &str, dropped: u32) {
    if dropped > 0 {
        put(out, ",\"");
        put(out, name);
        put(out, "\":");
        put_decimal(out, dropped.into());
    }
}

/// An attribute's value as OTLP tells them apart.
enum Any<'a> {
    Whole(i64),
    /// OTLP's integers are signed; a greater one keeps its digits as text.
    Beyond(u64),
    Float(f64),
    Text(&'a str),
    Bool(bool),
}

const fn fixed(value: Value) -> Any<'static> {
    match value {
        #[expect(clippy::cast_possible_wrap, reason = "it is not above the greatest of them")]
        Value::U64(n) if n <= i64::MAX as u64 => Any::Whole(n as i64),
        Value::U64(n) => Any::Beyond(n),
        Value::F64(n) => Any::Float(n),
        Value::Str(text) => Any::Text(text),
        Value::Bool(truth) => Any::Bool(truth),
    }
}

fn computed(value: &Text) -> Any<'_> {
    match value {
        Text::I64(n) => Any::Whole(*n),
        Text::F64(n) => Any::Float(*n),
        Text::Bool(truth) => Any::Bool(*truth),
        Text::Owned(text) => Any::Text(text),
        Text::Fixed(text) => Any::Text(text),
    }
}

#[inline]
fn put_attribute(out: &mut Vec<u8>, key: &str, value: &Any<'_>) {
    put(out, r#"{"key":"#);
    put_text(out, key);
    match *value {
        Any::Whole(n) => {
            put(out, if n < 0 { r#","value":{"intValue":"-"# } else { r#","value":{"intValue":""# });
            put_decimal(out, n.unsigned_abs());
            put(out, r#""}}"#);
        }
        Any::Beyond(n) => {
            put(out, r#","value":{"stringValue":""#);
            put_decimal(out, n);
            put(out, r#""}}"#);
        }
        Any::Text(text) => {
            put(out, r#","value":{"stringValue":"#);
            put_text(out, text);
            put(out, "}}");
        }
        Any::Bool(truth) => {
            put(out, r#","value":{"boolValue":"#);
            put(out, if truth { "true}}" } else { "false}}" });
        }
        Any::Float(n) => {
            put(out, r#","value":{"doubleValue":"#);
            put_float(out, n);
            put(out, "}}");
        }
    }
}

fn put_float(out: &mut Vec<u8>, n: f64) {
    // Protobuf's JSON names for what JSON has no number for.
    match (n.is_finite(), n.is_nan(), n > 0.0) {
        (true, ..) => put_json(out, &n),
        (_, true, _) => put(out, r#""NaN""#),
        (_, _, true) => put(out, r#""Infinity""#),
        _ => put(out, r#""-Infinity""#),
    }
}

#[inline(always)]
fn put(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

/// A text in quotes.
#[inline]
pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    // Names and keys have nothing to escape.
    if text.bytes().fold(true, |plain, byte| plain & (byte >= b' ') & (byte != b'"') & (byte != b'\\')) {
        out.push(b'"');
        put(out, text);
        out.push(b'"');
    } else {
        put_json(out, text);
    }
}

#[cold]
fn put_json(out: &mut Vec<u8>, value: &(impl serde::Serialize + ?Sized)) {
    // Neither a text nor a number has a way to fail, and a vector none to refuse.
    let _ = serde_json::to_writer(out, value);
}

fn put_trace(out: &mut Vec<u8>, trace: TraceId) {
    put_hex(out, trace.0.to_be_bytes());
}

fn put_span(out: &mut Vec<u8>, span: SpanId) {
    put_hex(out, span.0.to_be_bytes());
}

/// Two digits for each number below 256 in base 16, and below 100 in base 10.
const HEX: [[u8; 2]; 256] = pairs(16);
const DECIMAL: [[u8; 2]; 100] = pairs(10);

const fn pairs<const N: usize>(base: usize) -> [[u8; 2]; N] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut table = [[0; 2]; N];
    let mut n = 0;
    while n < N {
        table[n] = [DIGITS[n / base], DIGITS[n % base]];
        n += 1;
    }
    table
}

/// Lower-case hexadecimal digits.
#[inline]
fn put_hex<const N: usize>(out: &mut Vec<u8>, bytes: [u8; N]) {
    let digits: [[u8; 2]; N] = bytes.map(|byte| HEX[usize::from(byte)]);
    out.extend_from_slice(digits.as_flattened());
}

/// Decimal digits.
#[inline]
fn put_decimal(out: &mut Vec<u8>, mut n: u64) {
    /// Digits of the greatest number.
    const MOST: usize = 20;
    let mut text = [[0_u8; 2]; MOST / 2];
    let mut at = text.len();
    loop {
        at -= 1;
        let pair = (n % 100) as usize;
        text[at] = DECIMAL[pair];
        n /= 100;
        if n == 0 {
            break;
        }
    }
    let digits = text[at..].as_flattened();
    let leading = usize::from(digits[0] == b'0' && digits.len() > 1);
    out.extend_from_slice(&digits[leading..]);
}

#[cfg(all(test, not(loom)))]
mod tests {
    use ng_core::{spans::MAX_ATTRIBUTES, testing::spans::sample_span};
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::spans::SpanKind;

    fn written(record: &SpanRecord) -> Json {
        let mut out = Vec::new();
        SpanJson::default().write(&mut out, record);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn a_span_of_a_lane_is_written_to_the_byte() {
        let span = ng_core::spans::FinishedSpan {
            reason: Reason::Rate,
            probability: 0.01,
            parent: None,
            failed: false,
            start_ns: 1_700_000_000_000_000_001,
            end_ns: 1_700_000_000_000_000_999,
            attributes: [Some(("id", Value::U64(42))), None, None, None, None, None],
            ..sample_span("create")
        };
        let record = SpanRecord { trace: TraceId(0xab), id: SpanId(1 << 63), span, details: None };
        let mut out = Vec::new();
        let mut json = SpanJson::default();
        // Twice, so that the second comes from what was kept.
        json.write(&mut out, &record);
        json.write(&mut out, &record);
        let one = concat!(
            r#"{"traceId":"000000000000000000000000000000ab","spanId":"8000000000000000","#,
            r#""traceState":"ot=th:fd70a4","name":"create","kind":1,"#,
            r#""startTimeUnixNano":"1700000000000000001","endTimeUnixNano":"1700000000000000999","#,
            r#""attributes":[{"key":"id","value":{"intValue":"42"}},"#,
            r#"{"key":"sampling.reason","value":{"stringValue":"rate"}},"#,
            r#"{"key":"sampling.probability","value":{"doubleValue":0.01}}],"status":{}}"#,
        );
        assert_eq!(String::from_utf8(out).unwrap(), one.repeat(2));
    }

    #[test]
    fn what_the_last_spans_decision_was_is_not_said_of_the_next() {
        let span = |reason, probability| SpanRecord {
            trace: TraceId(1),
            id: SpanId(2),
            span: ng_core::spans::FinishedSpan { reason, probability, ..sample_span("x") },
            details: None,
        };
        let mut json = SpanJson::default();
        for (record, state, probability) in [
            (span(Reason::Rate, 0.5), json!("ot=th:8"), json!(0.5)),
            (span(Reason::Error, 0.5), Json::Null, json!(0.5)),
            (span(Reason::Rate, 0.01), json!("ot=th:fd70a4"), json!(0.01)),
            (span(Reason::Rate, f64::NAN), Json::Null, json!("NaN")),
            (span(Reason::Rate, f64::NEG_INFINITY), Json::Null, json!("-Infinity")),
        ] {
            let mut out = Vec::new();
            json.write(&mut out, &record);
            let read: Json = serde_json::from_slice(&out).unwrap();
            let attributes = read["attributes"].as_array().unwrap();
            let said = &attributes[attributes.len() - 1]["value"]["doubleValue"];
            assert_eq!((&read["traceState"], said), (&state, &probability));
        }
    }

    proptest! {
        #[test]
        fn whatever_a_span_says_is_read_back(
            (trace, id, parent) in (any::<u128>(), any::<u64>(), proptest::option::of(any::<u64>())),
            (start, end) in (any::<u64>(), any::<u64>()),
            (name, text, message) in (".*", ".*", proptest::option::of(".*")),
            (whole, minus) in (any::<u64>(), any::<i64>()),
            real in any::<f64>().prop_filter("JSON has no other", |n| n.is_finite()),
            (failed, dropped) in (any::<bool>(), 0_u32..3),
        ) {
            let mut attributes = [None; MAX_ATTRIBUTES];
            attributes[0] = Some(("whole", Value::U64(whole)));
            let attribute = |key: &str| (Cow::Owned(key.to_owned()), Text::Owned(text.clone()));
            let details = Details {
                kind: SpanKind::Client,
                name: Some(name.clone()),
                attributes: vec![("minus".into(), Text::I64(minus)), ("real".into(), Text::F64(real)), attribute("t")],
                events: vec![SpanEvent {
                    unix_ns: start,
                    name: name.clone().into(),
                    attributes: vec![attribute("a"), attribute("b")],
                    dropped_attributes: dropped,
                }],
                dropped_links: dropped,
                links: vec![(TraceId(trace), SpanId(id)), (TraceId(1), SpanId(2))],
                status_message: message.clone(),
                ..Details::default()
            };
            let span = ng_core::spans::FinishedSpan {
                parent: parent.map(SpanId), start_ns: start, end_ns: end, failed, attributes, ..sample_span("n")
            };
            let record = SpanRecord { trace: TraceId(trace), id: SpanId(id), span, details: Some(Box::new(details)) };
            let read = written(&record);
            prop_assert_eq!(&read["traceId"], &json!(format!("{trace:032x}")));
            prop_assert_eq!(&read["spanId"], &json!(format!("{id:016x}")));
            prop_assert_eq!(&read["parentSpanId"], &parent.map_or(Json::Null, |id| json!(format!("{id:016x}"))));
            prop_assert_eq!(&read["startTimeUnixNano"], &json!(start.to_string()));
            prop_assert_eq!(&read["endTimeUnixNano"], &json!(end.to_string()));
            prop_assert_eq!((&read["name"], &read["kind"]), (&json!(name), &json!(3)));
            let of = |key: &str| {
                let all = read["attributes"].as_array().unwrap();
                all.iter().find(|one| one["key"] == key).unwrap()["value"].clone()
            };
            let whole_as = if i64::try_from(whole).is_ok() { "intValue" } else { "stringValue" };
            prop_assert_eq!(&of("whole")[whole_as], &json!(whole.to_string()));
            prop_assert_eq!(&of("minus")["intValue"], &json!(minus.to_string()));
            // This reader is wrong in the last bit at times.
            let told = of("real")["doubleValue"].as_f64().unwrap();
            prop_assert!((told - real).abs() <= real.abs() * 4.0 * f64::EPSILON, "{} for {}", told, real);
            prop_assert_eq!(&of("t")["stringValue"], &json!(text));
            let event = &read["events"][0];
            prop_assert_eq!(&event["attributes"][1], &json!({"key": "b", "value": {"stringValue": text}}));
            let count = |n: u32| if n == 0 { Json::Null } else { json!(n) };
            prop_assert_eq!(&event["droppedAttributesCount"], &count(dropped));
            prop_assert_eq!(&read["droppedLinksCount"], &count(dropped));
            prop_assert_eq!(&read["links"][1]["spanId"], &json!("0000000000000002"));
            let status = match (failed, message) {
                (false, _) => json!({}),
                (true, None) => json!({"code": 2}),
                (true, Some(message)) => json!({"code": 2, "message": message}),
            };
            prop_assert_eq!(&read["status"], &status);
        }
    }
}
