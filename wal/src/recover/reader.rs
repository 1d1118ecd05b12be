//! The reader that users hold: whole epochs, block by block, in bounded memory.

use super::Report;
use super::survey::Survey;
use super::verifier::{Found, Verifier};
use super::window::Window;
use crate::error::{IoError, RecoverError};
use crate::format::block;
use crate::format::run::{GAP, Record, Run, Runs};
use crate::storage::{OsStorage, Storage};
use std::collections::VecDeque;
use std::io;
use std::path::Path;

/// Reads a log from its first record to its last.
///
/// It changes nothing, so that it may be run again after whatever stopped it. Records of an epoch
/// are handed out only once the epoch's end was seen: two windows move over the files, one that
/// checks and one that hands out, of two blocks or 2 MiB each. Beyond them it holds 24 bytes a
/// block of the epoch at hand.
#[derive(Debug)]
pub struct Reader {
    survey: Survey,
    verifier: Verifier,
    window: Window,
    pending: VecDeque<Found>,
    /// How many of the pending belong to whole epochs.
    whole: usize,
    ended: bool,
    report: Report,
}

/// A sound block of a whole epoch.
#[derive(Debug, Clone)]
pub struct Block<'a> {
    /// The epoch of its records. Records of a smaller epoch may have caused them, those of a
    /// larger one can't.
    pub epoch: u64,
    /// When the writer sealed it, in nanoseconds since 1970.
    pub sealed_unix_ns: u64,
    runs: Runs<'a>,
}

impl<'a> Block<'a> {
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
        let survey = Survey::of(dir, storage)?;
        if survey.chain.is_empty() {
            survey.check_lone_files()?;
        }
        let beginning = survey.chain.first().map(super::survey::Link::beginning);
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
            verifier: Verifier::new(&survey, 0, beginning),
            survey,
            window: Window::default(),
            pending: VecDeque::new(),
            whole: 0,
            ended: false,
            report,
        })
    }

    /// The next block; `None` at the log's end.
    ///
    /// # Errors
    /// See [`RecoverError`]. What was handed out before [`RecoverError::Damaged`] is sound, and is
    /// what can be recovered.
    pub fn next_block(&mut self) -> Result<Option<Block<'_>>, RecoverError> {
        while self.whole == 0 {
            if self.ended {
                return Ok(None);
            }
            match self.verifier.step(&self.survey)? {
                Some(found) => {
                    self.pending.push_back(found);
                    if found.ends_epoch {
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
        }
        self.whole -= 1;
        let Some(found) = self.pending.pop_front() else { return Ok(None) };
        let Some(link) = self.survey.chain.get(found.at) else { return Ok(None) };
        let read = self.window.block(link, found.offset)?;
        let (header, bytes) = read.map_err(|fault| IoError {
            operation: "second reading",
            path: link.path.clone(),
            offset: found.offset,
            source: io::Error::other(fault),
        })?;
        let runs = Runs::new(block::payload(&header, bytes), header.first_lsn.get());
        for gap in runs.clone().filter(|run| run.kind == GAP) {
            self.report.gaps += u64::from(gap.count);
            let lost = gap.bytes.as_chunks::<8>().0.iter().map(|count| u64::from_le_bytes(*count));
            self.report.dropped += lost.sum::<u64>();
        }
        self.report.blocks += 1;
        self.report.records += u64::from(found.records);
        self.report.next_lsn = header.first_lsn.get() + u64::from(found.records);
        Ok(Some(Block { epoch: header.epoch.get(), sealed_unix_ns: header.sealed_unix_ns.get(), runs }))
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

    /// What was found so far.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }
}
