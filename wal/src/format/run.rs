//! Runs: the records of one kind and one length that lie one after the other in a block.
//!
//! A run costs [`RUN_HEADER_BYTES`], a record in it nothing beyond its own bytes.

use ng_core::wal::RecordKind;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub(crate) const RUN_HEADER_BYTES: usize = size_of::<RunHeader>();

/// The kind of the log's own record that tells of records let go: the payload is their number
/// (`u64`, little endian) since the gap record before.
pub const GAP: RecordKind = RecordKind(0x0000);

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct RunHeader {
    pub(crate) kind: U16,
    pub(crate) flags: U16,
    pub(crate) record_len: U32,
    pub(crate) count: U32,
    pub(crate) reserved: U32,
}

impl RunHeader {
    pub(crate) fn new(kind: RecordKind, record_len: usize, count: u32) -> Self {
        Self {
            kind: U16::new(kind.0),
            flags: U16::ZERO,
            record_len: U32::new(record_len as u32),
            count: U32::new(count),
            reserved: U32::ZERO,
        }
    }
}

/// Records of one kind and one length, in the order of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run<'a> {
    /// Their kind.
    pub kind: RecordKind,
    /// The number of the first; the others follow without a hole.
    pub first_lsn: u64,
    /// How many there are.
    pub count: u32,
    /// The length of each in bytes. May be 0.
    pub record_len: usize,
    /// All of them, one after the other.
    pub bytes: &'a [u8],
}

/// One record as it was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its kind.
    pub kind: RecordKind,
    /// Its number.
    pub lsn: u64,
    /// What was appended.
    pub payload: &'a [u8],
}

impl<'a> Run<'a> {
    /// Its records, one by one.
    pub fn records(self) -> impl Iterator<Item = Record<'a>> {
        (0..u64::from(self.count)).map(move |i| {
            let start = i as usize * self.record_len;
            let payload = self.bytes.get(start..start + self.record_len).unwrap_or_default();
            Record { kind: self.kind, lsn: self.first_lsn + i, payload }
        })
    }
}

/// Goes through the runs of a payload; stops early if the payload isn't made of whole runs.
#[derive(Debug, Clone)]
pub(crate) struct Runs<'a> {
    rest: &'a [u8],
    next_lsn: u64,
}

impl<'a> Runs<'a> {
    pub(crate) fn new(payload: &'a [u8], first_lsn: u64) -> Self {
        Self { rest: payload, next_lsn: first_lsn }
    }

    /// The number of records, or `None` if the payload isn't made of whole runs.
    pub(crate) fn count_all(mut self) -> Option<u64> {
        let first = self.next_lsn;
        while self.next().is_some() {}
        self.rest.is_empty().then(|| self.next_lsn - first)
    }
}

impl<'a> Iterator for Runs<'a> {
    type Item = Run<'a>;

    fn next(&mut self) -> Option<Run<'a>> {
        let (header, rest) = RunHeader::read_from_prefix(self.rest).ok()?;
        let record_len = header.record_len.get() as usize;
        let count = header.count.get();
        let (bytes, rest) = rest.split_at_checked(record_len.checked_mul(count as usize)?)?;
        let first_lsn = self.next_lsn;
        self.rest = rest;
        self.next_lsn += u64::from(count);
        Some(Run { kind: RecordKind(header.kind.get()), first_lsn, count, record_len, bytes })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn run(kind: u16, record_len: usize, count: u32, bytes: &[u8]) -> Vec<u8> {
        let mut out = RunHeader::new(RecordKind(kind), record_len, count).as_bytes().to_vec();
        out.extend_from_slice(bytes);
        out
    }

    #[test]
    fn runs_come_back_with_their_numbers() {
        let payload = [run(7, 2, 2, b"abcd"), run(8, 0, 1, b""), run(7, 3, 1, b"xyz")].concat();
        let records: Vec<_> = Runs::new(&payload, 10)
            .flat_map(Run::records)
            .map(|record| (record.kind.0, record.lsn, record.payload.to_vec()))
            .collect();
        let expected = [(7, 10, &b"ab"[..]), (7, 11, b"cd"), (8, 12, b""), (7, 13, b"xyz")];
        assert_eq!(records, expected.map(|(kind, lsn, payload)| (kind, lsn, payload.to_vec())));
        assert_eq!(Runs::new(&payload, 10).count_all(), Some(4));
    }

    #[test]
    fn a_run_that_claims_more_than_there_is_does_not_parse() {
        assert_eq!(Runs::new(&run(7, 2, 3, b"abcd"), 0).count_all(), None);
        assert_eq!(Runs::new(&run(7, u32::MAX as usize, u32::MAX, b""), 0).count_all(), None);
        assert_eq!(Runs::new(b"short", 0).count_all(), None);
    }
}
