//! Goes through the history block by block and knows at each point where the last whole epoch
//! ended.

use super::feed::{Checked, Feed, WORTH_A_THREAD};
use super::survey::{Link, Survey};
use super::{TornTail, evidence};
use crate::error::RecoverError;
use crate::format::block::{self, CLOSED, END_OF_EPOCH, Place};
use crate::format::{ALIGNMENT, BlockFault};
use crate::writer::End;

/// A block that was found sound and in its place.
#[derive(Debug)]
pub(crate) struct Found {
    /// The segment's index in the history.
    pub(crate) at: usize,
    pub(crate) offset: u64,
    pub(crate) first_lsn: u64,
    pub(crate) records: u32,
    pub(crate) ends_epoch: bool,
    /// The block itself, as long as there is memory for it.
    pub(crate) held: Option<Checked>,
    /// Its checksum, by which it is known again.
    pub(crate) crc: u32,
}

#[derive(Debug)]
pub(crate) struct Verifier {
    at: usize,
    offset: u64,
    place: Place,
    feed: Feed,
    /// So many bytes are worth a thread that reads ahead.
    worth: u64,
    /// Where the last whole epoch ended, if one did.
    complete: Option<End>,
    /// Blocks and records since, and where the first of them is.
    open: (u64, u64),
    open_at: Option<(usize, u64)>,
    fault: BlockFault,
    /// The last block says that the log was closed after it.
    closed: bool,
}

impl Verifier {
    /// Begins at a segment; `known` if an epoch is known to have ended before it.
    pub(crate) fn new(survey: &Survey, start: usize, known: Option<End>) -> Self {
        Self::reading(survey, start, known, WORTH_A_THREAD)
    }

    /// As [`Self::new`], with a thread that reads ahead where there are `worth` bytes.
    pub(crate) fn reading(survey: &Survey, start: usize, known: Option<End>, worth: u64) -> Self {
        let nowhere = Place { segment: 0, salt: 0, index: 0, first_lsn: 0, previous_crc: 0 };
        Self {
            at: start,
            offset: ALIGNMENT as u64,
            place: survey.chain.get(start).map_or(nowhere, Link::first_place),
            feed: Feed::new(survey, start, ALIGNMENT as u64, 0, worth),
            worth,
            complete: known,
            open: (0, 0),
            open_at: None,
            fault: BlockFault::Empty,
            closed: false,
        }
    }

    /// The index of the segment at hand in the history.
    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    /// Whether the last block says that nothing follows it.
    pub(crate) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Why the last step found no block.
    pub(crate) const fn fault(&self) -> BlockFault {
        self.fault
    }

    /// Goes on where it ended, with files that may have grown; the segment at hand now is `at`.
    pub(crate) fn resume(&mut self, survey: &Survey, at: usize) {
        if let Some(open) = &mut self.open_at {
            open.0 = (open.0 + at).saturating_sub(self.at);
        }
        self.at = at;
        self.fault = BlockFault::Empty;
        self.feed = Feed::new(survey, at, self.offset, self.place.index, self.worth);
    }

    /// The next sound block; `None` where the history ends or breaks.
    pub(crate) fn step(&mut self, survey: &Survey) -> Result<Option<Found>, RecoverError> {
        let Some(mut link) = survey.chain.get(self.at) else { return Ok(None) };
        while let Some(next) = survey.chain.get(self.at + 1) {
            if next.header.previous_blocks.get() != self.place.index {
                break;
            }
            let same_end = next.header.previous_crc.get() == self.place.previous_crc
                && next.header.first_lsn.get() == self.place.first_lsn;
            if !same_end {
                self.fault = BlockFault::Sequence { found: 0, expected: self.place.index };
                return Ok(None);
            }
            self.at += 1;
            self.closed = false;
            self.offset = ALIGNMENT as u64;
            self.place = next.first_place();
            link = next;
        }
        let checked = self.feed.next()?.and_then(|checked| {
            block::check_place(&checked.header, checked.bytes(), &self.place).map(|()| checked)
        });
        let checked = match checked {
            Ok(checked) => checked,
            Err(fault) => {
                self.fault = fault;
                return Ok(None);
            }
        };
        let header = checked.header;
        let ends_epoch = header.flags.get() & END_OF_EPOCH != 0;
        let (at, offset, records) = (self.at, self.offset, header.records.get());
        let length = checked.bytes().len();
        let crc = header.crc.get();
        let first_lsn = header.first_lsn.get();
        let found = Found { at, offset, first_lsn, records, ends_epoch, held: Some(checked), crc };
        self.closed = header.flags.get() & CLOSED != 0;
        self.offset += length as u64;
        self.place.index += 1;
        self.place.first_lsn += u64::from(found.records);
        self.place.previous_crc = header.crc.get();
        if ends_epoch {
            self.open = (0, 0);
            self.open_at = None;
            self.complete = Some(End {
                log_id: link.header.log_id.get(),
                next_lsn: self.place.first_lsn,
                epoch: header.epoch.get(),
                segment: self.place.segment,
                blocks: self.place.index,
                crc: self.place.previous_crc,
            });
        } else {
            self.open = (self.open.0 + 1, self.open.1 + u64::from(found.records));
            self.open_at.get_or_insert((found.at, found.offset));
        }
        Ok(Some(found))
    }

    /// After the last step: where the log ends and what was left out; `None` if no end of an epoch
    /// was seen.
    pub(crate) fn conclude(&self, survey: &Survey) -> Result<Option<(End, Option<TornTail>)>, RecoverError> {
        let (Some(end), Some(link)) = (self.complete, survey.chain.get(self.at)) else { return Ok(None) };
        let behind = evidence::behind(survey, self.at, self.offset, self.closed)?;
        if behind.durable_lsn > end.next_lsn {
            if let Some(path) = &survey.lost {
                return Err(RecoverError::DamagedHeader { path: path.clone() });
            }
            return Err(RecoverError::Damaged {
                path: link.path.clone(),
                offset: self.offset,
                fault: self.fault,
                recovered_to: end.next_lsn,
                durable_to: behind.durable_lsn,
            });
        }
        // Behind the close lies nothing of this life, whatever a recycled file held before.
        let clean = (self.closed || self.fault == BlockFault::Empty) && behind.blocks == 0;
        if clean && self.open_at.is_none() {
            return Ok(Some((end, None)));
        }
        let fault = if clean { BlockFault::OpenEpoch } else { self.fault };
        let (at, offset) = self.open_at.unwrap_or((self.at, self.offset));
        let path = survey.chain.get(at).map_or_else(|| link.path.clone(), |link| link.path.clone());
        let torn = TornTail {
            path,
            offset,
            fault,
            dropped_blocks: self.open.0 + behind.blocks,
            dropped_records: self.open.1 + behind.records,
        };
        Ok(Some((end, Some(torn))))
    }
}
