//! The log on real file systems that are too small for it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test reports by panicking")]
#![cfg(not(loom))]

use ng_core::wal::{RecordKind, WalLane, WalSink};
use ng_wal::recover::{Reader, Verdict, verify};
use ng_wal::{Log, LogError, LogOptions};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// A small file system of its own, unmounted in the end.
struct Mounted {
    dir: tempfile::TempDir,
}

impl Mounted {
    /// `None`, and a line that says why, where nothing can be mounted.
    fn tmpfs(bytes: u64) -> Option<Self> {
        Self::new(|at| {
            vec!["-t".into(), "tmpfs".into(), "-o".into(), format!("size={bytes}"), "none".into(), at.into()]
        })
    }

    fn ext4(bytes: u64, image: &Path) -> Option<Self> {
        std::fs::File::create(image).unwrap().set_len(bytes).unwrap();
        match Command::new("mkfs.ext4").args(["-q", "-F"]).arg(image).output() {
            Ok(made) if made.status.success() => {}
            _ => {
                println!("skipped: mkfs.ext4 can't be run");
                return None;
            }
        }
        let image = image.display().to_string();
        Self::new(|at| vec!["-o".into(), "loop".into(), image, at.into()])
    }

    fn new(words: impl FnOnce(&str) -> Vec<String>) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let words = words(&dir.path().display().to_string());
        match Command::new("mount").args(words).output() {
            Ok(mounted) if mounted.status.success() => Some(Self { dir }),
            Ok(mounted) => {
                let said = String::from_utf8_lossy(&mounted.stderr).trim().to_owned();
                println!("skipped: a small file system can't be mounted: {said}");
                None
            }
            Err(error) => {
                println!("skipped: mount can't be run: {error}");
                None
            }
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.dir.path()).status();
        assert!(std::thread::panicking() || unmounted.is_ok_and(|status| status.success()));
    }
}

fn options(dir: &Path) -> LogOptions {
    LogOptions { block_bytes: 64 << 10, segment_bytes: 1 << 20, ..LogOptions::new(dir) }
}

/// Fills the file system, and holds the log to its word.
fn fill(dir: &Path) {
    let log = Log::open(options(dir)).unwrap();
    let mut lane = log.open_lane().unwrap();
    let mut acknowledged = 0_u64;
    let refusal = loop {
        let mut refusal = None;
        for id in acknowledged..acknowledged + 2_000 {
            if let Err(error) = lane.append(RecordKind::USER, &[id; 8].map(u64::to_le_bytes).concat()) {
                refusal = Some(error);
                break;
            }
        }
        match (refusal, log.flush(PATIENCE)) {
            (None, Ok(_)) => acknowledged += 2_000,
            (Some(error), _) => break error.to_string(),
            (None, Err(error)) => break error.to_string(),
        }
        assert!(acknowledged < 1_000_000, "the disk never filled");
    };
    assert!(refusal.contains("poisoned") && refusal.contains(".wal"), "{refusal}");
    assert!(acknowledged > 0);
    drop(lane);
    drop(log);
    let mut next = 0_u64;
    let visit = |run: ng_wal::Run<'_>| {
        for one in run.records() {
            assert_eq!(one.payload, [next; 8].map(u64::to_le_bytes).concat());
            next += 1;
        }
    };
    Reader::open(dir).unwrap().for_each_run(visit).unwrap();
    assert!(next >= acknowledged, "{next} of {acknowledged}");
    assert!(!matches!(verify(dir).unwrap().verdict, Verdict::Damaged(_)));
    // Still full: it can't be opened for more, says why, and takes nothing away.
    match Log::open(options(dir)) {
        Err(LogError::Io(error)) => assert!(error.to_string().contains("0000"), "{error}"),
        Err(error) => panic!("{error}"),
        // A spare that was ready before the disk was full is used first.
        Ok(log) => drop(log),
    }
    let mut again = 0;
    Reader::open(dir).unwrap().for_each_run(|run| again += u64::from(run.count)).unwrap();
    assert_eq!(again, next);
}

#[test]
fn a_full_tmpfs_ends_the_log_and_takes_nothing_acknowledged() {
    let Some(small) = Mounted::tmpfs(5 << 20) else { return };
    fill(&small.dir.path().join("log"));
}

#[test]
fn a_full_ext4_ends_the_log_and_takes_nothing_acknowledged() {
    let place = tempfile::tempdir().unwrap();
    let Some(small) = Mounted::ext4(16 << 20, &place.path().join("image")) else { return };
    fill(&small.dir.path().join("log"));
}
