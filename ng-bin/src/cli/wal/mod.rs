//! `ng wal`: the log's tools. Those that look never write and take no lock, so that a log in use
//! can be looked at; `recover`, `checkpoint` and `salvage` take the lock.
//!
//! Exit codes of those that judge (`stat`, `verify`, `recover`, `checkpoint`, `salvage`): 0 sound, 1 damaged with
//! loss or not readable as one log, 2 a torn tail and nothing else; of all: 64 wrong words, 74 a
//! file failed or the log is in use.

mod bench;
mod checkpoint;
mod dump;
mod judge;
mod ls;
mod moment;
mod records;
mod salvage;
mod stat;
mod tail;

use super::{EX_IOERR, Failure, output};
use ng_wal::recover::SalvageError;
use ng_wal::{LogError, RecoverError};
use std::path::PathBuf;

/// The log is damaged with loss, or can't be read as one log.
const DAMAGED: u8 = 1;
/// A torn tail and nothing else.
const TORN: u8 = 2;

const EXIT_CODES: &str = "Exit codes: 0 sound; 1 damaged with loss, or not readable as one log; \
2 a torn tail only; 64 wrong words; 74 a file failed, or the log is in use.";

#[derive(Debug, clap::Subcommand)]
pub(super) enum Words {
    /// List the segment files. Reads headers only.
    Ls(Place),
    /// Read the whole log and add up what is in it.
    #[command(after_help = EXIT_CODES)]
    Stat(Place),
    /// Read the whole log, every checksum included, and say whether it is sound.
    #[command(after_help = EXIT_CODES)]
    Verify(Place),
    /// Print records.
    Dump(dump::Args),
    /// Print the last records, and with -f those that are still to come.
    Tail(tail::Args),
    /// Do what an engine's start does: read all of it under the lock, and make it durable.
    #[command(after_help = EXIT_CODES)]
    Recover(Place),
    /// Write what the log's records led to into one file, and remove the segments that it covers.
    /// For a log of tokens that no engine has open.
    #[command(after_help = EXIT_CODES)]
    Checkpoint(Place),
    /// Make a log that opens of a damaged one; the damaged files are kept aside. Says what is lost.
    #[command(after_help = EXIT_CODES)]
    Salvage(Place),
    /// Write records into a log of its own in a directory, read them back, and remove it again.
    Bench(bench::Args),
}

#[derive(Debug, clap::Args)]
pub(super) struct Place {
    /// The log's directory.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// One JSON document instead of words.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(words: &Words) -> Result<u8, Failure> {
    match words {
        Words::Ls(place) => ls::run(place),
        Words::Stat(place) => stat::run(place),
        Words::Verify(place) => judge::verify(place),
        Words::Dump(args) => dump::run(args),
        Words::Tail(args) => tail::run(args),
        Words::Recover(place) => judge::recover(place),
        Words::Checkpoint(place) => checkpoint::run(place),
        Words::Salvage(place) => salvage::run(place),
        Words::Bench(args) => bench::run(args),
    }
}

/// A log that can't be read.
fn unreadable(error: &RecoverError) -> Failure {
    let code = if matches!(error, RecoverError::Io(_)) { EX_IOERR } else { DAMAGED };
    Failure::new(code, output::with_causes(error))
}

/// A log that can't be taken.
fn untaken(error: &LogError) -> Failure {
    match error {
        LogError::Recover(error) => unreadable(error),
        error => Failure::io(error),
    }
}

impl From<SalvageError> for Failure {
    fn from(error: SalvageError) -> Self {
        match error {
            SalvageError::Log(error) => untaken(&error),
            SalvageError::Recover(error) => unreadable(&error),
            error => Self::io(&error),
        }
    }
}
