//! What the administration says: states, metrics, the live document; and what a start says.

use std::process::Command;

use serde_json::{Value, json};

use crate::service::{Client, NDJSON, Service, command, curl, has, post, raw, wait_for};

#[test]
fn a_service_that_recovers_says_so_until_it_is_ready() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path(), "");
    let mut client = Client::new(&service.gateway);
    for first in (0..400_000).step_by(40_000) {
        let reply = client.request("POST", "/v1/tokens?format=bin", &[], &raw(first..first + 40_000));
        assert_eq!(reply.status, 200);
    }
    assert_eq!(service.stop().0.code(), Some(0));
    let again = Service::spawn(command(dir.path(), ""));
    let mut states = Vec::new();
    wait_for("it to be ready", || {
        let (status, state) = again.state();
        if state == "recovering" && states.is_empty() {
            let reply = Client::new(&again.gateway).request("GET", "/v1/tokens/1", &[], b"");
            assert!(reply.status == 200 || (reply.status, reply.header("retry-after")) == (503, Some("1")));
            assert_eq!(Client::new(&again.admin).request("GET", "/healthz", &[], b"").status, 200);
        }
        states.push(state);
        status == 200
    });
    assert!(states.contains(&"recovering".to_owned()), "{states:?}");
    assert!(again.said().contains("recovered 400000 tokens from 400000 records"), "{}", again.said());
    assert_eq!(again.look("/v1/live")["tokens"]["live"], 400_000);
}

#[test]
fn a_full_service_is_not_ready_until_there_is_room_again() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path(), "[guardian]\ncleanup = false\nmax_tokens = 3\nmax_lease = 1\n");
    assert_eq!(service.state(), (200, "ready".to_owned()));
    let mut client = Client::new(&service.gateway);
    client.request("POST", "/v1/tokens?format=bin", &[], &raw(0..3));
    assert_eq!(service.state(), (503, "full".to_owned()));
    client.request("DELETE", "/v1/tokens/1", &[], b"");
    assert_eq!(service.state(), (200, "ready".to_owned()));
}

#[test]
fn a_log_that_failed_is_told_and_nothing_is_made_any_more() {
    if !has("prlimit") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path(), "");
    let mut client = Client::new(&service.gateway);
    let send = |client: &mut Client, first: u32| {
        client.request("POST", "/v1/tokens?format=bin&durable=true", &[], &raw(first..first + 1_000))
    };
    assert_eq!(send(&mut client, 0).status, 200);
    // From now on no file may grow beyond 4 KiB: the next write of the log fails.
    let limited = Command::new("prlimit")
        .args(["--fsize=4096:4096", "--pid", &service.child.id().to_string()])
        .status()
        .unwrap();
    assert!(limited.success());
    let reply = send(&mut client, 1_000);
    assert_eq!(reply.status, 503, "{}", reply.json());
    assert_eq!(reply.json()["durable"], false);
    wait_for("the state", || service.state() == (503, "poisoned".to_owned()));
    let reply = send(&mut client, 2_000);
    assert_eq!(reply.status, 503, "{}", reply.json());
    assert_eq!(service.look("/v1/live")["log"]["poisoned"], true);
    // What was acknowledged can still be read, and the end says that not all is well.
    assert_eq!(client.request("GET", "/v1/tokens/5", &[], b"").status, 200);
    let (status, said) = service.stop();
    assert_eq!(status.code(), Some(74), "{said}");
}

#[test]
fn the_live_document_has_every_field_of_its_contract() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path(), "[serve]\nstress_json = \"stress.json\"\n");
    let mut client = Client::new(&service.gateway);
    client.request("POST", "/v1/tokens?durable=true", &[("Content-Type", NDJSON)], b"{\"weight\":1}\nx\n");
    let live = service.look("/v1/live");
    let fields = "at_unix_ms uptime_s ready state version tokens.live tokens.made_total tokens.deleted_total \
        tokens.refused_total tokens.per_s log.kind log.backend log.appended_lsn log.durable_lsn log.lag_p50_us \
        log.lag_p99_us log.lag_bytes log.stalls_total log.stall_ms_total log.drops_total log.bytes_total log.poisoned \
        memory.rss_bytes memory.counted_bytes memory.limit_bytes memory.cgroup_limit_bytes memory.pressure quotas.0.name \
        quotas.0.used quotas.0.limit quotas.0.soft quotas.0.aggressive quotas.0.refused_total sampling.rate \
        sampling.sampled_total sampling.spans_written_total sampling.spans_dropped_total refusals.0.reason \
        refusals.0.total events.0.at_unix_ms events.0.kind events.0.thread events.0.text http.connections \
        http.requests_total http.in_flight http.rejected_total stress";
    for field in fields.split_whitespace() {
        let pointer = format!("/{}", field.replace('.', "/"));
        assert!(live.pointer(&pointer).is_some(), "{field} is not in {live:#}");
    }
    assert_eq!((&live["state"], &live["tokens"]["made_total"]), (&json!("ready"), &json!(1)));
    assert_eq!(live["log"]["durable_lsn"], 0, "the first record has the number 0");
    let malformed = |row: &Value| row["reason"] == "malformed" && row["total"] == 1;
    assert!(live["refusals"].as_array().unwrap().iter().any(malformed), "{live:#}");
    assert_eq!(live["stress"], Value::Null);
    std::fs::write(dir.path().join("stress.json"), "{\"tokens\": 9500000}").unwrap();
    assert_eq!(service.look("/v1/live")["stress"]["tokens"], 9_500_000);
    // The rate is of the last second.
    let mut highest = 0.0_f64;
    wait_for("a rate", || {
        client.request("POST", "/v1/tokens?format=bin&ids=any", &[], &raw(0..1_000));
        highest = highest.max(service.look("/v1/live")["tokens"]["per_s"].as_f64().unwrap());
        highest > 1_000.0
    });
}

#[test]
fn a_scrape_is_answered_in_the_format_that_was_asked_for() {
    if !has("curl") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path(), "");
    post(&service, NDJSON, "", b"{\"weight\":1}\n");
    let url = format!("{}/metrics", service.admin);
    let plain = curl(&[&url], b"");
    assert_eq!(plain.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = String::from_utf8(plain.body).unwrap();
    assert!(text.contains("\nneurograph_tokens_created_total 1\n"), "{text}");
    assert!(text.contains("\nneurograph_http_request_duration_seconds_count 1\n"), "{text}");
    let open = curl(&["-H", "Accept: application/openmetrics-text", "--compressed", &url], b"");
    assert_eq!(open.header("content-encoding"), Some("gzip"));
    assert!(open.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    assert!(String::from_utf8(open.body).unwrap().ends_with("# EOF\n"));
    if Command::new("promtool").arg("--version").output().is_ok() {
        let mut check = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut check.stdin.take().unwrap(), text.as_bytes()).unwrap();
        let output = check.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    } else {
        println!("skipped in part: there is no promtool");
    }
}

#[test]
fn configuration_constitution_and_events_can_be_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path(), "[guardian.constitution]\nweight_max = 7\n");
    let config = service.look("/v1/config");
    let settings = config["settings"].as_array().unwrap();
    let of = |key: &str| settings.iter().find(|setting| setting["key"] == key).unwrap();
    assert_eq!(of("wal.segment_mib")["value"], "2");
    assert!(
        of("wal.segment_mib")["origin"].as_str().unwrap().contains("ng.toml"),
        "{}",
        of("wal.segment_mib")
    );
    assert_eq!(of("wal.every")["origin"], "default");
    let cdna = service.look("/v1/cdna");
    assert_eq!((&cdna["version"], &cdna["weight"]["max"]), (&json!(1), &json!(7.0)), "{cdna}");
    let events = service.look("/v1/blackbox?tier=rare&last=5");
    assert!(events["events"].as_array().unwrap().iter().any(|event| event["kind"] == "started"), "{events}");
    let mut client = Client::new(&service.admin);
    assert_eq!(client.request("GET", "/v1/blackbox?last=x", &[], b"").status, 400);
    assert_eq!(client.request("POST", "/v1/live", &[], b"").status, 405);
    let page = client.request("GET", "/", &[], b"");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.header("content-security-policy").is_some());
}

#[test]
fn a_second_service_on_one_log_is_refused_and_the_first_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path(), "");
    let second = command(dir.path(), "").output().unwrap();
    let said = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(74), "{said}");
    assert!(said.contains(&format!("in use by process {}", service.child.id())), "{said}");
    assert!(said.contains("wal.dir"), "{said}");
    // And one on the same address says which.
    let other = tempfile::tempdir().unwrap();
    let address = service.gateway.strip_prefix("http://").unwrap().to_owned();
    let mut third = command(other.path(), &format!("[serve]\nlisten = {address:?}\n"));
    third.env_remove("unused");
    let given: Vec<_> = third.get_args().map(std::ffi::OsStr::to_owned).collect();
    let mut again = Command::new(third.get_program());
    again.current_dir(other.path()).args(&given[..given.len() - 4]).args(["--admin", "127.0.0.1:0"]);
    for (name, value) in third.get_envs() {
        if let Some(value) = value {
            again.env(name, value);
        }
    }
    let third = again.output().unwrap();
    let said = String::from_utf8(third.stderr).unwrap();
    assert!(
        third.status.code() == Some(74) && said.contains(&address) && said.contains("serve.listen"),
        "{said}"
    );
    let reply = post_one(&service);
    assert_eq!(reply["made"], 1);
}

fn post_one(service: &Service) -> Value {
    let mut client = Client::new(&service.gateway);
    client.request("POST", "/v1/tokens?durable=true", &[("Content-Type", NDJSON)], b"{\"weight\":1}").json()
}
