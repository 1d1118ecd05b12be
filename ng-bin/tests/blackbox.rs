//! `ng blackbox` on the rings of a program that was killed, and what the next start says of it.
#![cfg(all(
    feature = "cli",
    feature = "wal",
    feature = "guardian",
    feature = "telemetry",
    feature = "blackbox"
))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on fails")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

fn ng(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ng"));
    command.current_dir(dir).env_clear();
    command.env("NG_BLACKBOX__DIR", dir.join("rings")).env("NG_TRACING__OUTPUT", dir.join("spans.jsonl"));
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[track_caller]
fn blackbox(dir: &Path, words: &[&str]) -> String {
    let output = ng(dir).arg("blackbox").args(words).output().unwrap();
    assert!(output.status.success(), "{}\n{}", output.status, text(&output.stderr));
    text(&output.stdout)
}

/// An ingest under way, and how many tokens it had made durable.
fn busy(dir: &Path) -> (Child, u64) {
    let rows: String = (0..400_000).map(|row| format!("{row},0.5\n")).collect();
    std::fs::write(dir.join("rows.csv"), format!("id,weight\n{rows}")).unwrap();
    let mut child = ng(dir)
        .args(["ingest", "rows.csv", "--wal", "wal", "--acknowledge", "--batch", "500"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    let acknowledged =
        lines.by_ref().map(|line| line.unwrap().parse::<u64>().unwrap()).find(|n| *n >= 20_000);
    (child, acknowledged.unwrap())
}

fn killed(dir: &Path) -> u64 {
    let (mut child, acknowledged) = busy(dir);
    child.kill().unwrap();
    child.wait().unwrap();
    acknowledged
}

#[test]
fn after_a_sigkill_the_rings_say_what_was_done_and_the_next_start_announces_it() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let acknowledged = killed(dir);
    let list: Value = serde_json::from_str(&blackbox(dir, &["ls", "--json"])).unwrap();
    let [process] = list["processes"].as_array().unwrap().as_slice() else { panic!("{list}") };
    assert_eq!((&process["alive"], &process["cause"]), (&Value::Bool(false), &"killed".into()));

    let shown: Value = serde_json::from_str(&blackbox(dir, &["show", "--json", "--last", "5"])).unwrap();
    assert_eq!(shown["events"].as_array().unwrap().len(), 5);
    let threads: Vec<_> = shown["rings"].as_array().unwrap().iter().map(|ring| &ring["thread"]).collect();
    assert!(["shared", "ingest", "log"].iter().all(|name| threads.contains(&&(*name).into())), "{threads:?}");
    // The mark is looked at each ten milliseconds, so it may be behind what was acknowledged.
    let durable = shown["autopsy"]["durable_lsn"].as_u64().unwrap();
    assert!(durable > 0, "{acknowledged} were acknowledged");

    let shown = blackbox(dir, &["show", "--thread", "ingest", "--tier", "operation", "--last", "3"]);
    assert!(shown.contains("killed, or ended") && shown.contains("filtered out"), "{shown}");
    assert!(shown.contains("overwritten") && shown.contains("torn") && shown.contains("covers"), "{shown}");
    assert_eq!(shown.matches("tokens_created first_id=").count(), 3, "{shown}");

    // The same directory, on another machine.
    let rings = process["path"].as_str().unwrap();
    let elsewhere = dir.join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    for file in std::fs::read_dir(rings).unwrap().map(Result::unwrap) {
        std::fs::copy(file.path(), elsewhere.join(file.file_name())).unwrap();
    }
    assert!(blackbox(dir, &["diff", rings, "elsewhere"]).is_empty());

    let again = ng(dir).args(["ingest", "rows.csv", "--wal", "wal"]).output().unwrap();
    let said = text(&again.stderr);
    assert!(
        said.contains("killed, or ended") && said.contains("nothing that was durable is missing"),
        "{said}"
    );
    let third = ng(dir).args(["ingest", "rows.csv", "--wal", "wal"]).output().unwrap();
    assert!(!text(&third.stderr).contains("killed"), "it is announced once");
    assert!(Path::new(rings).exists(), "and kept");
}

#[test]
fn exports_are_what_they_say_and_damage_has_a_code_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    killed(dir);
    let lines = blackbox(dir, &["export", "--format", "jsonl", "--last", "100"]);
    let events: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.len(), 100);
    let trace: Value =
        serde_json::from_str(&blackbox(dir, &["export", "--format", "chrome", "--since", "0.1"])).unwrap();
    assert!(trace["traceEvents"].as_array().unwrap().iter().any(|event| event["ph"] == "B"));
    blackbox(dir, &["export", "--format", "perfetto", "--last", "500", "-o", "trace.pftrace"]);
    // Packets of Trace.packet, field 1 with a length.
    assert_eq!(std::fs::read(dir.join("trace.pftrace")).unwrap()[0], 0x0a);

    let list: Value = serde_json::from_str(&blackbox(dir, &["ls", "--json"])).unwrap();
    let file = PathBuf::from(list["processes"][0]["path"].as_str().unwrap()).join("shared.ring");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[..100].fill(0xff);
    std::fs::write(&file, bytes).unwrap();
    let code = |words: &[&str]| {
        let Output { status, stderr, stdout } = ng(dir).arg("blackbox").args(words).output().unwrap();
        (status.code().unwrap(), text(&stdout) + &text(&stderr))
    };
    let (damaged, said) = code(&["show"]);
    assert_eq!(damaged, 1, "{said}");
    assert!(said.contains("header at byte 0") && said.contains("its copy"), "{said}");
    assert_eq!(code(&["show", file.to_str().unwrap()]).0, 1, "one file alone");
    assert_eq!(code(&["show", "absent"]).0, 74);
    assert_eq!(code(&["show", "--dir", "absent"]).0, 74);
    assert_eq!(code(&["ls", "--dir", "absent"]).0, 0);
    assert_eq!(code(&["export", "--format", "pdf"]).0, 64);
}

#[test]
fn tail_follows_a_living_process_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (mut child, _) = busy(dir);
    let pid = child.id().to_string();
    let mut tail = ng(dir)
        .args(["blackbox", "tail", &pid, "--json", "--every", "5", "--tier", "sampled"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(first["tier"], "sampled");
    child.kill().unwrap();
    child.wait().unwrap();
    let rest = lines.map(Result::unwrap).filter(|line| line.contains("wal_written")).count();
    let output = tail.wait_with_output().unwrap();
    assert!(output.status.success() && rest > 0, "{}", output.status);
    assert!(text(&output.stderr).contains("killed, or ended"), "{}", text(&output.stderr));
}
