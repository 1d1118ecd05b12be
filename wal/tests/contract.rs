//! The log against the contract suite, in each mode and in odd sizes.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test reports by panicking, and says what it skips"
)]
#![cfg(not(loom))]

use ng_core::testing::wal::{Subject, assert_contract};
use ng_wal::recover::Reader;
use ng_wal::{BackendKind, GAP, Log, LogError, LogOptions, Mode};
use std::rc::Rc;

fn small(dir: &std::path::Path) -> LogOptions {
    LogOptions { block_bytes: 64 << 10, segment_bytes: 1 << 20, ..LogOptions::new(dir) }
}

fn hold_to_the_contract(change: impl Fn(&mut LogOptions)) {
    assert_contract(&mut || {
        let dir = Rc::new(tempfile::tempdir().unwrap());
        let mut options = small(dir.path());
        change(&mut options);
        let sink = Box::new(Log::open(options).unwrap());
        let read = Box::new(move || {
            let mut kept = Vec::new();
            let report = Reader::open(dir.path()).unwrap().for_each_run(|run| {
                let own = run.kind == GAP;
                kept.extend(run.records().filter(|_| !own).map(|r| (r.kind, r.payload.to_vec())));
            });
            assert_eq!(report.unwrap().torn, None, "a closed log has no torn tail");
            kept
        });
        Subject { sink, read: Some(read) }
    });
}

#[test]
fn group_commit_keeps_the_contract() {
    hold_to_the_contract(|_| {});
}

/// The contract on each back end that can be had here; those that can't say why.
fn on_backend(kind: BackendKind) {
    let dir = tempfile::tempdir().unwrap();
    match Log::open(LogOptions { backend: kind, ..small(dir.path()) }) {
        Ok(log) => assert_eq!(log.backend().kind, kind),
        Err(LogError::Backend { why, .. }) => {
            println!("skipped: no {} here: {why}", kind.label());
            return;
        }
        Err(error) => panic!("{error}"),
    }
    hold_to_the_contract(|options| options.backend = kind);
}

#[test]
fn uring_keeps_the_contract() {
    on_backend(BackendKind::Uring);
}

#[test]
fn mmap_keeps_the_contract() {
    on_backend(BackendKind::Mmap);
}

#[test]
fn std_keeps_the_contract() {
    on_backend(BackendKind::Std);
}

#[test]
fn auto_says_what_it_chose_and_why_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(small(dir.path())).unwrap();
    let chosen = log.backend();
    assert!(matches!(chosen.kind, BackendKind::Uring | BackendKind::Std), "{chosen:?}");
    assert!(!chosen.why.is_empty());
    let names = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(names.into_iter().all(|name| name != "probe.tmp"));
}

#[test]
fn small_segments_and_two_buffers_keep_the_contract() {
    hold_to_the_contract(|options| {
        options.block_bytes = 8192;
        options.segment_bytes = 5 * 4096;
        options.buffers = 2;
    });
}

#[test]
fn early_epochs_keep_the_contract() {
    hold_to_the_contract(|options| options.batch_records = 100);
}

#[test]
fn the_mode_without_sync_keeps_the_contract() {
    hold_to_the_contract(|options| options.mode = Mode::Os);
}
