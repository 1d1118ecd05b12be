//! The whole of a log as an engine's start needs it: the youngest sound checkpoint, then the
//! records behind it.
//!
//! Each checkpoint is read twice: checked whole first, handed out then, so that nothing of one
//! that turns out damaged has been used.

use super::checkpoint::{BadCheckpoint, Candidate, candidates, durable_by_checkpoints};
use super::survey::Survey;
use super::{Reader, Report};
use crate::checkpoint::Checkpoint;
use crate::error::RecoverError;
use crate::format::BlockFault;
use crate::format::run::Run;
use crate::storage::{OsStorage, Storage};
use std::path::Path;

/// What was replayed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Of the log's records behind the checkpoint.
    pub report: Report,
    /// What it began with; `None` if there is no checkpoint that can be used, and none is needed.
    pub checkpoint: Option<Checkpoint>,
    /// Checkpoints that are damaged; what they covered came from an older one or from the log.
    pub bad_checkpoints: Vec<BadCheckpoint>,
}

/// Hands out the records of the youngest sound checkpoint, then those of the log behind it. The
/// records of a checkpoint have numbers of their own, from 0. Nothing is written.
///
/// # Errors
/// As [`Reader::open`] and [`Reader::next_block`]; [`RecoverError::BadCheckpoint`] and
/// [`RecoverError::Uncovered`] if records are gone that only a checkpoint held.
pub fn replay(dir: &Path, visit: impl FnMut(Run<'_>)) -> Result<Replayed, RecoverError> {
    replay_in(dir, &OsStorage::CACHED, visit).map(|(replayed, _)| replayed)
}

pub(crate) fn replay_in(
    dir: &Path,
    storage: &dyn Storage,
    mut visit: impl FnMut(Run<'_>),
) -> Result<(Replayed, Reader), RecoverError> {
    let base = Base::find(dir, storage)?;
    if let Some(candidate) = &base.candidate {
        // Checked a moment ago; what changed since is another's doing, and is told.
        candidate.read(&mut visit)?.map_err(RecoverError::BadCheckpoint)?;
    }
    let lsn = base.lsn();
    let mut reader = Reader::open_from_in(dir, storage, lsn)?;
    while let Some(block) = reader.next_block()? {
        block.runs().for_each(&mut visit);
    }
    let report = reader.report().clone();
    reach(dir, &report, base.durable_lsn)?;
    let checkpoint = base.candidate.as_ref().map(Candidate::info).transpose()?;
    Ok((Replayed { report, checkpoint, bad_checkpoints: base.bad }, reader))
}

/// Holds what was read of the log to what a checkpoint says was durable.
pub(crate) fn reach(dir: &Path, report: &Report, durable_lsn: u64) -> Result<(), RecoverError> {
    if report.next_lsn >= durable_lsn {
        return Ok(());
    }
    let (path, offset, fault) = report.torn.as_ref().map_or_else(
        || (dir.to_owned(), 0, BlockFault::Empty),
        |torn| (torn.path.clone(), torn.offset, torn.fault),
    );
    Err(RecoverError::Damaged { path, offset, fault, recovered_to: report.next_lsn, durable_to: durable_lsn })
}

/// With what a replay begins.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) candidate: Option<Candidate>,
    pub(crate) bad: Vec<BadCheckpoint>,
    pub(crate) durable_lsn: u64,
}

impl Base {
    /// The number of the first record that is to come from the log.
    pub(crate) fn lsn(&self) -> u64 {
        self.candidate.as_ref().map_or(0, |candidate| candidate.lsn)
    }

    /// The youngest checkpoint that is whole, whatever the log is like.
    pub(crate) fn any(dir: &Path, storage: &dyn Storage) -> Result<Self, RecoverError> {
        let candidates = candidates(dir, storage)?;
        let durable_lsn = durable_by_checkpoints(&candidates)?;
        let mut base = Self { candidate: None, bad: Vec::new(), durable_lsn };
        for candidate in candidates {
            match candidate.read(|_| ())? {
                Ok(()) => {
                    base.candidate = Some(candidate);
                    break;
                }
                Err(bad) => base.bad.push(bad),
            }
        }
        Ok(base)
    }

    /// The youngest checkpoint that is whole, and that the log goes on from.
    pub(crate) fn find(dir: &Path, storage: &dyn Storage) -> Result<Self, RecoverError> {
        let candidates = candidates(dir, storage)?;
        let durable_lsn = durable_by_checkpoints(&candidates)?;
        let mut base = Self { candidate: None, bad: Vec::new(), durable_lsn };
        if candidates.is_empty() {
            return Ok(base);
        }
        let survey = Survey::of(dir, storage)?;
        let first_lsn = survey.chain.first().map(|link| link.header.first_lsn.get());
        for candidate in candidates {
            if let (Some(found), Some(expected)) = (candidate.log_id(), survey.log_id())
                && found != expected
            {
                return Err(RecoverError::Mixed { path: candidate.path, found, expected });
            }
            if let Err(bad) = candidate.read(|_| ())? {
                base.bad.push(bad);
                continue;
            }
            // Without any segment the durable mark will say what is missing.
            if first_lsn.is_some_and(|first| first > candidate.lsn) {
                let (path, lsn) = (candidate.path, candidate.lsn);
                return Err(base.bad.pop().map_or_else(
                    || RecoverError::Uncovered { path, lsn, first_lsn: first_lsn.unwrap_or_default() },
                    RecoverError::BadCheckpoint,
                ));
            }
            base.candidate = Some(candidate);
            return Ok(base);
        }
        // The log alone, if nothing of it was removed.
        match (first_lsn, base.bad.first()) {
            (Some(0), _) | (_, None) => Ok(base),
            (_, Some(bad)) => Err(RecoverError::BadCheckpoint(bad.clone())),
        }
    }
}
