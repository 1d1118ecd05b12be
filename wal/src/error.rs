//! Why a log can't be opened, and why one can't be read.

use crate::format::BlockFault;
use crate::options::{BackendKind, OptionError};
use std::io;
use std::path::{Path, PathBuf};

/// An operation on a file that the operating system refused.
#[derive(Debug, thiserror::Error)]
#[error("{operation} of {} at offset {offset} failed: {source}", path.display())]
pub struct IoError {
    /// What was tried: `open`, `read`, `write`, `sync`, …
    pub operation: &'static str,
    /// The file or the directory.
    pub path: PathBuf,
    /// The offset in the file, in bytes.
    pub offset: u64,
    /// What the operating system said.
    pub source: io::Error,
}

impl IoError {
    pub(crate) fn at(operation: &'static str, path: &Path, offset: u64) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { operation, path: path.to_owned(), offset, source }
    }
}

/// Why a log can't be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// An option can't be.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// Another log has the directory.
    #[error("the log in {} is in use by process {owner}: stop it, or choose another wal.dir", dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// The process that wrote its id into the lock file, or `unknown`.
        owner: String,
    },
    /// The back end that was asked for by name can't be had.
    #[error("wal.backend = \"{}\" can't be used here: {why}; write \"auto\" or \"std\"", kind.label())]
    Backend {
        /// Which.
        kind: BackendKind,
        /// What does not work.
        why: String,
    },
    /// The operating system refused.
    #[error(transparent)]
    Io(#[from] IoError),
    /// What is in the directory can't be continued.
    #[error(transparent)]
    Recover(#[from] RecoverError),
}

/// Why a log can't be read. No file was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoverError {
    /// The operating system refused.
    #[error(transparent)]
    Io(#[from] IoError),
    /// A file with a segment's name that is none.
    #[error("{} is not a segment of a log: move it away, or choose another wal.dir", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A format that this program doesn't know.
    #[error("{} has format version {found}, and this program reads {}: use the program that wrote it", path.display(), crate::format::FORMAT_VERSION)]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// A segment of another log.
    #[error("{} belongs to log {found:016x}, the directory to log {expected:016x}: move it away", path.display())]
    Mixed {
        /// The file.
        path: PathBuf,
        /// The log it belongs to.
        found: u64,
        /// The log of the last segment.
        expected: u64,
    },
    /// A segment under another one's name.
    #[error("{} calls itself segment {found}: give it back its name", path.display())]
    Renamed {
        /// The file.
        path: PathBuf,
        /// Its number by its own header.
        found: u32,
    },
    /// A segment in the middle is not there.
    #[error("{} is missing, and older segments are there: put it back before recovering", path.display())]
    Missing {
        /// The file that isn't there.
        path: PathBuf,
    },
    /// Acknowledged records are gone.
    #[error("{} is damaged at offset {offset}: {fault}; records {recovered_to}..{durable_to} were acknowledged as durable and can't be read; restore the file from a copy, or salvage what can be read", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the first unreadable block is, in bytes.
        offset: u64,
        /// What is wrong with it.
        fault: BlockFault,
        /// Records below this number can be read.
        recovered_to: u64,
        /// Records below this number were durable.
        durable_to: u64,
    },
    /// The files are being exchanged for those of a salvage.
    #[error("a salvage of the log was interrupted ({} is there): run it again, and it goes on", path.display())]
    SalvageInterrupted {
        /// The salvage's marker.
        path: PathBuf,
    },
    /// The records that a reader was to go on with were removed meanwhile.
    #[error("segment {number} of the log in {} was removed while it was read: begin again", dir.display())]
    Overtaken {
        /// The directory.
        dir: PathBuf,
        /// The segment that the reader had come to.
        number: u32,
    },
    /// A checkpoint is damaged, and nothing else holds what it covered.
    #[error("the checkpoint {} is damaged at offset {}: {}; the segments that it covers are gone: restore the file from a copy, or salvage the records behind it", .0.path.display(), .0.offset, .0.fault)]
    BadCheckpoint(crate::recover::BadCheckpoint),
    /// Records between the checkpoint and the first segment are gone.
    #[error("records {lsn}..{first_lsn} are missing: {} covers what is before them, and the first segment begins behind them; restore the segments from a copy, or salvage what can be read", path.display())]
    Uncovered {
        /// The checkpoint.
        path: PathBuf,
        /// It covers records below this number.
        lsn: u64,
        /// The number of the first record that is there.
        first_lsn: u64,
    },
    /// A segment's header is not whole.
    #[error("the header of {} is damaged; restore the file from a copy, or salvage what can be read", path.display())]
    DamagedHeader {
        /// The file.
        path: PathBuf,
    },
}
