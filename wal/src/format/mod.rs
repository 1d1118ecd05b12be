//! The bytes of the log, as `docs/wal-format.md` draws them: segments of blocks of runs.
//!
//! Only here are offsets and magic numbers known. Nothing here touches a file or decides what a
//! fault means.

pub(crate) mod block;
pub(crate) mod run;
pub(crate) mod segment;

pub use block::BlockFault;

/// Blocks and headers begin at multiples of this many bytes, the unit of the page cache and of
/// direct input and output on every common device.
pub const ALIGNMENT: usize = 4096;

/// The format that this crate writes, and the only one it reads.
pub const FORMAT_VERSION: u32 = 1;

/// No block is larger, in bytes.
pub(crate) const LARGEST_BLOCK: usize = 16 << 20;

/// Records and epochs have numbers below this one, so that counting on never overflows. A writer
/// that makes a billion a second needs 292 years to come here.
pub(crate) const NUMBERS_END: u64 = 1 << 63;

/// CRC-32C (Castagnoli; iSCSI, RFC 3720 section 12.1), by the processor's own instructions where it
/// has them.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// The length rounded up to the next multiple of [`ALIGNMENT`].
pub(crate) const fn padded(length: usize) -> usize {
    length.next_multiple_of(ALIGNMENT)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_checksum_agrees_with_an_independent_one(bytes in proptest::collection::vec(any::<u8>(), 0..9000)) {
            let oracle = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI);
            prop_assert_eq!(crc32c(&bytes), oracle.checksum(&bytes));
        }
    }

    #[test]
    fn the_checksum_is_the_standard_one() {
        // The check value of CRC-32/ISCSI in the catalogue of parametrised CRC algorithms.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }
}
