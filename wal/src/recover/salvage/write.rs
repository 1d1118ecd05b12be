//! The new log of a salvage: the blocks that can be read, and gap records where some are gone.

use super::plan::{Plan, Source, Span};
use super::{SalvageError, Work};
use crate::error::{IoError, RecoverError};
use crate::format::block::{self, BLOCK_HEADER_BYTES, CLOSED, END_OF_EPOCH, Place, Seal};
use crate::format::run::{GAP, RunHeader};
use crate::format::segment::{SegmentHeader, file_name};
use crate::format::{ALIGNMENT, padded};
use crate::recover::window::Window;
use crate::writer::{End, random};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U32, U64};

/// Unless a block needs more, in bytes.
const SEGMENT_BYTES: u64 = 64 << 20;
/// So many gap records are told by one block at most.
const GAPS_AT_ONCE: u64 = 1 << 31;

/// Writes the log and returns its id and the number of its next record.
pub(super) fn log(plan: &Plan, into: &Path, work: &mut Work<'_>) -> Result<(u64, u64), SalvageError> {
    let block_bytes = padded(plan.block_bytes);
    let mut fresh = Fresh {
        dir: into.to_owned(),
        log_id: random(),
        block_bytes,
        segment_bytes: SEGMENT_BYTES.max((2 * ALIGNMENT + block_bytes) as u64),
        next_number: plan.next_number,
        epoch: 0,
        end: End { log_id: 0, next_lsn: plan.first_lsn, epoch: 0, segment: 0, blocks: 0, crc: 0 },
        open: None,
        buffer: vec![0; block_bytes],
    };
    let mut losses = plan.losses.iter().peekable();
    let mut window = Window::default();
    for span in &plan.spans {
        while losses.next_if(|loss| loss.end_lsn <= span.first_lsn).is_some() {
            fresh.gap(span.first_lsn, work)?;
        }
        let Some(source) = plan.sources.get(span.source) else { continue };
        fresh.copy(source, span, &mut window, work)?;
    }
    for loss in losses {
        fresh.gap(loss.end_lsn, work)?;
    }
    // Says that all before it is durable, so all before it has to be.
    fresh.sync(work)?;
    let durable = fresh.end.next_lsn;
    fresh.block(0, 0, fresh.epoch + 1, END_OF_EPOCH | CLOSED, durable, unix_ns(), work)?;
    fresh.sync(work)?;
    Ok((fresh.log_id, durable))
}

fn unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

struct Open {
    path: PathBuf,
    file: fs::File,
    salt: u64,
    used: u64,
}

struct Fresh {
    dir: PathBuf,
    log_id: u64,
    block_bytes: usize,
    segment_bytes: u64,
    next_number: u32,
    epoch: u64,
    end: End,
    open: Option<Open>,
    buffer: Vec<u8>,
}

impl Fresh {
    /// Takes over a block, with a place of its own in the new log.
    fn copy(
        &mut self,
        source: &Source,
        span: &Span,
        window: &mut Window,
        work: &mut Work<'_>,
    ) -> Result<(), SalvageError> {
        let read =
            window.block_in(source.number, &source.path, &*source.file, self.block_bytes, span.offset)?;
        let (header, bytes) = read.map_err(|fault| RecoverError::Damaged {
            path: source.path.clone(),
            offset: span.offset,
            fault,
            recovered_to: span.first_lsn,
            durable_to: span.first_lsn,
        })?;
        let payload = block::payload(&header, bytes);
        self.buffer[BLOCK_HEADER_BYTES..BLOCK_HEADER_BYTES + payload.len()].copy_from_slice(payload);
        self.epoch = self.epoch.max(header.epoch.get());
        let flags = header.flags.get() & END_OF_EPOCH;
        let sealed = header.sealed_unix_ns.get();
        self.block(payload.len(), header.records.get(), self.epoch, flags, 0, sealed, work)
    }

    /// Gap records without a payload up to `end_lsn`.
    fn gap(&mut self, end_lsn: u64, work: &mut Work<'_>) -> Result<(), SalvageError> {
        while self.end.next_lsn < end_lsn {
            let count = (end_lsn - self.end.next_lsn).min(GAPS_AT_ONCE) as u32;
            let run = RunHeader::new(GAP, 0, count);
            let payload = run.as_bytes();
            self.buffer[BLOCK_HEADER_BYTES..BLOCK_HEADER_BYTES + payload.len()].copy_from_slice(payload);
            self.block(payload.len(), count, self.epoch, END_OF_EPOCH, 0, unix_ns(), work)?;
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "what a block's header holds")]
    fn block(
        &mut self,
        payload_len: usize,
        records: u32,
        epoch: u64,
        flags: u32,
        durable_lsn: u64,
        sealed_unix_ns: u64,
        work: &mut Work<'_>,
    ) -> Result<(), SalvageError> {
        let length = padded(BLOCK_HEADER_BYTES + payload_len) as u64;
        let full = |open: &Open| open.used + length > self.segment_bytes;
        if self.open.as_ref().is_none_or(full) {
            self.sync(work)?;
            self.begin(work)?;
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        let place = Place {
            segment: self.end.segment,
            salt: open.salt,
            index: self.end.blocks,
            first_lsn: self.end.next_lsn,
            previous_crc: self.end.crc,
        };
        let seal = Seal { place, epoch, durable_lsn, flags, sealed_unix_ns };
        let (crc, length) = block::seal(&mut self.buffer, payload_len, records, &seal);
        let (buffer, offset) = (&self.buffer, open.used);
        work.step("write", &open.path, || open.file.write_all_at(&buffer[..length], offset))?;
        open.used += length as u64;
        self.end.blocks += 1;
        self.end.crc = crc;
        self.end.next_lsn += u64::from(records);
        Ok(())
    }

    fn begin(&mut self, work: &mut Work<'_>) -> Result<(), IoError> {
        let number = self.next_number;
        self.next_number += 1;
        let salt = random();
        let mut header = SegmentHeader::blank();
        header.log_id = U64::new(self.log_id);
        header.salt = U64::new(salt);
        header.number = U32::new(number);
        header.block_bytes = U32::new(self.block_bytes as u32);
        header.first_lsn = U64::new(self.end.next_lsn);
        header.first_epoch = U64::new(self.epoch);
        // What is in the segments before was synced before this one is begun.
        header.durable_lsn = U64::new(self.end.next_lsn);
        header.previous_number = U32::new(self.end.segment);
        header.previous_blocks = U32::new(self.end.blocks);
        header.previous_crc = U32::new(self.end.crc);
        header.created_unix_ns = U64::new(unix_ns());
        let crc = header.seal();
        let path = self.dir.join(file_name(number));
        let file = work.step("create", &path, || {
            let file = fs::File::create_new(&path)?;
            file.write_all_at(header.as_bytes(), 0)?;
            Ok(file)
        })?;
        self.end = End { segment: number, blocks: 0, crc, ..self.end };
        self.open = Some(Open { path, file, salt, used: ALIGNMENT as u64 });
        Ok(())
    }

    fn sync(&mut self, work: &mut Work<'_>) -> Result<(), IoError> {
        match &self.open {
            Some(open) => work.step("sync", &open.path, || open.file.sync_all()),
            None => Ok(()),
        }
    }
}
