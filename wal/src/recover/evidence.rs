//! What lies behind a break: sound blocks, and the durable marks they carry.
//!
//! A mark beyond the break proves that acknowledged records are gone.

use super::survey::{Link, Survey};
use super::window::Window;
use crate::error::{IoError, RecoverError};
use crate::format::{ALIGNMENT, LARGEST_BLOCK};
use crate::storage::File;
use std::path::Path;

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Evidence {
    /// Records below this number were durable when something behind the break was written.
    pub(crate) durable_lsn: u64,
    pub(crate) blocks: u64,
    pub(crate) records: u64,
}

/// One file to search.
struct Place<'a> {
    number: u32,
    path: &'a Path,
    file: &'a dyn File,
    block_bytes: usize,
    /// The salt of the file's present life, if its header tells.
    salt: Option<u64>,
}

impl<'a> Place<'a> {
    fn of(link: &'a Link) -> Self {
        Self {
            number: link.number(),
            path: &link.path,
            file: &*link.file,
            block_bytes: link.block_bytes(),
            salt: Some(link.header.salt.get()),
        }
    }
}

impl Evidence {
    fn search_whole(&mut self, link: &Link) -> Result<(), IoError> {
        self.durable_lsn = self.durable_lsn.max(link.header.durable_lsn.get());
        self.search(&Place::of(link), ALIGNMENT as u64)
    }

    fn search(&mut self, place: &Place<'_>, from: u64) -> Result<(), IoError> {
        let length = place.file.length().map_err(IoError::at("length", place.path, 0))?;
        let mut window = Window::default();
        let mut offset = from.next_multiple_of(ALIGNMENT as u64);
        loop {
            offset = window.next_magic(place.number, place.path, place.file, offset)?;
            if offset >= length {
                break;
            }
            let found = window.block_in(place.number, place.path, place.file, place.block_bytes, offset)?;
            let ours = found.ok().filter(|(header, _)| {
                header.segment.get() == place.number
                    && place.salt.is_none_or(|salt| salt == header.salt.get())
            });
            offset += match ours {
                Some((header, bytes)) => {
                    self.durable_lsn = self.durable_lsn.max(header.durable_lsn.get());
                    self.blocks += 1;
                    self.records += u64::from(header.records.get());
                    bytes.len() as u64
                }
                None => ALIGNMENT as u64,
            };
        }
        Ok(())
    }
}

/// Searches what is behind `offset` of segment `at` of the history, and all later files.
///
/// `closed` says that the log was closed right there: then nothing of the segment's present life
/// can follow in it.
pub(crate) fn behind(
    survey: &Survey,
    at: usize,
    offset: u64,
    closed: bool,
) -> Result<Evidence, RecoverError> {
    let mut evidence = Evidence::default();
    let Some(broken) = survey.chain.get(at) else { return Ok(evidence) };
    if !closed {
        evidence.search(&Place::of(broken), offset)?;
    }
    let later = survey.chain.iter().skip(at + 1);
    let abandoned = survey.abandoned.iter().filter(|link| link.number() > broken.number());
    for link in later.chain(abandoned) {
        evidence.search_whole(link)?;
    }
    let lone = in_headless(survey, broken.number())?;
    evidence.durable_lsn = evidence.durable_lsn.max(lone.durable_lsn);
    evidence.blocks += lone.blocks;
    evidence.records += lone.records;
    Ok(evidence)
}

/// Searches all files, where there is no segment that a history could begin with.
pub(crate) fn without_history(survey: &Survey) -> Result<Evidence, RecoverError> {
    let mut evidence = in_headless(survey, 0)?;
    for link in &survey.abandoned {
        evidence.search_whole(link)?;
    }
    Ok(evidence)
}

/// Searches the files without a header whose number is above `number`. One that was never used is
/// passed over after its first block.
pub(crate) fn in_headless(survey: &Survey, number: u32) -> Result<Evidence, RecoverError> {
    let mut evidence = Evidence::default();
    for lost in survey.headless.iter().filter(|lost| lost.number > number) {
        let mut first = [0; ALIGNMENT];
        let read = crate::storage::read_full(&*lost.file, &mut first, ALIGNMENT as u64);
        let read = read.map_err(IoError::at("read", &lost.path, ALIGNMENT as u64))?;
        if first[..read].iter().all(|byte| *byte == 0) {
            continue;
        }
        let place = Place {
            number: lost.number,
            path: &lost.path,
            file: &*lost.file,
            // Without a header nobody knows.
            block_bytes: LARGEST_BLOCK,
            salt: None,
        };
        evidence.search(&place, ALIGNMENT as u64)?;
    }
    Ok(evidence)
}
