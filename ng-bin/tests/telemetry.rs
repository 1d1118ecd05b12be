//! What becomes a span after the fact, and what the program says: whole stacks, real processes.
#![cfg(all(
    feature = "cli",
    feature = "wal",
    feature = "guardian",
    feature = "telemetry",
    feature = "blackbox"
))]
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ng_core::TokenSpec;
use ng_core::wal::{AppendError, NoWal, RecordKind, RunError, Ticket, WaitError, WalLane, WalSink, WalStats};
use ng_stack::Stack;
use ng_stack::config::{BlackboxKind, StackConfig, WalKind};
use serde_json::Value as Json;

/// A log whose device takes 30 ms for each record.
struct Slow;

impl WalLane for Slow {
    fn append(&mut self, _: RecordKind, _: &[u8]) -> Result<Ticket, AppendError> {
        std::thread::sleep(Duration::from_millis(30));
        Ok(Ticket::default())
    }

    fn append_run(&mut self, kind: RecordKind, _: usize, payload: &[u8]) -> Result<Ticket, RunError> {
        self.append(kind, payload).map_err(|source| RunError { appended: 0, ticket: None, source })
    }
}

impl WalSink for Slow {
    fn lane(&self) -> Result<Box<dyn WalLane>, AppendError> {
        Ok(Box::new(Self))
    }

    fn durable(&self) -> Ticket {
        Ticket::default()
    }

    fn wait_durable(&self, _: Ticket, _: Duration) -> Result<(), WaitError> {
        Ok(())
    }

    fn flush(&self, timeout: Duration) -> Result<Ticket, WaitError> {
        NoWal.flush(timeout)
    }

    fn close(&self, timeout: Duration) -> Result<(), WaitError> {
        NoWal.close(timeout)
    }

    fn stats(&self) -> WalStats {
        WalStats::default()
    }
}

/// Nothing is sampled, everything else is on; the flight recorder is not needed for it.
fn unsampled(dir: &Path) -> StackConfig {
    let mut config = StackConfig::default();
    config.wal.kind = WalKind::Off;
    config.blackbox.kind = BlackboxKind::Off;
    config.tracing.rate = 0.0;
    config.tracing.slow_ms = 10;
    config.tracing.output = Some(dir.join("spans.jsonl"));
    config
}

fn spans(dir: &Path) -> Vec<Json> {
    let text = std::fs::read_to_string(dir.join("spans.jsonl")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A counter as a scrape shows it.
fn shown(stack: &Stack, series: &str) -> Option<String> {
    let mut text = String::new();
    stack.metrics().render(&mut text);
    text.lines().find_map(|line| Some(line.strip_prefix(series)?.trim().to_owned()))
}

#[test]
fn an_operation_that_was_refused_becomes_a_span_though_nobody_sampled_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = unsampled(dir.path());
    config.guardian.constitution.weight_max = 1.0;
    let stack = Stack::builder().config(config).build().unwrap();
    let mut lane = stack.lane("maker").unwrap();
    for n in 0..100_u16 {
        let weight = if n.is_multiple_of(20) { 2.0 } else { 0.5 };
        assert_eq!(lane.create(&TokenSpec::new().with_weight(weight)).is_err(), n.is_multiple_of(20));
    }
    let series = "neurograph_promoted_total{reason=\"error\"}";
    let deadline = Instant::now() + Duration::from_secs(20);
    while shown(&stack, series).as_deref() != Some("5") {
        assert!(Instant::now() < deadline, "{:?}", shown(&stack, series));
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(lane);
    stack.shutdown(Duration::from_secs(20)).unwrap();
    let spans = spans(dir.path());
    assert_eq!(spans.len(), 5, "{spans:?}");
    for span in spans {
        let text = span.to_string();
        assert!(text.contains("validation_failed") && text.contains("\"error\""), "{text}");
    }
}

#[test]
fn a_slow_operation_becomes_a_span_with_its_duration_though_nobody_sampled_it() {
    let dir = tempfile::tempdir().unwrap();
    let stack = Stack::builder().config(unsampled(dir.path())).wal(Arc::new(Slow)).build().unwrap();
    let mut lane = stack.lane("maker").unwrap();
    let made = lane.create(&TokenSpec::new()).unwrap();
    lane.delete(made.id).unwrap();
    drop(lane);
    stack.shutdown(Duration::from_secs(20)).unwrap();
    let spans = spans(dir.path());
    assert_eq!(spans.len(), 2, "{spans:?}");
    for span in &spans {
        let text = span.to_string();
        assert!(text.contains("slow_operation") && text.contains("\"slow\""), "{text}");
    }
}

#[test]
fn nothing_is_promoted_when_it_is_switched_off() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = unsampled(dir.path());
    (config.tracing.promote_errors, config.tracing.slow_ms) = (false, 0);
    config.guardian.constitution.weight_max = 1.0;
    let stack = Stack::builder().config(config).wal(Arc::new(Slow)).build().unwrap();
    let mut lane = stack.lane("maker").unwrap();
    lane.create(&TokenSpec::new()).unwrap();
    lane.create(&TokenSpec::new().with_weight(2.0)).unwrap_err();
    drop(lane);
    assert_eq!(shown(&stack, "neurograph_promoted_total{reason=\"error\"}"), None);
    stack.shutdown(Duration::from_secs(20)).unwrap();
    assert_eq!(spans(dir.path()).len(), 0);
}

fn ng(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ng"));
    command.current_dir(dir).env_clear();
    command.env("NG_BLACKBOX__DIR", dir.join("rings")).env("NG_TRACING__OUTPUT", dir.join("spans.jsonl"));
    command
}

fn ingest(dir: &Path, rows: usize, set: &[(&str, &str)]) -> Output {
    let csv: String = (0..rows).map(|row| format!("{}.5\n", row % 100)).collect();
    std::fs::write(dir.join("rows.csv"), format!("weight\n{csv}")).unwrap();
    let mut command = ng(dir);
    command.args(["ingest", "rows.csv", "--batch", "1000", "--wal", "log"]).envs(set.iter().copied());
    command.output().unwrap()
}

#[test]
fn the_program_says_in_json_that_a_mark_was_crossed_and_what_was_refused() {
    let dir = tempfile::tempdir().unwrap();
    let said = ingest(
        dir.path(),
        200_000,
        &[
            ("NG_LOG__FORMAT", "json"),
            ("NG_GUARDIAN__MAX_TOKENS", "10000"),
            ("NG_GUARDIAN__CLEANUP", "false"),
            ("NG_GUARDIAN__MEMORY_INTERVAL_MS", "1"),
        ],
    );
    let stderr = String::from_utf8(said.stderr).unwrap();
    let lines: Vec<Json> = stderr.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let mark = lines.iter().find(|line| line.to_string().contains("a mark of a quota was crossed"));
    let mark = mark.unwrap_or_else(|| panic!("no such line: {stderr}")).to_string();
    assert!(mark.contains("WARN") && mark.contains("10000"), "{mark}");
    // Refusals are told together, as a span too.
    let found = spans(dir.path()).iter().any(|span| span.to_string().contains("quota_exceeded"));
    assert!(found, "{stderr}");
}

#[test]
fn the_filter_of_the_environment_goes_before_the_configured_level() {
    let dir = tempfile::tempdir().unwrap();
    let quiet = ingest(dir.path(), 10, &[("RUST_LOG", "off")]);
    let loud = ingest(dir.path(), 10, &[("RUST_LOG", "ng_stack=debug")]);
    let way = "the log's way of output";
    assert!(!String::from_utf8(quiet.stderr).unwrap().contains(way));
    let loud = String::from_utf8(loud.stderr).unwrap();
    assert!(loud.contains(way), "{loud}");
    let wrong = ingest(dir.path(), 10, &[("RUST_LOG", "ng_stack=loud=er")]);
    assert_eq!(wrong.status.code(), Some(78), "{wrong:?}");
    assert!(String::from_utf8(wrong.stderr).unwrap().contains("RUST_LOG"));
}

#[test]
fn the_programs_own_spans_are_sampled_and_exported_with_their_parents() {
    let dir = tempfile::tempdir().unwrap();
    let done = ingest(dir.path(), 10_000, &[("NG_TRACING__RULES", "create=0, ingest.*=1")]);
    assert!(done.status.success(), "{done:?}");
    let spans = spans(dir.path());
    let named = |name: &str| -> Vec<&Json> {
        spans.iter().filter(|span| span.to_string().contains(&format!("\"{name}\""))).collect()
    };
    // Ten batches, of which the first is the probe that tells roots from children.
    assert_eq!((named("ingest.batch").len(), named("ingest.make").len()), (9, 9), "{spans:?}");
}

#[test]
fn the_stack_tells_of_itself_by_metrics() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = StackConfig::default();
    config.wal.dir = dir.path().join("log");
    config.wal.segment_mib = 4;
    config.tracing.output = Some(dir.path().join("spans.jsonl"));
    config.blackbox.dir = dir.path().join("rings");
    let stack = Stack::builder().config(config).build().unwrap();
    let mut lane = stack.lane("maker").unwrap();
    lane.create(&TokenSpec::new()).unwrap();
    stack.wal().flush(Duration::from_secs(20)).unwrap();
    for series in [
        // The log: lag, stalls, drops, how full its segment is.
        "neurograph_wal_durable_lag_seconds",
        "neurograph_wal_stalls_total",
        "neurograph_wal_stalled_seconds_total",
        "neurograph_wal_dropped_total",
        "neurograph_wal_segment_fill_ratio",
        // Sampling: rate, decisions by reason, promotions; the exporter's queue and drops.
        "neurograph_sampling_rate",
        "neurograph_sampling_operations_total",
        "neurograph_sampled_total{reason=\"rate\"}",
        "neurograph_sampled_total{reason=\"forced\"}",
        "neurograph_promoted_total{reason=\"error\"}",
        "neurograph_spans_waiting",
        "neurograph_spans_dropped_total{reason=\"full\"}",
        "neurograph_spans_dropped_total{reason=\"failed\"}",
        "neurograph_spans_dropped_total{reason=\"rejected\"}",
        // Quotas: use, refusals, cleanups.
        "neurograph_quota_used_tokens",
        "neurograph_quota_refused_total",
        "neurograph_cleanups_total",
        // The flight recorder's rings: how much they hold, and how much was overwritten.
        "neurograph_blackbox_rings",
        "neurograph_blackbox_overwritten_total{tier=\"operation\"}",
    ] {
        assert!(shown(&stack, series).is_some(), "there is no {series}");
    }
    // A header and a block of 4 KiB in 4 MiB.
    let fill: f64 = shown(&stack, "neurograph_wal_segment_fill_ratio").unwrap().parse().unwrap();
    assert!((0.001..0.1).contains(&fill), "{fill}");
    assert_eq!(shown(&stack, "neurograph_sampling_operations_total").as_deref(), Some("1"));
    drop(lane);
    stack.shutdown(Duration::from_secs(20)).unwrap();
}
