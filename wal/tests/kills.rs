//! The log in processes that die or stand still: two hundred kills, and stops in between.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test reports by panicking")]
#![cfg(not(loom))]

use ng_core::wal::{RecordKind, WalLane, WalSink};
use ng_wal::recover::{Reader, Verdict, verify};
use ng_wal::{Log, LogOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const CHILD: &str = "NG_WAL_KILLS_CHILD_DIR";
const PATIENCE: Duration = Duration::from_secs(60);
/// Sent twice a life, so that the writer is stopped in the middle of whatever it does.
const STOPS: u32 = 2;

fn options(dir: &Path) -> LogOptions {
    // Small segments: a rotation every few milliseconds.
    LogOptions { block_bytes: 16 << 10, segment_bytes: 256 << 10, ..LogOptions::new(dir) }
}

fn record(next: u64) -> Vec<u8> {
    [next; 8].map(u64::to_le_bytes).concat()
}

/// Not a test of its own: the process that is killed. It numbers its records from where the log
/// goes on, and says how many are durable.
#[test]
fn child_that_appends_until_it_is_killed() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    let log = Log::open(options(Path::new(&dir))).unwrap();
    let mut lane = log.open_lane().unwrap();
    let mut next = log.first_lsn();
    let mut out = std::io::stdout();
    loop {
        for _ in 0..1 + next % 300 {
            lane.append(RecordKind::USER, &record(next)).unwrap();
            next += 1;
        }
        log.flush(PATIENCE).unwrap();
        // Standard output of a test is captured unless it goes around the macro.
        writeln!(out, "durable {next}").unwrap();
    }
}

fn start(dir: &Path) -> (Child, impl Iterator<Item = u64> + use<>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_appends_until_it_is_killed", "--nocapture"])
        .env(CHILD, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let said = lines.filter_map(|line| line.rsplit_once("durable ")?.1.parse().ok());
    (child, said)
}

fn signal(child: &Child, signal: &str) {
    let sent = Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// How many records there are; each is held to be the one that belongs there.
fn count(dir: &Path) -> u64 {
    let mut next = 0_u64;
    let visit = |run: ng_wal::Run<'_>| {
        for one in run.records() {
            assert_eq!(one.payload, record(next));
            next += 1;
        }
    };
    Reader::open(dir).unwrap().for_each_run(visit).unwrap();
    next
}

#[test]
fn two_hundred_kills_lose_nothing_that_was_reported() {
    let dir = tempfile::tempdir().unwrap();
    let (mut reported, mut kills) = (0, 0);
    let since = Instant::now();
    while kills < 200 {
        let (mut child, mut said) = start(dir.path());
        let mut wanted = 1 + kills % 4;
        for durable in said.by_ref() {
            reported = durable;
            wanted -= 1;
            if wanted == 0 {
                child.kill().unwrap();
                break;
            }
        }
        // What was in the pipe when it died was said before.
        reported = said.last().unwrap_or(reported);
        child.wait().unwrap();
        kills += 1;
        let found = count(dir.path());
        assert!(found >= reported, "kill {kills}: {reported} were reported, {found} are there");
        if kills % 40 == 0 {
            // A new directory now and then, or the reading takes longer than the writing.
            std::fs::remove_dir_all(dir.path()).unwrap();
            std::fs::create_dir(dir.path()).unwrap();
        }
    }
    println!("{kills} kills in {:.1} s", since.elapsed().as_secs_f64());
}

#[test]
fn a_writer_that_is_stopped_and_goes_on_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for life in 0..4 {
        let (mut child, mut said) = start(dir.path());
        let mut reported = said.next().unwrap();
        for stop in 0..STOPS {
            signal(&child, "STOP");
            // Longer than an epoch and than any sync.
            std::thread::sleep(Duration::from_millis(60));
            // Whoever looks now sees a log in the middle of its work, and no damage.
            let judged = verify(dir.path()).unwrap();
            assert!(!matches!(judged.verdict, Verdict::Damaged(_)), "life {life}, stop {stop}: {judged:?}");
            assert!(judged.report.records >= reported);
            signal(&child, "CONT");
            let before = reported;
            while reported <= before {
                reported = said.next().unwrap();
            }
        }
        signal(&child, "STOP");
        child.kill().unwrap();
        reported = said.last().unwrap_or(reported);
        child.wait().unwrap();
        let found = count(dir.path());
        assert!(found >= reported, "life {life}: {reported} were reported, {found} are there");
    }
}
