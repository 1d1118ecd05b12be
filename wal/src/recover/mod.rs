//! Reading a log back: the longest prefix of whole epochs, or the reason why there is none.
//!
//! Recovery stops at the first block that isn't the one that belongs there. If anything behind it
//! proves that more was durable, acknowledged records are gone, and that is an error; if nothing
//! does, it is a torn tail, and normal. An epoch whose end never came is left out whole: only
//! whole epochs keep causality among lanes. Nothing here writes to a file, but for [`salvage`], which
//! is asked for by name.
//!
//! | to | use |
//! |---|---|
//! | put a log back, its checkpoint first | [`replay`] |
//! | read its records, or follow one that is written | [`Reader`] |
//! | write a checkpoint, without the engine | [`take`] |
//! | know what state it is in | [`verify`] |
//! | see its files | [`list`], [`checkpoints`] |
//! | read one checkpoint by itself | [`CheckpointReader`] |
//! | do what an engine's start does to it | [`settle`] |
//! | have what can be read of a damaged one | [`salvage`] |

pub(crate) mod checkpoint;
mod evidence;
mod feed;
mod list;
mod offline;
mod reader;
pub(crate) mod replay;
mod salvage;
mod settle;
pub(crate) mod survey;
pub(crate) mod verifier;
mod verify;
mod window;

pub use checkpoint::{BadCheckpoint, CheckpointReader, checkpoints};
pub use list::{SegmentInfo, SegmentState, list};
pub use offline::{Freed, Taken, take};
pub use reader::{Block, Reader};
pub use replay::{Replayed, replay};
pub use salvage::{Salvage, SalvageError, Salvaged, salvage};
pub use settle::settle;
#[cfg(all(test, not(loom)))]
pub(crate) use verify::verify_in;
pub use verify::{Damage, Loss, Verdict, Verification, verify};

use crate::error::{IoError, RecoverError};
use crate::format::BlockFault;
use crate::space::Held;
use crate::storage::Storage;
use crate::writer::{End, random};
use std::path::{Path, PathBuf};
use survey::Survey;
use verifier::Verifier;

/// What was found in a log. Complete once [`Reader::next_block`] has answered `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Segments that belong to the log's history.
    pub segments: u64,
    /// Segments that a torn tail left behind, and that belong to no history.
    pub abandoned_segments: u64,
    /// Sound blocks of whole epochs.
    pub blocks: u64,
    /// Records recovered, gap records included.
    pub records: u64,
    /// The number of the first record; above 0 if older segments were removed.
    pub first_lsn: u64,
    /// The number that the next record will have.
    pub next_lsn: u64,
    /// Gap records of the policy `drop` among the recovered.
    pub gaps: u64,
    /// How many records the policy `drop` let go, by the gap records.
    pub dropped: u64,
    /// Gap records that stand for records which a salvage could not read.
    pub lost: u64,
    /// The tail that was left out, if there was one.
    pub torn: Option<TornTail>,
}

/// The end of a log that was cut off in the middle of its work. Nothing in it was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// The file.
    pub path: PathBuf,
    /// Where the first block is that doesn't count, in bytes.
    pub offset: u64,
    /// Why reading ended.
    pub fault: BlockFault,
    /// Sound blocks that were left out.
    pub dropped_blocks: u64,
    /// Records in them.
    pub dropped_records: u64,
}

/// Where a log goes on.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) end: End,
    /// Segments prepared and not used.
    pub(crate) spares: Vec<u32>,
    pub(crate) next_number: u32,
    /// Segments that hold the log's history, oldest first, and other files of segments.
    pub(crate) held: Vec<Held>,
    pub(crate) junk: Vec<(u32, u64)>,
    /// The youngest checkpoint covers all records below this number; 0 without one.
    pub(crate) checkpoint_lsn: u64,
}

/// Finds the end of the log and makes sure that what lies before it is durable.
///
/// Only what may not be durable yet is read: the blocks from the last durable mark on.
pub(crate) fn find_end(dir: &Path, storage: &dyn Storage) -> Result<Recovered, RecoverError> {
    let survey = Survey::of(dir, storage)?;
    let (spares, next_number) = (survey.spares(), survey.next_number());
    let (mut held, mut junk) = survey.files(&spares)?;
    let checkpoints = checkpoint::candidates(dir, storage)?;
    let durable_lsn = checkpoint::durable_by_checkpoints(&checkpoints)?;
    let mut start = survey.first_unproven();
    let end = loop {
        let Some(link) = survey.chain.get(start) else {
            let end = End {
                log_id: survey.log_id().unwrap_or_else(random),
                next_lsn: 0,
                epoch: 0,
                segment: 0,
                blocks: 0,
                crc: 0,
            };
            replay::reach(dir, &Report::default(), durable_lsn)?;
            break survey.check_lone_files().map(|()| end)?;
        };
        // An end of an epoch may lie in a segment before, unless there is none.
        let known = (start == 0).then(|| link.beginning());
        let mut verifier = Verifier::new(&survey, start, known);
        while verifier.step(&survey)?.is_some() {}
        match verifier.conclude(&survey)? {
            Some((end, torn)) => {
                let report = Report { next_lsn: end.next_lsn, torn, ..Report::default() };
                replay::reach(dir, &report, durable_lsn)?;
                break end;
            }
            None => start = start.saturating_sub(1),
        }
    };
    // A process may have died with blocks in the page cache that no sync has covered. Whoever
    // reads them now must not lose them later.
    for link in survey.chain.iter().skip(start) {
        link.file.sync().map_err(IoError::at("sync", &link.path, 0))?;
    }
    // What follows the log's end was torn off: no later segment will name it.
    let whole = held.iter().position(|held| held.number == end.segment).map_or(0, |at| at + 1);
    junk.extend(held.drain(whole..).map(|held| (held.number, held.bytes)));
    let checkpoint_lsn = checkpoints.first().map_or(0, |youngest| youngest.lsn);
    Ok(Recovered { end, spares, next_number, held, junk, checkpoint_lsn })
}
