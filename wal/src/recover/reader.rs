//! The reader that users hold: whole epochs, block by block, in bounded memory.

use super::Report;
use super::feed::Checked;
use super::survey::{Link, Survey};
use super::verifier::{Found, Verifier};
use super::window::Window;
use crate::error::{IoError, RecoverError};
use crate::format::BlockFault;
use crate::format::block::{self, BlockHeader, CLOSED};
use crate::format::run::{GAP, Record, Run, Runs};
use crate::storage::{OsStorage, Storage};
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

/// Reads a log from its first record to its last.
///
/// It changes nothing, so that it may be run again after whatever stopped it. Records of an epoch
/// are handed out only once the epoch's end was seen. Until then up to 8 MiB of its blocks stay in
/// memory; those of a longer epoch are read and checked a second time, and cost 200 bytes a block
/// meanwhile. Beside them there are up to five reads of 1 MiB, or of a block if that is longer: a
/// large log is read and checked ahead by a thread of its own.
#[derive(Debug)]
pub struct Reader {
    dir: PathBuf,
    survey: Survey,
    verifier: Verifier,
    window: Window,
    pending: VecDeque<Found>,
    /// How many of the pending belong to whole epochs.
    whole: usize,
    /// Bytes of the pending blocks in memory.
    held: usize,
    /// The block that was handed out last.
    current: Option<Checked>,
    ended: bool,
    /// Blocks of smaller records are left out.
    from: u64,
    report: Report,
}

/// So much of an epoch whose end isn't known yet stays in memory, in bytes.
const HOLD_BYTES: usize = 8 << 20;

/// The block, if it still is the one that was checked before.
fn same(crc: u32, header: BlockHeader, bytes: &[u8]) -> Result<(BlockHeader, &[u8]), BlockFault> {
    if header.crc.get() == crc { Ok((header, bytes)) } else { Err(BlockFault::Stale) }
}

/// The segment in which record `lsn` is: all before it hold smaller ones only.
pub(crate) fn starts_at(chain: &[Link], lsn: u64) -> usize {
    chain.iter().rposition(|link| link.header.first_lsn.get() <= lsn).unwrap_or(0)
}

/// A sound block of a whole epoch.
#[derive(Debug, Clone)]
pub struct Block<'a> {
    /// The epoch of its records. Records of a smaller epoch may have caused them, those of a
    /// larger one can't.
    pub epoch: u64,
    /// When the writer sealed it, in nanoseconds since 1970.
    pub sealed_unix_ns: u64,
    /// The number of its first record.
    pub first_lsn: u64,
    /// How many records it has. May be 0: such a block ends an epoch.
    pub records: u32,
    /// The number of its segment.
    pub segment: u32,
    /// Where in the segment it lies, in bytes.
    pub offset: u64,
    /// Its length on disk, in bytes.
    pub length: usize,
    /// Whether the log was closed after it.
    pub closed: bool,
    runs: Runs<'a>,
}

impl<'a> Block<'a> {
    /// A block that was checked, and is the one that belongs at `offset`.
    pub(super) fn of(header: &BlockHeader, bytes: &'a [u8], offset: u64) -> Self {
        Self {
            epoch: header.epoch.get(),
            sealed_unix_ns: header.sealed_unix_ns.get(),
            first_lsn: header.first_lsn.get(),
            records: header.records.get(),
            segment: header.segment.get(),
            offset,
            length: bytes.len(),
            closed: header.flags.get() & CLOSED != 0,
            runs: Runs::new(block::payload(header, bytes), header.first_lsn.get()),
        }
    }

    /// Its runs, in the order of the log.
    pub fn runs(&self) -> impl Iterator<Item = Run<'a>> + use<'a> {
        self.runs.clone()
    }

    /// Its records, in the order of the log.
    pub fn records(&self) -> impl Iterator<Item = Record<'a>> + use<'a> {
        self.runs.clone().flat_map(Run::records)
    }
}

impl Reader {
    /// Opens the log in a directory for reading.
    ///
    /// # Errors
    /// See [`RecoverError`].
    pub fn open(dir: &Path) -> Result<Self, RecoverError> {
        Self::open_in(dir, &OsStorage::CACHED)
    }

    pub(crate) fn open_in(dir: &Path, storage: &dyn Storage) -> Result<Self, RecoverError> {
        Self::begin(dir, storage, |_| 0)
    }

    /// As [`Self::open`], but hands out no record below `lsn`, at which an epoch began.
    ///
    /// More than a convenience for who has a checkpoint: a segment may begin in the middle of an
    /// epoch, and what it holds of that, without the half before it, could bring back what was
    /// deleted.
    pub(crate) fn open_from_in(dir: &Path, storage: &dyn Storage, lsn: u64) -> Result<Self, RecoverError> {
        let mut reader = Self::begin(dir, storage, |chain| starts_at(chain, lsn))?;
        reader.from = lsn;
        reader.report.first_lsn = reader.report.first_lsn.max(lsn);
        Ok(reader)
    }

    /// As [`Self::open`], but begins with the segment that holds record `lsn`: at most a segment's
    /// worth of earlier records comes first.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_at(dir: &Path, lsn: u64) -> Result<Self, RecoverError> {
        Self::begin(dir, &OsStorage::CACHED, |chain| starts_at(chain, lsn))
    }

    /// As [`Self::open`], but leaves out segments whose successor was begun before `unix_ns`, in
    /// nanoseconds since 1970.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_since(dir: &Path, unix_ns: u64) -> Result<Self, RecoverError> {
        Self::begin(dir, &OsStorage::CACHED, |chain| {
            chain.iter().rposition(|link| link.header.created_unix_ns.get() < unix_ns).unwrap_or(0)
        })
    }

    fn begin(
        dir: &Path,
        storage: &dyn Storage,
        start: impl FnOnce(&[Link]) -> usize,
    ) -> Result<Self, RecoverError> {
        let survey = Survey::of(dir, storage)?;
        if survey.chain.is_empty() {
            survey.check_lone_files()?;
        }
        let start = start(&survey.chain);
        let beginning = survey.chain.get(start).map(Link::beginning);
        let first_lsn = beginning.map_or(0, |end| end.next_lsn);
        let report = Report {
            segments: survey.chain.len() as u64,
            abandoned_segments: survey.abandoned.len() as u64,
            first_lsn,
            next_lsn: first_lsn,
            torn: survey.cut_header(),
            ..Report::default()
        };
        Ok(Self {
            dir: dir.to_owned(),
            verifier: Verifier::new(&survey, start, beginning),
            survey,
            window: Window::default(),
            pending: VecDeque::new(),
            whole: 0,
            held: 0,
            current: None,
            ended: false,
            from: 0,
            report,
        })
    }

    /// After the end: looks again, so that [`Self::next_block`] hands out what a writer has added
    /// since. For a log in use: there an end in the middle of a block, even one that looks like
    /// damage, may only mean that the writer is at work. What is handed out may not be durable yet.
    ///
    /// # Errors
    /// As [`Self::open`]; [`RecoverError::Overtaken`] if the segment at hand was removed.
    pub fn look_again(&mut self) -> Result<(), RecoverError> {
        self.look_again_in(&OsStorage::CACHED)
    }

    pub(crate) fn look_again_in(&mut self, storage: &dyn Storage) -> Result<(), RecoverError> {
        if !self.ended {
            return Ok(());
        }
        let Some(number) = self.survey.chain.get(self.verifier.at()).map(Link::number) else {
            *self = Self::open_in(&self.dir.clone(), storage)?;
            return Ok(());
        };
        let survey = Survey::of(&self.dir, storage)?;
        let Some(at) = survey.chain.iter().position(|link| link.number() == number) else {
            return Err(RecoverError::Overtaken { dir: self.dir.clone(), number });
        };
        // Blocks that wait for their epoch's end may lie in the segment before.
        let shift = |old: usize| (at + old).checked_sub(self.verifier.at());
        let shifted: Option<Vec<usize>> = self.pending.iter().map(|found| shift(found.at)).collect();
        let Some(shifted) = shifted else {
            return Err(RecoverError::Overtaken { dir: self.dir.clone(), number });
        };
        self.pending.iter_mut().zip(shifted).for_each(|(found, at)| found.at = at);
        self.verifier.resume(&survey, at);
        self.report.segments = survey.chain.len() as u64;
        self.report.torn = None;
        self.survey = survey;
        self.ended = false;
        Ok(())
    }

    /// The next block; `None` at the log's end.
    ///
    /// # Errors
    /// See [`RecoverError`]. What was handed out before [`RecoverError::Damaged`] is sound, and is
    /// what can be recovered.
    pub fn next_block(&mut self) -> Result<Option<Block<'_>>, RecoverError> {
        let found = loop {
            if self.whole > 0 {
                self.whole -= 1;
                let Some(found) = self.pending.pop_front() else { return Ok(None) };
                if found.first_lsn >= self.from {
                    break found;
                }
                self.held -= found.held.as_ref().map_or(0, |held| held.bytes().len());
                self.report.next_lsn = found.first_lsn + u64::from(found.records);
                continue;
            }
            if self.ended {
                return Ok(None);
            }
            match self.verifier.step(&self.survey)? {
                Some(mut found) => {
                    let bytes = found.held.as_ref().map_or(0, |held| held.bytes().len());
                    if self.held + bytes > HOLD_BYTES {
                        found.held = None;
                    } else {
                        self.held += bytes;
                    }
                    let ends_epoch = found.ends_epoch;
                    self.pending.push_back(found);
                    if ends_epoch {
                        self.whole = self.pending.len();
                    }
                }
                None => {
                    self.ended = true;
                    if let Some((_, torn)) = self.verifier.conclude(&self.survey)? {
                        self.report.torn = torn;
                    }
                }
            }
        };
        self.current = found.held;
        let (header, bytes) = match &self.current {
            Some(held) => {
                self.held -= held.bytes().len();
                (held.header, held.bytes())
            }
            None => {
                let Some(link) = self.survey.chain.get(found.at) else { return Ok(None) };
                let again = self.window.block(link, found.offset)?;
                again.and_then(|(header, bytes)| same(found.crc, header, bytes)).map_err(|fault| IoError {
                    operation: "second reading",
                    path: link.path.clone(),
                    offset: found.offset,
                    source: io::Error::other(fault),
                })?
            }
        };
        let block = Block::of(&header, bytes, found.offset);
        for gap in block.runs().filter(|run| run.kind == GAP) {
            if gap.record_len == 0 {
                self.report.lost += u64::from(gap.count);
                continue;
            }
            self.report.gaps += u64::from(gap.count);
            let lost = gap.bytes.as_chunks::<8>().0.iter().map(|count| u64::from_le_bytes(*count));
            self.report.dropped = lost.fold(self.report.dropped, u64::saturating_add);
        }
        self.report.blocks += 1;
        self.report.records += u64::from(block.records);
        self.report.next_lsn = block.first_lsn + u64::from(block.records);
        Ok(Some(block))
    }

    /// Hands out all that is left, run by run, and reports. The quick way to replay.
    ///
    /// # Errors
    /// As [`Self::next_block`].
    pub fn for_each_run(mut self, mut visit: impl FnMut(Run<'_>)) -> Result<Report, RecoverError> {
        while let Some(block) = self.next_block()? {
            block.runs().for_each(&mut visit);
        }
        Ok(self.report)
    }

    /// Waits until the device has all files of the history.
    pub(crate) fn sync(&self) -> Result<(), IoError> {
        self.survey
            .chain
            .iter()
            .try_for_each(|link| link.file.sync().map_err(IoError::at("sync", &link.path, 0)))
    }

    /// What was found so far.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }
}
