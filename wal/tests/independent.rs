//! The log against a reader in another language that was written from `docs/wal-format.md` alone:
//! record for record the same, and the same verdict, on sound, torn and damaged logs.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test reports by panicking, a skip on standard output"
)]
#![cfg(not(loom))]

use ng_core::wal::{RecordKind, WalLane, WalSink};
use ng_wal::recover::{Reader, Salvage, Verdict, salvage, verify};
use ng_wal::{Log, LogOptions};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// What the other reader says: its records, one a line, its verdict, and its exit code. `None`
/// where there is no Python.
fn other_reader(dir: &Path) -> Option<(String, String, i32)> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wal_reader.py");
    let output = match Command::new("python3").arg(script).arg(dir).output() {
        Ok(output) => output,
        Err(error) => {
            println!("skipped: python3 can't be run: {error}");
            return None;
        }
    };
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let (records, last) = out.trim_end().rsplit_once('\n').unwrap_or(("", out.trim_end()));
    Some((records.to_owned(), last.to_owned(), output.status.code().unwrap()))
}

/// The same by our own reader.
fn own_reader(dir: &Path) -> (String, i32) {
    let mut records = String::new();
    if let Ok(mut reader) = Reader::open(dir) {
        while let Ok(Some(block)) = reader.next_block() {
            for record in block.records() {
                let payload = record.payload.iter().fold(String::new(), |mut hex, byte| {
                    write!(hex, "{byte:02x}").unwrap();
                    hex
                });
                let (lsn, kind, epoch) = (record.lsn, record.kind.0, block.epoch);
                let line = format!(
                    "{{\"lsn\": {lsn}, \"kind\": {kind}, \"epoch\": {epoch}, \"payload\": \"{payload}\"}}"
                );
                records.push_str(if records.is_empty() { "" } else { "\n" });
                records.push_str(&line);
            }
        }
    }
    let code = match verify(dir).map(|found| found.verdict) {
        Ok(Verdict::Sound) => 0,
        Ok(Verdict::TornTail(_)) => 2,
        Ok(Verdict::Damaged(_)) | Err(_) => 1,
    };
    (records, code)
}

/// Holds both readers to each other; `false` where the other one can't be run.
fn agree(dir: &Path, expected: i32) -> bool {
    let Some((records, last, code)) = other_reader(dir) else { return false };
    let (own, own_code) = own_reader(dir);
    assert_eq!((code, own_code), (expected, expected), "{last}");
    for (one, other) in records.lines().zip(own.lines()) {
        assert_eq!(one, other);
    }
    assert_eq!(records.lines().count(), own.lines().count(), "{last}");
    true
}

fn log(dir: &Path, epochs: u8) {
    let options = LogOptions {
        block_bytes: 8192,
        segment_bytes: 40 << 10,
        interval: Duration::from_secs(60),
        ..LogOptions::new(dir)
    };
    let log = Log::open(options).unwrap();
    let mut lanes = [log.open_lane().unwrap(), log.open_lane().unwrap()];
    for epoch in 0..epochs {
        for i in 0..20_u8 {
            let lane = &mut lanes[usize::from(i % 2)];
            let payload = vec![epoch ^ i; usize::from(i % 5) * 37];
            lane.append(RecordKind(0x0100 + u16::from(i % 3)), &payload).unwrap();
        }
        lanes[0].append_run(RecordKind::USER, 8, &[epoch; 8 * 50]).unwrap();
        log.flush(PATIENCE).unwrap();
    }
    drop(lanes);
    log.close(PATIENCE).unwrap();
}

fn edit(path: PathBuf, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(&path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_reader_written_from_the_page_alone_reads_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    log(dir, 30);
    if !agree(dir, 0) {
        return;
    }
    // A second life, in a new segment.
    log(dir, 3);
    agree(dir, 0);
    let segments = ng_wal::recover::list(dir).unwrap();
    let last = segments.iter().rfind(|one| one.state == ng_wal::recover::SegmentState::Used).unwrap();
    // The mark of the close, torn: nothing of value is gone.
    let whole = std::fs::read(&last.path).unwrap();
    let end = whole.iter().rposition(|byte| *byte != 0).unwrap();
    edit(last.path.clone(), |bytes| bytes[end] ^= 1);
    agree(dir, 2);
    std::fs::write(&last.path, &whole).unwrap();
    // Damage in the middle; then what a salvage makes of it.
    edit(dir.join("0000000002.wal"), |bytes| bytes[3 * 4096 + 500] ^= 1);
    agree(dir, 1);
    assert!(matches!(salvage(dir).unwrap(), Salvage::Done(_)));
    agree(dir, 0);
}

#[test]
fn both_readers_judge_each_cut_of_the_last_file_alike() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    log(dir, 2);
    let path = dir.join("0000000001.wal");
    let whole = std::fs::read(&path).unwrap();
    for length in (0..=whole.len()).step_by(2803) {
        std::fs::write(&path, &whole[..length]).unwrap();
        let Some((_, last, code)) = other_reader(dir) else { return };
        let (_, own) = own_reader(dir);
        assert_eq!(code, own, "cut at {length}: {last}");
    }
}

#[test]
fn both_readers_see_each_flipped_byte_alike() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    log(dir, 2);
    let path = dir.join("0000000001.wal");
    let whole = std::fs::read(&path).unwrap();
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap();
    // Steps that meet every field of the headers in turn.
    for at in (0..used).step_by(1949) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        std::fs::write(&path, &bytes).unwrap();
        let Some((records, last, code)) = other_reader(dir) else { return };
        let (own, own_code) = own_reader(dir);
        assert_eq!(code, own_code, "byte {at}: {last}");
        assert_eq!(records, own, "byte {at}: {last}");
    }
}
