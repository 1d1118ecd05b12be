//! `ng config` as a person and a script use it.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::path::Path;
use std::process::Command;

use serde_json::Value;

struct Said {
    code: i32,
    out: String,
    err: String,
}

fn ng(dir: &Path, words: &[&str]) -> Said {
    let output = Command::new(env!("CARGO_BIN_EXE_ng"))
        .current_dir(dir)
        .env_clear()
        .env("NG_LOG__LEVEL", "debug")
        .arg("config")
        .args(words)
        .output()
        .unwrap();
    Said {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn json(said: &Said) -> Value {
    serde_json::from_str(&said.out).unwrap()
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

#[test]
fn a_key_is_explained_with_every_value_that_it_was_given_and_where() {
    let dir = folder(&[("ng.toml", "profile = \"development\"\n[log]\nlevel = \"warn\"\n")]);
    let said = ng(dir.path(), &["explain", "log.level", "--config", "ng.toml"]);
    assert_eq!(said.code, 0, "{}", said.err);
    for line in [
        "  given     \"info\"  # default",
        "  given     \"debug\"  # profile development",
        "  given     \"warn\"  # ng.toml:3",
        "  in effect \"debug\"  # NG_LOG__LEVEL",
        "  variable  NG_LOG__LEVEL",
        "  changes   at once, when the configuration is read again",
    ] {
        assert!(said.out.lines().any(|told| told == line), "{line}\n{}", said.out);
    }
    let told = json(&ng(dir.path(), &["explain", "wal.every", "--json"]));
    assert_eq!(told[0]["key"], "wal.every");
    assert_eq!(told[0]["live"], false);
    let whole = json(&ng(dir.path(), &["explain", "[guardian.constitution]", "--json"]));
    assert_eq!(whole.as_array().unwrap().len(), 8);
}

#[test]
fn an_unknown_key_is_answered_with_the_one_that_was_meant() {
    let dir = folder(&[]);
    for (given, meant) in [("wal.evry", "wal.every"), ("every", "wal.every"), ("tracing.rat", "tracing.rate")]
    {
        let said = ng(dir.path(), &["explain", given]);
        assert_eq!((said.code, said.out.as_str()), (64, ""), "{given}");
        assert!(said.err.contains(&format!("did you mean `{meant}`?")), "{}", said.err);
    }
}

#[test]
fn two_files_are_compared_by_what_they_mean_and_not_by_how_they_are_written() {
    let dir = folder(&[
        ("a.toml", "[wal]\nevery = 1000\n[tracing]\nrate = 0.01\n"),
        ("b.toml", "tracing.rate = 0.5\nwal = { every = 1_000 }\n[log]\nlevel = \"info\"\n"),
        ("seed.toml", "profile = \"seed\"\n"),
    ]);
    let said = ng(dir.path(), &["diff", "a.toml", "b.toml"]);
    assert_eq!(said.code, 1);
    assert_eq!(said.out, "tracing.rate (live)\n  - 0.01  # a.toml:4\n  + 0.5  # b.toml:1\n");
    assert_eq!(ng(dir.path(), &["diff", "a.toml", "a.toml"]).code, 0);
    let told = json(&ng(dir.path(), &["diff", "seed.toml", "--json"]));
    let keys: Vec<_> = told["differences"].as_array().unwrap().iter().map(|one| &one["key"]).collect();
    assert_eq!(keys, ["wal.every", "wal.batch_records"]);
    assert_eq!(told["differences"][0]["after_from"], "profile seed");
}

#[test]
fn a_fault_is_told_as_data_too_with_the_same_code() {
    let dir = folder(&[("bad.toml", "[wal]\nevry = 1\nmode = \"x\"\n"), ("good.toml", "")]);
    let said = ng(dir.path(), &["check", "bad.toml", "--json"]);
    assert_eq!(said.code, 78);
    let told = json(&said);
    assert_eq!((&told["sound"], &told["error_count"]), (&Value::Bool(false), &Value::from(2)));
    assert_eq!(told["errors"][0]["place"]["line"], 2);
    assert_eq!(told["errors"][0]["help"][0], "did you mean `every`?");
    assert_eq!(ng(dir.path(), &["check", "bad.toml"]).code, 78);
    let said = ng(dir.path(), &["check", "good.toml", "--json"]);
    assert_eq!((said.code, &json(&said)["sound"]), (0, &Value::Bool(true)));
}

#[test]
fn the_schema_and_the_values_of_a_profile_are_printed() {
    let dir = folder(&[]);
    let schema = ng(dir.path(), &["schema"]);
    assert_eq!((schema.code, json(&schema)["type"].as_str()), (0, Some("object")));
    let profile = ng(dir.path(), &["default", "--profile", "seed"]);
    assert!(profile.out.contains("every = 1000\n"), "{}", profile.out);
    std::fs::write(dir.path().join("seed.toml"), &profile.out).unwrap();
    assert_eq!(ng(dir.path(), &["check", "seed.toml"]).code, 0);
    let refused = ng(dir.path(), &["default", "--profile", "sed"]);
    assert_eq!(refused.code, 64, "{}", refused.err);
    let shown = json(&ng(dir.path(), &["show", "--json"]));
    assert_eq!(shown["settings"].as_array().unwrap().last().unwrap()["key"], "log.per_second");
}
