//! A sound log, changed as the fuzzer says: each 12 bytes of its input are one change of one file,
//! with or without a checksum that fits. Reader, `verify`, `list` and `salvage` may refuse what they
//! find; they must not panic, and only `salvage` may change a file.
//!
//! An ordinary test runs the same for some inputs: `wal/tests/fuzz_target.rs`.

use ng_core::wal::{RecordKind, WalLane, WalSink};
use ng_wal::recover::{Reader, list, salvage, verify};
use ng_wal::{BackendKind, Log, LogOptions};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

const PAGE: usize = 4096;
/// No segment grows beyond this, in bytes.
const LARGEST: usize = 1 << 20;

type Files = BTreeMap<PathBuf, Vec<u8>>;

struct Base {
    dir: tempfile::TempDir,
    files: Files,
}

/// Four segments of records, written once.
fn base() -> &'static Base {
    static BASE: OnceLock<Base> = OnceLock::new();
    BASE.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a directory");
        let options = LogOptions {
            backend: BackendKind::Std,
            block_bytes: 8192,
            segment_bytes: 24 << 10,
            interval: Duration::from_secs(60),
            ..LogOptions::new(dir.path())
        };
        let log = Log::open(options).expect("a log");
        let mut lane = log.open_lane().expect("a lane");
        for id in 0..160_u64 {
            lane.append(RecordKind(0x0100 + (id % 3) as u16), &id.to_le_bytes()).expect("an append");
            if id % 10 == 9 {
                log.flush(Duration::from_secs(60)).expect("a flush");
            }
        }
        drop(lane);
        log.close(Duration::from_secs(60)).expect("a close");
        drop(log);
        let files = files_of(dir.path());
        Base { dir, files }
    })
}

fn files_of(dir: &std::path::Path) -> Files {
    let entries = std::fs::read_dir(dir).expect("the directory").flatten().map(|entry| entry.path());
    let segments = entries.filter(|path| path.extension().is_some_and(|extension| extension == "wal"));
    segments.map(|path| (path.clone(), std::fs::read(&path).expect("a file"))).collect()
}

/// Makes the checksum fit what is there.
fn reseal(bytes: &mut [u8], page: usize) {
    let Some(rest) = bytes.get_mut(page * PAGE..) else { return };
    if page == 0 {
        if let Some(header) = rest.get_mut(..PAGE) {
            header[12..16].fill(0);
            let crc = crc_fast::crc32_iscsi(header);
            header[12..16].copy_from_slice(&crc.to_le_bytes());
        }
        return;
    }
    let Some(length) = rest.get(40..44).and_then(|length| Some(u32::from_le_bytes(length.try_into().ok()?)))
    else {
        return;
    };
    let length = (112 + length as usize).next_multiple_of(PAGE);
    if let Some(block) = rest.get_mut(..length) {
        let crc = crc_fast::crc32_iscsi(&block[8..]);
        block[4..8].copy_from_slice(&crc.to_le_bytes());
    }
}

/// `file, what, offset (2), value (8)`.
fn change(files: &mut Files, op: &[u8; 12]) {
    let names: Vec<PathBuf> = files.keys().cloned().collect();
    let name = &names[usize::from(op[0]) % names.len()];
    let at = usize::from(u16::from_le_bytes([op[2], op[3]]));
    let value = &op[4..];
    if op[1] % 8 == 7 && files.len() > 1 {
        files.remove(name);
        return;
    }
    let Some(bytes) = files.get_mut(name) else { return };
    match op[1] % 8 {
        0 | 1 => {
            let width = if op[1] & 8 == 0 { 8 } else { 4 };
            if let Some(field) = bytes.get_mut(at..at + width) {
                field.copy_from_slice(&value[..width]);
            }
            if op[1] % 8 == 1 {
                reseal(bytes, at / PAGE);
            }
        }
        2 => bytes.truncate(at),
        3 => bytes.resize((bytes.len() + at).min(LARGEST), op[4]),
        4 => {
            let from = usize::from(op[4]) % 6 * PAGE;
            let to = at % 6 * PAGE;
            if from + PAGE <= bytes.len() && to + PAGE <= bytes.len() {
                bytes.copy_within(from..from + PAGE, to);
            }
        }
        5 => {
            let end = bytes.len().min(at + usize::from(op[4]) * 16);
            if let Some(range) = bytes.get_mut(at..end) {
                range.fill(op[5]);
            }
        }
        _ => reseal(bytes, at % 6),
    }
}

/// One round.
pub(crate) fn run(input: &[u8]) {
    let base = base();
    let mut files = base.files.clone();
    input.as_chunks::<12>().0.iter().take(16).for_each(|op| change(&mut files, op));
    let dir = base.dir.path();
    // What the round before left behind, a salvage's directories included.
    for entry in std::fs::read_dir(dir).expect("the directory").flatten() {
        let path = entry.path();
        drop(if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) });
    }
    files.iter().for_each(|(path, bytes)| std::fs::write(path, bytes).expect("a write"));
    let mut count = 0_u64;
    let read = Reader::open(dir).and_then(|reader| reader.for_each_run(|run| count += u64::from(run.count)));
    if let Ok(report) = &read {
        assert_eq!(report.records, count);
    }
    // Judging damage takes a second look some time later, so only some inputs are judged.
    if input.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)) % 16 != 0 {
        assert!(files_of(dir) == files, "a reader changed a file");
        return;
    }
    let judged = verify(dir);
    assert_eq!(read.is_ok(), judged.as_ref().is_ok_and(|found| !found.is_damaged()));
    list(dir).expect("a list");
    assert!(files_of(dir) == files, "a reader changed a file");
    // A forged mark may claim so many lost records that writing them down takes all day.
    let modest = judged.is_ok_and(|found| match found.verdict {
        ng_wal::recover::Verdict::Damaged(damage) => {
            damage.losses.iter().all(|loss| loss.records() < 1 << 40)
        }
        _ => true,
    });
    if modest && salvage(dir).is_ok() {
        Reader::open(dir).and_then(|reader| reader.for_each_run(|_| {})).expect("a salvaged log can be read");
    }
}
