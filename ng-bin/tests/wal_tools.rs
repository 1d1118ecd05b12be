//! `ng wal` as a person runs it, on sound, torn, damaged and living logs.
#![cfg(all(feature = "cli", feature = "wal"))]
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use ng_core::TokenSpec;
use ng_core::records::TOKEN_FIRST;
use ng_core::wal::{RecordKind, WalLane, WalSink};
use ng_wal::{Log, LogOptions};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use zerocopy::IntoBytes;

const PATIENCE: Duration = Duration::from_secs(60);

fn ng(dir: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ng"));
    command.arg("wal").args(words).current_dir(dir).env_clear().output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs, holds the exit code, and returns standard output.
fn expect(dir: &Path, code: i32, words: &[&str]) -> String {
    let output = ng(dir, words);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "ng wal {words:?}\n{out}\n{err}");
    out
}

fn json(dir: &Path, code: i32, words: &[&str]) -> serde_json::Value {
    serde_json::from_str(&expect(dir, code, words)).unwrap()
}

fn options(dir: &Path) -> LogOptions {
    LogOptions {
        block_bytes: 8192,
        segment_bytes: 40 << 10,
        interval: Duration::from_secs(60),
        ..LogOptions::new(dir)
    }
}

/// A log `log` of 100 records in epochs of ten: tokens, but each seventh is a user's.
fn a_log() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let log = Log::open(options(&path)).unwrap();
    let mut lane = log.open_lane().unwrap();
    for id in 0..100_u32 {
        if id % 7 == 6 {
            lane.append(RecordKind::USER, b"mine").unwrap();
        } else {
            lane.append(TOKEN_FIRST, TokenSpec::new().at(id, 5).as_bytes()).unwrap();
        }
        if id % 10 == 9 {
            log.flush(PATIENCE).unwrap();
        }
    }
    drop(lane);
    log.close(PATIENCE).unwrap();
    drop(log);
    (dir, path)
}

fn first_segment(log: &Path) -> PathBuf {
    log.join("0000000001.wal")
}

fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

/// Every file with its content and the time of its last change.
fn state(dir: &Path) -> BTreeMap<PathBuf, (Vec<u8>, std::time::SystemTime)> {
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.is_file())
        .map(|path| {
            let changed = path.metadata().unwrap().modified().unwrap();
            (path.clone(), (std::fs::read(&path).unwrap(), changed))
        })
        .collect()
}

#[test]
fn a_sound_log_is_listed_counted_verified_and_dumped_and_no_file_is_touched() {
    let (dir, log) = a_log();
    // Without the lock file, to see that nobody makes one.
    std::fs::remove_file(log.join("LOCK")).unwrap();
    let before = state(&log);
    let (dir, at) = (dir.path(), "log");
    let listed = json(dir, 0, &["ls", at, "--json"]);
    assert_eq!((&listed[0]["segment"], &listed[0]["state"]), (&1.into(), &"used".into()));
    assert!(expect(dir, 0, &["ls", at]).lines().count() > 2);
    let stat = json(dir, 0, &["stat", at, "--json"]);
    assert_eq!((&stat["verdict"], &stat["records"]), (&"sound".into(), &100.into()));
    assert_eq!((&stat["kinds"]["1"]["records"], &stat["kinds"]["256"]["bytes"]), (&86.into(), &56.into()));
    assert!(expect(dir, 0, &["stat", at]).contains("kind 0x0001"));
    let judged = json(dir, 0, &["verify", at, "--json"]);
    assert_eq!((&judged["verdict"], &judged["next_lsn"]), (&"sound".into(), &100.into()));
    assert!(expect(dir, 0, &["verify", at]).starts_with("sound: 100 records"));
    assert_eq!(expect(dir, 0, &["dump", at]).lines().count(), 100);
    assert_eq!(expect(dir, 0, &["tail", at, "-n", "3"]).lines().count(), 3);
    assert!(state(&log) == before, "a command that only looks changed a file");
}

#[test]
fn a_dump_has_each_record_and_keeps_to_its_range() {
    let (dir, _log) = a_log();
    let dump = |words: &[&str]| lines(dir.path(), 0, words);
    let all = dump(&[]);
    assert_eq!(all.len(), 100);
    for (lsn, record) in all.iter().enumerate() {
        assert_eq!(record["lsn"], lsn);
        let payload = record["payload"].as_str().unwrap();
        if lsn % 7 == 6 {
            assert_eq!((&record["kind"], payload), (&256.into(), "6d696e65"));
        } else {
            assert_eq!((&record["kind"], payload.len()), (&1.into(), 128));
            assert_eq!(record["token"]["id"], lsn);
        }
    }
    let lsns = |records: Vec<serde_json::Value>| -> Vec<u64> {
        records.iter().map(|record| record["lsn"].as_u64().unwrap()).collect()
    };
    assert_eq!(lsns(dump(&["--from", "37", "--to", "41"])), [37, 38, 39, 40, 41]);
    assert!(dump(&["--from", "100"]).is_empty());
    // By time: a block's records come or stay together.
    let sealed = all[55]["sealed_unix_ns"].as_u64().unwrap();
    let moment = |ns: u64| format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000);
    let later = lsns(dump(&["--since", &moment(sealed)]));
    let earlier = lsns(dump(&["--until", &moment(sealed)]));
    assert_eq!([earlier.clone(), later].concat(), (0..100).collect::<Vec<_>>());
    assert_eq!(earlier.len(), 50);
    assert!(dump(&["--until", "2001-01-01T00:00:00Z"]).is_empty());
}

#[test]
fn a_torn_tail_is_told_from_damage_by_the_exit_code() {
    let (dir, log) = a_log();
    let whole = std::fs::read(first_segment(&log)).unwrap();
    let listed = json(dir.path(), 0, &["ls", "log", "--json"]);
    let used: Vec<_> = listed.as_array().unwrap().iter().filter(|one| one["state"] == "used").collect();
    let last = log.join(format!("{:010}.wal", used.last().unwrap()["segment"].as_u64().unwrap()));
    // The mark of the close is torn: nothing of value is lost.
    let end = |bytes: &[u8]| bytes.iter().rposition(|byte| *byte != 0).unwrap();
    edit(&last, |bytes| {
        let at = end(bytes);
        bytes[at] ^= 1;
    });
    let torn = json(dir.path(), 2, &["verify", "log", "--json"]);
    assert_eq!((&torn["verdict"], &torn["records"]), (&"torn tail".into(), &100.into()));
    assert_eq!(torn["torn"]["file"], format!("log/{}", last.file_name().unwrap().to_str().unwrap()));
    expect(dir.path(), 2, &["stat", "log"]);
    assert!(expect(dir.path(), 2, &["recover", "log"]).contains("torn tail at log/"));
    assert!(expect(dir.path(), 2, &["salvage", "log"]).contains("nothing to salvage"));
    assert!(std::fs::read(first_segment(&log)).unwrap() == whole);
}

#[test]
fn damage_is_named_salvaged_and_the_log_opens_again() {
    let (dir, log) = a_log();
    edit(&first_segment(&log), |bytes| bytes[3 * 4096 + 300] ^= 1);
    let before = state(&log);
    let judged = json(dir.path(), 1, &["verify", "log", "--json"]);
    assert_eq!((&judged["verdict"], &judged["records"]), (&"damaged".into(), &20.into()));
    let loss = &judged["damage"]["losses"][0];
    assert_eq!((&loss["first_lsn"], &loss["last_lsn"]), (&20.into(), &29.into()));
    assert_eq!((&loss["file"], &loss["offset"]), (&"log/0000000001.wal".into(), &(3 * 4096).into()));
    let words = expect(dir.path(), 1, &["verify", "log"]);
    assert!(words.contains("lost: records 20..=29 (10)"), "{words}");
    expect(dir.path(), 1, &["stat", "log"]);
    let dumped = ng(dir.path(), &["dump", "log"]);
    assert_eq!(dumped.status.code(), Some(1));
    assert_eq!(text(&dumped.stdout).lines().count(), 20, "what comes before the damage");
    assert!(text(&dumped.stderr).contains("acknowledged"), "{}", text(&dumped.stderr));
    assert!(state(&log) == before, "nobody but salvage writes");
    expect(dir.path(), 1, &["recover", "log"]);

    let saved = json(dir.path(), 1, &["salvage", "log", "--json"]);
    assert_eq!((&saved["kept"], &saved["lost"]), (&90.into(), &10.into()));
    assert!(Path::new(&dir.path().join(saved["aside"].as_str().unwrap())).is_dir());
    let sound = json(dir.path(), 0, &["verify", "log", "--json"]);
    assert_eq!((&sound["records"], &sound["lost_before"]), (&100.into(), &10.into()));
    let dumped = expect(dir.path(), 0, &["dump", "log"]);
    assert_eq!(dumped.lines().count(), 91);
    assert!(dumped.contains("lost: 10 record(s)"), "{dumped}");
    Log::open(options(&log)).unwrap().close(PATIENCE).unwrap();
}

#[test]
fn wrong_words_and_missing_places_have_codes_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    expect(dir.path(), 64, &["verify"]);
    expect(dir.path(), 64, &["frobnicate", "log"]);
    expect(dir.path(), 64, &["dump", "log", "--since", "yesterday"]);
    for command in ["ls", "stat", "verify", "dump", "tail", "recover", "salvage", "bench"] {
        let output = ng(dir.path(), &[command, "nowhere"]);
        assert_eq!(output.status.code(), Some(74), "{command}: {}", text(&output.stderr));
        assert!(output.stdout.is_empty(), "{command}");
    }
    assert!(!dir.path().join("nowhere").exists());
}

#[test]
fn a_log_in_use_can_be_looked_at_but_not_taken() {
    let (dir, path) = a_log();
    let log = Log::open(options(&path)).unwrap();
    expect(dir.path(), 0, &["verify", "log"]);
    for command in ["recover", "salvage"] {
        let output = ng(dir.path(), &[command, "log"]);
        assert_eq!(output.status.code(), Some(74));
        assert!(text(&output.stderr).contains("in use by process"), "{}", text(&output.stderr));
    }
    drop(log);
    expect(dir.path(), 0, &["recover", "log"]);
}

#[test]
fn files_that_are_no_log_are_named_and_not_judged_sound() {
    let (dir, log) = a_log();
    std::fs::write(log.join("0000000099.wal"), "a letter to a friend\n".repeat(400)).unwrap();
    let output = ng(dir.path(), &["verify", "log"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("0000000099.wal is not a segment"), "{}", text(&output.stderr));
    assert!(expect(dir.path(), 0, &["ls", "log"]).contains("foreign"));
}

#[test]
fn a_reader_that_goes_away_is_no_fault() {
    let (dir, _log) = a_log();
    let mut child = Command::new(env!("CARGO_BIN_EXE_ng"))
        .args(["wal", "dump", "log"])
        .current_dir(dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
}

#[test]
fn tail_follows_a_writer_over_segments_and_misses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions { interval: Duration::from_millis(1), ..options(&dir.path().join("log")) };
    let log = Log::open(options).unwrap();
    let mut lane = log.open_lane().unwrap();
    lane.append(RecordKind::USER, b"first").unwrap();
    log.flush(PATIENCE).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_ng"))
        .args(["wal", "tail", "log", "-f", "--json"])
        .current_dir(dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = 0;
    let mut follow = |until: u64| {
        while next < until {
            let line: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
            assert_eq!(line["lsn"], next);
            next += 1;
        }
    };
    follow(1);
    for round in 1..=3 {
        for _ in 0..2_000 {
            lane.append(RecordKind::USER, &[round; 40]).unwrap();
        }
        log.flush(PATIENCE).unwrap();
        follow(1 + 2_000 * u64::from(round));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn the_bench_measures_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let document = json(dir.path(), 0, &["bench", ".", "--records", "20000", "--json"]);
    assert_eq!(document["records"], 20_000);
    assert!(document["replay_records_per_s"].as_f64().unwrap() > 0.0);
    assert!(document["device_bytes"].as_u64().unwrap() >= 20_000 * 64);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// A log of tokens only, `made` of them, the first ten deleted.
fn a_log_of_tokens(made: u32) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let log = Log::open(options(&path)).unwrap();
    let mut lane = log.open_lane().unwrap();
    for id in 0..made {
        lane.append(TOKEN_FIRST, TokenSpec::new().at(id, 5).as_bytes()).unwrap();
    }
    log.flush(PATIENCE).unwrap();
    for id in 0..10 {
        let deleted = ng_core::records::encode_deleted(ng_core::TokenId::from_raw(id), 2);
        lane.append(ng_core::records::TOKEN_DELETED, &deleted).unwrap();
    }
    drop(lane);
    log.close(PATIENCE).unwrap();
    drop(log);
    (dir, path)
}

#[test]
fn checkpoint_makes_a_log_short_and_everything_understands_it() {
    let (dir, path) = a_log_of_tokens(3_000);
    let before = json(dir.path(), 0, &["ls", "log", "--json"]).as_array().unwrap().len();
    let made = json(dir.path(), 0, &["checkpoint", "log", "--json"]);
    assert_eq!((made["lsn"].as_u64(), made["tokens"].as_u64()), (Some(3_010), Some(2_990)));
    assert_eq!(made["records"], 3_000, "deletions are kept, so that slots go on counting");
    assert!(made["removed"].as_u64().unwrap() >= 4, "{made}");
    let listed = json(dir.path(), 0, &["ls", "log", "--json"]);
    let listed = listed.as_array().unwrap();
    assert!(listed.len() < before);
    assert_eq!(listed.last().unwrap()["checkpoint"], 3_010);
    assert!(expect(dir.path(), 0, &["ls", "log"]).contains("checkpoint"));
    for word in ["verify", "stat", "recover"] {
        let judged = json(dir.path(), 0, &[word, "log", "--json"]);
        assert_eq!(
            (&judged["verdict"], &judged["checkpoint"]["lsn"]),
            (&"sound".into(), &3_010.into()),
            "{word}"
        );
    }
    let recovered = Command::new(env!("CARGO_BIN_EXE_ng"))
        .args(["recover", "--wal", "log", "--json", "-"])
        .current_dir(dir.path())
        .env_clear()
        .output()
        .unwrap();
    let found: serde_json::Value = serde_json::from_slice(&recovered.stdout).unwrap();
    assert_eq!((&found["tokens"], &found["records"]), (&2_990.into(), &0.into()), "{found}");
    // Again is once more, and no harm.
    json(dir.path(), 0, &["checkpoint", "log", "--json"]);
    // Damaged: named, and refused by everyone.
    let file = PathBuf::from(made["checkpoint"].as_str().unwrap());
    edit(&dir.path().join(&file), |bytes| bytes[6_000] ^= 1);
    let judged = json(dir.path(), 1, &["verify", "log", "--json"]);
    assert_eq!(judged["verdict"], "damaged");
    assert!(judged["bad_checkpoints"][0].as_str().unwrap().contains(".ckpt"), "{judged}");
    expect(dir.path(), 1, &["recover", "log"]);
    expect(dir.path(), 1, &["checkpoint", "log"]);
    assert!(Path::new(&path).exists());
}

#[test]
fn checkpoint_refuses_a_log_that_holds_more_than_tokens_and_changes_nothing() {
    let (dir, path) = a_log();
    let before: Vec<_> = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let output = ng(dir.path(), &["checkpoint", "log"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("kind 0x0100"), "{}", text(&output.stderr));
    let after: Vec<_> = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(before, after);
}

/// What `dump --json` prints, line by line.
fn lines(dir: &Path, code: i32, words: &[&str]) -> Vec<serde_json::Value> {
    let out = expect(dir, code, &[&["dump", "log", "--json"], words].concat());
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_dump_shows_the_header_of_a_checkpoint_and_on_demand_its_records() {
    let (dir, path) = a_log_of_tokens(3_000);
    let dir = dir.path();
    assert_eq!(ng(dir, &["dump", "log", "--checkpoint"]).status.code(), Some(64), "there is none yet");
    json(dir, 0, &["checkpoint", "log", "--json"]);
    // Records behind it, of an engine that went on.
    let log = Log::open(options(&path)).unwrap();
    let mut lane = log.open_lane().unwrap();
    lane.append(TOKEN_FIRST, TokenSpec::new().at(5_000, 5).as_bytes()).unwrap();
    drop(lane);
    log.close(PATIENCE).unwrap();
    drop(log);
    let before = state(&path);

    // The log's records, and one line that says what stands for the others.
    let found = lines(dir, 0, &[]);
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!((&found[0]["checkpoint"], &found[0]["records"]), (&3_010.into(), &3_000.into()));
    assert_eq!(found[0]["complete"], true);
    assert_eq!((&found[1]["lsn"], &found[1]["token"]["id"]), (&3_010.into(), &5_000.into()));
    let words = expect(dir, 0, &["dump", "log"]);
    assert!(words.starts_with("checkpoint log/00000000000000003010.ckpt: 3000 records"), "{words}");

    // Its own: each slot once, the deleted ones too, with numbers of their own.
    let held = lines(dir, 0, &["--checkpoint"]);
    assert_eq!(held.len(), 3_001);
    assert_eq!(held[0], found[0]);
    let mut ids = Vec::new();
    for (number, record) in held[1..].iter().enumerate() {
        assert_eq!((&record["checkpoint"], &record["record"]), (&3_010.into(), &number.into()));
        assert!(record.get("lsn").is_none(), "no record of the log: {record}");
        let deleted = record["deleted"].as_u64();
        ids.push(deleted.or_else(|| record["token"]["id"].as_u64()).unwrap());
        assert_eq!(deleted.is_some(), ids[number] < 10);
    }
    ids.sort_unstable();
    assert_eq!(ids, (0..3_000).collect::<Vec<_>>());
    let some = lines(dir, 0, &["--checkpoint=3010", "--from", "7", "--to", "9"]);
    assert_eq!(some[1..].iter().map(|one| one["record"].as_u64().unwrap()).collect::<Vec<_>>(), [7, 8, 9]);
    assert_eq!(expect(dir, 0, &["dump", "log", "--checkpoint"]).lines().count(), 3_001);
    for words in [&["--checkpoint=12"][..], &["--checkpoint=x"], &["--checkpoint", "--since", "1"]] {
        assert_eq!(ng(dir, &[&["dump", "log"], words].concat()).status.code(), Some(64), "{words:?}");
    }
    assert!(state(&path) == before, "a command that only looks changed a file");
}

#[test]
fn a_damaged_checkpoint_is_listed_and_dumped_up_to_its_fault() {
    let (dir, path) = a_log_of_tokens(30_000);
    let dir = dir.path();
    let made = json(dir, 0, &["checkpoint", "log", "--json"]);
    let file = dir.join(made["checkpoint"].as_str().unwrap());
    let whole = std::fs::read(&file).unwrap();
    let listed = |complete: bool, word: &str| {
        let all = json(dir, 0, &["ls", "log", "--json"]);
        assert_eq!(all.as_array().unwrap().last().unwrap()["complete"], complete);
        let words = expect(dir, 0, &["ls", "log"]);
        assert!(words.lines().last().unwrap().contains(word), "{words}");
    };
    // In its second block: header and end tell nothing of it, only a reading does.
    edit(&file, |bytes| bytes[4096 + (1 << 20) + 300] ^= 1);
    listed(true, "below record");
    let output = ng(dir, &["dump", "log", "--checkpoint", "--json"]);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains("00000000000000030010.ckpt is damaged at offset 1052672: the checksum"), "{err}");
    let read = out.lines().count() - 1;
    assert!(read > 1_000 && read < 30_000, "what comes before the damage: {read}");
    // Without its end.
    std::fs::write(&file, &whole[..whole.len() - 4096]).unwrap();
    listed(false, "damaged");
    let output = ng(dir, &["dump", "log", "--checkpoint"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).starts_with("checkpoint log/00000000000000030010.ckpt: damaged"));
    assert_eq!(text(&output.stdout).lines().count(), 30_001, "every record was there still");
    assert!(text(&output.stderr).contains("the file ends within the block"), "{}", text(&output.stderr));
    // Without its header: nothing of it can be read.
    edit(&file, |bytes| bytes[..4096].fill(0));
    listed(false, "damaged");
    let output = ng(dir, &["dump", "log", "--checkpoint"]);
    assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(1), true));
    // The log's own records are there for who asks for them, and the verdict is verify's.
    expect(dir, 0, &["dump", "log"]);
    assert_eq!(json(dir, 1, &["stat", "log", "--json"])["verdict"], "damaged");
    assert!(path.exists());
}

#[test]
fn damaged_segments_are_listed_by_what_they_are() {
    let (dir, log) = a_log();
    edit(&first_segment(&log), |bytes| bytes[100] ^= 1);
    edit(&log.join("0000000002.wal"), |bytes| bytes[8] = 9);
    std::fs::write(log.join("0000000098.wal"), "short").unwrap();
    std::fs::write(log.join("0000000099.wal"), vec![0; 8192]).unwrap();
    let listed = json(dir.path(), 0, &["ls", "log", "--json"]);
    let state = |number: u32| {
        let all = listed.as_array().unwrap();
        all.iter().find(|one| one["segment"] == number).unwrap()["state"].as_str().unwrap().to_owned()
    };
    assert_eq!([1, 2, 98, 99].map(state), ["damaged header", "version 9", "short", "spare"]);
    for command in ["stat", "verify", "dump"] {
        let output = ng(dir.path(), &[command, "log"]);
        let said = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{command}: {said}");
        assert!(said.contains("0000000001.wal"), "{command}: {said}");
    }
}
