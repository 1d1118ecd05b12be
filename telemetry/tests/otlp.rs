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
    Registry, RegistryOptions, SpanOptions, SpanWriter,
    otlp::{MetricPusher, OtlpOptions, OtlpSpans, Protocol},
    spans::{Details, SpanEvent, SpanKind, SpanRecord, Text},
};
use serde_json::Value as Json;

const PATIENCE: Duration = Duration::from_secs(30);

/// The receiver, and what it has said so far.
struct Receiver {
    running: peers::Running,
    port: u16,
    lines: Arc<Mutex<Vec<Json>>>,
}

fn receiver(protocol: Protocol, delay: &str) -> Option<Receiver> {
    let Some(python) = peers::python("grpc, opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc")
    else {
        peers::skip("there is no Python with grpcio and opentelemetry-proto");
        return None;
    };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/otlp_receiver.py");
    let how = if protocol == Protocol::Grpc { "grpc" } else { "http" };
    let mut command = Command::new(python);
    command.args([script, how, delay]).stdout(Stdio::piped()).stderr(Stdio::inherit());
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
        OtlpOptions::new(&format!("http://127.0.0.1:{}", self.port), protocol)
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

    let read = of("GET /\u{4e16}");
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
        let took = of("took_seconds");
        assert_eq!((&took["count"], &took["buckets"], &took["unit"]), (&3.into(), &3.into(), &"s".into()));
        assert_eq!(took["sum"], 2.000_001_5);
        let exemplar = serde_json::json!([[TraceId(3).to_string(), SpanId(4).to_string(), 0.000_001_5]]);
        assert_eq!(took["exemplars"], exemplar);
        assert_eq!(took["headers"]["x-key"], "secret");
    }
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
    assert!(began.elapsed() < Duration::from_millis(400), "a lane waited: {:?}", began.elapsed());
    let failed = peers::eventually(PATIENCE, || writer.last_error());
    assert!(failed.expect("it is told").to_string().contains("127.0.0.1"), "{:?}", writer.last_error());
    let stats = writer.stats();
    assert!(stats.dropped > 0 && stats.exported == 0, "{stats:?}");
    drop(lane);
    let began = Instant::now();
    drop(writer);
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
    options.timeout = Duration::from_millis(500);
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
    assert!(writer.flush(PATIENCE), "a flush ends all the same");
    let stats = writer.stats();
    assert_eq!((stats.recorded, stats.exported, stats.dropped), (17, 10, 7));
    assert!(writer.last_error().is_some());
}
