//! A checkpoint's file while it is written: blocks as in a segment, under a name that no reader
//! looks at until all is durable.

use super::{Checkpoint, CheckpointError};
use crate::buffer::Buffer;
use crate::error::IoError;
use crate::format::ALIGNMENT;
use crate::format::block::{self, BLOCK_HEADER_BYTES, CLOSED, END_OF_EPOCH, Place, Seal};
use crate::format::run::{RUN_HEADER_BYTES, RunHeader};
use crate::format::segment::{SegmentHeader, checkpoint_name, checkpoint_of};
use crate::storage::{File, Storage, write_all};
use crate::writer::{random, unix_ns};
use ng_core::wal::RecordKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U32, U64};

/// What a checkpoint is called until it is whole.
const DRAFT: &str = ".tmp";

/// Where a checkpoint stands in the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stand {
    pub(crate) log_id: u64,
    /// It covers all records below this number, the end of an epoch.
    pub(crate) lsn: u64,
    pub(crate) epoch: u64,
}

#[derive(Debug)]
pub(crate) struct Draft {
    storage: Arc<dyn Storage>,
    dir: PathBuf,
    path: PathBuf,
    file: Arc<dyn File>,
    stand: Stand,
    salt: u64,
    created: u64,
    buffer: Buffer,
    /// Bytes of the open block in use, its header included.
    used: usize,
    /// Where its last run begins, of which kind and length its records are.
    run: Option<(usize, RecordKind, usize)>,
    /// Records of the open block in the runs before.
    before: u32,
    offset: u64,
    index: u32,
    previous_crc: u32,
    /// Records in the blocks that were written.
    records: u64,
    done: bool,
}

impl Draft {
    pub(crate) fn begin(
        storage: Arc<dyn Storage>,
        dir: &Path,
        stand: Stand,
        block_bytes: usize,
    ) -> Result<Self, IoError> {
        sweep(&*storage, dir)?;
        let path = dir.join(checkpoint_name(stand.lsn) + DRAFT);
        let file = storage.open_write(&path).map_err(IoError::at("create", &path, 0))?;
        let (salt, created) = (random(), unix_ns());
        let mut header = SegmentHeader::blank_checkpoint();
        header.log_id = U64::new(stand.log_id);
        header.salt = U64::new(salt);
        header.block_bytes = U32::new(block_bytes as u32);
        header.first_epoch = U64::new(stand.epoch);
        header.durable_lsn = U64::new(stand.lsn);
        header.created_unix_ns = U64::new(created);
        let previous_crc = header.seal();
        let mut page = Buffer::new(ALIGNMENT);
        page.bytes_mut().copy_from_slice(header.as_bytes());
        let draft = Self {
            storage,
            dir: dir.to_owned(),
            path,
            file,
            stand,
            salt,
            created,
            buffer: Buffer::new(block_bytes),
            used: BLOCK_HEADER_BYTES,
            run: None,
            before: 0,
            offset: ALIGNMENT as u64,
            index: 0,
            previous_crc,
            records: 0,
            done: false,
        };
        draft.write(page.bytes_mut(), 0)?;
        Ok(draft)
    }

    pub(crate) const fn stand(&self) -> Stand {
        self.stand
    }

    /// Bytes written so far.
    pub(crate) const fn written(&self) -> u64 {
        self.offset
    }

    fn write(&self, bytes: &[u8], offset: u64) -> Result<(), IoError> {
        write_all(&*self.file, bytes, offset)
            .map_err(|(offset, error)| IoError::at("write", &self.path, offset)(error))
    }

    /// Adds a record.
    #[inline]
    pub(crate) fn record(&mut self, kind: RecordKind, payload: &[u8]) -> Result<(), CheckpointError> {
        let length = payload.len();
        let same = self.run.is_some_and(|(_, of, long)| of == kind && long == length && length > 0);
        let needs = if same { length } else { RUN_HEADER_BYTES + length };
        if self.used + needs > self.buffer.window().length() {
            let limit = self.buffer.window().length() - BLOCK_HEADER_BYTES - RUN_HEADER_BYTES;
            if length > limit {
                return Err(CheckpointError::TooLarge { bytes: length, limit });
            }
            self.end_block(0, self.stand.lsn)?;
            return self.record(kind, payload);
        }
        if !same {
            self.end_run();
            self.run = Some((self.used, kind, length));
            self.put(RunHeader::new(kind, length, 0).as_bytes());
        }
        self.put(payload);
        Ok(())
    }

    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.buffer.bytes_mut()[self.used..self.used + bytes.len()].copy_from_slice(bytes);
        self.used += bytes.len();
    }

    fn end_run(&mut self) {
        if let Some((start, ..)) = self.run.take() {
            let used = self.used;
            self.before += block::finish_run(&mut self.buffer.bytes_mut()[..used], start);
        }
    }

    fn end_block(&mut self, flags: u32, durable_lsn: u64) -> Result<(), IoError> {
        self.end_run();
        let seal = Seal {
            place: Place {
                segment: 1,
                salt: self.salt,
                index: self.index,
                first_lsn: self.records,
                previous_crc: self.previous_crc,
            },
            epoch: self.stand.epoch,
            durable_lsn,
            flags,
            sealed_unix_ns: unix_ns(),
        };
        let payload = self.used - BLOCK_HEADER_BYTES;
        let (crc, length) = block::seal(self.buffer.bytes_mut(), payload, self.before, &seal);
        let offset = self.offset;
        let written = write_all(&*self.file, &self.buffer.bytes_mut()[..length], offset);
        written.map_err(|(offset, error)| IoError::at("write", &self.path, offset)(error))?;
        self.offset += length as u64;
        self.index += 1;
        self.previous_crc = crc;
        self.records += u64::from(self.before);
        self.before = 0;
        self.used = BLOCK_HEADER_BYTES;
        Ok(())
    }

    /// Makes it durable and gives it its name. The log is durable up to `durable_lsn`, and nothing
    /// in the checkpoint is younger.
    pub(crate) fn finish(mut self, durable_lsn: u64) -> Result<Checkpoint, IoError> {
        if self.used > BLOCK_HEADER_BYTES {
            self.end_block(0, self.stand.lsn)?;
        }
        // A block of its own, so that it is the file's last page.
        self.end_block(END_OF_EPOCH | CLOSED, durable_lsn)?;
        self.file.sync().map_err(IoError::at("sync", &self.path, 0))?;
        let path = self.dir.join(checkpoint_name(self.stand.lsn));
        self.storage.rename(&self.path, &path).map_err(IoError::at("rename", &self.path, 0))?;
        self.done = true;
        self.storage.sync_dir(&self.dir).map_err(IoError::at("sync", &self.dir, 0))?;
        Ok(Checkpoint {
            path,
            lsn: self.stand.lsn,
            durable_lsn,
            records: self.records,
            bytes: self.offset,
            created_unix_ns: self.created,
            complete: true,
        })
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.done {
            // What can't be removed now is by the next one.
            let _ = self.storage.remove(&self.path);
        }
    }
}

/// Removes what a checkpoint that was not finished has left.
pub(crate) fn sweep(storage: &dyn Storage, dir: &Path) -> Result<(), IoError> {
    for name in storage.list(dir).map_err(IoError::at("list", dir, 0))? {
        if name.strip_suffix(DRAFT).and_then(checkpoint_of).is_some() {
            let path = dir.join(name);
            storage.remove(&path).map_err(IoError::at("remove", &path, 0))?;
        }
    }
    Ok(())
}

/// Removes the checkpoints that are older than the one at `lsn`.
pub(crate) fn remove_older(storage: &dyn Storage, dir: &Path, lsn: u64) -> Result<(), IoError> {
    for name in storage.list(dir).map_err(IoError::at("list", dir, 0))? {
        if checkpoint_of(&name).is_some_and(|older| older < lsn) {
            let path = dir.join(name);
            storage.remove(&path).map_err(IoError::at("remove", &path, 0))?;
        }
    }
    storage.sync_dir(dir).map_err(IoError::at("sync", dir, 0))
}
