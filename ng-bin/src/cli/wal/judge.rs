//! `ng wal verify` and `ng wal recover`: what state a log is in.

use super::{DAMAGED, Place, TORN, unreadable, untaken};
use crate::cli::Failure;
use crate::cli::output::{print, with_causes, write_json};
use ng_wal::checkpoint::Checkpoint;
use ng_wal::recover::verify as look_through;
use ng_wal::recover::{BadCheckpoint, Damage, Loss, Report, TornTail, Verdict, settle};
use std::path::Path;

/// The verdict as a document, the same for all that judge.
#[derive(Debug, serde::Serialize)]
pub(super) struct Judged {
    /// `sound`, `torn tail` or `damaged`.
    pub(super) verdict: &'static str,
    pub(super) records: u64,
    pub(super) first_lsn: u64,
    pub(super) next_lsn: u64,
    pub(super) segments: u64,
    pub(super) blocks: u64,
    /// Records that the policy `drop` let go.
    pub(super) dropped: u64,
    /// Records that an earlier salvage could not read.
    pub(super) lost_before: u64,
    /// What a recovery begins with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) checkpoint: Option<Covered>,
    /// Damaged checkpoints, and what is wrong with them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) bad_checkpoints: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) torn: Option<Torn>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) damage: Option<Harm>,
}

#[derive(Debug, serde::Serialize)]
pub(super) struct Torn {
    file: String,
    offset: u64,
    fault: String,
    dropped_blocks: u64,
    dropped_records: u64,
}

/// A checkpoint that is used.
#[derive(Debug, serde::Serialize)]
pub(super) struct Covered {
    file: String,
    /// It covers all records below this number.
    lsn: u64,
    records: u64,
    bytes: u64,
}

impl From<&Checkpoint> for Covered {
    fn from(checkpoint: &Checkpoint) -> Self {
        Self {
            file: checkpoint.path.display().to_string(),
            lsn: checkpoint.lsn,
            records: checkpoint.records,
            bytes: checkpoint.bytes,
        }
    }
}

fn told(bad: &BadCheckpoint) -> String {
    format!("{} is damaged at offset {}: {}", bad.path.display(), bad.offset, bad.fault)
}

#[derive(Debug, serde::Serialize)]
pub(super) struct Harm {
    cause: String,
    readable: u64,
    lost: u64,
    losses: Vec<Lost>,
}

/// A range of lost records.
#[derive(Debug, serde::Serialize)]
pub(super) struct Lost {
    pub(super) first_lsn: u64,
    pub(super) last_lsn: u64,
    pub(super) records: u64,
    pub(super) file: String,
    pub(super) offset: u64,
}

impl From<&Loss> for Lost {
    fn from(loss: &Loss) -> Self {
        Self {
            first_lsn: loss.first_lsn,
            last_lsn: loss.end_lsn.saturating_sub(1),
            records: loss.records(),
            file: loss.path.display().to_string(),
            offset: loss.offset,
        }
    }
}

impl Judged {
    pub(super) fn new(report: &Report, torn: Option<&TornTail>, damage: Option<&Damage>) -> Self {
        let verdict = match (torn, damage) {
            (_, Some(_)) => "damaged",
            (Some(_), None) => "torn tail",
            (None, None) => "sound",
        };
        Self {
            verdict,
            records: report.records,
            first_lsn: report.first_lsn,
            next_lsn: report.next_lsn,
            segments: report.segments,
            blocks: report.blocks,
            dropped: report.dropped,
            lost_before: report.lost,
            checkpoint: None,
            bad_checkpoints: Vec::new(),
            torn: torn.map(|torn| Torn {
                file: torn.path.display().to_string(),
                offset: torn.offset,
                fault: torn.fault.to_string(),
                dropped_blocks: torn.dropped_blocks,
                dropped_records: torn.dropped_records,
            }),
            damage: damage.map(|damage| Harm {
                cause: with_causes(&damage.cause),
                readable: damage.readable,
                lost: damage.losses.iter().map(Loss::records).sum(),
                losses: damage.losses.iter().map(Lost::from).collect(),
            }),
        }
    }

    pub(super) fn of(verification: &ng_wal::recover::Verification) -> Self {
        let (torn, damage) = match &verification.verdict {
            Verdict::Sound => (None, None),
            Verdict::TornTail(torn) => (Some(torn), None),
            Verdict::Damaged(damage) => (None, Some(damage)),
        };
        let judged = Self::new(&verification.report, torn, damage);
        judged.with_checkpoints(verification.checkpoint.as_ref(), &verification.bad_checkpoints)
    }

    fn with_checkpoints(mut self, used: Option<&Checkpoint>, bad: &[BadCheckpoint]) -> Self {
        self.checkpoint = used.map(Covered::from);
        self.bad_checkpoints = bad.iter().map(told).collect();
        self
    }

    pub(super) fn code(&self) -> u8 {
        match (&self.torn, &self.damage) {
            (_, Some(_)) => DAMAGED,
            (Some(_), None) => TORN,
            (None, None) => 0,
        }
    }

    pub(super) fn words(&self) -> String {
        let mut text = format!(
            "{}: {} records ({}..{}) in {} blocks of {} segment(s)",
            self.verdict, self.records, self.first_lsn, self.next_lsn, self.blocks, self.segments
        );
        if let Some(checkpoint) = &self.checkpoint {
            text.push_str(&format!(
                "\ncheckpoint {}: {} records stand for those before {}",
                checkpoint.file, checkpoint.records, checkpoint.lsn
            ));
        }
        for bad in &self.bad_checkpoints {
            text.push_str(&format!("\ncheckpoint {bad}"));
        }
        if self.dropped > 0 {
            text.push_str(&format!("\n{} records were let go by full buffers", self.dropped));
        }
        if self.lost_before > 0 {
            text.push_str(&format!("\n{} records were lost before an earlier salvage", self.lost_before));
        }
        if let Some(torn) = &self.torn {
            text.push_str(&format!(
                "\ntorn tail at {}:{}: {}; {} records in {} blocks were never acknowledged and are left out",
                torn.file, torn.offset, torn.fault, torn.dropped_records, torn.dropped_blocks
            ));
        }
        if let Some(damage) = &self.damage {
            text.push_str(&format!("\n{}", damage.cause));
            for lost in &damage.losses {
                text.push_str(&format!("\n{}", lost.words()));
            }
            text.push_str(&format!("\n{} records can be read: `ng wal salvage` keeps them", damage.readable));
        }
        text
    }

    pub(super) fn tell(&self, json: bool) -> Result<u8, Failure> {
        if json {
            write_json(self, Path::new("-"))?;
        } else {
            print(|out| writeln!(out, "{}", self.words()))?;
        }
        Ok(self.code())
    }
}

impl Lost {
    pub(super) fn words(&self) -> String {
        format!(
            "lost: records {}..={} ({}), at {}:{}",
            self.first_lsn, self.last_lsn, self.records, self.file, self.offset
        )
    }
}

pub(super) fn verify_words(place: &Place) -> Result<Judged, Failure> {
    look_through(&place.dir).map(|found| Judged::of(&found)).map_err(|error| unreadable(&error))
}

/// `ng wal verify`.
pub(super) fn verify(place: &Place) -> Result<u8, Failure> {
    verify_words(place)?.tell(place.json)
}

/// `ng wal recover`.
pub(super) fn recover(place: &Place) -> Result<u8, Failure> {
    let found = settle(&place.dir).map_err(|error| untaken(&error))?;
    Judged::new(&found.report, found.report.torn.as_ref(), None)
        .with_checkpoints(found.checkpoint.as_ref(), &found.bad_checkpoints)
        .tell(place.json)
}
