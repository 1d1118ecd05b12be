//! Checkpoints as they are found: their headers, their ends, and whether each byte is right.

use super::feed::Checked;
use super::reader::Block;
use super::survey::{Link, Survey};
use super::verifier::Verifier;
use crate::checkpoint::Checkpoint;
use crate::error::{IoError, RecoverError};
use crate::format::block::{self, CLOSED};
use crate::format::run::Run;
use crate::format::segment::{Head, SegmentHeader, checkpoint_of};
use crate::format::{ALIGNMENT, BlockFault};
use crate::storage::{File, OsStorage, Storage, read_full};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A checkpoint that can't be used, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadCheckpoint {
    /// The file.
    pub path: PathBuf,
    /// Where in it the first fault is, in bytes.
    pub offset: u64,
    /// What is wrong there.
    pub fault: BlockFault,
}

/// The checkpoints in a directory, the youngest first, by their headers and ends alone.
///
/// # Errors
/// [`RecoverError::Io`], [`RecoverError::Version`].
pub fn checkpoints(dir: &Path) -> Result<Vec<Checkpoint>, RecoverError> {
    candidates(dir, &OsStorage::CACHED)?.iter().map(Candidate::info).collect()
}

/// The blocks of one checkpoint, in order and each checked, whatever the log is like.
///
/// Its records have numbers of their own, from 0. What was handed out before an error is sound; the
/// checkpoint is whole only if [`Self::next_block`] comes to answer `None`.
#[derive(Debug)]
pub struct CheckpointReader {
    path: PathBuf,
    bytes: u64,
    survey: Survey,
    verifier: Verifier,
    /// Where the blocks that were handed out end.
    end: u64,
    current: Option<Checked>,
}

impl CheckpointReader {
    /// Opens what [`checkpoints`] found.
    ///
    /// # Errors
    /// [`RecoverError::Io`]; [`RecoverError::BadCheckpoint`] if its header can't be read.
    pub fn open(checkpoint: &Checkpoint) -> Result<Self, RecoverError> {
        let candidate = Candidate::open(checkpoint.path.clone(), checkpoint.lsn, &OsStorage::CACHED)?;
        candidate.reader().map_err(RecoverError::BadCheckpoint)
    }

    /// The next block; `None` at the end of a checkpoint that is whole.
    ///
    /// # Errors
    /// [`RecoverError::Io`]; [`RecoverError::BadCheckpoint`] at the first fault.
    pub fn next_block(&mut self) -> Result<Option<Block<'_>>, RecoverError> {
        let Some(found) = self.verifier.step(&self.survey)? else {
            self.current = None;
            return self.conclude().map(|()| None).map_err(RecoverError::BadCheckpoint);
        };
        self.current = found.held;
        let Some(held) = &self.current else { return Ok(None) };
        self.end = found.offset + held.bytes().len() as u64;
        Ok(Some(Block::of(&held.header, held.bytes(), found.offset)))
    }

    /// Whether it ended where its end is.
    fn conclude(&self) -> Result<(), BadCheckpoint> {
        if self.verifier.is_closed() && self.end == self.bytes {
            return Ok(());
        }
        let fault = match self.verifier.fault() {
            BlockFault::Empty if self.end >= self.bytes => BlockFault::Truncated,
            fault => fault,
        };
        Err(BadCheckpoint { path: self.path.clone(), offset: self.end, fault })
    }
}

/// A file with a checkpoint's name.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) path: PathBuf,
    pub(crate) lsn: u64,
    file: Arc<dyn File>,
    head: Head,
    bytes: u64,
}

/// All of them, the youngest first.
pub(crate) fn candidates(dir: &Path, storage: &dyn Storage) -> Result<Vec<Candidate>, RecoverError> {
    let mut found = Vec::new();
    for name in storage.list(dir).map_err(IoError::at("list", dir, 0))? {
        let Some(lsn) = checkpoint_of(&name) else { continue };
        found.push(Candidate::open(dir.join(name), lsn, storage)?);
    }
    found.sort_unstable_by_key(|one| std::cmp::Reverse(one.lsn));
    Ok(found)
}

/// Up to where the log was durable when the youngest checkpoint got its name; 0 without one.
pub(crate) fn durable_by_checkpoints(candidates: &[Candidate]) -> Result<u64, RecoverError> {
    let mut durable = 0;
    for candidate in candidates {
        durable = durable.max(candidate.end()?.map_or(0, |end| end.0));
    }
    Ok(durable)
}

impl Candidate {
    fn open(path: PathBuf, lsn: u64, storage: &dyn Storage) -> Result<Self, RecoverError> {
        let file = storage.open(&path).map_err(IoError::at("open", &path, 0))?;
        let mut head = [0; ALIGNMENT];
        let read = read_full(&*file, &mut head, 0).map_err(IoError::at("read", &path, 0))?;
        let bytes = file.length().map_err(IoError::at("length", &path, 0))?;
        let head = SegmentHeader::read_checkpoint(&head[..read]);
        if let Head::Version(found) = head {
            return Err(RecoverError::Version { path, found });
        }
        Ok(Self { path, lsn, file, head, bytes })
    }

    fn header(&self) -> Option<&SegmentHeader> {
        match &self.head {
            Head::Segment(header) if header.is_plausible() && header.durable_lsn.get() == self.lsn => {
                Some(header)
            }
            _ => None,
        }
    }

    pub(crate) fn log_id(&self) -> Option<u64> {
        self.header().map(|header| header.log_id.get())
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.header().map_or(0, |header| header.first_epoch.get())
    }

    pub(crate) fn block_bytes(&self) -> usize {
        self.header().map_or(ALIGNMENT, |header| header.block_bytes.get() as usize)
    }

    /// The durable mark and the number of records that its last page gives.
    fn end(&self) -> Result<Option<(u64, u64)>, RecoverError> {
        let Some(header) = self.header() else { return Ok(None) };
        let Some(offset) = self.bytes.checked_sub(ALIGNMENT as u64).filter(|at| *at >= ALIGNMENT as u64)
        else {
            return Ok(None);
        };
        let mut page = [0; ALIGNMENT];
        read_full(&*self.file, &mut page, offset).map_err(IoError::at("read", &self.path, offset))?;
        let Ok((last, length)) = block::length_on_disk(&page, ALIGNMENT) else { return Ok(None) };
        let whole = length == ALIGNMENT
            && block::check_whole(&page).is_ok()
            && last.salt == header.salt
            && last.flags.get() & CLOSED != 0;
        Ok(whole.then(|| (last.durable_lsn.get(), last.first_lsn.get())))
    }

    /// What its header and its end say.
    pub(crate) fn info(&self) -> Result<Checkpoint, RecoverError> {
        let end = self.end()?;
        let (durable_lsn, records) = end.unwrap_or_default();
        Ok(Checkpoint {
            complete: end.is_some(),
            path: self.path.clone(),
            lsn: self.lsn,
            durable_lsn,
            records,
            bytes: self.bytes,
            created_unix_ns: self.header().map_or(0, |header| header.created_unix_ns.get()),
        })
    }

    fn reader(&self) -> Result<CheckpointReader, BadCheckpoint> {
        let Some(header) = self.header() else {
            let empty = matches!(self.head, Head::Short | Head::Spare);
            let fault = if empty { BlockFault::Truncated } else { BlockFault::NoBlock };
            return Err(BadCheckpoint { path: self.path.clone(), offset: 0, fault });
        };
        let link = Link { path: self.path.clone(), file: Arc::clone(&self.file), header: Box::new(*header) };
        let survey = Survey { chain: vec![link], ..Survey::default() };
        Ok(CheckpointReader {
            path: self.path.clone(),
            bytes: self.bytes,
            verifier: Verifier::new(&survey, 0, None),
            survey,
            end: ALIGNMENT as u64,
            current: None,
        })
    }

    /// Reads all of it, every checksum included, and hands out its runs; stops at the first fault.
    /// It is whole only where this answers `Ok(Ok(()))`.
    pub(crate) fn read(
        &self,
        mut visit: impl FnMut(Run<'_>),
    ) -> Result<Result<(), BadCheckpoint>, RecoverError> {
        let mut reader = match self.reader() {
            Ok(reader) => reader,
            Err(bad) => return Ok(Err(bad)),
        };
        loop {
            match reader.next_block() {
                Ok(Some(block)) => block.runs().for_each(&mut visit),
                Ok(None) => return Ok(Ok(())),
                Err(RecoverError::BadCheckpoint(bad)) => return Ok(Err(bad)),
                Err(error) => return Err(error),
            }
        }
    }
}
