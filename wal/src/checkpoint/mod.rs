//! Checkpoints: what the log's records up to some number have led to, in one file, so that the
//! segments that hold only such records can go.
//!
//! A checkpoint is begun at a number `lsn` at which an epoch ended and below which all is durable.
//! Whoever writes it puts in the effect of every record below `lsn`; effects of younger ones may be
//! in it, too. It gets its name once the log is durable beyond everything that can be in it, so
//! that it never holds an effect whose causes the log has lost. Recovery takes the checkpoint and
//! then the log's records from `lsn` on.
//!
//! Lanes go on meanwhile. A checkpoint that fails leaves the log as it was, and does not poison it.

pub(crate) mod draft;
pub(crate) mod taking;

pub use taking::Checkpointing;

use crate::error::{IoError, LogError, RecoverError};
use ng_core::wal::{RecordKind, WaitError};
use std::path::PathBuf;
use std::time::Duration;

/// A checkpoint's file, as far as its header and its end say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Where it is.
    pub path: PathBuf,
    /// It covers all records below this number.
    pub lsn: u64,
    /// The log was durable up to this number when the checkpoint got its name; 0 if its end can't
    /// be read.
    pub durable_lsn: u64,
    /// Its records.
    pub records: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// When it was begun, in nanoseconds since 1970.
    pub created_unix_ns: u64,
    /// Whether its header and its end are sound. What lies between is known only once all of it
    /// was read.
    pub complete: bool,
}

/// Why there is no checkpoint. The log and older checkpoints are as they were.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The log could not be made durable.
    #[error("no checkpoint: {0}")]
    Wait(#[from] WaitError),
    /// A lane did not end its operation.
    #[error(
        "no checkpoint: a lane was in the middle of an operation for {waited:?}; is it stopped, or the disk behind?"
    )]
    Busy {
        /// How long was waited.
        waited: Duration,
    },
    /// The log holds records that a checkpoint of the token store would not.
    #[error("no checkpoint: the log holds records of kind {:#06x}, which are no tokens and would go with their segments; write a snapshot of your own with Log::begin_checkpoint", kind.0)]
    Foreign {
        /// The first such kind that was seen.
        kind: RecordKind,
    },
    /// A record is larger than the log takes.
    #[error("no checkpoint: a record of {bytes} bytes is larger than a block of the log takes ({limit})")]
    TooLarge {
        /// Its size in bytes.
        bytes: usize,
        /// The largest that fits, in bytes.
        limit: usize,
    },
    /// The operating system refused.
    #[error("no checkpoint: {0}")]
    Io(#[from] IoError),
    /// The directory can't be taken.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The log can't be read.
    #[error(transparent)]
    Recover(#[from] RecoverError),
}
