//! What can be read of a damaged log: every sound block that belongs to its history, wherever it
//! lies, and the ranges of acknowledged records that lie in none.
//!
//! A segment's first record has a number that none before it may reach: by this rule, blocks that
//! an old torn tail left behind stay out, even where headers are lost. Costs 48 bytes of memory a
//! block of the log.

use crate::error::{IoError, RecoverError};
use crate::format::block::{self, BlockHeader, END_OF_EPOCH};
use crate::format::run::Runs;
use crate::format::segment::{Head, SegmentHeader, file_name, number_of};
use crate::format::{ALIGNMENT, LARGEST_BLOCK};
use crate::recover::Loss;
use crate::recover::replay::Base;
use crate::recover::window::Window;
use crate::storage::{File, Storage, read_full};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zerocopy::FromBytes;

/// A segment file, with or without its header.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) number: u32,
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn File>,
    header: Option<Box<SegmentHeader>>,
}

/// Where a sound block lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    /// The index of its file.
    pub(crate) source: usize,
    pub(crate) offset: u64,
    pub(crate) first_lsn: u64,
    pub(crate) records: u32,
    length: u32,
    index: u32,
    ends_epoch: bool,
}

impl Span {
    fn end_lsn(&self) -> u64 {
        self.first_lsn + u64::from(self.records)
    }

    fn end_offset(&self) -> u64 {
        self.offset + u64::from(self.length)
    }
}

/// What a salvage will keep and what is lost.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) sources: Vec<Source>,
    /// What is kept, in the order of the log.
    pub(crate) spans: Vec<Span>,
    /// What is lost, in the same order.
    pub(crate) losses: Vec<Loss>,
    /// The number of the log's first record.
    pub(crate) first_lsn: u64,
    /// No block of the log is larger, in bytes.
    pub(crate) block_bytes: usize,
    /// Above the numbers of all files.
    pub(crate) next_number: u32,
}

impl Plan {
    /// As much as a checkpoint says was durable is gone, if it isn't there: also where the log has
    /// nothing left that says so.
    pub(crate) fn reach(&mut self, dir: &Path, durable_lsn: u64) {
        let kept = self.spans.last().map_or(self.first_lsn, Span::end_lsn);
        let known = self.losses.last().map_or(kept, |loss| kept.max(loss.end_lsn));
        if known < durable_lsn {
            let path = self.sources.last().map_or_else(|| dir.to_owned(), |source| source.path.clone());
            self.losses.push(Loss { first_lsn: known, end_lsn: durable_lsn, path, offset: 0 });
        }
    }

    /// What lies between the checkpoint that is used and the log's beginning is gone; without one that
    /// can be, all that damaged ones held.
    pub(crate) fn cover(&mut self, base: &Base) {
        let (lsn, path, offset) = match (&base.candidate, base.bad.first()) {
            (Some(candidate), _) => (candidate.lsn, &candidate.path, 0),
            (None, Some(bad)) => (0, &bad.path, bad.offset),
            (None, None) => return,
        };
        if lsn < self.first_lsn {
            let loss = Loss { first_lsn: lsn, end_lsn: self.first_lsn, path: path.clone(), offset };
            self.losses.insert(0, loss);
            self.first_lsn = lsn;
        }
    }

    pub(crate) fn of(dir: &Path, storage: &dyn Storage) -> Result<Self, RecoverError> {
        let names = storage.list(dir).map_err(IoError::at("list", dir, 0))?;
        let mut numbers: Vec<u32> = names.iter().filter_map(|name| number_of(name)).collect();
        numbers.sort_unstable();
        let (mut sources, mut found, mut durable) = (Vec::new(), Vec::new(), 0);
        let mut block_bytes = 2 * ALIGNMENT;
        for number in &numbers {
            let path = dir.join(file_name(*number));
            let file = storage.open(&path).map_err(IoError::at("open", &path, 0))?;
            let (header, suspect) = read_header(&path, &*file, *number)?;
            let source = Source { number: *number, path, file, header };
            let blocks = sound_blocks(&source, &mut durable, &mut block_bytes)?;
            if let (Some(error), true) = (suspect, blocks.is_empty()) {
                return Err(error);
            }
            if let Some(header) = &source.header {
                durable = durable.max(header.durable_lsn.get());
                block_bytes = block_bytes.max(header.block_bytes.get() as usize);
            }
            sources.push(source);
            found.push(blocks);
        }
        check_identity(&sources)?;
        let next_number = numbers.last().map_or(1, |last| last + 1);
        let spans = history(&sources, found);
        let first_lsn = beginning(&sources, &spans);
        let mut plan = Self { sources, spans, losses: Vec::new(), first_lsn, block_bytes, next_number };
        plan.find_losses(dir, durable);
        Ok(plan)
    }

    /// How many records are kept.
    pub(crate) fn readable(&self) -> u64 {
        self.spans.iter().map(|span| u64::from(span.records)).sum()
    }

    /// Finds the holes, and cuts the tail that was never acknowledged.
    fn find_losses(&mut self, dir: &Path, durable: u64) {
        let (mut next, mut kept) = (self.first_lsn, Vec::with_capacity(self.spans.len()));
        // What is behind a hole that nobody was promised is a torn tail.
        for span in std::mem::take(&mut self.spans) {
            if span.first_lsn < next {
                continue;
            }
            if span.first_lsn > next {
                if next >= durable {
                    break;
                }
                self.losses.push(self.loss(dir, kept.last(), next, span.first_lsn));
            }
            next = span.end_lsn();
            kept.push(span);
        }
        // So is an epoch without its end.
        while let Some(last) = kept.last() {
            if last.ends_epoch || (last.first_lsn < durable && last.records > 0) {
                break;
            }
            next = last.first_lsn;
            kept.pop();
        }
        if next < durable {
            self.losses.push(self.loss(dir, kept.last(), next, durable));
        }
        self.spans = kept;
    }

    /// The loss behind `last`: in its file, unless that went on to the next one there.
    fn loss(&self, dir: &Path, last: Option<&Span>, first_lsn: u64, end_lsn: u64) -> Loss {
        let at = last.map_or(0, |last| last.source);
        let successor = self.sources.get(at + 1);
        let header = successor.and_then(|source| source.header.as_deref());
        let ended = last.zip(header).is_some_and(|(last, header)| {
            self.sources.get(at).is_some_and(|source| source.number == header.previous_number.get())
                && last.index.checked_add(1) == Some(header.previous_blocks.get())
        });
        let (path, offset) = match (last, successor) {
            (Some(_), Some(next)) if ended => (next.path.clone(), ALIGNMENT as u64),
            (Some(last), _) => (
                self.sources.get(at).map(|source| source.path.clone()).unwrap_or_default(),
                last.end_offset(),
            ),
            (None, _) => (
                self.sources.first().map_or_else(|| dir.to_owned(), |first| first.path.clone()),
                ALIGNMENT as u64,
            ),
        };
        Loss { first_lsn, end_lsn, path, offset }
    }
}

/// The header of a segment if it is sound; beside it, the error that the file is if there is no
/// block of ours in it.
fn read_header(
    path: &Path,
    file: &dyn File,
    number: u32,
) -> Result<(Option<Box<SegmentHeader>>, Option<RecoverError>), RecoverError> {
    let mut bytes = [0; ALIGNMENT];
    let length = read_full(file, &mut bytes, 0).map_err(IoError::at("read", path, 0))?;
    let path = || path.to_owned();
    match SegmentHeader::read(&bytes[..length]) {
        Head::Segment(header) if header.number.get() != number => {
            Err(RecoverError::Renamed { path: path(), found: header.number.get() })
        }
        Head::Segment(header) => Ok((Some(header).filter(|header| header.is_plausible()), None)),
        Head::Version(found) => {
            let whole = SegmentHeader::read_from_bytes(&bytes[..]).is_ok_and(|mut header| {
                let stored = header.crc.get();
                header.seal() == stored
            });
            let error = RecoverError::Version { path: path(), found };
            // With a sound checksum it is what it says.
            if whole { Err(error) } else { Ok((None, Some(error))) }
        }
        Head::Foreign => Ok((None, Some(RecoverError::Foreign { path: path() }))),
        Head::Spare | Head::Short | Head::Damaged => Ok((None, None)),
    }
}

fn check_identity(sources: &[Source]) -> Result<(), RecoverError> {
    let id = |source: &Source| source.header.as_ref().map(|header| header.log_id.get());
    let Some(expected) = sources.iter().rev().find_map(id) else { return Ok(()) };
    for source in sources {
        if let Some(found) = id(source).filter(|found| *found != expected) {
            return Err(RecoverError::Mixed { path: source.path.clone(), found, expected });
        }
    }
    Ok(())
}

/// All sound blocks of the file's present life, in the order of the file.
fn sound_blocks(
    source: &Source,
    durable: &mut u64,
    block_bytes: &mut usize,
) -> Result<Vec<(u64, Span)>, RecoverError> {
    let mut window = Window::default();
    let limit = source.header.as_ref().map_or(LARGEST_BLOCK, |header| header.block_bytes.get() as usize);
    let limit = limit.clamp(2 * ALIGNMENT, LARGEST_BLOCK);
    let length = source.file.length().map_err(IoError::at("length", &source.path, 0))?;
    let (mut offset, mut found) = (ALIGNMENT as u64, Vec::new());
    loop {
        offset = window.next_magic(source.number, &source.path, &*source.file, offset)?;
        if offset >= length {
            break;
        }
        let block = window.block_in(source.number, &source.path, &*source.file, limit, offset)?;
        let ours = block.ok().filter(|(header, bytes)| belongs(source, header, bytes));
        let Some((header, bytes)) = ours else {
            offset += ALIGNMENT as u64;
            continue;
        };
        *durable = (*durable).max(header.durable_lsn.get());
        *block_bytes = (*block_bytes).max(bytes.len());
        let span = Span {
            source: 0,
            offset,
            first_lsn: header.first_lsn.get(),
            records: header.records.get(),
            length: bytes.len() as u32,
            index: header.index.get(),
            ends_epoch: header.flags.get() & END_OF_EPOCH != 0,
        };
        found.push((header.salt.get(), span));
        offset += bytes.len() as u64;
    }
    // Without a header the youngest block tells which life is the present one.
    let youngest = found.iter().max_by_key(|(_, span)| span.end_lsn()).map(|(salt, _)| *salt);
    found.retain(|(salt, _)| Some(*salt) == youngest);
    Ok(found)
}

fn belongs(source: &Source, header: &BlockHeader, bytes: &[u8]) -> bool {
    let runs = Runs::new(block::payload(header, bytes), header.first_lsn.get());
    header.segment.get() == source.number
        && source.header.as_ref().is_none_or(|segment| segment.salt == header.salt)
        && runs.count_all() == Some(u64::from(header.records.get()))
}

/// The blocks that belong to the history, in its order.
fn history(sources: &[Source], found: Vec<Vec<(u64, Span)>>) -> Vec<Span> {
    let mut kept = Vec::new();
    let mut ceiling = u64::MAX;
    for (at, (source, blocks)) in sources.iter().zip(found).enumerate().rev() {
        let floor = source.header.as_ref().map(|header| header.first_lsn.get());
        let fits =
            |span: &Span| span.end_lsn() <= ceiling && floor.is_none_or(|floor| span.first_lsn >= floor);
        let fitting: Vec<_> =
            blocks.into_iter().map(|(_, span)| Span { source: at, ..span }).filter(fits).collect();
        let lowest = fitting.iter().map(|span| span.first_lsn).min();
        ceiling = ceiling.min(floor.or(lowest).unwrap_or(u64::MAX));
        kept.extend(fitting);
    }
    kept.sort_by_key(|span| (span.first_lsn, span.source, span.index));
    kept
}

/// The number of the log's first record: 0 where nothing says that older ones were removed.
fn beginning(sources: &[Source], spans: &[Span]) -> u64 {
    let Some((at, first)) = sources
        .iter()
        .enumerate()
        .find(|(at, source)| source.header.is_some() || spans.iter().any(|span| span.source == *at))
    else {
        return 0;
    };
    match &first.header {
        Some(header) => {
            let lost_before =
                sources[..at].iter().any(|source| source.number == header.previous_number.get());
            if lost_before { 0 } else { header.first_lsn.get() }
        }
        None => spans.first().filter(|span| span.index == 0).map_or(0, |span| span.first_lsn),
    }
}
