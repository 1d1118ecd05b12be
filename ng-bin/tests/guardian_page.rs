//! What docs/guardian.md shows is so: its configurations are sound, its session runs as printed.
#![cfg(all(unix, feature = "cli", feature = "guardian"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ng_stack::config::{Features, Loader};
use std::path::Path;
use std::process::Command;

const PAGE: &str = include_str!("../../docs/guardian.md");

/// The texts of the page's blocks in a language.
fn blocks(language: &str) -> Vec<&'static str> {
    let opening = format!("```{language}\n");
    PAGE.split(opening.as_str()).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

#[test]
fn the_configurations_of_the_page_are_sound() {
    let found = blocks("toml");
    assert_eq!(found.len(), 1);
    for text in found {
        let loaded = Loader::new().features(Features::ALL).text("docs/guardian.md", text).load().unwrap();
        assert_eq!(loaded.config.guardian.named.iter().count(), 4);
    }
}

#[test]
fn the_session_of_the_page_runs_as_it_is_printed() {
    let found = blocks("console");
    assert_eq!(found.len(), 1);
    let dir = tempfile::tempdir().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_ng")).parent().unwrap();
    let mut ran = String::new();
    for line in found[0].lines().filter_map(|line| line.strip_prefix("$ ")) {
        let output = Command::new("/bin/sh")
            .args(["-c", line])
            .current_dir(dir.path())
            .env_clear()
            .env("PATH", program)
            .env("NG_GUARDIAN__CDNA_DIR", "cdna")
            .output()
            .unwrap();
        ran += &format!("$ {line}\n");
        ran += std::str::from_utf8(&output.stdout).unwrap();
        ran += std::str::from_utf8(&output.stderr).unwrap();
    }
    assert_eq!(ran, found[0]);
}
