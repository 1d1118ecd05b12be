//! The alert rules and the dashboard under docs/deploy speak of metrics that exist.
#![cfg(all(feature = "wal", feature = "guardian", feature = "telemetry", feature = "blackbox"))]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test reports by panicking, a skip by a line")]

use std::collections::BTreeSet;
use std::path::Path;

use ng_stack::Stack;
use ng_stack::config::StackConfig;

/// Every metric of a stack with every layer on, as a scrape names its series.
fn metrics() -> BTreeSet<String> {
    let dir = tempfile::tempdir().unwrap();
    let mut config = StackConfig::default();
    config.wal.dir = dir.path().join("wal");
    config.wal.segment_mib = 4;
    config.tracing.output = None;
    config.blackbox.dir = dir.path().join("rings");
    let stack = Stack::builder().config(config).build().unwrap();
    // What a scrape says of scrapes it says from the first one on.
    let registry = ng_telemetry::Registry::new(&ng_telemetry::RegistryOptions::default());
    drop(registry.expose(None, None));
    let mut text = String::new();
    stack.metrics().render(&mut text);
    ng_core::metrics::MetricSink::render(&registry, &mut text);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let name = |line: &str| line.split(['{', ' ']).next().unwrap().to_owned();
    lines.map(name).collect()
}

/// Everything in a text that looks like a metric of ours.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("neurograph_")).collect()
}

#[test]
fn every_metric_of_the_alerts_and_the_dashboard_exists() {
    let metrics = metrics();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/deploy");
    for file in ["alerts.yml", "grafana-dashboard.json"] {
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        let named = named(&text);
        assert!(named.len() > 10, "{file} names {named:?}");
        for name in named {
            assert!(metrics.contains(name), "{file} speaks of {name}; there are {metrics:?}");
        }
    }
}

#[test]
fn the_dashboard_is_json_with_a_query_in_each_panel() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/deploy");
    let text = std::fs::read_to_string(folder.join("grafana-dashboard.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.iter().all(|panel| panel["targets"][0]["expr"].is_string()));
    assert!(!panels.is_empty());
}

fn promtool(arguments: &[&str], input: &str) -> Option<(bool, String)> {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let mut command = Command::new("promtool");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().ok()?;
    child.stdin.take()?.write_all(input.as_bytes()).ok()?;
    let output = child.wait_with_output().ok()?;
    let said = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

#[test]
fn promtool_takes_the_alert_rules_and_every_metric_of_the_stack() {
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/deploy/alerts.yml");
    let Some((good, said)) = promtool(&["check", "rules", rules], "") else {
        println!("skipped: there is no promtool; `cargo xtask peers` installs it");
        return;
    };
    assert!(good, "{said}");

    let dir = tempfile::tempdir().unwrap();
    let mut config = StackConfig::default();
    config.wal.dir = dir.path().join("wal");
    config.wal.segment_mib = 4;
    config.tracing.output = None;
    config.blackbox.dir = dir.path().join("rings");
    let stack = Stack::builder().config(config).build().unwrap();
    let mut text = String::new();
    stack.metrics().render(&mut text);
    let (good, said) = promtool(&["check", "metrics"], &text).unwrap();
    assert!(good && said.trim().is_empty(), "{said}");
}
