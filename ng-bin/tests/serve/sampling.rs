//! Head sampling: a caller's trace goes on, and wishes are for those who may have them.

use serde_json::Value;

use crate::service::{Client, NDJSON, Service, spans};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// The spans of requests that a service wrote until its end.
fn written(service: Service, dir: &std::path::Path) -> Vec<Value> {
    let all = all_written(service, dir).into_iter();
    all.filter(|span| span["name"] == "http.post_tokens").collect()
}

fn all_written(service: Service, dir: &std::path::Path) -> Vec<Value> {
    let (status, said) = service.stop();
    assert_eq!(status.code(), Some(0), "{said}");
    let text = std::fs::read_to_string(spans(dir)).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect()
}

fn post(service: &Service, headers: &[(&str, &str)]) {
    let mut all = vec![("Content-Type", NDJSON)];
    all.extend_from_slice(headers);
    let reply = Client::new(&service.gateway).request("POST", "/v1/tokens", &all, b"{\"weight\":1}\n");
    assert_eq!(reply.status, 200, "{}", reply.json());
}

#[test]
fn a_sampled_parent_is_followed_and_one_that_is_not_is_followed_too() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path(), "[tracing]\nrate = 0.0\n");
    post(&service, &[("traceparent", &format!("00-{TRACE}-00f067aa0ba902b7-01"))]);
    post(&service, &[("traceparent", &format!("00-{}-00f067aa0ba902b7-00", TRACE.replace('4', "5")))]);
    post(&service, &[("traceparent", "00-nonsense")]);
    let twice = format!("00-{TRACE}-00f067aa0ba902b7-01");
    post(&service, &[("traceparent", &twice), ("traceparent", &twice)]);
    post(&service, &[]);
    let metrics = Client::new(&service.admin).request("GET", "/metrics", &[], b"");
    let metrics = String::from_utf8(metrics.body).unwrap();
    assert!(metrics.contains("neurograph_http_headers_ignored_total{header=\"traceparent\"} 2"), "{metrics}");
    let spans = written(service, dir.path());
    assert_eq!(spans.len(), 1, "{spans:?}");
    let text = spans[0].to_string();
    assert!(text.contains(TRACE) && text.contains("00f067aa0ba902b7") && text.contains("parent"), "{text}");
}

#[test]
fn only_callers_with_the_token_can_force_a_trace() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("token"), TOKEN).unwrap();
    let config = "[tracing]\nrate = 0.0\n[serve]\ntoken_file = \"token\"\nrequire_token = false\n";
    let service = Service::start(dir.path(), config);
    for wish in [("X-Force-Trace", "true"), ("X-Sampling-Rate", "1.0")] {
        post(&service, &[wish]);
    }
    assert_eq!(service.look("/v1/live")["sampling"]["sampled_total"], 0);
    let bearer = format!("Bearer {TOKEN}");
    for wish in [("X-Force-Trace", "true"), ("X-Sampling-Rate", "1.0"), ("X-Sampling-Priority", "high")] {
        post(&service, &[wish, ("Authorization", &bearer)]);
    }
    let spans = written(service, dir.path());
    assert_eq!(spans.len(), 2, "ten times a rate of zero is zero: {spans:?}");
    // Two lanes wrote them, in either order.
    for reason in ["forced", "custom"] {
        let said = format!("{{\"key\":\"sampling.reason\",\"value\":{{\"stringValue\":\"{reason}\"}}}}");
        assert!(spans.iter().any(|span| span.to_string().contains(&said)), "{reason}: {spans:?}");
    }
}

#[test]
fn wishes_are_everyones_where_the_configuration_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path(), "[tracing]\nrate = 0.0\n[serve]\ntrust_wishes = true\n");
    post(&service, &[("X-Force-Trace", "1")]);
    assert_eq!(written(service, dir.path()).len(), 1);
}

#[test]
fn a_sampled_request_shows_what_it_was_at_as_its_children() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path(), "[tracing]\nrate = 0.0\n[serve]\ntrust_wishes = true\n");
    let headers = [("Content-Type", NDJSON), ("traceparent", &*format!("00-{TRACE}-00f067aa0ba902b7-01"))];
    let body = b"{\"weight\":1}\n";
    let reply = Client::new(&service.gateway).request("POST", "/v1/tokens?durable=true", &headers, body);
    assert_eq!(reply.status, 200, "{}", reply.json());
    let spans = all_written(service, dir.path());
    let one = |name: &str| {
        let mut named = spans.iter().filter(|span| span["name"] == name);
        let found = named.next().unwrap_or_else(|| panic!("no {name}: {spans:?}"));
        assert!(named.next().is_none(), "{spans:?}");
        found
    };
    let time = |span: &Value, key: &str| span[key].as_str().unwrap().parse::<u64>().unwrap();
    let (root, make, wait) = (one("http.post_tokens"), one("tokens.make"), one("log.wait_durable"));
    assert_eq!(root["parentSpanId"], "00f067aa0ba902b7");
    for child in [make, wait] {
        assert_eq!((&child["traceId"], &child["parentSpanId"]), (&TRACE.into(), &root["spanId"]));
        assert!(time(root, "startTimeUnixNano") <= time(child, "startTimeUnixNano"));
        assert!(time(child, "endTimeUnixNano") <= time(root, "endTimeUnixNano"));
    }
    assert!(time(make, "endTimeUnixNano") <= time(wait, "startTimeUnixNano"));
}

/// However busy the lanes are, an answer is the request's own, and its span is written or counted as lost.
#[test]
fn each_sampled_request_that_was_answered_has_a_span_or_is_counted_as_one_whose_span_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let config = "[tracing]\nrate = 0.0\n[serve]\ntrust_wishes = true\nlanes = 1\nmax_in_flight = 1\n";
    let service = Service::start(dir.path(), config);
    let headers = [("Content-Type", NDJSON), ("X-Force-Trace", "1")];
    let body = b"{\"weight\":1}\n".repeat(10_000);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = Client::new(&service.gateway);
                    let mut ask =
                        || client.request("POST", "/v1/tokens?durable=true", &headers, &body).status;
                    (0..10).map(|_| ask()).collect::<Vec<_>>()
                })
            })
            .collect();
        callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
    });
    assert!(statuses.iter().all(|status| [200, 429].contains(status)), "{statuses:?}");
    let metrics = Client::new(&service.admin).request("GET", "/metrics", &[], b"").body;
    let metrics = String::from_utf8(metrics).unwrap();
    let lost = metrics.lines().find_map(|line| line.strip_prefix("neurograph_http_spans_lost_total "));
    let lost: usize = lost.unwrap().parse().unwrap();
    let answered = statuses.iter().filter(|status| **status == 200).count();
    assert!(answered > 0);
    assert_eq!(written(service, dir.path()).len() + lost, answered);
}
