//! Prometheus' own programs, and its Python client's strict parser, read what the registry shows.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test reports by panicking")]

mod peers;

use std::{
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ng_core::metrics::{Exemplar, MetricDesc, MetricLane, MetricSink, Scale};
use ng_core::spans::{SpanId, TraceId};
use ng_telemetry::{Registry, RegistryOptions};

const TRACE: TraceId = TraceId(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
const SPAN: SpanId = SpanId(0x00f0_67aa_0ba9_02b7);

/// Durations, in nanoseconds.
const TOOK: [u64; 4] = [3, 1_500, 1_600, 2_000_000_000];

/// What the histogram must count up to a bucket's bound, which is in seconds.
fn at_most(bound: &serde_json::Value) -> usize {
    let bound: f64 = bound.as_str().unwrap().parse().unwrap();
    TOOK.iter().filter(|ns| **ns as f64 / 1e9 <= bound).count()
}

/// A registry with one of everything, and when its exemplar was seen.
fn filled() -> (Arc<Registry>, u64) {
    let registry = Arc::new(Registry::new(&RegistryOptions::default()));
    let made = registry.counter(&MetricDesc::new("ng_test_made_total", "Made \"so\".\\")).unwrap();
    let level = MetricDesc::new("ng_test_level_bytes", "A level.").unit("bytes", Scale::One);
    let level = registry.gauge(&level.label("of", "a \"b\"\\\n\u{4e16}")).unwrap();
    let took = MetricDesc::new("ng_test_took_seconds", "How long.").unit("seconds", Scale::Nano);
    let took = registry.histogram(&took.label("op", "x")).unwrap();
    registry.info(&MetricDesc::new("ng_test_build", "What it is.").label("version", "1.2.3")).unwrap();
    registry.set(level, 0.25);
    let mut lane = registry.open_lane();
    lane.add(made, 12_345);
    for value in TOOK {
        lane.observe(took, value, 1);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let unix_ns = u64::try_from(now.as_nanos()).unwrap();
    lane.exemplar(took, &Exemplar { value: 1_600, trace: TRACE, span: SPAN, unix_ns });
    (registry, unix_ns)
}

#[test]
fn promtool_finds_nothing_to_say_about_the_text_format() {
    let Some(mut promtool) = peers::program("promtool") else {
        return peers::skip("there is no promtool");
    };
    promtool.args(["check", "metrics"]);
    let mut text = String::new();
    filled().0.render(&mut text);
    let (code, out, err) = peers::feed(promtool, text.as_bytes());
    assert_eq!((code, out.trim(), err.trim()), (Some(0), "", ""), "{text}");
}

#[test]
fn promtool_refuses_what_is_broken() {
    let Some(mut promtool) = peers::program("promtool") else {
        return peers::skip("there is no promtool");
    };
    promtool.args(["check", "metrics"]);
    let mut text = String::new();
    filled().0.render(&mut text);
    let (code, ..) = peers::feed(promtool, text.replacen("le=\"", "le=", 1).as_bytes());
    assert_ne!(code, Some(0), "else the test above shows nothing");
}

/// Prints what the strict parser of Prometheus' Python client read.
const PARSER: &str = r#"
import sys, json
from prometheus_client.openmetrics.parser import text_string_to_metric_families
out = []
for family in text_string_to_metric_families(sys.stdin.read()):
    for s in family.samples:
        e = s.exemplar and [s.exemplar.labels, s.exemplar.value]
        out.append([family.name, family.type, family.unit, s.name, s.labels, s.value, e])
json.dump(out, sys.stdout)
"#;

#[test]
fn a_strict_parser_reads_open_metrics_back() {
    let Some(python) = peers::python("prometheus_client") else {
        return peers::skip("there is no Python with prometheus-client");
    };
    let mut command = Command::new(python);
    command.args(["-c", PARSER]);
    let mut text = String::new();
    assert!(filled().0.render_open_metrics(&mut text));
    let (code, out, err) = peers::feed(command, text.as_bytes());
    assert_eq!(code, Some(0), "{err}\n{text}");
    let read: Vec<serde_json::Value> = serde_json::from_str(&out).unwrap();
    let of = |name: &str| read.iter().filter(|s| s[3] == name).collect::<Vec<_>>();
    assert_eq!(of("ng_test_made_total")[0][5], 12_345.0);
    assert_eq!(of("ng_test_made_total")[0][1], "counter");
    let level = of("ng_test_level_bytes")[0];
    assert_eq!((&level[2], &level[4]["of"]), (&"bytes".into(), &"a \"b\"\\\n\u{4e16}".into()));
    assert_eq!(of("ng_test_build_info")[0][1], "info");
    let took = of("ng_test_took_seconds_bucket");
    assert_eq!(took.len(), ng_telemetry::metrics::HISTOGRAM_BOUNDS + 1);
    for bucket in &took {
        assert_eq!(bucket[5], at_most(&bucket[4]["le"]) as f64, "{bucket}");
    }
    assert_eq!(of("ng_test_took_seconds_sum")[0][5], 2.000_003_103);
    assert_eq!((&level[5], &of("ng_test_build_info")[0][5]), (&0.25.into(), &1.into()));
    let with: Vec<_> = took.iter().filter(|sample| !sample[6].is_null()).collect();
    assert_eq!(with.len(), 1);
    assert_eq!(with[0][4]["le"], "0.000002047");
    assert_eq!(with[0][6][0]["trace_id"], TRACE.to_string());
    assert_eq!(with[0][6][1], 0.000_001_6);
}

#[test]
fn prometheus_scrapes_and_answers_with_the_value_and_the_exemplar() {
    let Some(mut prometheus) = peers::program("prometheus") else {
        return peers::skip("there is no prometheus");
    };
    let (registry, seen_ns) = filled();
    let target = peers::serve(move |headers| {
        let accept = peers::header(headers, "accept");
        let answer = registry.expose(accept, peers::header(headers, "accept-encoding"));
        let mut more = vec![format!("Content-Type: {}", answer.content_type)];
        more.extend(answer.content_encoding.map(|encoding| format!("Content-Encoding: {encoding}")));
        (more, answer.body)
    });
    let dir = tempfile::tempdir().unwrap();
    let config = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: ng\n  static_configs: [{{targets: ['127.0.0.1:{target}']}}]\n"
    );
    std::fs::write(dir.path().join("prometheus.yml"), config).unwrap();
    let port = peers::free_port();
    prometheus
        .arg(format!("--config.file={}", dir.path().join("prometheus.yml").display()))
        .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg("--enable-feature=exemplar-storage")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let _running = peers::Running(prometheus.spawn().unwrap());

    let ask = |path: &str| serde_json::from_str::<serde_json::Value>(&peers::get(port, path).ok()?).ok();
    let made = peers::eventually(Duration::from_secs(40), || {
        let answer = ask("/api/v1/query?query=ng_test_made_total")?;
        Some(answer["data"]["result"].get(0)?["value"][1].clone())
    });
    assert_eq!(made.expect("Prometheus has scraped"), "12345");
    let below = ask("/api/v1/query?query=ng_test_took_seconds_count").unwrap();
    assert_eq!(below["data"]["result"][0]["value"][1], "4", "{below}");
    assert_eq!(below["data"]["result"][0]["metric"]["op"], "x");
    let one = |query: &str| {
        let answer = ask(&format!("/api/v1/query?query={query}")).unwrap();
        let result = answer["data"]["result"].as_array().unwrap().clone();
        assert_eq!(result.len(), 1, "{answer}");
        result[0].clone()
    };
    assert_eq!(one("ng_test_took_seconds_sum")["value"][1], "2.000003103");
    let level = one("ng_test_level_bytes");
    assert_eq!((&level["value"][1], &level["metric"]["of"]), (&"0.25".into(), &"a \"b\"\\\n\u{4e16}".into()));
    let build = one("ng_test_build_info");
    assert_eq!((&build["value"][1], &build["metric"]["version"]), (&"1".into(), &"1.2.3".into()));
    let buckets = ask("/api/v1/query?query=ng_test_took_seconds_bucket").unwrap();
    let buckets = buckets["data"]["result"].as_array().unwrap();
    assert_eq!(buckets.len(), ng_telemetry::metrics::HISTOGRAM_BOUNDS + 1);
    for bucket in buckets {
        assert_eq!(bucket["value"][1], at_most(&bucket["metric"]["le"]).to_string(), "{bucket}");
    }
    let exemplar = peers::eventually(Duration::from_secs(10), || {
        let answer = ask("/api/v1/query_exemplars?query=ng_test_took_seconds_bucket&start=0&end=9999999999")?;
        Some(answer["data"].get(0)?["exemplars"][0].clone())
    });
    let exemplar = exemplar.expect("Prometheus keeps exemplars");
    assert_eq!(exemplar["labels"]["trace_id"], TRACE.to_string());
    assert_eq!(exemplar["labels"]["span_id"], SPAN.to_string());
    assert_eq!(exemplar["value"].as_str().unwrap().parse::<f64>().unwrap(), 0.000_001_6);
    // Prometheus keeps milliseconds.
    let seconds = exemplar["timestamp"].as_f64().unwrap();
    assert!((seconds - seen_ns as f64 / 1e9).abs() < 0.001_5, "{exemplar}");
}
