//! The contract of the write-ahead log: what a lane may append, and when it is durable.
//!
//! *Durable* means that the device acknowledged the flush. A sink never waits for the disk on the
//! lane, except under the policy that its user chose for full buffers. Record kinds are numbers
//! that the log carries and never reads; [`crate::records`] gives tokens theirs.

use std::path::PathBuf;
use std::time::Duration;

/// What a record is. `0x0000` is the log's own, up to `0x00ff` this workspace's, the rest a
/// user's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordKind(pub u16);

impl RecordKind {
    /// The first kind that a user may give a meaning.
    pub const USER: Self = Self(0x0100);
}

/// A promise that a record will be durable, to be waited for with [`WalSink::wait_durable`].
///
/// Tickets are ordered: when one is durable, so is each smaller one of the same sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Ticket(pub u64);

/// Why the log stands still for good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the log is poisoned: {operation} of {} at offset {offset} failed: {cause}; nothing after the durable mark is promised; restart to recover", path.display())]
pub struct Poison {
    /// The system call's purpose: `write`, `sync`, …
    pub operation: &'static str,
    /// The file.
    pub path: PathBuf,
    /// The offset in the file, in bytes.
    pub offset: u64,
    /// What the operating system said.
    pub cause: String,
}

/// Why a record was not accepted. Nothing of it is in the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The payload can never fit.
    #[error(
        "a payload of {bytes} bytes is larger than the log takes in one record ({limit}): split it or raise wal.block_bytes"
    )]
    TooLarge {
        /// Its size in bytes.
        bytes: usize,
        /// The largest that fits, in bytes.
        limit: usize,
    },
    /// The buffers are full and the policy says to refuse (`fail`), or to wait no longer
    /// (`block_for`).
    #[error("all {buffers} log buffers are full: the disk is behind; slow down or raise wal.buffers")]
    Full {
        /// How many buffers there are.
        buffers: usize,
    },
    /// The buffers are full and the policy `drop` let the record go. It is counted, and the log
    /// will hold a gap record.
    #[error("the record was dropped: all {buffers} log buffers are full and wal.on_full is \"drop\"")]
    Dropped {
        /// How many buffers there are.
        buffers: usize,
    },
    /// The log's files have come to their limit, and the policy says to refuse, or to wait no
    /// longer. What was accepted before becomes durable all the same.
    #[error(
        "the log's segments take {used_bytes} bytes and may take {limit_bytes}: make a checkpoint, so that old ones can go, or raise wal.max_log_mib"
    )]
    NoRoom {
        /// What the files of segments take, in bytes.
        used_bytes: u64,
        /// What they may take, in bytes.
        limit_bytes: u64,
    },
    /// A write or a sync failed; nothing is accepted any more.
    #[error(transparent)]
    Poisoned(#[from] Box<Poison>),
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
    /// A sink of the user's own has another reason.
    #[error("{0}")]
    Other(String),
}

/// Why a run of records was accepted only in part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{appended} records of the run were logged, then: {source}")]
pub struct RunError {
    /// How many records, from the first, are in the log and stay there.
    pub appended: usize,
    /// The ticket of the last of them.
    pub ticket: Option<Ticket>,
    /// Why the next one was not accepted.
    pub source: AppendError,
}

/// Why a wait for durability ended without it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The time ran out. The record may still become durable.
    #[error("not durable within {waited:?}: the disk is behind (durable {durable:?}, waited for {ticket:?})")]
    TimedOut {
        /// How long the caller waited.
        waited: Duration,
        /// What it waited for.
        ticket: Ticket,
        /// What was durable by then.
        durable: Ticket,
    },
    /// A write or a sync failed before the record was durable.
    #[error(transparent)]
    Poisoned(#[from] Box<Poison>),
    /// The log was closed before the record was durable.
    #[error("the log was closed before the record was durable")]
    Closed,
    /// A sink of the user's own has another reason.
    #[error("{0}")]
    Other(String),
}

/// What a log counts about itself. Counts never go backwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WalStats {
    /// Records taken over by the writer. Those in open blocks join when the block is sealed.
    pub records: u64,
    /// Records of which the device acknowledged the flush.
    pub durable_records: u64,
    /// Payload bytes taken over by the writer.
    pub payload_bytes: u64,
    /// Bytes written to files, headers and padding included.
    pub written_bytes: u64,
    /// Blocks written.
    pub blocks: u64,
    /// Syncs acknowledged.
    pub syncs: u64,
    /// Segments begun.
    pub segments: u64,
    /// Times that a lane found no free buffer.
    pub stalls: u64,
    /// Time that lanes stood waiting for a buffer, in nanoseconds.
    pub stalled_ns: u64,
    /// Records that the policy let go.
    pub dropped: u64,
    /// Age of the oldest record that is not durable, in nanoseconds, as the writer last saw it.
    pub lag_ns: u64,
    /// Whether a write or a sync failed.
    pub poisoned: bool,
}

/// The shared side of a log: one per stack.
pub trait WalSink: Send + Sync {
    /// A new lane, for one thread.
    ///
    /// # Errors
    /// [`AppendError::Poisoned`] or [`AppendError::Closed`].
    fn lane(&self) -> Result<Box<dyn WalLane>, AppendError>;

    /// Each ticket up to this one is durable.
    fn durable(&self) -> Ticket;

    /// Waits until `ticket` is durable, at most `timeout`.
    ///
    /// # Errors
    /// See [`WaitError`].
    fn wait_durable(&self, ticket: Ticket, timeout: Duration) -> Result<(), WaitError>;

    /// Seals what is open on every lane and waits until all that was appended before this call
    /// is durable.
    ///
    /// # Errors
    /// See [`WaitError`].
    fn flush(&self, timeout: Duration) -> Result<Ticket, WaitError>;

    /// Flushes, then takes no more records. Closing twice is closing once.
    ///
    /// # Errors
    /// See [`WaitError`].
    fn close(&self, timeout: Duration) -> Result<(), WaitError>;

    /// What the log counts about itself.
    fn stats(&self) -> WalStats;
}

/// One thread's side of a log.
///
/// Causality: if `append(a)` returned before `append(b)` began, on whatever lanes of one sink,
/// and `b` is recovered, so is `a`.
pub trait WalLane: Send {
    /// Copies one record in.
    ///
    /// # Errors
    /// See [`AppendError`].
    fn append(&mut self, kind: RecordKind, payload: &[u8]) -> Result<Ticket, AppendError>;

    /// Whether nothing is ever kept, so that a caller need not prepare records.
    fn is_off(&self) -> bool {
        false
    }

    /// Copies in a run of records of `record_len` bytes each, one after the other in `payload`.
    /// The records appear in the log in this order. An empty run is granted and means nothing.
    ///
    /// # Errors
    /// [`RunError`] says how many went in before it stopped.
    ///
    /// # Panics
    /// If `record_len` is 0 or doesn't divide the payload.
    fn append_run(
        &mut self,
        kind: RecordKind,
        record_len: usize,
        payload: &[u8],
    ) -> Result<Ticket, RunError> {
        assert!(record_len > 0 && payload.len().is_multiple_of(record_len), "a run of whole records");
        let mut last = None;
        for (appended, record) in payload.chunks_exact(record_len).enumerate() {
            match self.append(kind, record) {
                Ok(ticket) => last = Some(ticket),
                Err(source) => return Err(RunError { appended, ticket: last, source }),
            }
        }
        Ok(last.unwrap_or_default())
    }
}

impl<L: WalLane + ?Sized> WalLane for Box<L> {
    #[inline]
    fn is_off(&self) -> bool {
        (**self).is_off()
    }

    #[inline]
    fn append(&mut self, kind: RecordKind, payload: &[u8]) -> Result<Ticket, AppendError> {
        (**self).append(kind, payload)
    }

    #[inline]
    fn append_run(
        &mut self,
        kind: RecordKind,
        record_len: usize,
        payload: &[u8],
    ) -> Result<Ticket, RunError> {
        (**self).append_run(kind, record_len, payload)
    }
}

/// The log that is switched off: grants everything, keeps nothing, and calls nothing durable
/// that wasn't asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoWal;

impl WalSink for NoWal {
    fn lane(&self) -> Result<Box<dyn WalLane>, AppendError> {
        Ok(Box::new(Self))
    }

    fn durable(&self) -> Ticket {
        Ticket::default()
    }

    fn wait_durable(&self, _ticket: Ticket, _timeout: Duration) -> Result<(), WaitError> {
        Ok(())
    }

    fn flush(&self, _timeout: Duration) -> Result<Ticket, WaitError> {
        Ok(Ticket::default())
    }

    fn close(&self, _timeout: Duration) -> Result<(), WaitError> {
        Ok(())
    }

    fn stats(&self) -> WalStats {
        WalStats::default()
    }
}

impl WalLane for NoWal {
    #[inline(always)]
    fn is_off(&self) -> bool {
        true
    }

    #[inline(always)]
    fn append(&mut self, _kind: RecordKind, _payload: &[u8]) -> Result<Ticket, AppendError> {
        Ok(Ticket::default())
    }

    #[inline(always)]
    fn append_run(
        &mut self,
        _kind: RecordKind,
        _record_len: usize,
        _payload: &[u8],
    ) -> Result<Ticket, RunError> {
        Ok(Ticket::default())
    }
}
