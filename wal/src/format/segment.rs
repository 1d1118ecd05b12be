//! The header of a segment: whose it is, where it begins, and where the one before it ended.

use super::{ALIGNMENT, FORMAT_VERSION, LARGEST_BLOCK, NUMBERS_END, crc32c};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

const MAGIC: [u8; 8] = *b"NGWALSEG";
const CHECKPOINT_MAGIC: [u8; 8] = *b"NGWALCKP";
const EXTENSION: &str = ".wal";
const DIGITS: usize = 10;
const FREE: &str = ".free";
const CHECKPOINT: &str = ".ckpt";
const CHECKPOINT_DIGITS: usize = 20;

/// One block of [`ALIGNMENT`] bytes; everything that isn't zero lies in its first sector of 512,
/// which a disk writes whole or not at all.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct SegmentHeader {
    pub(crate) magic: [u8; 8],
    pub(crate) version: U32,
    /// Over the whole block, itself counted as zero.
    pub(crate) crc: U32,
    pub(crate) log_id: U64,
    pub(crate) salt: U64,
    pub(crate) number: U32,
    pub(crate) block_bytes: U32,
    pub(crate) first_lsn: U64,
    pub(crate) first_epoch: U64,
    pub(crate) durable_lsn: U64,
    pub(crate) previous_number: U32,
    pub(crate) previous_blocks: U32,
    pub(crate) previous_crc: U32,
    pub(crate) reserved: U32,
    pub(crate) created_unix_ns: U64,
    pub(crate) padding: [u8; ALIGNMENT - 88],
}

const _: () = assert!(size_of::<SegmentHeader>() == ALIGNMENT);

/// What the first block of a segment file is.
#[derive(Debug)]
pub(crate) enum Head {
    /// A segment in use.
    Segment(Box<SegmentHeader>),
    /// Zeros: prepared and not yet used.
    Spare,
    /// The file is shorter than a header.
    Short,
    /// Another program's file.
    Foreign,
    /// A format that this crate doesn't know.
    Version(u32),
    /// A header whose checksum doesn't match.
    Damaged,
}

impl SegmentHeader {
    /// A header with its magic and version in place and nothing else.
    pub(crate) fn blank() -> Self {
        let mut header = Self::new_zeroed();
        header.magic = MAGIC;
        header.version = U32::new(FORMAT_VERSION);
        header
    }

    /// As [`Self::blank`], for a checkpoint: the same fields, another magic.
    pub(crate) fn blank_checkpoint() -> Self {
        Self { magic: CHECKPOINT_MAGIC, number: U32::new(1), ..Self::blank() }
    }

    pub(crate) fn seal(&mut self) -> u32 {
        self.crc = U32::ZERO;
        let crc = crc32c(self.as_bytes());
        self.crc = U32::new(crc);
        crc
    }

    /// Whether a writer can have meant it: a checksum says that nothing changed, not that it is
    /// right.
    pub(crate) fn is_plausible(&self) -> bool {
        let block_bytes = self.block_bytes.get() as usize;
        let numbers = [self.first_lsn, self.first_epoch, self.durable_lsn];
        block_bytes.is_multiple_of(ALIGNMENT)
            && (2 * ALIGNMENT..=LARGEST_BLOCK).contains(&block_bytes)
            && numbers.iter().all(|number| number.get() < NUMBERS_END)
            && self.previous_number < self.number
    }

    pub(crate) fn read(bytes: &[u8]) -> Head {
        Self::read_as(bytes, MAGIC)
    }

    /// As [`Self::read`], of a checkpoint.
    pub(crate) fn read_checkpoint(bytes: &[u8]) -> Head {
        Self::read_as(bytes, CHECKPOINT_MAGIC)
    }

    fn read_as(bytes: &[u8], magic: [u8; 8]) -> Head {
        let Ok((header, _)) = Self::read_from_prefix(bytes) else { return Head::Short };
        if bytes.iter().take(ALIGNMENT).all(|byte| *byte == 0) {
            return Head::Spare;
        }
        if header.magic != magic {
            return Head::Foreign;
        }
        if header.version.get() != FORMAT_VERSION {
            return Head::Version(header.version.get());
        }
        let mut again = header;
        if again.seal() != header.crc.get() {
            return Head::Damaged;
        }
        Head::Segment(Box::new(header))
    }
}

/// The file name of a segment: its number in ten digits, so that names sort as numbers do.
pub(crate) fn file_name(number: u32) -> String {
    format!("{number:0DIGITS$}{EXTENSION}")
}

/// The file name of a segment that is to be used again: the number that it had.
pub(crate) fn free_name(number: u32) -> String {
    format!("{number:0DIGITS$}{FREE}")
}

/// The file name of a checkpoint: the number of the first record that it does not cover.
pub(crate) fn checkpoint_name(lsn: u64) -> String {
    format!("{lsn:0CHECKPOINT_DIGITS$}{CHECKPOINT}")
}

/// The record's number in a checkpoint's file name, `None` for any other file.
pub(crate) fn checkpoint_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(CHECKPOINT)?;
    let plain = digits.len() == CHECKPOINT_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

/// The number that a segment had which is to be used again, `None` for any other file.
pub(crate) fn free_number_of(name: &str) -> Option<u32> {
    number_before(name, FREE)
}

/// The number of a segment file, `None` for any other file.
pub(crate) fn number_of(name: &str) -> Option<u32> {
    number_before(name, EXTENSION)
}

fn number_before(name: &str, extension: &str) -> Option<u32> {
    let digits = name.strip_suffix(extension)?;
    let plain = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: Option<u32> = plain.then(|| digits.parse().ok()).flatten();
    // There is always a number above that of the last file.
    number.filter(|number| (1..u32::MAX).contains(number))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_agree() {
        assert_eq!(file_name(12), "0000000012.wal");
        assert_eq!(number_of("0000000012.wal"), Some(12));
        for other in [
            "LOCK",
            "12.wal",
            "0000000000.wal",
            "00000000x2.wal",
            "9999999999.wal",
            "4294967295.wal",
            "+000000012.wal",
        ] {
            assert_eq!(number_of(other), None, "{other}");
        }
    }

    #[test]
    fn a_future_version_is_told_from_damage() {
        let mut header = SegmentHeader::blank();
        header.seal();
        assert!(matches!(SegmentHeader::read(header.as_bytes()), Head::Segment(_)));
        header.number = U32::new(7);
        assert!(matches!(SegmentHeader::read(header.as_bytes()), Head::Damaged));
        header.version = U32::new(2);
        assert!(matches!(SegmentHeader::read(header.as_bytes()), Head::Version(2)));
        assert!(matches!(SegmentHeader::read(&[0; ALIGNMENT]), Head::Spare));
        assert!(matches!(SegmentHeader::read(&[1; ALIGNMENT]), Head::Foreign));
        assert!(matches!(SegmentHeader::read(&[1; 100]), Head::Short));
    }
}
