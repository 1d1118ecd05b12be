//! A service whose configuration changes: under load, to a bad one, to one that needs a restart.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use serde_json::Value;

use crate::service::{Client, NDJSON, Service, command, ng, post, raw, signal, wait_for};

/// The tests' file with this in it; `command` wrote it first.
fn rewrite(dir: &Path, config: &str) {
    // As editors do it, so that nobody reads half of it.
    let (file, next) = (dir.join("ng.toml"), dir.join("ng.toml.next"));
    std::fs::write(&next, format!("[wal]\nsegment_mib = 2\nblock_kib = 64\n{config}")).unwrap();
    std::fs::rename(next, file).unwrap();
}

fn setting(service: &Service, key: &str) -> (String, String) {
    let document = service.look("/v1/config");
    let all = document["settings"].as_array().unwrap();
    let one: &Value = all.iter().find(|one| one["key"] == key).unwrap();
    (one["value"].as_str().unwrap().to_owned(), one["origin"].as_str().unwrap().to_owned())
}

fn metric(service: &Service, line: &str) -> String {
    let reply = Client::new(&service.admin).request("GET", "/metrics", &[], b"");
    let text = String::from_utf8(reply.body).unwrap();
    let found = text.lines().find_map(|one| one.strip_prefix(line)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("no {line} in {text}")).to_owned()
}

#[test]
fn sighup_puts_live_keys_in_force_under_load_and_no_request_hears_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path(), "");
    let (next, over, made) = (AtomicU32::new(0), AtomicBool::new(false), AtomicU64::new(0));
    let pid = service.child.id();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut client = Client::new(&service.gateway);
                while !over.load(Ordering::Relaxed) {
                    let first = next.fetch_add(500, Ordering::Relaxed);
                    let path = "/v1/tokens?format=bin&durable=true";
                    let reply = client.request("POST", path, &[], &raw(first..first + 500));
                    assert_eq!((reply.status, reply.json()["made"].as_u64()), (200, Some(500)));
                    made.fetch_add(500, Ordering::Relaxed);
                }
            });
        }
        for round in 1..=20_u64 {
            let limit = 10_000_000 + round;
            rewrite(dir.path(), &format!("[guardian]\nmax_tokens = {limit}\n[tracing]\nrate = 0.5\n"));
            signal(pid, "HUP");
            wait_for("the limit", || setting(&service, "guardian.max_tokens").0 == limit.to_string());
        }
        wait_for("some load", || made.load(Ordering::Relaxed) > 20_000);
        over.store(true, Ordering::Relaxed);
    });
    let live = service.look("/v1/live");
    assert_eq!(live["tokens"]["live"].as_u64(), Some(made.into_inner()));
    assert_eq!(live["sampling"]["rate"].as_f64(), Some(0.5));
    assert_eq!(metric(&service, "neurograph_quota_limit_tokens"), "10000020");
    // A look at the file may have come before the signal, which then found nothing new.
    let applied: u64 =
        metric(&service, "neurograph_config_reloads_total{result=\"applied\"}").parse().unwrap();
    assert_eq!(applied, 20, "{}", service.said());
    assert!(setting(&service, "guardian.max_tokens").1.ends_with("ng.toml:5"));
    let (status, said) = service.stop();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("guardian.max_tokens = 10000001 (was 10000000)"), "{said}");
}

#[test]
fn a_bad_file_changes_nothing_and_is_told_by_words_metric_and_event() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path(), "[guardian]\ncleanup = false\nmax_tokens = 5\n");
    rewrite(dir.path(), "[guardian]\ncleanup = false\nmax_tokens = 7\nmax_tokns = 9\n");
    signal(service.child.id(), "HUP");
    wait_for("the refusal", || metric(&service, "neurograph_config_file_refused") == "1");
    assert_eq!(setting(&service, "guardian.max_tokens").0, "5");
    let rows = (0..6).map(|id| format!("{{\"id\":{id}}}\n")).collect::<String>();
    let reply = post(&service, NDJSON, "", rows.as_bytes());
    assert_eq!(reply.json()["made"], 5);
    wait_for("the event", || {
        let events = service.look("/v1/live")["events"].clone();
        events.as_array().unwrap().iter().any(|event| event["kind"] == "config_refused")
    });
    rewrite(dir.path(), "[guardian]\ncleanup = false\nmax_tokens = 7\n");
    signal(service.child.id(), "HUP");
    wait_for("the mended file", || metric(&service, "neurograph_config_file_refused") == "0");
    assert_eq!(post(&service, NDJSON, "", rows.as_bytes()).json()["made"], 1);
    let (status, said) = service.stop();
    assert_eq!(status.code(), Some(0));
    assert!(said.contains("refused, the configuration before stays in force"), "{said}");
    assert!(said.contains("did you mean `max_tokens`?"), "{said}");
}

#[test]
fn a_key_that_needs_a_restart_is_named_and_an_option_still_goes_before_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path(), "");
    let before = setting(&service, "serve.listen");
    assert_eq!(before, ("\"127.0.0.1:0\"".to_owned(), "--listen".to_owned()));
    rewrite(dir.path(), "[serve]\nlisten = \"127.0.0.1:1\"\nlanes = 1\n[tracing]\nrate = 0.25\n");
    signal(service.child.id(), "HUP");
    wait_for("the rate", || setting(&service, "tracing.rate").0 == "0.25");
    assert_eq!(setting(&service, "serve.listen"), before);
    assert_eq!(setting(&service, "serve.lanes").0, "0");
    assert_eq!(metric(&service, "neurograph_config_changes_waiting"), "1");
    let (_, said) = service.stop();
    assert!(said.contains("1 change in force, 1 change not"), "{said}");
    assert!(said.contains("serve.lanes stays 0, not 1: it needs a restart"), "{said}");
}

#[test]
fn a_file_that_has_changed_is_read_without_a_signal() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path(), "[serve]\nconfig_watch_ms = 20\n");
    rewrite(dir.path(), "[serve]\nconfig_watch_ms = 20\n[tracing]\nrate = 0.125\n");
    wait_for("the rate", || setting(&service, "tracing.rate").0 == "0.125");
    assert!(service.stop().1.contains("the configuration's file has changed: 1 change in force"));
}

#[test]
fn without_a_file_sighup_ends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut plain = ng(dir.path());
    plain.args(["serve", "--json", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    plain.env("NG_WAL__SEGMENT_MIB", "2").env("NG_WAL__BLOCK_KIB", "64");
    let service = Service::of(plain);
    signal(service.child.id(), "HUP");
    wait_for("the answer", || service.said().contains("nothing has changed"));
    assert_eq!(service.state(), (200, "ready".to_owned()));
    // And a SIGHUP right at the start is kept until there is something to read it for.
    let other = tempfile::tempdir().unwrap();
    let early = Service::spawn(command(other.path(), ""));
    signal(early.child.id(), "HUP");
    wait_for("the start", || early.state().1 == "ready");
    wait_for("the answer", || early.said().contains("nothing has changed"));
}

#[test]
fn another_level_of_the_log_is_in_force_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path(), "[log]\nlevel = \"error\"\n");
    let pid = service.child.id();
    // A word at the level of information, which is shown where the new level lets it through.
    let told = "the log has another level";
    for level in ["warn", "info", "error", "debug"] {
        rewrite(dir.path(), &format!("[log]\nlevel = \"{level}\"\n"));
        signal(pid, "HUP");
        wait_for("the level", || setting(&service, "log.level").0 == format!("\"{level}\""));
    }
    let (status, said) = service.stop();
    assert_eq!(status.code(), Some(0), "{said}");
    let lines: Vec<&str> = said.lines().filter(|line| line.contains(told)).collect();
    assert!(lines.len() == 2 && lines[0].contains("info") && lines[1].contains("debug"), "{said}");
    assert!(!said.contains("stays"), "{said}");
}

#[cfg(feature = "guardian")]
#[test]
fn the_constitution_sets_the_level_of_the_log_of_a_service_and_gives_it_back() {
    let dir = tempfile::tempdir().unwrap();
    let config = "[log]\nlevel = \"error\"\n[guardian]\nmemory_interval_ms = 10\ncdna_dir = \"cdna\"\n";
    let service = Service::start(dir.path(), config);
    let cdna = |words: &[&str]| {
        let output = ng(dir.path()).args(["cdna"]).args(words).args(["--dir", "cdna"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    std::fs::write(dir.path().join("quiet.toml"), "").unwrap();
    std::fs::write(dir.path().join("loud.toml"), "[observability]\nlog_level = \"debug\"\n").unwrap();
    cdna(&["set", "quiet.toml", "--activate"]);
    cdna(&["set", "loud.toml", "--activate"]);
    wait_for("the level", || service.said().contains("the log has another level"));
    rewrite(dir.path(), &config.replace("error", "warn"));
    signal(service.child.id(), "HUP");
    wait_for("the answer", || service.said().contains("log.level stays \"error\", not \"warn\""));
    cdna(&["rollback"]);
    wait_for("the old version", || metric(&service, "neurograph_constitution_version") == "1");
    let (status, said) = service.stop();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("the constitution in force decides: use `ng cdna`"), "{said}");
}

#[test]
fn limits_of_the_service_hold_for_the_next_request_and_connection() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path(), "");
    let pid = service.child.id();
    let again = |config: &str, key: &str, value: &str| {
        rewrite(dir.path(), config);
        signal(pid, "HUP");
        wait_for("the limit", || setting(&service, key).0 == value);
    };
    // One connection all along: it is the requests on it that the new limits are for.
    let mut client = Client::new(&service.gateway);
    let mut made = |rows: std::ops::Range<u32>| {
        let reply = client.request("POST", "/v1/tokens?format=bin", &[], &raw(rows));
        (reply.status, reply.json()["made"].as_u64())
    };
    assert_eq!(made(0..20_000), (200, Some(20_000)));
    again("[serve]\nmax_body_mib = 1\n", "serve.max_body_mib", "1");
    assert_eq!(made(20_000..40_000).0, 413);
    again("[serve]\nmax_body_mib = 2\n", "serve.max_body_mib", "2");
    assert_eq!(made(40_000..60_000), (200, Some(20_000)));

    // Two are open, and one more is let in; then none.
    let mut second = Client::new(&service.gateway);
    assert_eq!(second.request("GET", "/v1/stats", &[], b"").status, 200);
    again("[serve]\nmax_connections = 2\n", "serve.max_connections", "2");
    let mut third = Client::new(&service.gateway);
    assert!(third.rest().starts_with("HTTP/1.1 503 "));
    assert_eq!(second.request("GET", "/v1/stats", &[], b"").status, 200, "who is in stays in");
    again("[serve]\nmax_connections = 3\n", "serve.max_connections", "3");
    assert_eq!(Client::new(&service.gateway).request("GET", "/v1/stats", &[], b"").status, 200);

    // Who begins nothing is let go of after the new patience.
    again("[serve]\nheader_timeout_ms = 50\n", "serve.header_timeout_ms", "50");
    let began = std::time::Instant::now();
    Client::new(&service.gateway).rest();
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
    let (status, said) = service.stop();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(!said.contains("needs a restart"), "{said}");
}
