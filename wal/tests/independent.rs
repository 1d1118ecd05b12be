//! The log against a reader in another language that was written from `docs/wal-format.md` alone:
//! record for record the same, and the same verdict, on sound, torn and damaged logs.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test reports by panicking, a skip on standard output"
)]
#![cfg(not(loom))]

use ng_core::records::{TOKEN_AGAIN, TOKEN_DELETED, TOKEN_FIRST, encode_again, encode_deleted};
use ng_core::store::StoreWriter;
use ng_core::wal::{RecordKind, WalLane, WalSink};
use ng_core::{TokenSpec, TokenStore};
use ng_wal::recover::{Reader, Salvage, Verdict, replay, salvage, verify};
use ng_wal::{Log, LogLane, LogOptions};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use zerocopy::IntoBytes;

const PATIENCE: Duration = Duration::from_secs(60);

/// What the other reader says: its records, one a line, its verdict, and its exit code. `None`
/// where there is no Python.
fn other_reader(dir: &Path) -> Option<(String, String, i32)> {
    other_reader_told(dir, &[])
}

fn other_reader_told(dir: &Path, words: &[&str]) -> Option<(String, String, i32)> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wal_reader.py");
    let output = match Command::new("python3").arg(script).arg(dir).args(words).output() {
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

/// What a replay hands out, by our own reader.
fn own_replay(dir: &Path) -> String {
    let (mut lines, mut base) = (String::new(), 0);
    let replayed = replay(dir, |run| {
        for record in run.records() {
            let hex = record.payload.iter().fold(String::new(), |mut hex, byte| {
                write!(hex, "{byte:02x}").unwrap();
                hex
            });
            writeln!(lines, "{} {hex}", record.kind.0).unwrap();
            base += 1;
        }
    })
    .unwrap();
    assert!(replayed.checkpoint.is_some_and(|one| one.records > 0 && one.records < base));
    lines
}

#[test]
fn a_reader_written_from_the_page_alone_replays_a_checkpoint_and_what_is_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let options = LogOptions { block_bytes: 8192, segment_bytes: 40 << 10, ..LogOptions::new(dir) };
    let log = Log::open(options).unwrap();
    let store = Arc::new(TokenStore::new());
    let mut writer = store.writer(2).unwrap();
    let mut lane = log.open_lane().unwrap();
    let make = |writer: &mut StoreWriter, lane: &mut LogLane, weight: f32| {
        let run = writer.reserve(1).unwrap();
        let token = TokenSpec::new().with_weight(weight).at(run.first(), 9);
        if run.generation() == 1 {
            lane.append(TOKEN_FIRST, token.as_bytes()).unwrap();
        } else {
            lane.append(TOKEN_AGAIN, &encode_again(&token, run.generation())).unwrap();
        }
        run.publish(1, |_| token);
        token.id()
    };
    let ids: Vec<_> = (0..900_u16).map(|i| make(&mut writer, &mut lane, f32::from(i))).collect();
    for id in &ids[..200] {
        let live = writer.look(*id).unwrap();
        lane.append(TOKEN_DELETED, &encode_deleted(*id, live.generation_after())).unwrap();
        assert!(writer.remove(live));
    }
    for _ in 0..50 {
        make(&mut writer, &mut lane, 1.5);
    }
    let made = log.checkpoint(&store, PATIENCE).unwrap();
    for _ in 0..30 {
        make(&mut writer, &mut lane, 2.5);
    }
    drop((lane, writer));
    log.close(PATIENCE).unwrap();
    drop(log);
    let Some((records, last, code)) = other_reader_told(dir, &["--replay"]) else { return };
    assert_eq!(code, 0, "{last}");
    let found = records.lines().fold(String::new(), |mut lines, line| {
        let part = |name: &str| {
            let rest = line.split_once(&format!("\"{name}\": ")).unwrap().1;
            rest.trim_end_matches('}').split(',').next().unwrap().trim_matches('"').to_owned()
        };
        writeln!(lines, "{} {}", part("kind"), part("payload")).unwrap();
        lines
    });
    assert_eq!(found, own_replay(dir));
    assert_eq!(found.lines().count() as u64, made.records + 30);
    // Each sees the damage of the other's file.
    edit(made.path, |bytes| bytes[9_000] ^= 1);
    assert_eq!(other_reader_told(dir, &["--replay"]).unwrap().2, 1);
    assert!(replay(dir, |_| ()).is_err());
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
