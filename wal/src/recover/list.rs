//! The files of a log, by their headers alone. It judges none of them.

use super::survey::{Link, Survey};
use crate::error::IoError;
use crate::format::ALIGNMENT;
use crate::format::segment::{Head, SegmentHeader, number_of};
use crate::storage::{OsStorage, Storage, read_full};
use std::path::{Path, PathBuf};

/// What a segment file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SegmentState {
    /// It belongs to the log's history.
    Used,
    /// A torn tail left it behind, or the history can't be told: see [`super::verify`].
    Outside,
    /// Prepared, and not used yet.
    Spare,
    /// Shorter than a header.
    Short,
    /// Its header is damaged.
    Damaged,
    /// Another program's file.
    Foreign,
    /// Of a format version that this program doesn't know.
    Version(u32),
}

/// A segment file of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its number, by its name.
    pub number: u32,
    /// Where it is.
    pub path: PathBuf,
    /// Its length in bytes.
    pub bytes: u64,
    /// What it is.
    pub state: SegmentState,
    /// The log it belongs to. This and what follows is 0 without a sound header.
    pub log_id: u64,
    /// The number of its first record.
    pub first_lsn: u64,
    /// When it was begun, in nanoseconds since 1970.
    pub created_unix_ns: u64,
    /// No block in it is longer, in bytes.
    pub block_bytes: u32,
    /// The segment before it; 0 for the first.
    pub previous: u32,
}

/// The segment files in a directory, in the order of their numbers.
///
/// # Errors
/// [`IoError`], if the directory or a file can't be read.
pub fn list(dir: &Path) -> Result<Vec<SegmentInfo>, IoError> {
    let storage = OsStorage::CACHED;
    let chain: Vec<u32> = Survey::of(dir, &storage)
        .map(|survey| survey.chain.iter().map(Link::number).collect())
        .unwrap_or_default();
    let mut infos = Vec::new();
    for name in storage.list(dir).map_err(IoError::at("list", dir, 0))? {
        let Some(number) = number_of(&name) else { continue };
        let path = dir.join(&name);
        let file = storage.open(&path).map_err(IoError::at("open", &path, 0))?;
        let bytes = file.length().map_err(IoError::at("length", &path, 0))?;
        let mut head = [0; ALIGNMENT];
        let read = read_full(&*file, &mut head, 0).map_err(IoError::at("read", &path, 0))?;
        let head = SegmentHeader::read(&head[..read]);
        let state = match &head {
            Head::Segment(_) if chain.contains(&number) => SegmentState::Used,
            Head::Segment(_) => SegmentState::Outside,
            Head::Spare => SegmentState::Spare,
            Head::Short => SegmentState::Short,
            Head::Damaged => SegmentState::Damaged,
            Head::Foreign => SegmentState::Foreign,
            Head::Version(version) => SegmentState::Version(*version),
        };
        let header = if let Head::Segment(header) = head { Some(header) } else { None };
        infos.push(SegmentInfo {
            number,
            path,
            bytes,
            state,
            log_id: header.as_ref().map_or(0, |header| header.log_id.get()),
            first_lsn: header.as_ref().map_or(0, |header| header.first_lsn.get()),
            created_unix_ns: header.as_ref().map_or(0, |header| header.created_unix_ns.get()),
            block_bytes: header.as_ref().map_or(0, |header| header.block_bytes.get()),
            previous: header.as_ref().map_or(0, |header| header.previous_number.get()),
        });
    }
    infos.sort_unstable_by_key(|info| info.number);
    Ok(infos)
}
