//! OTLP against a receiver that nobody here wrote, and against receivers that are dead, slow, talk
//! nonsense, or are killed in the middle.
#![cfg(all(feature = "otlp", not(loom)))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test reports by panicking")]

mod peers;

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use ng_core::{
    metrics::{Exemplar, MetricDesc, MetricLane, MetricSink, Scale},
    sampling::Reason,
    spans::{FinishedSpan, MAX_ATTRIBUTES, SpanId, SpanLane, SpanSink, TraceId, Value},
    testing::spans::sample_span,
};
use ng_telemetry::{
    Registry, RegistryOptions, Sampler, SpanOptions, SpanWriter, op,
    otlp::{MetricPusher, OtlpOptions, OtlpSpans, Protocol},
    spans::{Details, ExportError, Exporter, Memory, SpanEvent, SpanKind, SpanRecord, Text},
    tracing_layer::{Ops, SamplingLayer},
};
use serde_json::Value as Json;
use tracing_subscriber::layer::SubscriberExt as _;

const PATIENCE: Duration = Duration::from_secs(30);

/// The receiver, and what it has said so far.
struct Receiver {
    running: peers::Running,
    port: u16,
    lines: Arc<Mutex<Vec<Json>>>,
}

fn receiver(protocol: Protocol, delay: &str) -> Option<Receiver> {
    rejecting(protocol, delay, 0, "")
}

/// A receiver that rejects so many spans or points of each request, and says `message`.
fn rejecting(protocol: Protocol, delay: &str, rejects: usize, message: &str) -> Option<Receiver> {
    let Some(python) = peers::python("grpc, opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc")
    else {
        peers::skip("there is no Python with grpcio and opentelemetry-proto");
        return None;
    };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/otlp_receiver.py");
    let how = if protocol == Protocol::Grpc { "grpc" } else { "http" };
    let mut command = Command::new(python);
    command
        .args([script, how, delay, &rejects.to_string(), message])
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    let mut child = command.spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let running = peers::Running(child);
    let mut port = String::new();
    out.read_line(&mut port).unwrap();
    let lines = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&lines);
    std::thread::spawn(move || {
        for line in out.lines().map_while(Result::ok) {
            heard.lock().unwrap().push(serde_json::from_str(&line).unwrap());
        }
    });
    Some(Receiver { running, port: port.trim().parse().expect("the receiver's port"), lines })
}

impl Receiver {
    fn options(&self, protocol: Protocol) -> OtlpOptions {
        let options = OtlpOptions::new(&format!("http://127.0.0.1:{}", self.port), protocol);
        OtlpOptions { timeout: PATIENCE, ..options }
    }

    fn wait(&self, what: impl Fn(&[Json]) -> bool) -> Vec<Json> {
        let done = || {
            let lines = self.lines.lock().unwrap().clone();
            what(&lines).then_some(lines)
        };
        peers::eventually(PATIENCE, done).expect("the receiver was sent it")
    }
}

fn quiet(exporter: OtlpSpans) -> SpanOptions {
    SpanOptions { interval: Duration::from_secs(3_600), ..SpanOptions::new(exporter) }
}

/// A span with something in every place.
fn rich(parent: SpanId) -> SpanRecord {
    let mut attributes = [None; MAX_ATTRIBUTES];
    attributes[0] = Some(("whole", Value::U64(7)));
    attributes[1] = Some(("real", Value::F64(0.5)));
    attributes[2] = Some(("truth", Value::Bool(true)));
    attributes[3] = Some(("huge", Value::U64(u64::MAX)));
    let span = FinishedSpan {
        trace: None,
        parent: Some(parent),
        name: "fixed",
        start_ns: 1_700_000_000_000_000_001,
        end_ns: 1_700_000_000_000_000_999,
        failed: true,
        reason: Reason::Rate,
        probability: 0.01,
        attributes,
    };
    let details = Details {
        kind: SpanKind::Server,
        target: "a::b",
        name: Some("GET /\u{4e16}".into()),
        attributes: vec![("text".into(), Text::Owned("t".into())), ("minus".into(), Text::I64(-1))],
        events: vec![SpanEvent {
            unix_ns: 1_700_000_000_000_000_500,
            name: "happened".into(),
            attributes: vec![("n".into(), Text::I64(3))],
            dropped_attributes: 0,
        }],
        links: vec![(TraceId(9), SpanId(8))],
        status_message: Some("why".into()),
        trace_state: Some("x=1".into()),
        ..Details::default()
    };
    SpanRecord { trace: TraceId(0xab << 100 | 5), id: SpanId(77), span, details: Some(Box::new(details)) }
}

fn a_strict_receiver_reads_spans_back(protocol: Protocol, gzip: bool) {
    let Some(receiver) = receiver(protocol, "0") else { return };
    let mut options = receiver.options(protocol);
    options.gzip = gzip;
    options.headers = vec![("x-key".into(), "secret".into())];
    options.service = "the service".into();
    let writer = SpanWriter::start(quiet(OtlpSpans::new(&options).unwrap())).unwrap();
    let mut lane = writer.open_lane();
    let root = FinishedSpan {
        trace: None,
        parent: None,
        reason: Reason::Rate,
        probability: 0.01,
        ..sample_span("root")
    };
    let (trace, id) = lane.finish(&root).unwrap();
    assert!(writer.intake().submit(Box::new(rich(id))));
    assert!(writer.flush(PATIENCE));
    assert!(writer.last_error().is_none(), "{:?}", writer.last_error());
    let lines = receiver.wait(|lines| lines.len() >= 2);
    let of = |name: &str| lines.iter().find(|line| line["span"] == name).unwrap().clone();

    let read = of("root");
    assert_eq!(read["trace_id"], trace.to_string());
    assert_eq!((&read["span_id"], &read["parent_id"]), (&id.to_string().into(), &"".into()));
    assert_eq!((&read["service"], &read["scope"]), (&"the service".into(), &"neurograph".into()));
    assert_eq!((&read["start"], &read["end"]), (&root.start_ns.into(), &root.end_ns.into()));
    assert_eq!(read["attributes"]["id"], 42);
    assert_eq!(read["attributes"]["sampling.reason"], "rate");
    assert_eq!(read["trace_state"], "ot=th:fd70a4");
    assert_eq!(read["headers"]["x-key"], "secret");
    let encoding = if protocol == Protocol::Grpc { "grpc-encoding" } else { "content-encoding" };
    if protocol == Protocol::Http {
        assert_eq!(read["headers"].get(encoding).is_some(), gzip);
    }

    assert_eq!(
        (read["attributes"]["sampling.probability"].as_f64(), read["kind"].as_u64()),
        (Some(0.01), Some(1))
    );
    assert_eq!((&read["events"], &read["links"]), (&serde_json::json!([]), &serde_json::json!([])));
    assert_eq!(read["status"], serde_json::json!([if root.failed { 2 } else { 0 }, ""]));

    let read = of("GET /\u{4e16}");
    assert_eq!(read["trace_id"], TraceId(0xab << 100 | 5).to_string());
    assert_eq!(read["span_id"], SpanId(77).to_string());
    assert_eq!(read["start"], 1_700_000_000_000_000_001_u64);
    assert_eq!(read["end"], 1_700_000_000_000_000_999_u64);
    assert_eq!((&read["parent_id"], &read["kind"]), (&id.to_string().into(), &2.into()));
    assert_eq!(read["trace_state"], "ot=th:fd70a4,x=1");
    let expected = serde_json::json!({
        "whole": 7, "real": 0.5, "truth": true, "huge": u64::MAX.to_string(), "text": "t", "minus": -1,
        "sampling.reason": "rate", "sampling.probability": 0.01,
    });
    assert_eq!(read["attributes"], expected);
    assert_eq!(read["events"], serde_json::json!([["happened", 1_700_000_000_000_000_500_u64, {"n": 3}]]));
    assert_eq!(read["links"], serde_json::json!([[TraceId(9).to_string(), SpanId(8).to_string()]]));
    assert_eq!(read["status"], serde_json::json!([2, "why"]));
    assert_eq!(read["scope"], "a::b");
    assert_eq!(receiver.lines.lock().unwrap().len(), 2, "each was sent once");
}

/// Hands spans to a receiver, and keeps them.
struct Both(OtlpSpans, Memory);

impl Exporter for Both {
    fn export(&mut self, spans: &[SpanRecord]) -> Result<(), ExportError> {
        self.1.export(spans)?;
        self.0.export(spans)
    }
}

/// Traces as a program makes them: by `op!` and by macros, nested, failed, with events and links.
fn make_traces(writer: &SpanWriter) {
    let sampler = Arc::new(Sampler::new(1.0, None).unwrap());
    let mut ops = Ops::new(Arc::clone(&sampler), writer);
    for n in 0..200_u64 {
        let mut order = op!(ops, "order.match");
        order.set("price", || (n as f64 * 0.25).into());
        order.set("lot", || n.into());
        let mut book = op!(order, "order.book");
        book.set("side", || if n.is_multiple_of(2) { "buy" } else { "sell" }.into());
        book.set("firm", || n.is_multiple_of(3).into());
        if n.is_multiple_of(7) {
            book.fail();
        }
    }
    let layer = SamplingLayer::new(sampler, writer);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        let mut last: Option<tracing::Span> = None;
        for n in 0..200_i64 {
            let span = tracing::info_span!("request", n = -n, otel.kind = "server", text = "t", who = ?n);
            let _request = span.enter();
            if let Some(last) = &last {
                span.follows_from(last);
            }
            tracing::info_span!("parse", bytes = n).in_scope(|| tracing::info!(n, "parsed"));
            if n % 11 == 0 {
                tracing::error!(code = n, "refused");
            }
            last = Some(span.clone());
        }
    });
}

fn text_value(text: &Text) -> Json {
    match text {
        Text::I64(n) => (*n).into(),
        Text::F64(n) => (*n).into(),
        Text::Bool(truth) => (*truth).into(),
        Text::Owned(text) => text.clone().into(),
        Text::Fixed(text) => (*text).into(),
    }
}

/// A span as the receiver must say it.
fn expected(record: &SpanRecord) -> Json {
    let span = &record.span;
    let computed = |of: &[(std::borrow::Cow<'static, str>, Text)]| -> serde_json::Map<String, Json> {
        of.iter().map(|(key, value)| (key.to_string(), text_value(value))).collect()
    };
    let details = record.details.as_deref().cloned().unwrap_or_default();
    let mut attributes = computed(&details.attributes);
    for (key, value) in span.attributes.iter().flatten() {
        let value = match value {
            Value::U64(n) => Json::from(*n),
            Value::F64(n) => Json::from(*n),
            Value::Str(text) => Json::from(*text),
            Value::Bool(truth) => Json::from(*truth),
        };
        attributes.insert((*key).to_owned(), value);
    }
    attributes.insert("sampling.reason".to_owned(), span.reason.label().into());
    attributes.insert("sampling.probability".to_owned(), span.probability.into());
    let events: Vec<Json> = details
        .events
        .iter()
        .map(|event| serde_json::json!([event.name, event.unix_ns, computed(&event.attributes)]))
        .collect();
    let links: Vec<Json> = details
        .links
        .iter()
        .map(|(trace, span)| serde_json::json!([trace.to_string(), span.to_string()]))
        .collect();
    serde_json::json!({
        "span": record.name(), "trace_id": record.trace.to_string(), "span_id": record.id.to_string(),
        "parent_id": span.parent.map_or(String::new(), |parent| parent.to_string()),
        "kind": details.kind as u8, "start": span.start_ns, "end": span.end_ns,
        "attributes": attributes, "events": events, "links": links,
        "status": [if span.failed { 2 } else { 0 }, details.status_message.unwrap_or_default()],
    })
}

fn every_span_that_was_sent_is_read_back_as_it_was(protocol: Protocol) {
    let Some(receiver) = receiver(protocol, "0") else { return };
    let kept = Memory::default();
    let exporter = Both(OtlpSpans::new(&receiver.options(protocol)).unwrap(), kept.clone());
    let options = SpanOptions { interval: Duration::from_secs(3_600), ..SpanOptions::new(exporter) };
    let writer = SpanWriter::start(options).unwrap();
    make_traces(&writer);
    assert!(writer.flush(PATIENCE));
    assert!(writer.last_error().is_none(), "{:?}", writer.last_error());
    let mut sent: Vec<Json> = kept.spans().iter().map(expected).collect();
    // The first request is the layer's probe, and what is within it is not sampled.
    assert_eq!(sent.len(), 200 * 4 - 2);
    assert_eq!(writer.stats().exported, sent.len() as u64);
    let mut read = receiver.wait(|lines| lines.len() >= sent.len());
    for line in &mut read {
        let line = line.as_object_mut().unwrap();
        for key in ["service", "scope", "trace_state", "headers"] {
            line.remove(key).unwrap();
        }
    }
    let id = |span: &Json| span["span_id"].as_str().unwrap().to_owned();
    sent.sort_by_key(id);
    read.sort_by_key(id);
    for (sent, read) in sent.iter().zip(&read) {
        assert_eq!(sent, read);
    }
    assert_eq!(sent.len(), read.len(), "each was sent once");
}

#[test]
fn every_span_that_was_sent_is_read_back_as_it_was_over_grpc() {
    every_span_that_was_sent_is_read_back_as_it_was(Protocol::Grpc);
}

#[test]
fn every_span_that_was_sent_is_read_back_as_it_was_over_http() {
    every_span_that_was_sent_is_read_back_as_it_was(Protocol::Http);
}

#[test]
fn a_strict_receiver_reads_spans_back_over_grpc() {
    a_strict_receiver_reads_spans_back(Protocol::Grpc, false);
}

#[test]
fn a_strict_receiver_reads_compressed_spans_back_over_grpc() {
    a_strict_receiver_reads_spans_back(Protocol::Grpc, true);
}

#[test]
fn a_strict_receiver_reads_spans_back_over_http() {
    a_strict_receiver_reads_spans_back(Protocol::Http, false);
}

#[test]
fn a_strict_receiver_reads_compressed_spans_back_over_http() {
    a_strict_receiver_reads_spans_back(Protocol::Http, true);
}

#[test]
fn a_strict_receiver_reads_metrics_back_with_the_exemplar() {
    for protocol in [Protocol::Grpc, Protocol::Http] {
        let Some(receiver) = receiver(protocol, "0") else { return };
        let registry = Arc::new(Registry::new(&RegistryOptions::default()));
        let made = registry.counter(&MetricDesc::new("made_total", "").label("of", "x")).unwrap();
        let took = MetricDesc::new("took_seconds", "").unit("seconds", Scale::Nano);
        let took = registry.histogram(&took).unwrap();
        let level = registry.gauge(&MetricDesc::new("level", "")).unwrap();
        let mut lane = registry.open_lane();
        lane.add(made, 12_345);
        registry.set(level, -0.25);
        for value in [0, 1_500, 2_000_000_000] {
            lane.observe(took, value, 1);
        }
        lane.exemplar(took, &Exemplar { value: 1_500, trace: TraceId(3), span: SpanId(4), unix_ns: 5 });
        let mut options = receiver.options(protocol);
        options.gzip = true;
        options.headers = vec![("x-key".into(), "secret".into())];
        let pusher = MetricPusher::start(Arc::clone(&registry), options, Duration::from_secs(3_600)).unwrap();
        drop(pusher);
        let lines = receiver.wait(|lines| lines.len() >= 4);
        let of = |name: &str| lines.iter().find(|line| line["metric"] == name).unwrap().clone();
        assert_eq!(of("made_total")["value"], 12_345);
        assert_eq!(
            (&of("made_total")["kind"], &of("made_total")["attributes"]["of"]),
            (&"sum".into(), &"x".into())
        );
        assert_eq!(of("level")["value"], -0.25);
        assert_eq!(
            (&of("level")["kind"], &of("level")["attributes"]),
            (&"gauge".into(), &serde_json::json!({}))
        );
        // Cumulative, and never goes down.
        assert_eq!(
            (&of("made_total")["temporality"], &of("made_total")["monotonic"]),
            (&2.into(), &true.into())
        );
        for line in &lines {
            assert!(line["start"].as_u64() <= line["time"].as_u64() && line["start"] != 0, "{line}");
        }
        let took = of("took_seconds");
        assert_eq!((&took["temporality"], &took["zero"]), (&2.into(), &1.into()));
        // Each value that was observed lies in a bucket, or beside one: they are half as wide as what
        // is counted is exact.
        let base = 2_f64.powf(2_f64.powi(-i32::try_from(took["scale"].as_i64().unwrap()).unwrap()));
        let offset = took["offset"].as_f64().unwrap();
        let counts = took["counts"].as_array().unwrap();
        let full: Vec<f64> = (0_i32..)
            .zip(counts)
            .filter(|(_, n)| **n != 0)
            .map(|(i, n)| {
                assert_eq!(*n, 1, "{took}");
                base.powf(offset + f64::from(i) + 0.5)
            })
            .collect();
        assert_eq!(full.len(), 2, "{took}");
        for (middle, value) in full.iter().zip([0.000_001_5, 2.0]) {
            assert!((middle / value).ln().abs() <= base.ln() * 1.5, "{middle} for {value}");
        }
        assert_eq!((&took["count"], &took["buckets"], &took["unit"]), (&3.into(), &3.into(), &"s".into()));
        assert_eq!(took["sum"], 2.000_001_5);
        let exemplar = serde_json::json!([[TraceId(3).to_string(), SpanId(4).to_string(), 0.000_001_5, 5]]);
        assert_eq!(took["exemplars"], exemplar);
        assert_eq!(took["headers"]["x-key"], "secret");
    }
}

fn spans_that_a_receiver_rejects_are_dropped_and_say_why(protocol: Protocol) {
    let Some(receiver) = rejecting(protocol, "0", 3, "no such tenant") else { return };
    let options = receiver.options(protocol);
    let spans = SpanOptions { batch_spans: 10, ..quiet(OtlpSpans::new(&options).unwrap()) };
    let writer = SpanWriter::start(spans).unwrap();
    let mut lane = writer.open_lane();
    // Two requests of 10, and one of 2: rejected are 3, 3 and 2.
    for _ in 0..22 {
        lane.finish(&sample_span("judged")).unwrap();
    }
    assert!(writer.flush(PATIENCE));
    let (stats, drops) = (writer.stats(), writer.drops());
    assert_eq!((stats.recorded, stats.exported, stats.dropped), (22, 14, 8));
    assert_eq!((drops.full, drops.failed, drops.rejected), (0, 0, 8));
    let error = writer.last_error().expect("it is told");
    assert!(
        matches!(&*error, ExportError::Partial { sent: 2, rejected: 2, message, .. } if message == "no such tenant"),
        "{error:?}"
    );
    let endpoint = format!("127.0.0.1:{}", receiver.port);
    assert!(
        error.to_string().contains(&format!("{endpoint} rejected 2 of 2 spans: no such tenant")),
        "{error}"
    );
    assert!(writer.last_warning().is_none());
    assert_eq!(receiver.wait(|lines| lines.len() >= 14).len(), 14, "and none is sent again");
}

#[test]
fn spans_that_a_receiver_rejects_are_dropped_and_say_why_over_grpc() {
    spans_that_a_receiver_rejects_are_dropped_and_say_why(Protocol::Grpc);
}

#[test]
fn spans_that_a_receiver_rejects_are_dropped_and_say_why_over_http() {
    spans_that_a_receiver_rejects_are_dropped_and_say_why(Protocol::Http);
}

#[test]
fn a_receiver_that_takes_all_and_has_something_to_say_is_a_warning() {
    for protocol in [Protocol::Grpc, Protocol::Http] {
        let Some(receiver) = rejecting(protocol, "0", 0, "this path is old") else { return };
        let writer = SpanWriter::start(quiet(OtlpSpans::new(&receiver.options(protocol)).unwrap())).unwrap();
        let mut lane = writer.open_lane();
        lane.finish(&sample_span("taken")).unwrap();
        assert!(writer.flush(PATIENCE));
        let stats = writer.stats();
        assert_eq!((stats.recorded, stats.exported, stats.dropped), (1, 1, 0));
        assert!(writer.last_error().is_none());
        let warning = writer.last_warning().expect("it is told").to_string();
        assert!(warning.contains("took all of 1 spans and warns: this path is old"), "{warning}");
    }
}

#[test]
fn points_that_a_receiver_rejects_are_counted_and_say_why() {
    for protocol in [Protocol::Grpc, Protocol::Http] {
        let Some(receiver) = rejecting(protocol, "0", 2, "too many series") else { return };
        let registry = Arc::new(Registry::new(&RegistryOptions::default()));
        for name in ["a", "b", "c"] {
            registry.gauge(&MetricDesc::new(name, "")).unwrap();
        }
        let interval = Duration::from_millis(100);
        let pusher =
            MetricPusher::start(Arc::clone(&registry), receiver.options(protocol), interval).unwrap();
        let stats =
            peers::eventually(PATIENCE, || Some(pusher.stats()).filter(|stats| stats.pushed >= 2)).unwrap();
        assert_eq!(stats.failed, 0);
        assert_eq!(pusher.stats().rejected_points % 2, 0);
        let why = pusher.last_error().expect("it is told");
        assert!(why.ends_with("rejected 2 data points: too many series"), "{why}");
        assert!(pusher.last_warning().is_none());
        let shown = |registry: &Registry| {
            let mut text = String::new();
            registry.render(&mut text);
            let line =
                text.lines().find(|line| line.starts_with("neurograph_otlp_rejected_points_total ")).unwrap();
            line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
        };
        drop(pusher);
        assert!(shown(&registry) >= 2 * stats.pushed, "the registry shows it");
        let lines = receiver.wait(|lines| !lines.is_empty());
        assert!(lines.iter().all(|line| line["metric"] != "a" && line["metric"] != "b"));
    }
}

#[test]
fn an_address_that_answers_and_is_no_receiver_is_a_warning() {
    let port = peers::serve(|_| (Vec::new(), b"<html>welcome</html>".to_vec()));
    let options = OtlpOptions::new(&format!("http://127.0.0.1:{port}"), Protocol::Http);
    let writer = SpanWriter::start(quiet(OtlpSpans::new(&options).unwrap())).unwrap();
    let mut lane = writer.open_lane();
    lane.finish(&sample_span("taken")).unwrap();
    assert!(writer.flush(PATIENCE));
    let warning = writer.last_warning().expect("it is told").to_string();
    assert!(warning.contains("is none of OTLP"), "{warning}");
}

/// Spans go on at a lane's own pace, and the end comes in time.
fn a_bad_receiver_costs_spans_and_no_time(mut options: OtlpOptions) {
    options.timeout = Duration::from_millis(500);
    let spans = SpanOptions {
        shutdown: Duration::from_millis(700),
        interval: Duration::from_millis(5),
        lane_spans: 100,
        ..SpanOptions::new(OtlpSpans::new(&options).unwrap())
    };
    let writer = SpanWriter::start(spans).unwrap();
    let mut lane = writer.open_lane();
    lane.finish(&sample_span("first"));
    std::thread::sleep(Duration::from_millis(50));
    let began = Instant::now();
    for _ in 0..10_000 {
        lane.finish(&sample_span("lost"));
    }
    // Some 2 ms. Had it waited for an answer whenever its ring was full, it would have taken 50 s.
    assert!(began.elapsed() < Duration::from_millis(400), "a lane waited: {:?}", began.elapsed());
    let failed = peers::eventually(PATIENCE, || writer.last_error());
    assert!(failed.expect("it is told").to_string().contains("127.0.0.1"), "{:?}", writer.last_error());
    let stats = writer.stats();
    assert!(stats.dropped > 0 && stats.exported == 0, "{stats:?}");
    drop(lane);
    let began = Instant::now();
    drop(writer);
    // The deadline is 0.7 s.
    assert!(began.elapsed() < Duration::from_secs(3), "the end took {:?}", began.elapsed());
}

#[test]
fn a_dead_receiver_costs_spans_and_no_time() {
    for protocol in [Protocol::Grpc, Protocol::Http] {
        let endpoint = format!("http://127.0.0.1:{}", peers::free_port());
        a_bad_receiver_costs_spans_and_no_time(OtlpOptions::new(&endpoint, protocol));
    }
}

#[test]
fn a_receiver_that_never_answers_costs_spans_and_no_time() {
    for protocol in [Protocol::Grpc, Protocol::Http] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        a_bad_receiver_costs_spans_and_no_time(OtlpOptions::new(&endpoint, protocol));
    }
}

#[test]
fn a_receiver_that_talks_nonsense_costs_spans_and_no_time() {
    for protocol in [Protocol::Grpc, Protocol::Http] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                use std::io::Write as _;
                drop((&stream).write_all(b"\x00\xff nonsense \r\n\r\n\x01\x02"));
            }
        });
        a_bad_receiver_costs_spans_and_no_time(OtlpOptions::new(&endpoint, protocol));
    }
}

#[test]
fn a_receiver_that_asks_to_be_left_alone_for_ever_ends_no_thread() {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            drop((&stream).read(&mut [0; 4096]));
            let answer = format!(
                "HTTP/1.1 503 Busy\r\nRetry-After: {}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
                u64::MAX
            );
            drop((&stream).write_all(answer.as_bytes()));
        }
    });
    let options = OtlpOptions::new(&endpoint, Protocol::Http);
    let registry = Arc::new(Registry::new(&RegistryOptions::default()));
    let pusher = MetricPusher::start(registry, options.clone(), Duration::from_millis(100)).unwrap();
    let failed = peers::eventually(PATIENCE, || Some(pusher.stats().failed).filter(|failed| *failed >= 2));
    assert!(failed.is_some(), "{:?} {:?}", pusher.stats(), pusher.last_error());
    let writer = SpanWriter::start(quiet(OtlpSpans::new(&options).unwrap())).unwrap();
    let mut lane = writer.open_lane();
    lane.finish(&sample_span("lost")).unwrap();
    assert!(writer.flush(PATIENCE));
    let why = writer.last_error().expect("it is told").to_string();
    assert!(why.contains("HTTP 503"), "{why}");
}

#[test]
fn a_slow_receiver_gets_what_fits_and_the_rest_is_counted() {
    let Some(receiver) = receiver(Protocol::Http, "0.2") else { return };
    let options = receiver.options(Protocol::Http);
    let spans = SpanOptions { lane_spans: 64, batch_spans: 16, ..quiet(OtlpSpans::new(&options).unwrap()) };
    let writer = SpanWriter::start(spans).unwrap();
    let mut lane = writer.open_lane();
    let taken = (0..5_000).filter(|_| lane.finish(&sample_span("slow")).is_some()).count() as u64;
    assert!(writer.flush(PATIENCE));
    let stats = writer.stats();
    assert_eq!((stats.exported, stats.dropped), (taken, 5_000 - taken));
    receiver.wait(|lines| lines.len() as u64 == taken);
}

#[test]
fn a_receiver_killed_in_the_middle_loses_no_more_than_was_on_its_way() {
    let Some(mut receiver) = receiver(Protocol::Grpc, "0") else { return };
    let mut options = receiver.options(Protocol::Grpc);
    options.timeout = PATIENCE;
    options.retries = 1;
    let writer = SpanWriter::start(quiet(OtlpSpans::new(&options).unwrap())).unwrap();
    let mut lane = writer.open_lane();
    for _ in 0..10 {
        lane.finish(&sample_span("before")).unwrap();
    }
    assert!(writer.flush(PATIENCE));
    receiver.wait(|lines| lines.len() == 10);
    receiver.running.0.kill().unwrap();
    receiver.running.0.wait().unwrap();
    for _ in 0..7 {
        lane.finish(&sample_span("after")).unwrap();
    }
    assert!(writer.flush(2 * PATIENCE), "a flush ends all the same");
    let stats = writer.stats();
    assert_eq!((stats.recorded, stats.exported, stats.dropped), (17, 10, 7));
    assert!(writer.last_error().is_some());
}
