//! The block: the unit of commit, written once and never again.

use super::run::{RunHeader, Runs};
use super::{ALIGNMENT, NUMBERS_END, crc32c, padded};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// With a run's header after it, the first record begins at a multiple of 64: whole tokens in
/// whole cache lines.
pub(crate) const BLOCK_HEADER_BYTES: usize = size_of::<BlockHeader>();
const _: () = assert!(BLOCK_HEADER_BYTES == 112);

const MAGIC: [u8; 4] = *b"NGWB";
/// The checksum covers all that lies behind it.
const CHECKED_FROM: usize = 8;

/// No record of this epoch, of any lane, is behind this block.
pub(crate) const END_OF_EPOCH: u32 = 1 << 0;
/// The log was closed after this block, and all before it is durable.
pub(crate) const CLOSED: u32 = 1 << 1;

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct BlockHeader {
    pub(crate) magic: [u8; 4],
    pub(crate) crc: U32,
    pub(crate) salt: U64,
    pub(crate) first_lsn: U64,
    pub(crate) epoch: U64,
    pub(crate) durable_lsn: U64,
    pub(crate) payload_len: U32,
    pub(crate) records: U32,
    pub(crate) index: U32,
    pub(crate) previous_crc: U32,
    pub(crate) flags: U32,
    pub(crate) segment: U32,
    pub(crate) sealed_unix_ns: U64,
    pub(crate) reserved: [u8; 40],
}

/// What the writer knows of a block and its content doesn't say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seal {
    pub(crate) place: Place,
    pub(crate) epoch: u64,
    pub(crate) durable_lsn: u64,
    pub(crate) flags: u32,
    pub(crate) sealed_unix_ns: u64,
}

/// Where in the log a block stands; what a reader expects of the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) segment: u32,
    pub(crate) salt: u64,
    pub(crate) index: u32,
    pub(crate) first_lsn: u64,
    pub(crate) previous_crc: u32,
}

/// Why the bytes at some place of a segment are not the block that belongs there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlockFault {
    /// Zeros: nothing was written here.
    #[error("nothing was written here")]
    Empty,
    /// The file ends within the block.
    #[error("the file ends within the block")]
    Truncated,
    /// It does not begin like a block.
    #[error("these bytes are no block")]
    NoBlock,
    /// Its length can't be.
    #[error("the block claims {claimed} payload bytes, and a block of this log holds {limit}")]
    Length {
        /// What it claims, in bytes.
        claimed: u32,
        /// What a block of this log can hold, in bytes.
        limit: usize,
    },
    /// The checksum doesn't match.
    #[error("the checksum is {computed:#010x} and the block says {stored:#010x}")]
    Checksum {
        /// What the header says.
        stored: u32,
        /// What the bytes give.
        computed: u32,
    },
    /// A whole block, of another segment or of an earlier life of this file.
    #[error("a block of another segment, or of an earlier life of this file")]
    Stale,
    /// A whole block of this segment, but not the one that comes here.
    #[error("block {found} where block {expected} belongs, or one of another history")]
    Sequence {
        /// The index it carries.
        found: u32,
        /// The index that belongs here.
        expected: u32,
    },
    /// The checksum is right and the content isn't made of whole runs.
    #[error("the block is sound and its records are not: it was written by something else")]
    Content,
    /// The block is sound, but the end of its epoch never came.
    #[error("the end of the last epoch never came")]
    OpenEpoch,
}

/// Makes a block of a buffer whose payload is in place behind the header, and returns its checksum
/// and its length on disk.
///
/// # Panics
/// If the buffer has no room for the padding, which its owner rules out by its size.
pub(crate) fn seal(buffer: &mut [u8], payload_len: usize, records: u32, seal: &Seal) -> (u32, usize) {
    let length = padded(BLOCK_HEADER_BYTES + payload_len);
    let block = &mut buffer[..length];
    block[BLOCK_HEADER_BYTES + payload_len..].fill(0);
    let mut header = BlockHeader {
        magic: MAGIC,
        crc: U32::ZERO,
        salt: U64::new(seal.place.salt),
        first_lsn: U64::new(seal.place.first_lsn),
        epoch: U64::new(seal.epoch),
        durable_lsn: U64::new(seal.durable_lsn),
        payload_len: U32::new(payload_len as u32),
        records: U32::new(records),
        index: U32::new(seal.place.index),
        previous_crc: U32::new(seal.place.previous_crc),
        flags: U32::new(seal.flags),
        segment: U32::new(seal.place.segment),
        sealed_unix_ns: U64::new(seal.sealed_unix_ns),
        reserved: [0; 40],
    };
    block[..BLOCK_HEADER_BYTES].copy_from_slice(header.as_bytes());
    let crc = crc32c(&block[CHECKED_FROM..]);
    header.crc = U32::new(crc);
    block[..BLOCK_HEADER_BYTES].copy_from_slice(header.as_bytes());
    (crc, length)
}

/// Writes the count into the header of the run at `start`, which reaches to the end of the used
/// bytes, and returns it.
pub(crate) fn finish_run(used: &mut [u8], start: usize) -> u32 {
    let Ok((header, records)) = RunHeader::mut_from_prefix(&mut used[start..]) else { return 0 };
    let record_len = header.record_len.get() as usize;
    // A run of records without bytes holds one: a lane begins a new run for each.
    let count = records.len().checked_div(record_len).map_or(1, |count| count as u32);
    header.count = U32::new(count);
    count
}

/// Whether all bytes are zero, 64 at a time.
pub(crate) fn all_zero(bytes: &[u8]) -> bool {
    let (lines, rest) = bytes.as_chunks::<64>();
    lines.iter().all(|line| line.iter().fold(0, |all, byte| all | byte) == 0)
        && rest.iter().all(|byte| *byte == 0)
}

/// Whether a block may begin here.
pub(crate) fn may_begin(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// The length on disk of the block that begins here, as far as its header can be believed.
pub(crate) fn length_on_disk(head: &[u8], block_bytes: usize) -> Result<(BlockHeader, usize), BlockFault> {
    let Ok((header, _)) = BlockHeader::read_from_prefix(head) else { return Err(BlockFault::Truncated) };
    if header.magic != MAGIC {
        let zeros = all_zero(head.get(..ALIGNMENT).unwrap_or(head));
        return Err(if zeros { BlockFault::Empty } else { BlockFault::NoBlock });
    }
    let numbers = [header.first_lsn, header.epoch, header.durable_lsn];
    if numbers.iter().any(|number| number.get() >= NUMBERS_END) {
        return Err(BlockFault::NoBlock);
    }
    let claimed = header.payload_len.get();
    let limit = block_bytes - BLOCK_HEADER_BYTES;
    if claimed as usize > limit {
        return Err(BlockFault::Length { claimed, limit });
    }
    Ok((header, padded(BLOCK_HEADER_BYTES + claimed as usize)))
}

/// Whether these bytes are a whole block, wherever it belongs.
pub(crate) fn check_whole(block: &[u8]) -> Result<(), BlockFault> {
    let Ok((header, _)) = BlockHeader::read_from_prefix(block) else { return Err(BlockFault::Truncated) };
    let computed = crc32c(&block[CHECKED_FROM..]);
    let stored = header.crc.get();
    if computed == stored { Ok(()) } else { Err(BlockFault::Checksum { stored, computed }) }
}

/// Whether this whole block is the one that comes next.
pub(crate) fn check_place(header: &BlockHeader, block: &[u8], expected: &Place) -> Result<(), BlockFault> {
    if header.salt.get() != expected.salt || header.segment.get() != expected.segment {
        return Err(BlockFault::Stale);
    }
    let found = Place {
        segment: header.segment.get(),
        salt: header.salt.get(),
        index: header.index.get(),
        first_lsn: header.first_lsn.get(),
        previous_crc: header.previous_crc.get(),
    };
    if found != *expected {
        return Err(BlockFault::Sequence { found: found.index, expected: expected.index });
    }
    let runs = Runs::new(payload(header, block), found.first_lsn);
    if runs.count_all() != Some(u64::from(header.records.get())) {
        return Err(BlockFault::Content);
    }
    Ok(())
}

/// The payload of a block whose length was checked.
pub(crate) fn payload<'a>(header: &BlockHeader, block: &'a [u8]) -> &'a [u8] {
    let end = BLOCK_HEADER_BYTES + header.payload_len.get() as usize;
    block.get(BLOCK_HEADER_BYTES..end).unwrap_or_default()
}
