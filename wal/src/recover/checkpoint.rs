//! Checkpoints as they are found: their headers, their ends, and whether each byte is right.

use super::survey::{Link, Survey};
use super::verifier::Verifier;
use crate::checkpoint::Checkpoint;
use crate::error::{IoError, RecoverError};
use crate::format::block::{self, CLOSED};
use crate::format::run::{Run, Runs};
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

/// Hands out the runs of the youngest sound checkpoint; its records have numbers of their own, from
/// 0. `None` if there is none.
///
/// # Errors
/// As [`checkpoints`]; [`RecoverError::BadCheckpoint`] if it changes while it is read.
pub fn checkpoint_runs(dir: &Path, visit: impl FnMut(Run<'_>)) -> Result<Option<Checkpoint>, RecoverError> {
    let base = super::replay::Base::any(dir, &OsStorage::CACHED)?;
    let Some(candidate) = base.candidate else { return Ok(None) };
    candidate.read(visit)?.map_err(RecoverError::BadCheckpoint)?;
    candidate.info().map(Some)
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
        let path = dir.join(name);
        let file = storage.open(&path).map_err(IoError::at("open", &path, 0))?;
        let mut head = [0; ALIGNMENT];
        let read = read_full(&*file, &mut head, 0).map_err(IoError::at("read", &path, 0))?;
        let bytes = file.length().map_err(IoError::at("length", &path, 0))?;
        let head = SegmentHeader::read_checkpoint(&head[..read]);
        if let Head::Version(found) = head {
            return Err(RecoverError::Version { path, found });
        }
        found.push(Candidate { path, lsn, file, head, bytes });
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
        let (durable_lsn, records) = self.end()?.unwrap_or_default();
        Ok(Checkpoint {
            path: self.path.clone(),
            lsn: self.lsn,
            durable_lsn,
            records,
            bytes: self.bytes,
            created_unix_ns: self.header().map_or(0, |header| header.created_unix_ns.get()),
        })
    }

    /// Reads all of it, every checksum included, and hands out its runs; stops at the first fault.
    /// It is whole only where this answers `Ok(Ok(()))`.
    pub(crate) fn read(
        &self,
        mut visit: impl FnMut(Run<'_>),
    ) -> Result<Result<(), BadCheckpoint>, RecoverError> {
        let bad = |offset, fault| BadCheckpoint { path: self.path.clone(), offset, fault };
        let Some(header) = self.header() else {
            let empty = matches!(self.head, Head::Short | Head::Spare);
            return Ok(Err(bad(0, if empty { BlockFault::Truncated } else { BlockFault::NoBlock })));
        };
        let link = Link { path: self.path.clone(), file: Arc::clone(&self.file), header: Box::new(*header) };
        let survey = Survey { chain: vec![link], ..Survey::default() };
        let mut verifier = Verifier::new(&survey, 0, None);
        let mut end = ALIGNMENT as u64;
        while let Some(found) = verifier.step(&survey)? {
            let Some(held) = found.held else { continue };
            end = found.offset + held.bytes().len() as u64;
            Runs::new(block::payload(&held.header, held.bytes()), held.header.first_lsn.get())
                .for_each(&mut visit);
        }
        if verifier.is_closed() && end == self.bytes {
            return Ok(Ok(()));
        }
        let fault = match verifier.fault() {
            BlockFault::Empty if end >= self.bytes => BlockFault::Truncated,
            fault => fault,
        };
        Ok(Err(bad(end, fault)))
    }
}
