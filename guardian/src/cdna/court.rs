//! What the guardian's thread does with a history: it puts in force what became active, watches it,
//! and takes it back when refusals explode. It is called between two looks at the marks.

use super::document::Charter;
use super::history::{HistoryError, HistoryWriter, read_history};
use super::trial::{Baseline, Standing, Trial};
use crate::constitution::Constitution;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

/// A verdict for the guardian to carry out.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verdict {
    /// Put this in force, and say why.
    Enforce(Constitution, Option<String>),
    /// Keep what is in force, and say what is wrong.
    Problem(String),
}

/// The history's file as it was last seen.
type Stamp = Option<(u64, SystemTime)>;

#[derive(Debug)]
pub(crate) struct Court {
    dir: PathBuf,
    stamp: Stamp,
    in_force: Constitution,
    baseline: Baseline,
    /// The version on trial, and what was in force before.
    trial: Option<(Trial, Constitution)>,
    /// What is still to be written of a version that was taken back.
    unwritten: Option<(u64, u64, String)>,
}

fn stamp(dir: &Path) -> Stamp {
    let found = std::fs::metadata(dir.join("history")).ok()?;
    Some((found.len(), found.modified().ok()?))
}

/// The charter and the constitution that a history has in force.
fn active(dir: &Path) -> Result<Option<(Charter, Constitution)>, HistoryError> {
    let history = read_history(dir)?;
    let Some(version) = history.active().and_then(|active| history.version(active)) else { return Ok(None) };
    let charter = Charter::parse(&version.document)?;
    let constitution = charter.constitution(version.version);
    Ok(Some((charter, constitution)))
}

impl Court {
    /// Reads the history. What is in force by it goes before `otherwise`.
    pub(crate) fn open(dir: &Path, otherwise: &Constitution) -> Result<Self, HistoryError> {
        let stamp = stamp(dir);
        let in_force = active(dir)?.map_or_else(|| otherwise.clone(), |(_, constitution)| constitution);
        let dir = dir.to_owned();
        Ok(Self { dir, stamp, in_force, baseline: Baseline::default(), trial: None, unwritten: None })
    }

    pub(crate) fn in_force(&self) -> &Constitution {
        &self.in_force
    }

    /// One look. `violations` is how many there ever were.
    pub(crate) fn look(&mut self, violations: u64, now: Instant) -> Option<Verdict> {
        self.write_down();
        let now_stamp = stamp(&self.dir);
        if now_stamp != self.stamp {
            self.stamp = now_stamp;
            match active(&self.dir) {
                Err(error) => return Some(Verdict::Problem(error.to_string())),
                Ok(Some((charter, constitution)))
                    if constitution != self.in_force && self.unwritten.is_none() =>
                {
                    let before = std::mem::replace(&mut self.in_force, constitution.clone());
                    // Where nothing is refused, or everything shall be, there is nothing to watch.
                    let watched = constitution.strict && !constitution.read_only && charter.trial.seconds > 0;
                    self.trial =
                        watched.then(|| (Trial::new(charter.trial, &self.baseline, violations, now), before));
                    return Some(Verdict::Enforce(constitution, None));
                }
                Ok(_) => {}
            }
        }
        match self.trial.take() {
            None => self.baseline.look(violations, now),
            Some((trial, before)) => match trial.standing(violations, now) {
                Standing::Open => self.trial = Some((trial, before)),
                Standing::Passed => {}
                Standing::Exploded(refused) => return Some(self.take_back(before, refused)),
            },
        }
        None
    }

    fn take_back(&mut self, before: Constitution, refused: u64) -> Verdict {
        let bad = self.in_force.version;
        let reason = format!("version {bad} was taken back: {refused} tokens violated it within its trial");
        self.unwritten = Some((bad, before.version, reason.clone()));
        self.in_force = before.clone();
        self.write_down();
        Verdict::Enforce(before, Some(reason))
    }

    /// Another process may be writing just now; then it is tried again at the next look. What is in
    /// force here does not wait for it.
    fn write_down(&mut self) {
        let Some((bad, good, reason)) = &self.unwritten else { return };
        let written = HistoryWriter::open(&self.dir).and_then(|mut history| {
            if history.history().active() == Some(*bad) {
                // A version that is older than the history is the configuration's own.
                let to = history.history().version(*good).map(|version| version.version);
                match history.rollback(to, reason) {
                    Ok(_) | Err(HistoryError::NothingBefore) => {}
                    Err(error) => return Err(error),
                }
            }
            match history.quarantine(*bad, reason) {
                Err(HistoryError::InForce { .. }) => Ok(()),
                other => other,
            }
        });
        if !matches!(written, Err(HistoryError::Locked { .. })) {
            self.unwritten = None;
            self.stamp = stamp(&self.dir);
        }
    }
}
