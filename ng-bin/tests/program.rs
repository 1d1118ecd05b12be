//! The program as a person runs it: real files, real processes, a real SIGKILL.
#![cfg(all(
    feature = "cli",
    feature = "wal",
    feature = "guardian",
    feature = "telemetry",
    feature = "blackbox"
))]
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn ng(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ng"));
    command.current_dir(dir).env_clear();
    command.env("NG_BLACKBOX__DIR", dir.join("rings")).env("NG_TRACING__OUTPUT", dir.join("spans.jsonl"));
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn succeed(output: Output) -> String {
    assert!(output.status.success(), "{}\n{}", output.status, text(&output.stderr));
    text(&output.stdout)
}

/// `rows` rows with an id of their own, so that two exports can be compared.
fn csv(rows: usize) -> String {
    let mut csv = "id,weight,timestamp,flags,L1.x,L8.z\n".to_owned();
    for row in 0..rows {
        let (x, z) = (f64::from(row as u32 % 600) / 2.0, f64::from(row as u32 % 30_000) / 10_000.0);
        csv.push_str(&format!("{row},{}.5,{},1,{x},{z}\n", row % 1_000, 1_600_000_000 + row));
    }
    csv
}

#[test]
fn what_was_acknowledged_before_a_sigkill_is_recovered_and_exported_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let rows = 60_000;
    std::fs::write(dir.path().join("rows.csv"), csv(rows)).unwrap();
    // The whole file, undisturbed: what each token must look like.
    succeed(ng(dir.path()).args(["ingest", "rows.csv", "--wal", "whole"]).output().unwrap());
    let whole =
        succeed(ng(dir.path()).args(["recover", "--wal", "whole", "--export", "csv"]).output().unwrap());
    let whole: Vec<&str> = whole.lines().collect();
    assert_eq!(whole.len(), rows + 1);

    let mut child = ng(dir.path())
        .args(["ingest", "rows.csv", "--wal", "cut", "--acknowledge", "--batch", "500"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut acknowledged = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        acknowledged = line.unwrap().parse().unwrap();
        if acknowledged >= rows / 2 {
            child.kill().unwrap();
        }
    }
    assert!(!child.wait().unwrap().success(), "it was killed");
    assert!((rows / 2..rows).contains(&acknowledged), "{acknowledged}");
    let cut = succeed(ng(dir.path()).args(["recover", "--wal", "cut", "--export", "csv"]).output().unwrap());
    let cut: Vec<&str> = cut.lines().collect();
    assert!(cut.len() > acknowledged, "{} rows of {acknowledged} acknowledged", cut.len() - 1);
    assert_eq!(cut[..], whole[..cut.len()]);

    // And the log goes on from there: the same rows again are taken, the others are made.
    let again = ng(dir.path()).args(["ingest", "rows.csv", "--wal", "cut", "--json", "-"]).output().unwrap();
    let again: serde_json::Value = serde_json::from_str(&succeed(again)).unwrap();
    let recovered = cut.len() as u64 - 1;
    assert_eq!(again["refused_by"]["taken"], recovered);
    assert_eq!(again["made"], rows as u64 - recovered);
    let done = succeed(ng(dir.path()).args(["recover", "--wal", "cut", "--export", "csv"]).output().unwrap());
    assert_eq!(done.lines().collect::<Vec<_>>(), whole);
}

#[test]
fn bad_rows_are_named_rejected_unchanged_and_do_not_stop_the_run() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("rows.csv"), "id,weight\n1,0.5\n2,heavy\n3,1.5\n3,2.5\n").unwrap();
    let run =
        ng(dir.path()).args(["ingest", "rows.csv", "--wal", "wal", "--rejects", "bad.csv"]).output().unwrap();
    let (out, err) = (text(&run.stdout), text(&run.stderr));
    assert!(run.status.success(), "{err}");
    assert!(out.contains("read     4") && out.contains("made     2") && out.contains("bad      1"), "{out}");
    assert!(err.contains("rows.csv:3") && err.contains("heavy"), "{err}");
    let rejects = std::fs::read_to_string(dir.path().join("bad.csv")).unwrap();
    assert_eq!(rejects, "id,weight\n2,heavy\n3,2.5\n");
    let strict = ng(dir.path()).args(["ingest", "rows.csv", "--wal", "strict", "--strict"]).output().unwrap();
    assert_eq!(strict.status.code(), Some(1), "{}", text(&strict.stderr));
}

#[test]
fn impossible_settings_end_with_78_and_nothing_is_made() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("rows.csv"), "id\n1\n").unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    let before = std::fs::read_dir(dir.path()).unwrap().count();
    for (setting, named) in [
        ("[tracing]\nrate = 1.5", "rate"),
        ("[wal]\nevery = 0", "every"),
        ("[wal]\nevry = 1", "every"),
        ("[wal]\nbackend = \"urin\"", "uring"),
        ("[wal]\ndir = \"file/wal\"", "wal.dir"),
        ("[guardian]\nsoft_mark = 0.99", "soft_mark"),
    ] {
        let file = dir.path().join("ng.toml");
        std::fs::write(&file, setting).unwrap();
        let run = ng(dir.path()).args(["ingest", "rows.csv", "--config", "ng.toml"]).output().unwrap();
        let err = text(&run.stderr);
        assert_eq!(run.status.code(), Some(78), "{setting}: {err}");
        assert!(err.contains(named), "{setting}: {err}");
        std::fs::remove_file(file).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), before, "{setting} left something behind");
    }
}

#[test]
fn ingest_acknowledges_nothing_that_may_be_made_without_its_record() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("rows.csv"), csv(3)).unwrap();
    for (variable, value, key) in [
        ("NG_WAL__ON_FULL", "drop", "wal.on_full"),
        ("NG_WAL__ON_FAILURE", "continue", "wal.on_failure"),
        ("NG_WAL__MODE", "os", "wal.mode"),
        ("NG_WAL__EVERY", "10", "wal.every"),
    ] {
        let mut ingest = ng(dir.path());
        ingest.env(variable, value).args(["ingest", "rows.csv", "--wal", "wal", "--acknowledge"]);
        let said = ingest.output().unwrap();
        assert_eq!(said.status.code(), Some(78), "{key}");
        assert!(said.stdout.is_empty() && text(&said.stderr).contains(key), "{}", text(&said.stderr));
        assert!(!dir.path().join("wal").exists(), "{key}: nothing was started");
    }
}

#[test]
fn a_log_in_use_and_a_log_that_is_not_there_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let missing = ng(dir.path()).args(["recover", "--wal", "none"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(74));
    assert!(text(&missing.stderr).contains("no log in none"));
    assert!(!dir.path().join("none").exists());
    let mut first = ng(dir.path())
        .args(["ingest", "-", "--format", "csv", "--wal", "wal", "--acknowledge"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Its lock is there once its directory is, a moment later.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    std::fs::write(dir.path().join("rows.csv"), "id\n1\n").unwrap();
    loop {
        assert!(std::time::Instant::now() < deadline, "the second was never refused");
        if !dir.path().join("wal/LOCK").exists() {
            continue;
        }
        let second = ng(dir.path()).args(["ingest", "rows.csv", "--wal", "wal"]).output().unwrap();
        if second.status.success() {
            // It was faster than the first; then the first is the one to be refused.
            break;
        }
        assert_eq!(second.status.code(), Some(74), "{}", text(&second.stderr));
        assert!(text(&second.stderr).contains("in use by process"), "{}", text(&second.stderr));
        break;
    }
    drop(first.stdin.take());
    first.wait().unwrap();
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("rows.csv"), csv(20_000)).unwrap();
    succeed(ng(dir.path()).args(["ingest", "rows.csv", "--wal", "wal"]).output().unwrap());
    let mut child = ng(dir.path())
        .args(["recover", "--wal", "wal", "--export", "csv"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(!text(&output.stderr).contains("panicked"));
}
