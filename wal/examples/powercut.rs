//! The two sides of a power cut: a writer that says what is durable, and a check that it is there.
//! `cargo xtask powercut` runs both around a real cut.
//!
//! ```text
//! powercut write DIR group|each|os BACK_END
//!                                      appends on two threads until it is killed; each line of its
//!                                      output is `durable THREAD COUNT`
//! powercut check DIR COUNT COUNT       answers `recovered COUNT COUNT`; exit code 0 if no thread has
//!                                      fewer than was said, 1 if one has, or if the log is damaged
//! ```
//!
//! A thread's records are numbered; the check holds their content and order to be right.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used, reason = "a program for a test")]

use ng_core::wal::{RecordKind, WalLane, WalSink};
use ng_wal::recover::Reader;
use ng_wal::{BackendKind, GAP, Log, LogOptions, Mode, RecoverError};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

const THREADS: usize = 2;
const PATIENCE: Duration = Duration::from_secs(60);

/// 64 bytes that say whose record it is and which.
fn record(thread: u64, count: u64) -> [u8; 64] {
    let mut words = [0_u64; 8];
    for (i, word) in words.iter_mut().enumerate() {
        *word = (thread << 56 ^ count).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(i as u32 * 7);
    }
    (words[0], words[1]) = (thread, count);
    let mut bytes = [0; 64];
    bytes.chunks_exact_mut(8).zip(words).for_each(|(to, word)| to.copy_from_slice(&word.to_le_bytes()));
    bytes
}

/// How many records each thread has in the log.
fn counts(dir: &Path) -> Result<[u64; THREADS], RecoverError> {
    let mut counts = [0; THREADS];
    let mut wrong = None;
    let visit = |run: ng_wal::Run<'_>| {
        for one in run.records().filter(|_| run.kind != GAP) {
            let thread = one.payload.first().map_or(0, |byte| usize::from(*byte));
            match counts.get_mut(thread) {
                Some(count) if one.payload == record(thread as u64, *count) => *count += 1,
                _ => {
                    wrong.get_or_insert(one.lsn);
                }
            }
        }
    };
    Reader::open(dir)?.for_each_run(visit)?;
    if let Some(lsn) = wrong {
        eprintln!("record {lsn} is not what was written there, or out of its order");
        std::process::exit(1);
    }
    Ok(counts)
}

fn write(dir: &Path, mode: Mode, backend: BackendKind) {
    let options =
        LogOptions { mode, backend, block_bytes: 64 << 10, segment_bytes: 2 << 20, ..LogOptions::new(dir) };
    let log = Log::open(options).unwrap();
    // After a crash the log goes on where it ended, and so do the numbers.
    let counts = counts(dir).unwrap();
    std::thread::scope(|scope| {
        for (thread, mut count) in (0..).zip(counts) {
            let log = &log;
            scope.spawn(move || {
                let mut lane = log.open_lane().unwrap();
                loop {
                    // One thread in large groups, the other in small ones.
                    let group = if thread == 0 { 1_500 } else { 1 + count % 7 };
                    for _ in 0..group {
                        if let Err(error) = lane.append(RecordKind::USER, &record(thread, count)) {
                            return eprintln!("{error}");
                        }
                        count += 1;
                    }
                    if let Err(error) = log.flush(PATIENCE) {
                        return eprintln!("{error}");
                    }
                    println!("durable {thread} {count}");
                }
            });
        }
    });
}

fn check(dir: &Path, promised: &[u64]) -> bool {
    match counts(dir) {
        Ok(counts) => {
            println!("recovered {} {}", counts[0], counts[1]);
            counts.iter().zip(promised).all(|(count, promised)| count >= promised)
        }
        Err(error) => {
            eprintln!("{error}");
            // A log whose directory never became durable has nothing in it.
            println!("recovered 0 0");
            matches!(error, RecoverError::Io(_)) && promised.iter().all(|promised| *promised == 0)
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("powercut write DIR group|each|os BACK_END, or powercut check DIR COUNT COUNT");
    ExitCode::from(64)
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["write", dir, mode, backend] => {
            let mode = match mode {
                "group" => Mode::Group,
                "each" => Mode::Each,
                "os" => Mode::Os,
                _ => return usage(),
            };
            let kinds = [BackendKind::Auto, BackendKind::Uring, BackendKind::Mmap, BackendKind::Std];
            let Some(backend) = kinds.into_iter().find(|kind| kind.label() == backend) else {
                return usage();
            };
            write(Path::new(dir), mode, backend);
        }
        ["check", dir, ref promised @ ..] => {
            let promised: Vec<u64> = promised.iter().map(|count| count.parse().unwrap()).collect();
            return ExitCode::from(u8::from(!check(Path::new(dir), &promised)));
        }
        _ => return usage(),
    }
    ExitCode::SUCCESS
}
