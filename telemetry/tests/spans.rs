//! Spans from the outside: what a file says of them, and what happens when the exporter fails,
//! hangs or panics.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test reports by panicking")]

use std::{
    path::Path,
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

use ng_core::{
    sampling::Reason,
    spans::{FinishedSpan, MAX_ATTRIBUTES, SpanId, SpanLane, SpanSink, SpanStats, TraceId, Value},
    testing::spans::sample_span,
};
use ng_telemetry::{
    SpanOptions, SpanWriter,
    spans::{Discard, ExportError, Exporter, JsonLines, Memory, SpanRecord, StartError},
};
use proptest::prelude::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// No collection in between: what is exported is what a test asks for.
fn quiet(exporter: impl Exporter + 'static) -> SpanOptions {
    SpanOptions { interval: Duration::from_secs(3_600), ..SpanOptions::new(exporter) }
}

/// An exporter that stands still until it is let go.
#[derive(Clone, Default)]
struct Stuck(Arc<(Mutex<Stand>, Condvar)>);

#[derive(Default)]
struct Stand {
    called: bool,
    free: bool,
}

impl Stuck {
    fn let_go(&self) {
        self.0.0.lock().unwrap().free = true;
        self.0.1.notify_all();
    }

    /// Waits until it stands still.
    fn wait(&self) {
        drop(self.0.1.wait_while(self.0.0.lock().unwrap(), |stand| !stand.called).unwrap());
    }
}

impl Exporter for Stuck {
    fn export(&mut self, _spans: &[SpanRecord]) -> Result<(), ExportError> {
        let mut stand = self.0.0.lock().unwrap();
        stand.called = true;
        self.0.1.notify_all();
        drop(self.0.1.wait_while(stand, |stand| !stand.free).unwrap());
        Ok(())
    }
}

/// An exporter that fails by turns.
struct Failing {
    calls: u32,
    fail: fn(u32) -> Result<(), ExportError>,
}

impl Exporter for Failing {
    fn export(&mut self, _spans: &[SpanRecord]) -> Result<(), ExportError> {
        self.calls += 1;
        (self.fail)(self.calls)
    }
}

fn lines(path: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Numbers that serde_json reads back exactly without its slower exact mode.
fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => any::<i32>().prop_map(|n| f64::from(n) / 16.0),
        1 => prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY]),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u64>().prop_map(Value::U64),
        number().prop_map(Value::F64),
        prop::sample::select(vec!["", "plain", "\"\\\n\u{1}\u{4e16}"]).prop_map(Value::Str),
        any::<bool>().prop_map(Value::Bool),
    ]
}

fn span() -> impl Strategy<Value = FinishedSpan> {
    let ids = (prop::option::of(1..=u128::MAX), prop::option::of(1..=u64::MAX));
    let names = prop::sample::select(vec!["token.create", "a \"b\"", "\u{4e16}\n"]);
    let attributes = prop::collection::vec((prop::sample::select(vec!["k", "a.b", "\""]), value()), 0..=6);
    let reasons = prop::sample::select(Reason::ALL.to_vec());
    let probabilities = (0..=16_u8).prop_map(|n| f64::from(n) / 16.0);
    (ids, names, any::<(u64, u64, bool)>(), reasons, probabilities, attributes).prop_map(
        |((trace, parent), name, (start_ns, end_ns, failed), reason, probability, given)| {
            let mut attributes = [None; MAX_ATTRIBUTES];
            for (slot, attribute) in attributes.iter_mut().zip(given) {
                *slot = Some(attribute);
            }
            FinishedSpan {
                trace: trace.map(TraceId),
                parent: parent.map(SpanId),
                name,
                start_ns,
                end_ns,
                failed,
                reason,
                probability,
                attributes,
            }
        },
    )
}

/// An attribute's value as it must stand in the file.
fn expected(value: Value) -> serde_json::Value {
    use serde_json::json;
    match value {
        Value::U64(n) if n > i64::MAX as u64 => json!({ "stringValue": n.to_string() }),
        Value::U64(n) => json!({ "intValue": n.to_string() }),
        Value::F64(n) if n.is_finite() => json!({ "doubleValue": n }),
        Value::F64(n) if n.is_nan() => json!({ "doubleValue": "NaN" }),
        Value::F64(n) => json!({ "doubleValue": if n > 0.0 { "Infinity" } else { "-Infinity" } }),
        Value::Str(text) => json!({ "stringValue": text }),
        Value::Bool(truth) => json!({ "boolValue": truth }),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_line_keeps_every_field_of_a_span(spans in prop::collection::vec(span(), 1..20)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spans.jsonl");
        let options = SpanOptions { lane_spans: 64, batch_spans: 3, ..quiet(JsonLines::open(&path).unwrap()) };
        let writer = SpanWriter::start(options).unwrap();
        let mut lane = writer.open_lane();
        let ids: Vec<_> = spans.iter().map(|span| lane.finish(span).unwrap()).collect();
        prop_assert!(writer.flush(PATIENCE));

        let read = lines(&path);
        prop_assert_eq!(read.len(), spans.len());
        for (span, (trace, id)) in spans.iter().zip(ids) {
            let id = id.to_string();
            let line = read.iter().find(|line| line["spanId"] == id.as_str()).unwrap();
            prop_assert_eq!(&line["traceId"], &trace.to_string());
            prop_assert!(span.trace.is_none_or(|given| given == trace));
            prop_assert_eq!(line.get("parentSpanId").and_then(|p| p.as_str().map(str::to_owned)),
                span.parent.map(|parent| parent.to_string()));
            prop_assert_eq!(&line["name"], span.name);
            prop_assert_eq!(&line["startTimeUnixNano"], &span.start_ns.to_string());
            prop_assert_eq!(&line["endTimeUnixNano"], &span.end_ns.to_string());
            prop_assert_eq!(line["status"].get("code").is_some_and(|code| code == 2), span.failed);

            let mut attributes: Vec<_> =
                span.attributes.iter().flatten().map(|&(key, value)| (key, expected(value))).collect();
            attributes.push(("sampling.reason", expected(Value::Str(span.reason.label()))));
            attributes.push(("sampling.probability", expected(Value::F64(span.probability))));
            let shown: Vec<_> = line["attributes"].as_array().unwrap().iter()
                .map(|attribute| (attribute["key"].as_str().unwrap(), attribute["value"].clone()))
                .collect();
            prop_assert_eq!(shown, attributes);
        }
    }

    #[test]
    fn whatever_lanes_do_what_is_recorded_is_exported_or_dropped(
        steps in prop::collection::vec((0..10_u8, 0..3_usize, 1..40_usize), 1..40),
    ) {
        let kept = Memory::default();
        let options = SpanOptions { lane_spans: 20, queue_spans: 2, batch_spans: 3, ..quiet(kept.clone()) };
        let writer = SpanWriter::start(options).unwrap();
        let mut lanes = [(); 3].map(|()| writer.open_lane());
        let (mut recorded, mut given) = (0, Vec::new());
        for (step, at, n) in steps {
            match step {
                0 => prop_assert!(writer.flush(PATIENCE)),
                1 => lanes[at] = writer.open_lane(),
                _ => {
                    recorded += n as u64;
                    given.extend((0..n).filter_map(|_| lanes[at].finish(&sample_span("step"))));
                }
            }
        }
        drop(lanes);
        prop_assert!(writer.flush(PATIENCE));
        let exported: Vec<_> = kept.spans().iter().map(|span| (span.trace, span.id)).collect();
        let sorted = |mut ids: Vec<(TraceId, SpanId)>| {
            ids.sort_unstable_by_key(|id| id.1.0);
            ids
        };
        let count = given.len() as u64;
        prop_assert_eq!(sorted(exported), sorted(given));
        prop_assert_eq!(
            writer.stats(),
            SpanStats { recorded, exported: count, dropped: recorded - count }
        );
    }
}

#[test]
fn a_stuck_exporter_never_stops_a_lane_and_what_does_not_fit_is_counted() {
    let stuck = Stuck::default();
    let options = SpanOptions { lane_spans: 10, ..quiet(stuck.clone()) };
    let writer = SpanWriter::start(options).unwrap();
    let mut lane = writer.open_lane();
    lane.finish(&sample_span("stuck")).unwrap();
    assert!(!writer.flush(Duration::from_millis(50)), "a flush gives up in time");
    stuck.wait();
    let kept = 1 + (0..999).filter(|_| lane.finish(&sample_span("stuck")).is_some()).count() as u64;
    assert!((10..40).contains(&kept), "{kept}: what the ring holds, and what the exporter has");
    assert_eq!(writer.stats(), SpanStats { recorded: 1_000, exported: 0, dropped: 1_000 - kept });
    stuck.let_go();
    assert!(writer.flush(PATIENCE));
    assert_eq!(writer.stats(), SpanStats { recorded: 1_000, exported: kept, dropped: 1_000 - kept });
}

#[test]
fn dropping_the_writer_gives_up_on_a_stuck_exporter_in_time() {
    let stuck = Stuck::default();
    let options = SpanOptions { shutdown: Duration::from_millis(50), ..quiet(stuck.clone()) };
    let writer = SpanWriter::start(options).unwrap();
    writer.open_lane().finish(&sample_span("stuck"));
    let began = Instant::now();
    drop(writer);
    assert!(began.elapsed() < PATIENCE);
    stuck.let_go();
}

#[test]
fn dropping_the_writer_writes_out_what_lanes_still_hold() {
    let kept = Memory::default();
    let writer = SpanWriter::start(quiet(kept.clone())).unwrap();
    let mut lane = writer.open_lane();
    let ids = lane.finish(&sample_span("last")).unwrap();
    drop(writer);
    let spans = kept.spans();
    assert_eq!(spans.len(), 1);
    assert_eq!((spans[0].trace, spans[0].id), ids);
    assert_eq!(spans[0].span, FinishedSpan { trace: None, ..sample_span("last") });
    assert_eq!(lane.finish(&sample_span("late")), None, "nobody will write it out");
}

#[test]
fn rings_are_emptied_at_the_interval() {
    let kept = Memory::default();
    let options = SpanOptions { interval: Duration::from_millis(5), ..SpanOptions::new(kept.clone()) };
    let writer = SpanWriter::start(options).unwrap();
    let mut lane = writer.open_lane();
    lane.finish(&sample_span("partial")).unwrap();
    let began = Instant::now();
    while kept.spans().is_empty() {
        assert!(began.elapsed() < PATIENCE, "nobody collects");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_failed_export_is_counted_and_told_and_the_next_one_goes_well() {
    let fail = |call| {
        if call == 1 { Err(ExportError::Other("the receiver is away".into())) } else { Ok(()) }
    };
    let writer = SpanWriter::start(quiet(Failing { calls: 0, fail })).unwrap();
    assert!(writer.last_error().is_none());
    let mut lane = writer.open_lane();
    for _ in 0..2 {
        lane.finish(&sample_span("turn")).unwrap();
        assert!(writer.flush(PATIENCE));
    }
    assert_eq!(writer.stats(), SpanStats { recorded: 2, exported: 1, dropped: 1 });
    assert!(writer.last_error().unwrap().to_string().contains("the receiver is away"));
}

#[test]
fn a_panicking_exporter_costs_its_spans_and_no_more() {
    let fail = |call| if call == 1 { panic!("call {call}") } else { Ok(()) };
    let writer = SpanWriter::start(quiet(Failing { calls: 0, fail })).unwrap();
    let mut lane = writer.open_lane();
    for _ in 0..2 {
        lane.finish(&sample_span("turn")).unwrap();
        assert!(writer.flush(PATIENCE));
    }
    assert_eq!(writer.stats(), SpanStats { recorded: 2, exported: 1, dropped: 1 });
    assert_eq!(writer.last_error().unwrap().to_string(), "the exporter panicked: call 1");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_drops_and_names_the_file() {
    let full = Path::new("/dev/full");
    let writer = SpanWriter::start(quiet(JsonLines::open(full).unwrap())).unwrap();
    writer.open_lane().finish(&sample_span("lost")).unwrap();
    assert!(writer.flush(PATIENCE));
    assert_eq!(writer.stats(), SpanStats { recorded: 1, exported: 0, dropped: 1 });
    let error = writer.last_error().unwrap();
    assert!(matches!(&*error, ExportError::Write { path, .. } if path == full), "{error}");
    assert!(error.to_string().contains("/dev/full"));
}

#[test]
fn a_file_that_cannot_be_opened_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("none").join("spans.jsonl");
    let error = JsonLines::open(&path).unwrap_err();
    assert!(error.to_string().contains("spans.jsonl"), "{error}");
}

#[test]
fn a_file_keeps_what_was_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("spans.jsonl");
    for _ in 0..2 {
        let writer = SpanWriter::start(quiet(JsonLines::open(&path).unwrap())).unwrap();
        writer.open_lane().finish(&sample_span("again")).unwrap();
    }
    assert_eq!(lines(&path).len(), 2);
}

#[test]
fn options_of_0_are_refused_by_name() {
    for (option, lane_spans, queue_spans, batch_spans) in
        [("lane_spans", 0, 1, 1), ("queue_spans", 1, 0, 1), ("batch_spans", 1, 1, 0)]
    {
        let options = SpanOptions { lane_spans, queue_spans, batch_spans, ..quiet(Discard) };
        let error = SpanWriter::start(options).unwrap_err();
        assert!(matches!(error, StartError::Zero { option: named } if named == option), "{error}");
    }
}
