//! What a user may choose of a log, and what of it can't be.

use crate::format::block::BLOCK_HEADER_BYTES;
use crate::format::run::RUN_HEADER_BYTES;
use crate::format::{ALIGNMENT, padded};
use std::path::PathBuf;
use std::time::Duration;

/// When a record becomes durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// All lanes' records of an epoch together, each [`LogOptions::interval`].
    #[default]
    Group,
    /// Before `append` returns; callers that come together share a sync.
    Each,
    /// **Never by this log.** Records are handed to the operating system and survive the process,
    /// but a power cut or a crash of the kernel takes them. `durable` then means *written*.
    Os,
}

/// What a lane does when the disk is behind and all buffers are full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFull {
    /// Waits.
    #[default]
    Block,
    /// Waits at most so long, then refuses.
    BlockFor(Duration),
    /// Lets the record go, counts it, and leaves a gap record in the log.
    Drop,
    /// Refuses at once.
    Fail,
}

/// What a lane does when the log's files have come to [`LogOptions::max_log_bytes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AtLimit {
    /// As [`Self::Wait`]; and a checkpoint is due at half of the limit already, see
    /// [`crate::Log::wait_checkpoint_due`].
    #[default]
    Checkpoint,
    /// Waits until a checkpoint has made room; under [`OnFull::BlockFor`] at most so long, under
    /// [`OnFull::Drop`] and [`OnFull::Fail`] not at all.
    Wait,
    /// Refuses at once.
    Fail,
}

/// How blocks reach the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BackendKind {
    /// The best that works in this directory on this kernel; [`crate::Log::backend`] says which
    /// and why. Never [`Self::Mmap`], whose errors say less.
    #[default]
    Auto,
    /// `io_uring`, past the page cache, several durable writes at once. Linux 5.11; feature `uring`.
    Uring,
    /// Through mappings and `msync`. An error of the device may show late, and a page that can't be
    /// had ends the process. Feature `mmap`.
    Mmap,
    /// `pwrite` and `fdatasync`. Works everywhere.
    Std,
}

impl BackendKind {
    /// As it is written in a configuration.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Uring => "uring",
            Self::Mmap => "mmap",
            Self::Std => "std",
        }
    }
}

/// How a log is kept. [`LogOptions::new`] gives the defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogOptions {
    /// The directory; made if it isn't there. One log, one directory, one process.
    pub dir: PathBuf,
    /// How blocks reach the device. Default: [`BackendKind::Auto`].
    pub backend: BackendKind,
    /// When a record becomes durable. Default: [`Mode::Group`].
    pub mode: Mode,
    /// The length of an epoch: how long a record waits at most before its sync begins. 10 µs to
    /// 60 s, default 1 ms.
    pub interval: Duration,
    /// Ends an epoch early when a lane has appended this many records in it; 0 for never, the
    /// default.
    pub batch_records: u64,
    /// The size of a block, in bytes: a multiple of 4,096 from 8 KiB to 16 MiB. A record fits in
    /// one block. Default 1 MiB; less if there are many lanes.
    pub block_bytes: usize,
    /// How many blocks are in memory, open ones included: 2 to 1,024, default 16.
    pub buffers: usize,
    /// The size of a segment file, in bytes: a multiple of 4,096, at least one block and its
    /// header, at most 4 GiB. Default 64 MiB.
    pub segment_bytes: u64,
    /// How many segments are kept ready, pre-written with zeros: 1 to 64, default 1. More of them
    /// let a burst run at the disk's full speed.
    pub spare_segments: usize,
    /// How fast spares are pre-written while the log is in use, in bytes a second; 0 for as fast
    /// as the disk takes it. Default 256 MiB/s: a burst runs on the spares at the disk's full
    /// speed, instead of sharing it with their replacement. A writer that finds no spare takes a
    /// reserved segment that is not pre-written.
    pub prewrite_bytes_s: u64,
    /// What a lane does when all buffers are full. Default: [`OnFull::Block`].
    pub on_full: OnFull,
    /// So much may the files of segments take, spares and recycled ones included, in bytes; 0 for
    /// no limit, the default. Checkpoints come on top: one, and while the next is written two.
    pub max_log_bytes: u64,
    /// What a lane does at that limit. Default: [`AtLimit::Checkpoint`].
    pub at_limit: AtLimit,
    /// A checkpoint is due whenever segments of so many bytes were begun; 0 for never, the default.
    pub checkpoint_bytes: u64,
    /// How many segments that a checkpoint has made superfluous are kept to be used again, without
    /// being written with zeros first: 0 to 1,024, default 4. The others are removed.
    pub recycled_segments: usize,
}

/// An option that can't be, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("wal.{option} = {value} can't be: write {expected}")]
pub struct OptionError {
    /// The option's name.
    pub option: &'static str,
    /// What it was set to.
    pub value: String,
    /// What it may be.
    pub expected: String,
}

impl LogOptions {
    /// The defaults, in this directory.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            backend: BackendKind::Auto,
            mode: Mode::Group,
            interval: Duration::from_millis(1),
            batch_records: 0,
            block_bytes: 1 << 20,
            buffers: 16,
            segment_bytes: 64 << 20,
            spare_segments: 1,
            prewrite_bytes_s: 256 << 20,
            on_full: OnFull::Block,
            max_log_bytes: 0,
            at_limit: AtLimit::Checkpoint,
            checkpoint_bytes: 0,
            recycled_segments: 4,
        }
    }

    /// Room in segments for whatever is in memory when the limit is reached, in bytes.
    #[must_use]
    pub fn reserve_bytes(&self) -> u64 {
        // An epoch may end with a page of the log's own for each block.
        let waiting = (self.buffers as u64 + 2) * (self.block_bytes + 2 * ALIGNMENT) as u64;
        // What does not fit at a segment's end stays empty.
        let room = self.segment_bytes.saturating_sub((ALIGNMENT + self.block_bytes) as u64);
        waiting.div_ceil(room.max(ALIGNMENT as u64)) * self.segment_bytes
    }

    /// What is lent while a checkpoint begins: room for what lanes append then, and for what is in
    /// memory when that ends.
    pub(crate) fn loan_bytes(&self) -> u64 {
        self.reserve_bytes() + 2 * self.segment_bytes
    }

    /// The smallest limit that leaves room to work, in bytes: what is in memory, what is lent while a
    /// checkpoint begins, and two segments more.
    #[must_use]
    pub fn smallest_max_log_bytes(&self) -> u64 {
        self.reserve_bytes() + self.loan_bytes() + 2 * self.segment_bytes
    }

    /// The largest payload that fits in one record, in bytes.
    #[must_use]
    pub fn largest_payload(&self) -> usize {
        self.block_bytes.saturating_sub(BLOCK_HEADER_BYTES + RUN_HEADER_BYTES)
    }

    /// Checks each option by itself and against the others.
    ///
    /// # Errors
    /// The first [`OptionError`].
    pub fn validate(&self) -> Result<(), OptionError> {
        let fault = |option, value: String, expected: &str| {
            Err(OptionError { option, value, expected: expected.to_owned() })
        };
        if self.dir.as_os_str().is_empty() {
            return fault("dir", "\"\"".to_owned(), "the path of a directory");
        }
        if !(Duration::from_micros(10)..=Duration::from_secs(60)).contains(&self.interval) {
            return fault("interval", format!("{:?}", self.interval), "10us to 60s, for example 1ms");
        }
        let whole = |bytes: u64| bytes.is_multiple_of(ALIGNMENT as u64);
        if !whole(self.block_bytes as u64) || !(2 * ALIGNMENT..=16 << 20).contains(&self.block_bytes) {
            let expected = "a multiple of 4096 from 8192 to 16777216";
            return fault("block_bytes", self.block_bytes.to_string(), expected);
        }
        if !(2..=1024).contains(&self.buffers) {
            return fault("buffers", self.buffers.to_string(), "2 to 1024");
        }
        let smallest = (ALIGNMENT + padded(self.block_bytes)) as u64;
        if !whole(self.segment_bytes) || !(smallest..=4 << 30).contains(&self.segment_bytes) {
            let expected = format!("a multiple of 4096 from {smallest} (a block and a header) to 4294967296");
            return fault("segment_bytes", self.segment_bytes.to_string(), &expected);
        }
        if !(1..=64).contains(&self.spare_segments) {
            return fault("spare_segments", self.spare_segments.to_string(), "1 to 64");
        }
        if self.recycled_segments > 1024 {
            return fault("recycled_segments", self.recycled_segments.to_string(), "0 to 1024");
        }
        let smallest = self.smallest_max_log_bytes();
        if self.max_log_bytes > 0 && self.max_log_bytes < smallest {
            let expected = format!("0 for no limit, or at least {smallest}: smaller segments need less");
            return fault("max_log_bytes", self.max_log_bytes.to_string(), &expected);
        }
        Ok(())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_granted_and_each_fault_is_named() {
        let good = LogOptions::new("log");
        assert_eq!(good.validate(), Ok(()));
        let faults = [
            ("dir", LogOptions { dir: PathBuf::new(), ..good.clone() }),
            ("interval", LogOptions { interval: Duration::ZERO, ..good.clone() }),
            ("block_bytes", LogOptions { block_bytes: 4096, ..good.clone() }),
            ("block_bytes", LogOptions { block_bytes: 10_000, ..good.clone() }),
            ("buffers", LogOptions { buffers: 1, ..good.clone() }),
            ("segment_bytes", LogOptions { segment_bytes: 1 << 20, ..good.clone() }),
            ("spare_segments", LogOptions { spare_segments: 0, ..good.clone() }),
            ("recycled_segments", LogOptions { recycled_segments: 1025, ..good.clone() }),
            ("max_log_bytes", LogOptions { max_log_bytes: 64 << 20, ..good.clone() }),
        ];
        for (option, options) in faults {
            let fault = options.validate().unwrap_err();
            assert_eq!(fault.option, option);
            assert!(fault.to_string().contains("write "), "{fault}");
        }
    }
}
