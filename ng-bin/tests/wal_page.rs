//! What docs/wal.md shows is so: its session runs as it is printed.
#![cfg(all(unix, feature = "cli", feature = "wal"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

const PAGE: &str = include_str!("../../docs/wal.md");

/// The page's sessions, which are one.
fn session() -> String {
    PAGE.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

/// What is another one each time, by a word for its kind: moments, checksums, the folder that a
/// salvage made.
fn settled(text: &str) -> String {
    let mut settled = String::new();
    for word in text.split_inclusive([' ', '\n', ',', ';']) {
        let bare = word.trim_end_matches([' ', '\n', ',', ';']);
        let end = &word[bare.len()..];
        let bytes = bare.as_bytes();
        let kind = if bare.starts_with("0x") && bare.len() == 10 {
            "CHECKSUM"
        } else if bytes.len() > 20 && bytes[4] == b'-' && bytes[10] == b'T' && bare.ends_with('Z') {
            "MOMENT"
        } else if bare.starts_with("log/damaged-") {
            "ASIDE"
        } else {
            bare
        };
        write!(settled, "{kind}{end}").unwrap();
    }
    settled
}

#[test]
fn the_session_of_the_page_runs_as_it_is_printed() {
    let session = session();
    assert!(session.matches("exit code 1").count() > 1 && session.matches("exit code 2").count() > 1);
    // One shell for all of it, that says each line before it runs it.
    let mut script = String::from("exec 2>&1\n");
    for line in session.lines().filter_map(|line| line.strip_prefix("$ ")) {
        writeln!(script, "cat <<'LINE'\n$ {line}\nLINE\n{line}").unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_ng")).parent().unwrap().display();
    let output = Command::new("/bin/sh")
        .args(["-c", &script])
        .current_dir(dir.path())
        .env_clear()
        .env("PATH", format!("{program}:/usr/bin:/bin"))
        .output()
        .unwrap();
    let ran = String::from_utf8(output.stdout).unwrap();
    assert_eq!(settled(&ran), settled(&session), "{ran}");
}
