//! The log among processes: killed ones, and two that want one directory.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test reports by panicking")]
#![cfg(not(loom))]

use ng_core::wal::{RecordKind, WalLane, WalSink};
use ng_wal::recover::Reader;
use ng_wal::{Log, LogError, LogOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const CHILD: &str = "NG_WAL_TEST_CHILD_DIR";
const PATIENCE: Duration = Duration::from_secs(60);

fn options(dir: &Path) -> LogOptions {
    LogOptions { block_bytes: 64 << 10, segment_bytes: 1 << 20, ..LogOptions::new(dir) }
}

/// Not a test of its own: the process that [`a_killed_process_loses_nothing_it_reported`] kills.
/// It numbers its records from where the log goes on, and says how many are durable.
#[test]
fn child_that_appends_until_it_is_killed() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    let log = Log::open(options(Path::new(&dir))).unwrap();
    let mut lane = log.open_lane().unwrap();
    let mut next = log.first_lsn();
    loop {
        for _ in 0..500 {
            lane.append(RecordKind::USER, &[next; 8].map(u64::to_le_bytes).concat()).unwrap();
            next += 1;
        }
        log.flush(PATIENCE).unwrap();
        // Standard output of a test is captured unless it goes around the macro.
        writeln!(std::io::stdout(), "durable {next}").unwrap();
    }
}

#[test]
fn a_killed_process_loses_nothing_it_reported() {
    let dir = tempfile::tempdir().unwrap();
    let mut reported = 0;
    for kill in 0..12 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_appends_until_it_is_killed", "--nocapture"])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut wanted = 1 + kill % 5;
        for line in lines {
            let line = line.unwrap();
            let Some((_, durable)) = line.rsplit_once("durable ") else { continue };
            reported = durable.parse().unwrap();
            wanted -= 1;
            if wanted == 0 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        let mut next = 0_u64;
        let reader = Reader::open(dir.path()).unwrap();
        reader
            .for_each_run(|run| {
                for record in run.records() {
                    assert_eq!(record.payload, [next; 8].map(u64::to_le_bytes).concat());
                    next += 1;
                }
            })
            .unwrap();
        assert!(next >= reported, "kill {kill}: {reported} were reported, {next} are there");
    }
    assert!(reported > 0);
}

#[test]
fn a_directory_in_use_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(options(dir.path())).unwrap();
    let error = Log::open(options(dir.path())).unwrap_err();
    let LogError::Locked { dir: named, owner } = &error else { panic!("{error}") };
    assert_eq!((named.as_path(), owner), (dir.path(), &std::process::id().to_string()));
    drop(log);
    Log::open(options(dir.path())).unwrap();
}

#[test]
fn a_bad_option_makes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let error = Log::open(LogOptions { buffers: 0, ..options(&path) }).unwrap_err();
    assert!(matches!(error, LogError::Option(_)), "{error}");
    assert!(!path.exists());
}

#[test]
fn a_directory_that_is_not_there_is_no_empty_log() {
    let dir = tempfile::tempdir().unwrap();
    let error = Reader::open(&dir.path().join("nowhere")).unwrap_err();
    assert!(error.to_string().contains("nowhere"), "{error}");
}
