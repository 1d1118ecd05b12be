//! Salvage: what can be read of a damaged log, written into a log that opens; the damaged files
//! are kept aside.
//!
//! Explicit, never on the way of an engine's start. The new log is written beside the old one,
//! synced and read back; then a marker says that the files are to be exchanged, and only then are
//! they moved. Whatever stops it, running it again goes on: before the marker nothing of the old
//! log was touched, after it the exchange is finished, and meanwhile nobody can open the log.
//! Records keep their numbers: where some are gone, the new log says so with a gap record for
//! each, without a payload.

pub(crate) mod plan;
mod write;

use super::checkpoint::Candidate;
use super::replay::Base;
use super::verify::{Loss, Verdict, Verification, verify_in};
use crate::checkpoint::CheckpointError;
use crate::checkpoint::draft::{Draft, Stand};
use crate::error::{IoError, LogError, RecoverError};
use crate::format::segment::{checkpoint_of, number_of};
use crate::log::lock_dir;
use crate::storage::OsStorage;
use plan::Plan;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// While this file is there, a salvage exchanges the files of the log.
pub(crate) const MARKER: &str = "SALVAGE";
/// The new log, until it is complete.
const NEW: &str = "salvage.new";

/// Why a log can't be salvaged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SalvageError {
    /// Another process has the log, or its lock can't be had.
    #[error(transparent)]
    Log(#[from] LogError),
    /// This isn't damage, and salvage can't help: the error says what will.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// The operating system refused. The damaged log is as it was, or the salvage goes on when it
    /// is run again.
    #[error(transparent)]
    Io(#[from] IoError),
    /// What was written can't be read back. The damaged log is as it was.
    #[error("the salvaged log in {} did not come back as it was written ({found} of {expected} records): the disk is not to be trusted, copy the directory to another one", dir.display())]
    NotAsWritten {
        /// Where it is.
        dir: PathBuf,
        /// Records that came back.
        found: u64,
        /// Records that were written.
        expected: u64,
    },
}

/// What a salvage did.
#[derive(Debug)]
pub enum Salvage {
    /// The log is not damaged. Nothing was done.
    NotNeeded(Box<Verification>),
    /// The log opens again.
    Done(Salvaged),
    /// An earlier salvage was interrupted after it had said what is lost; its exchange of files
    /// was finished.
    Finished {
        /// Where the damaged files are.
        aside: PathBuf,
    },
}

/// What was kept and what is gone.
#[derive(Debug)]
pub struct Salvaged {
    /// Records in the new log that were in the old one.
    pub kept: u64,
    /// Ranges of acknowledged records that are gone.
    pub losses: Vec<Loss>,
    /// The number of the log's next record.
    pub next_lsn: u64,
    /// Where the damaged files are.
    pub aside: PathBuf,
}

/// Salvages the log in `dir`. Needs as much space again as what can be read.
///
/// # Errors
/// See [`SalvageError`].
pub fn salvage(dir: &Path) -> Result<Salvage, SalvageError> {
    Work { dir, stop_before: None, done: 0 }.run()
}

/// A salvage under way, that a test may stop before any of its steps.
struct Work<'a> {
    dir: &'a Path,
    stop_before: Option<u32>,
    done: u32,
}

impl Work<'_> {
    /// One step that changes a file.
    fn step<R>(
        &mut self,
        operation: &'static str,
        path: &Path,
        work: impl FnOnce() -> io::Result<R>,
    ) -> Result<R, IoError> {
        let outcome = if self.stop_before == Some(self.done) {
            Err(io::Error::other("stopped by a test"))
        } else {
            work()
        };
        self.done += 1;
        outcome.map_err(IoError::at(operation, path, 0))
    }

    fn run(&mut self) -> Result<Salvage, SalvageError> {
        let dir = self.dir;
        // Before the lock, which would make the file: a directory without a log stays as it is.
        fs::metadata(dir).map_err(IoError::at("look at", dir, 0))?;
        let marker = dir.join(MARKER);
        let lock = lock_dir(dir)?;
        if let Some(aside) = read_marker(&marker)? {
            self.exchange(&aside)?;
            return Ok(Salvage::Finished { aside: dir.join(aside) });
        }
        let verification = verify_in(dir, &OsStorage::CACHED)?;
        if !matches!(verification.verdict, Verdict::Damaged(_)) {
            return Ok(Salvage::NotNeeded(Box::new(verification)));
        }
        let new = dir.join(NEW);
        remove_dir(&new).map_err(IoError::at("remove", &new, 0))?;
        self.step("create", &new, || fs::create_dir(&new))?;
        let mut plan = Plan::of(dir, &OsStorage::CACHED)?;
        let base = Base::any(dir, &OsStorage::CACHED)?;
        plan.cover(&base);
        plan.reach(dir, base.durable_lsn);
        let (log_id, next_lsn) = write::log(&plan, &new, self)?;
        if let Some(candidate) = &base.candidate {
            // Records keep their numbers, so what it covers is covered still.
            carry_over(candidate, &new, log_id, next_lsn)?;
        }
        self.step("sync", &new, || sync_dir(&new))?;
        check(&new, &plan, next_lsn)?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let aside = format!("damaged-{}", since.as_secs());
        let draft = dir.join("SALVAGE.new");
        self.step("write", &draft, || write_synced(&draft, &aside))?;
        self.step("rename", &draft, || fs::rename(&draft, &marker))?;
        self.step("sync", dir, || sync_dir(dir))?;
        self.exchange(&aside)?;
        drop(lock);
        let aside = dir.join(aside);
        Ok(Salvage::Done(Salvaged { kept: plan.readable(), losses: plan.losses, next_lsn, aside }))
    }

    /// Moves the damaged files away and the new ones in. May have been begun before.
    fn exchange(&mut self, aside: &str) -> Result<(), SalvageError> {
        let (dir, new, aside) = (self.dir, self.dir.join(NEW), self.dir.join(aside));
        let fresh = segments_of(&new)?;
        // New segments have numbers above all old ones; those that came over already stay.
        let (fresh, checkpoints) = (fresh, checkpoints_of(&new)?);
        let came_over = fresh.is_empty() && checkpoints.is_empty();
        let first_new = fresh.iter().filter_map(|name| number_of(name)).min();
        if !came_over {
            self.step("create", &aside, || match fs::create_dir(&aside) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                other => other,
            })?;
            for name in segments_of(dir)? {
                // The last of the new ones comes over first, so that none is taken for an old one.
                if number_of(&name) < first_new {
                    self.step("rename", &dir.join(&name), || fs::rename(dir.join(&name), aside.join(&name)))?;
                }
            }
            // Those of the new log come over last, so that here all are old ones.
            let old = if fresh.is_empty() { Vec::new() } else { checkpoints_of(dir)? };
            for name in old {
                self.step("rename", &dir.join(&name), || fs::rename(dir.join(&name), aside.join(&name)))?;
            }
            self.step("sync", &aside, || sync_dir(&aside))?;
            self.step("sync", dir, || sync_dir(dir))?;
            for name in fresh.iter().rev().chain(&checkpoints) {
                self.step("rename", &new.join(name), || fs::rename(new.join(name), dir.join(name)))?;
            }
        }
        self.step("sync", dir, || sync_dir(dir))?;
        let marker = dir.join(MARKER);
        self.step("remove", &marker, || fs::remove_file(&marker))?;
        self.step("sync", dir, || sync_dir(dir))?;
        self.step("remove", &new, || remove_dir(&new))?;
        Ok(())
    }
}

/// The name under which the damaged files are kept, if an exchange is under way.
fn read_marker(marker: &Path) -> Result<Option<String>, IoError> {
    match fs::read_to_string(marker) {
        Ok(aside) => Ok(Some(aside.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(IoError::at("read", marker, 0)(error)),
    }
}

/// Reads the new log back.
fn check(new: &Path, plan: &Plan, next_lsn: u64) -> Result<(), SalvageError> {
    let found = verify_in(new, &OsStorage::CACHED)?;
    let lost: u64 = plan.losses.iter().map(Loss::records).sum();
    let expected = plan.readable() + lost;
    let sound = matches!(found.verdict, Verdict::Sound);
    if sound && found.report.records == expected && found.report.next_lsn == next_lsn {
        return Ok(());
    }
    Err(SalvageError::NotAsWritten { dir: new.to_owned(), found: found.report.records, expected })
}

/// Writes a sound checkpoint again, for the new log.
fn carry_over(candidate: &Candidate, new: &Path, log_id: u64, next_lsn: u64) -> Result<(), SalvageError> {
    let epoch = candidate.epoch();
    let stand = Stand { log_id, lsn: candidate.lsn, epoch };
    let mut draft = Draft::begin(Arc::new(OsStorage::CACHED), new, stand, candidate.block_bytes())?;
    let mut failed = None;
    let read = candidate.read(|run| {
        for record in run.records() {
            if failed.is_none() {
                failed = draft.record(record.kind, record.payload).err();
            }
        }
    })?;
    read.map_err(RecoverError::BadCheckpoint)?;
    match failed {
        Some(CheckpointError::Io(error)) => return Err(error.into()),
        // It was in a block of this size before.
        Some(error) => return Err(IoError::at("write", new, 0)(io::Error::other(error)).into()),
        None => {}
    }
    draft.finish(next_lsn)?;
    Ok(())
}

/// The names of the checkpoints.
fn checkpoints_of(dir: &Path) -> Result<Vec<String>, IoError> {
    let mut names = names_of(dir)?;
    names.retain(|name| checkpoint_of(name).is_some());
    Ok(names)
}

/// The names of the segment files, in the order of their numbers.
fn segments_of(dir: &Path) -> Result<Vec<String>, IoError> {
    let mut names = names_of(dir)?;
    names.retain(|name| number_of(name).is_some());
    Ok(names)
}

/// The names of all files, sorted.
fn names_of(dir: &Path) -> Result<Vec<String>, IoError> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(IoError::at("list", dir, 0))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.map_err(IoError::at("list", dir, 0))?.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

fn remove_dir(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    fs::File::open(dir)?.sync_all()
}

fn write_synced(path: &Path, text: &str) -> io::Result<()> {
    fs::write(path, text)?;
    fs::File::open(path)?.sync_all()
}

#[cfg(all(test, not(loom)))]
mod tests;
