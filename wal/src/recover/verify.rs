//! What state a log is in, by reading all of it: sound, torn at its end, or damaged with loss.
//!
//! Nothing is written and no lock is taken, so that a log in use may be looked at. What a writer
//! does meanwhile can look like damage for a moment: damage is believed when a second look finds
//! it at the same place.

use super::checkpoint::{BadCheckpoint, Candidate};
use super::replay::{Base, reach};
use super::salvage::plan::Plan;
use super::{Reader, Report, TornTail};
use crate::checkpoint::Checkpoint;
use crate::error::RecoverError;
use crate::storage::{OsStorage, Storage};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a writer may take to finish what looked like damage.
const SECOND_LOOK: Duration = Duration::from_millis(20);

/// What a log is found to be.
#[derive(Debug)]
pub enum Verdict {
    /// It ends where its writer ended.
    Sound,
    /// It was cut off in the middle of its work; nothing in the tail was acknowledged.
    TornTail(TornTail),
    /// Acknowledged records are gone.
    Damaged(Damage),
}

/// What is known of damage.
#[derive(Debug)]
pub struct Damage {
    /// Where a strict recovery stops, and why.
    pub cause: RecoverError,
    /// The records that can't be read, in order.
    pub losses: Vec<Loss>,
    /// How many records a salvage would keep.
    pub readable: u64,
}

/// A range of acknowledged records that can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// The number of the first.
    pub first_lsn: u64,
    /// The number after the last.
    pub end_lsn: u64,
    /// The file where the first of them would be.
    pub path: PathBuf,
    /// Where in it, in bytes.
    pub offset: u64,
}

impl Loss {
    /// How many records are gone.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.end_lsn - self.first_lsn
    }
}

/// What [`verify`] found.
#[derive(Debug)]
pub struct Verification {
    /// What a strict recovery hands out.
    pub report: Report,
    /// What the log is.
    pub verdict: Verdict,
    /// The checkpoint that a recovery begins with.
    pub checkpoint: Option<Checkpoint>,
    /// Checkpoints that are damaged. If a recovery needs one of them, the log is damaged, too.
    pub bad_checkpoints: Vec<BadCheckpoint>,
}

impl Verification {
    /// Whether acknowledged records are gone.
    #[must_use]
    pub const fn is_damaged(&self) -> bool {
        matches!(self.verdict, Verdict::Damaged(_))
    }
}

/// Reads a whole log and says what it is. No file is changed.
///
/// # Errors
/// [`RecoverError`], if this is no log, or none that this program may judge: a foreign file,
/// another version, files of two logs. Damage is no error here.
pub fn verify(dir: &Path) -> Result<Verification, RecoverError> {
    let first = verify_in(dir, &OsStorage::CACHED)?;
    if !matches!(first.verdict, Verdict::Damaged(_)) {
        return Ok(first);
    }
    std::thread::sleep(SECOND_LOOK);
    let second = verify_in(dir, &OsStorage::CACHED)?;
    match (&first.verdict, &second.verdict) {
        (Verdict::Damaged(one), Verdict::Damaged(other))
            if one.cause.to_string() != other.cause.to_string() =>
        {
            std::thread::sleep(SECOND_LOOK);
            verify_in(dir, &OsStorage::CACHED)
        }
        _ => Ok(second),
    }
}

/// Whether salvage can do something about it.
pub(crate) const fn is_damage(error: &RecoverError) -> bool {
    matches!(
        error,
        RecoverError::Damaged { .. }
            | RecoverError::DamagedHeader { .. }
            | RecoverError::Missing { .. }
            | RecoverError::BadCheckpoint(_)
            | RecoverError::Uncovered { .. }
    )
}

pub(crate) fn verify_in(dir: &Path, storage: &dyn Storage) -> Result<Verification, RecoverError> {
    let mut report = Report::default();
    let base = Base::find(dir, storage);
    let outcome = Reader::open_in(dir, storage).and_then(|mut reader| {
        let outcome = loop {
            match reader.next_block() {
                Ok(Some(_)) => {}
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        report = reader.report().clone();
        outcome
    });
    // The segments themselves come first: what they say of a loss is more exact.
    let (outcome, base) = match (outcome, base) {
        (Ok(()), Ok(base)) => (reach(dir, &report, base.durable_lsn), Some(base)),
        (Ok(()), Err(error)) => (Err(error), None),
        (Err(error), base) => (Err(error), base.ok()),
    };
    let verdict = match outcome {
        Ok(()) => report.torn.clone().map_or(Verdict::Sound, Verdict::TornTail),
        Err(cause) if is_damage(&cause) => {
            let mut plan = Plan::of(dir, storage)?;
            // Whatever is wrong with them, the log's own damage was found.
            if let Ok(any) = Base::any(dir, storage) {
                plan.cover(&any);
                plan.reach(dir, any.durable_lsn);
            }
            Verdict::Damaged(Damage { cause, readable: plan.readable(), losses: plan.losses })
        }
        Err(error) => return Err(error),
    };
    let checkpoint = base.as_ref().and_then(|base| base.candidate.as_ref());
    let checkpoint = checkpoint.map(Candidate::info).transpose()?;
    let mut bad_checkpoints = base.map_or_else(Vec::new, |base| base.bad);
    if let Verdict::Damaged(Damage { cause: RecoverError::BadCheckpoint(bad), .. }) = &verdict {
        bad_checkpoints.push(bad.clone());
    }
    Ok(Verification { report, verdict, checkpoint, bad_checkpoints })
}
