//! Commands that are asked to end, and the exit code that names the signal: after `ng ingest` everything
//! made is durable and the log is closed, after `ng stress` its folder is gone.
#![cfg(all(target_os = "linux", feature = "cli", feature = "wal"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on fails")]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

fn ng(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ng"));
    command.current_dir(dir).env_clear();
    command.env("NG_BLACKBOX__DIR", dir.join("rings")).env("NG_TRACING__OUTPUT", dir.join("spans.jsonl"));
    // Nothing becomes durable by the clock while the test runs: what is, was acknowledged or flushed.
    command.env("NG_WAL__INTERVAL_MS", "10000");
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// An ingest that reads what it is told, with the pipe that it reads from.
fn ingest(dir: &Path, words: &[&str]) -> Child {
    ng(dir)
        .args(["ingest", "-", "--format", "csv", "--wal", "wal", "--batch", "100"])
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn send(child: &Child, signal: &str) {
    let sent = Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

fn rows(ids: std::ops::Range<u32>) -> String {
    ids.map(|id| format!("{id},0.5\n")).collect()
}

/// What it said at its end, and its exit code.
fn ended(mut child: Child) -> (String, Option<i32>) {
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (said, child.wait().unwrap().code())
}

/// How many records its last words say are durable.
fn told(said: &str, signal: &str) -> u64 {
    let line = said.lines().find(|line| line.contains(&format!("ng: {signal}: the log is closed")));
    let words = line.unwrap_or_else(|| panic!("{said}")).split(' ').collect::<Vec<_>>();
    words[words.iter().position(|word| *word == "records").unwrap() - 1].parse().unwrap()
}

/// The ids that the log gives back; it is sound, so it was closed.
fn found(dir: &Path) -> Vec<u32> {
    let judged = ng(dir).args(["wal", "verify", "wal"]).output().unwrap();
    assert_eq!(judged.status.code(), Some(0), "{}", text(&judged.stdout));
    let Output { stdout, .. } =
        ng(dir).args(["recover", "--wal", "wal", "--export", "csv"]).output().unwrap();
    text(&stdout).lines().skip(1).map(|line| line.split(',').next().unwrap().parse().unwrap()).collect()
}

#[test]
fn an_ingest_that_waits_for_rows_ends_by_either_signal_with_its_code_and_all_that_was_acknowledged() {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let dir = tempfile::tempdir().unwrap();
        let mut child = ingest(dir.path(), &["--acknowledge"]);
        let mut input = child.stdin.take().unwrap();
        input.write_all(format!("id,weight\n{}", rows(0..1_000)).as_bytes()).unwrap();
        let acknowledged = BufReader::new(child.stdout.take().unwrap()).lines().map(|line| line.unwrap());
        assert_eq!(acknowledged.take(10).last().unwrap(), "1000");
        // It stands in a read that no more rows end.
        send(&child, signal);
        let (said, ended) = ended(child);
        assert_eq!(ended, Some(code), "{said}");
        assert_eq!(told(&said, &format!("SIG{signal}")), 1_000);
        assert_eq!(found(dir.path()), (0..1_000).collect::<Vec<_>>());
        // The next one goes on.
        drop(input);
        std::fs::write(dir.path().join("more.csv"), format!("id,weight\n{}", rows(1_000..1_100))).unwrap();
        let more = ng(dir.path()).args(["ingest", "more.csv", "--wal", "wal"]).output().unwrap();
        assert!(more.status.success(), "{}", text(&more.stderr));
        assert_eq!(found(dir.path()).len(), 1_100);
    }
}

/// Signals in the middle of the work, with more to read than it will ever come to.
#[test]
fn an_ingest_at_work_ends_by_a_signal_and_what_it_says_is_durable_is_there_in_order() {
    for (signal, code, words) in
        [("TERM", 143, &["--acknowledge"][..]), ("INT", 130, &["--acknowledge"]), ("TERM", 143, &[])]
    {
        let dir = tempfile::tempdir().unwrap();
        let mut child = ingest(dir.path(), words);
        let mut input = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || {
            // Until nobody reads any more.
            let mut next = 0;
            let _ = input.write_all(b"id,weight\n");
            while input.write_all(rows(next..next + 100).as_bytes()).is_ok() {
                next += 100;
            }
            next
        });
        let mut acknowledged = 0;
        if words.is_empty() {
            // Nothing tells how far it is: it is at work, or about to be, once someone hears signals.
            while !threads(&child).iter().any(|name| name.starts_with("ng-ending")) {
                std::thread::yield_now();
            }
            send(&child, signal);
        } else {
            for line in BufReader::new(child.stdout.take().unwrap()).lines() {
                acknowledged = line.unwrap().parse::<u64>().unwrap();
                if acknowledged == 5_000 {
                    send(&child, signal);
                }
            }
            assert!(acknowledged >= 5_000, "{acknowledged}");
        }
        let (said, ended) = ended(child);
        assert_eq!(ended, Some(code), "{said}");
        let told = told(&said, &format!("SIG{signal}"));
        let found = found(dir.path());
        assert_eq!(found.len() as u64, told, "{said}");
        assert!(found.len() as u64 >= acknowledged, "{} of {acknowledged} acknowledged", found.len());
        assert!(found.iter().copied().eq(0..found.len() as u32), "not the first rows");
        assert!(writer.join().unwrap() >= found.len() as u32);
    }
}

/// The names of its threads.
fn threads(child: &Child) -> Vec<String> {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{}/task", child.id())) else { return Vec::new() };
    tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok()).collect()
}

#[test]
fn a_stress_that_is_ended_by_a_signal_leaves_nothing_behind() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let dir = tempfile::tempdir().unwrap();
        let work = dir.path().join("work");
        std::fs::create_dir(&work).unwrap();
        let mut command = ng(dir.path());
        command.args(["stress", "--quick", "--dir", "work"]).env_remove("NG_WAL__INTERVAL_MS");
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let in_it = || {
            let folders = std::fs::read_dir(&work).unwrap().flatten().map(|folder| folder.path());
            folders.filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().count()
        };
        let began = std::time::Instant::now();
        while in_it() == 0 {
            assert!(began.elapsed().as_secs() < 30, "it writes nothing");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        send(&child, signal);
        let (said, ended) = ended(child);
        assert_eq!(ended, Some(code), "{said}");
        assert!(said.contains(&format!("ng: SIG{signal}: work/ng-stress-")), "{said}");
        assert_eq!(std::fs::read_dir(&work).unwrap().count(), 0, "{said}");
    }
}
