//! `ng cdna` as an operator uses it, and a stack that obeys.
#![cfg(all(feature = "cli", feature = "guardian", feature = "telemetry"))]
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use ng_stack::Stack;
use ng_stack::config::{BlackboxKind, LogLevel, StackConfig, WalKind};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Exit code, standard output, standard error.
fn cdna(dir: &Path, words: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_ng"))
        .current_dir(dir)
        .env_clear()
        .env("NG_GUARDIAN__CDNA_DIR", "cdna")
        .arg("cdna")
        .args(words)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_session_from_set_to_rollback() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let run = |words: &[&str]| cdna(dir, words);
    assert_eq!(run(&["show"]).0, 1, "no version is in force");
    std::fs::write(dir.join("wide.toml"), "profile = \"explorer\"\n").unwrap();
    std::fs::write(dir.join("narrow.toml"), "[bounds]\nweight = [0.0, 1.0]\n").unwrap();
    let (code, out, _) = run(&["set", "wide.toml", "--note", "to begin with", "--activate"]);
    assert_eq!((code, out.as_str()), (0, "version 1 is in force\n"));
    let (code, out, _) = run(&["set", "narrow.toml"]);
    assert_eq!((code, out.as_str()), (0, "version 2 is staged: `ng cdna activate 2`\n"));
    assert!(run(&["show"]).1.starts_with("version 1 (active)\nprofile = \"explorer\"\n"));
    let (_, out, _) = run(&["diff", "1", "2"]);
    assert!(out.contains("flags.strict: false → true"), "{out}");
    assert_eq!(run(&["activate", "2", "--note", "tighter"]).0, 0);
    let (code, out, _) = run(&["rollback", "--note", "too tight"]);
    assert_eq!((code, out.as_str()), (0, "version 1 is in force again\n"));
    assert_eq!(run(&["quarantine", "2"]).0, 0);
    let (code, _, err) = run(&["activate", "2"]);
    assert_eq!(code, 1);
    assert!(err.contains("version 2 is in quarantine"), "{err}");
    assert_eq!(run(&["rollback"]).0, 1, "nothing before");
    assert_eq!(run(&["quarantine", "1"]).0, 1, "it is in force");
    assert_eq!(run(&["activate", "7"]).0, 1);
    let (code, out, _) = run(&["log", "--json"]);
    let log: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &log["active"], log["records"].as_array().unwrap().len()), (0, &1.into(), 6));
    assert_eq!(run(&["verify"]).1, "6 records, every link holds; version 1 is in force\n");

    std::fs::write(dir.join("bad.toml"), "[bounds]\nwieght = [0.0, 1.0]\n").unwrap();
    let (code, _, err) = run(&["set", "bad.toml"]);
    assert_eq!(code, 78);
    assert!(err.contains("line 2") && err.contains("wieght"), "{err}");
    assert_eq!(run(&["set", "nowhere.toml"]).0, 74);

    let path = dir.join("cdna/history");
    let whole = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, whole.replace("too tight", "too light")).unwrap();
    for words in [&["verify"][..], &["show"], &["activate", "1"], &["set", "wide.toml"]] {
        let (code, out, err) = run(words);
        assert_eq!((code, out.as_str()), (74, ""), "{words:?}");
        assert!(err.contains("history:6") && err.contains("the chain is broken"), "{err}");
    }
}

#[test]
fn a_running_stack_takes_bounds_and_sample_rate_from_the_command_line() {
    let dir = tempfile::tempdir().unwrap();
    let stack = following(dir.path());
    let mut lane = stack.lane("maker").unwrap();
    let heavy = ng_core::TokenSpec::new().with_weight(5.0);
    let made = lane.create(&heavy).unwrap();
    let document =
        "[bounds]\nweight = [0.0, 1.0]\n[flags]\nmutation = false\n[observability]\nsample_rate = 0.25\n";
    std::fs::write(dir.path().join("tight.toml"), document).unwrap();
    let (code, _, err) = cdna(dir.path(), &["set", "tight.toml", "--activate"]);
    assert_eq!(code, 0, "{err}");
    eventually("the stack follows", || lane.create(&heavy).is_err());
    assert!(lane.delete(made.id).unwrap_err().to_string().starts_with("mutation = 1 is outside"));
    eventually("the sampler follows", || stack.sampler().stats().rate == 0.25);
    let mut text = String::new();
    stack.metrics().render(&mut text);
    assert!(text.lines().any(|line| line == "neurograph_constitution_version 1"), "{text}");
    assert!(text.contains("neurograph_memory_drift_bytes "));
}

/// A stack that follows a history in `dir`, without what this needs not.
fn following(dir: &Path) -> Stack {
    let mut config = StackConfig::default();
    config.wal.kind = WalKind::Off;
    config.blackbox.kind = BlackboxKind::Off;
    config.tracing.output = None;
    config.guardian.cdna_dir = Some(dir.join("cdna"));
    config.guardian.memory_interval_ms = 5;
    Stack::builder().config(config).build().unwrap()
}

fn set(dir: &Path, document: &str) {
    std::fs::write(dir.join("next.toml"), document).unwrap();
    let (code, _, err) = cdna(dir, &["set", "next.toml", "--activate"]);
    assert_eq!(code, 0, "{err}");
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn every_live_observability_setting_is_activated_and_rolled_back_with_its_version() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let stack = following(dir);
    let levels: Arc<Mutex<Vec<LogLevel>>> = Arc::default();
    let heard = Arc::clone(&levels);
    stack.on_level(move |level| heard.lock().unwrap().push(level));
    let told = || levels.lock().unwrap().clone();
    set(dir, "[observability]\nsample_rate = 0.5\n");
    eventually("the rate", || stack.sampler().rate() == 0.5);
    set(dir, "[observability]\nsample_rate = 0.25\nlog_level = \"debug\"\n");
    eventually("the rate and the level", || stack.sampler().rate() == 0.25 && told() == [LogLevel::Debug]);
    let (_, out, _) = cdna(dir, &["diff", "1", "2"]);
    assert_eq!(
        out,
        "version 1 → version 2\nobservability.sample_rate: 0.5 → 0.25\nobservability.log_level: unset → debug\n"
    );
    assert!(cdna(dir, &["show"]).1.contains("\nobservability.log_level = debug\n"));

    // What the configuration says of the same waits, and is in force once the constitution says nothing.
    let before = StackConfig::default();
    let mut after = before.clone();
    after.tracing.rate = 0.75;
    after.log.level = LogLevel::Error;
    let overruled = stack.follow(&before, &after).unwrap();
    let keys: Vec<_> = overruled.iter().map(|one| one.key.clone()).collect();
    assert_eq!(keys, ["tracing.rate", "log.level"]);
    assert!(overruled.iter().all(|one| one.why.contains("use `ng cdna`")), "{overruled:?}");
    assert_eq!((stack.sampler().rate(), told().len()), (0.25, 1));
    assert_eq!(cdna(dir, &["rollback"]).0, 0);
    eventually("the configuration's level", || told() == [LogLevel::Debug, LogLevel::Error]);
    assert_eq!(stack.sampler().rate(), 0.5, "in force before the level, by the first version");

    // Who comes late hears of what is in force.
    set(dir, "[observability]\nlog_level = \"trace\"\n");
    eventually("the level", || told().last() == Some(&LogLevel::Trace));
    let late: Arc<Mutex<Vec<LogLevel>>> = Arc::default();
    let heard = Arc::clone(&late);
    stack.on_level(move |level| heard.lock().unwrap().push(level));
    assert_eq!(*late.lock().unwrap(), [LogLevel::Trace]);

    std::fs::write(dir.join("bad.toml"), "[observability]\nlog_level = \"loud\"\n").unwrap();
    let (code, _, err) = cdna(dir, &["set", "bad.toml"]);
    assert_eq!(code, 78);
    assert!(err.contains("line 2") && err.contains("`loud`") && err.contains("`debug`"), "{err}");
}

#[test]
fn a_stack_whose_history_is_broken_or_of_the_future_is_not_started() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    set(dir, "[bounds]\nweight = [0.0, 1.0]\n");
    let path = dir.join("cdna/history");
    let whole = std::fs::read_to_string(&path).unwrap();
    let build = || {
        let mut config = StackConfig::default();
        config.wal.dir = dir.join("wal");
        config.wal.segment_mib = 4;
        config.blackbox.kind = BlackboxKind::Off;
        config.tracing.output = None;
        config.guardian.cdna_dir = Some(dir.join("cdna"));
        Stack::builder().config(config).build()
    };
    for (text, said) in [
        (whole.replace("weight", "wieght"), "history:2"),
        (whole.replacen("cdna 1", "cdna 2", 1), "history:1: the history has format 2"),
        (whole.replacen("cdna 1", "nonsense", 1), "history:1"),
    ] {
        std::fs::write(&path, text).unwrap();
        let error = build().unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
    // Nothing was left at work that would still have the log.
    std::fs::write(&path, whole).unwrap();
    let stack = build().unwrap();
    assert!(stack.lane("maker").unwrap().create(&ng_core::TokenSpec::new().with_weight(0.5)).is_ok());
    assert!(stack.lane("other").unwrap().create(&ng_core::TokenSpec::new().with_weight(5.0)).is_err());
}
