//! What the pages under docs name exists: keys of the configuration, variables, metrics.
#![cfg(all(feature = "wal", feature = "guardian", feature = "telemetry", feature = "blackbox"))]
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::collections::BTreeSet;
use std::path::Path;

use ng_stack::Stack;
use ng_stack::config::Loader;
use ng_stack::reload::Reloader;

/// Every page, with its name.
fn pages() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut pages = Vec::new();
    for folder in ["docs", "docs/adr", "docs/deploy", "."] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                pages.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(pages.len() > 10, "{}", pages.len());
    pages
}

/// Every Rust file below a folder, one after another.
fn sources(folder: &Path) -> String {
    let mut all = String::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all += &sources(&path);
        } else {
            all += &std::fs::read_to_string(&path).unwrap();
        }
    }
    all
}

#[test]
fn every_key_that_a_page_names_exists() {
    let settings = Loader::new().load().unwrap().settings();
    let keys: BTreeSet<&str> = settings.iter().map(|setting| setting.key.as_str()).collect();
    let sections: BTreeSet<&str> =
        keys.iter().filter_map(|key| key.split_once('.')).map(|(top, _)| top).collect();
    let mut seen = 0;
    for (page, text) in pages() {
        // What stands between backticks: a key, alone or with a value.
        for quoted in text.split('`').skip(1).step_by(2) {
            let name = quoted.split(" = ").next().unwrap();
            let Some((top, rest)) = name.split_once('.') else { continue };
            let is_key = sections.contains(top)
                && rest.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._".contains(c))
                && !["rs", "md", "toml", "json", "jsonl", "reason"].contains(&rest);
            if is_key {
                assert!(keys.contains(name), "{page} names the key {name}");
                seen += 1;
            }
        }
    }
    assert!(seen > 60, "{seen}");
}

#[test]
fn every_variable_that_a_page_names_sets_a_key() {
    let settings = Loader::new().load().unwrap().settings();
    let known: BTreeSet<String> = settings
        .iter()
        .map(|setting| format!("NG_{}", setting.key.replace('.', "__").to_uppercase()))
        .collect();
    for (page, text) in pages() {
        for word in text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            if word.starts_with("NG_") && word.contains("__") && !word.ends_with('_') {
                assert!(known.contains(word), "{page} names the variable {word}");
            }
        }
    }
}

#[test]
fn every_metric_that_a_page_names_exists() {
    let dir = tempfile::tempdir().unwrap();
    // A pool that is cleaned up alone, which has figures of its own.
    let pool = "[guardian.quota.tenant]\nparent = \"tokens\"\nlimit = 10\ndomain = 3\ncleanup_mark = 0.9\n";
    let mut config = Loader::new().text("ng.toml", pool).load().unwrap().config;
    config.wal.dir = dir.path().join("wal");
    config.wal.segment_mib = 4;
    config.tracing.output = None;
    config.blackbox.dir = dir.path().join("rings");
    let stack = Stack::builder().config(config).build().unwrap();
    Reloader::new(Loader::new().load().unwrap(), || Loader::new().load()).register(stack.metrics()).unwrap();
    let mut text = String::new();
    stack.metrics().render(&mut text);
    let names: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next()).collect();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = sources(&here.join("../telemetry/src")) + &sources(&here.join("src/cli"));
    let mut seen = 0;
    for (page, text) in pages() {
        for quoted in text.split('`').skip(1).step_by(2) {
            let name = quoted.split(['{', ' ']).next().unwrap();
            // The service's own are told by a running service; a test of its own runs what service.md shows.
            if !name.starts_with("neurograph_")
                || name.contains('…')
                || name.ends_with(['_', '*'])
                || name.starts_with("neurograph_http_")
            {
                continue;
            }
            let known = names.iter().any(|one| {
                name == *one
                    || name.strip_prefix(one).is_some_and(|end| ["_bucket", "_sum", "_count"].contains(&end))
            });
            // Some are registered only once there is something to say, as a program's text does.
            let written = sources.contains(&format!("\"{name}\""));
            assert!(known || written, "{page} names the metric {name}");
            seen += 1;
        }
    }
    assert!(seen > 10, "{seen}");
}
