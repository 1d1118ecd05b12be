//! A view of a segment that moves forward: big reads, one buffer.

use super::survey::Link;
use crate::error::IoError;
use crate::format::block::{self, BlockHeader};
use crate::format::{ALIGNMENT, BlockFault, padded};
use crate::storage::{File, read_full};
use std::path::Path;

/// As much is read at once, in bytes; more only if a block is larger.
const READ_BYTES: usize = 2 << 20;

#[derive(Debug, Default)]
pub(crate) struct Window {
    buffer: Vec<u8>,
    segment: u32,
    start: u64,
    length: usize,
}

impl Window {
    /// The `wanted` bytes at `offset`; fewer if the file ends before.
    fn bytes(
        &mut self,
        segment: u32,
        path: &Path,
        file: &dyn File,
        offset: u64,
        wanted: usize,
    ) -> Result<&[u8], IoError> {
        let inside = self.segment == segment && offset >= self.start;
        let skipped = offset.saturating_sub(self.start);
        if !inside || skipped + wanted as u64 > self.length as u64 {
            let length = file.length().map_err(IoError::at("length", path, offset))?;
            let rest = usize::try_from(length.saturating_sub(offset)).unwrap_or(usize::MAX);
            self.buffer.resize(wanted.max(READ_BYTES).min(rest), 0);
            self.length =
                read_full(file, &mut self.buffer, offset).map_err(IoError::at("read", path, offset))?;
            self.segment = segment;
            self.start = offset;
        }
        let from = (offset - self.start) as usize;
        let to = self.length.min(from + wanted);
        Ok(self.buffer.get(from..to).unwrap_or_default())
    }

    /// The first place from `offset` on, in steps of [`ALIGNMENT`], where a block may begin; the end
    /// of the file if there is none.
    pub(crate) fn next_magic(
        &mut self,
        segment: u32,
        path: &Path,
        file: &dyn File,
        mut offset: u64,
    ) -> Result<u64, IoError> {
        loop {
            let bytes = self.bytes(segment, path, file, offset, ALIGNMENT)?;
            if bytes.is_empty() {
                return Ok(offset);
            }
            let rest = self.buffer.get((offset - self.start) as usize..self.length).unwrap_or_default();
            let pages = rest.chunks(ALIGNMENT);
            let steps = pages.take_while(|page| !block::may_begin(page)).count();
            if steps * ALIGNMENT < rest.len() {
                return Ok(offset + (steps * ALIGNMENT) as u64);
            }
            offset += (steps * ALIGNMENT) as u64;
        }
    }

    /// The whole block at `offset`, wherever it belongs.
    pub(crate) fn block(
        &mut self,
        link: &Link,
        offset: u64,
    ) -> Result<Result<(BlockHeader, &[u8]), BlockFault>, IoError> {
        self.block_in(link.number(), &link.path, &*link.file, link.block_bytes(), offset)
    }

    pub(crate) fn block_in(
        &mut self,
        segment: u32,
        path: &Path,
        file: &dyn File,
        block_bytes: usize,
        offset: u64,
    ) -> Result<Result<(BlockHeader, &[u8]), BlockFault>, IoError> {
        let head = self.bytes(segment, path, file, offset, ALIGNMENT)?;
        if head.is_empty() {
            return Ok(Err(BlockFault::Empty));
        }
        let (header, length) = match block::length_on_disk(head, block_bytes) {
            Ok(found) => found,
            Err(fault) => return Ok(Err(fault)),
        };
        debug_assert!(length <= padded(block_bytes));
        let bytes = self.bytes(segment, path, file, offset, length)?;
        if bytes.len() < length {
            return Ok(Err(BlockFault::Truncated));
        }
        Ok(block::check_whole(bytes).map(|()| (header, bytes)))
    }
}
