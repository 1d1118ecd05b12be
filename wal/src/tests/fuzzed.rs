//! Logs that chance laid hands on, checksums and all: the reader may refuse them, but it must not
//! panic, hand out a record that nobody wrote under a checksum that nobody made, or change a file.

use super::*;
use crate::format::block::{BLOCK_HEADER_BYTES, BlockHeader};
use crate::format::segment::SegmentHeader;
use crate::format::{ALIGNMENT, crc32c, padded};
use crate::recover::verify_in;
use ng_core::wal::{WalLane, WalSink};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::OnceLock;
use zerocopy::{FromBytes, IntoBytes};

/// One thing that may happen to a file.
#[derive(Debug, Clone)]
enum Harm {
    Flip {
        at: usize,
        with: u8,
    },
    Fill {
        at: usize,
        length: usize,
        with: u8,
    },
    Cut {
        length: usize,
    },
    Grow {
        length: usize,
    },
    /// A page of this file over one of another.
    Copy {
        from: usize,
        to: usize,
        other: u8,
    },
    /// A field of a header, with a checksum made to fit: as a bug would write it.
    Reseal {
        page: usize,
        at: usize,
        value: u64,
        width: usize,
    },
    Remove,
}

fn harm() -> impl Strategy<Value = Harm> {
    let at = 0..(40_usize << 10);
    prop_oneof![
        4 => (at.clone(), 1..=255_u8).prop_map(|(at, with)| Harm::Flip { at, with }),
        2 => (at.clone(), 1..9_000_usize, any::<u8>())
            .prop_map(|(at, length, with)| Harm::Fill { at, length, with }),
        1 => at.clone().prop_map(|length| Harm::Cut { length }),
        1 => (0..20_000_usize).prop_map(|length| Harm::Grow { length }),
        2 => (0..10_usize, 0..10_usize, 1..5_u8).prop_map(|(from, to, other)| Harm::Copy { from, to, other }),
        6 => (0..10_usize, field(), value())
            .prop_map(|(page, (at, width), value)| Harm::Reseal { page, at, value, width }),
        1 => Just(Harm::Remove),
    ]
}

/// Offset and width of a field of a header of either kind, or any place.
fn field() -> impl Strategy<Value = (usize, usize)> {
    let wide = [16, 24, 32, 40, 48, 56, 64, 80].map(|at| (at, 8));
    let narrow = [8, 32, 36, 40, 44, 48, 52, 56, 60, 64, 68, 72, 112, 116, 120].map(|at| (at, 4));
    let fields: Vec<_> = wide.into_iter().chain(narrow).collect();
    prop_oneof![3 => proptest::sample::select(fields), 1 => (0..300_usize, Just(1))]
}

fn value() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        Just(1),
        Just(u64::MAX),
        Just(u64::MAX - 5),
        Just(u64::from(u32::MAX)),
        any::<u64>(),
        0..100_u64
    ]
}

/// A sound log of several segments.
fn sound() -> &'static BTreeMap<PathBuf, Vec<u8>> {
    static IMAGE: OnceLock<BTreeMap<PathBuf, Vec<u8>>> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let disk = SimStorage::default();
        let log = open(LogOptions { interval: Duration::from_secs(60), ..tiny() }, &disk);
        let mut lane = log.open_lane().unwrap();
        for id in 0..250 {
            lane.append(KIND, &numbered(id)).unwrap();
            if id % 10 == 9 {
                log.flush(PATIENCE).unwrap();
            }
        }
        drop(lane);
        log.close(PATIENCE).unwrap();
        disk.image()
    })
}

fn apply(image: &mut BTreeMap<PathBuf, Vec<u8>>, number: u32, harm: &Harm) {
    let other = match harm {
        Harm::Copy { from, other, .. } => image
            .get(&segment(u32::from(*other)))
            .and_then(|bytes| bytes.get(from * ALIGNMENT..(from + 1) * ALIGNMENT))
            .map(<[u8]>::to_vec),
        _ => None,
    };
    if matches!(harm, Harm::Remove) {
        image.remove(&segment(number));
        return;
    }
    let Some(bytes) = image.get_mut(&segment(number)) else { return };
    match harm {
        Harm::Flip { at, with } => {
            if let Some(byte) = bytes.get_mut(*at) {
                *byte ^= with;
            }
        }
        Harm::Fill { at, length, with } => {
            let end = bytes.len().min(at + length);
            if let Some(range) = bytes.get_mut(*at..end) {
                range.fill(*with);
            }
        }
        Harm::Cut { length } => bytes.truncate(*length),
        Harm::Grow { length } => bytes.resize(bytes.len() + length, 0xa5),
        Harm::Copy { to, .. } => {
            if let (Some(page), Some(range)) = (other, bytes.get_mut(to * ALIGNMENT..(to + 1) * ALIGNMENT)) {
                range.copy_from_slice(&page);
            }
        }
        Harm::Reseal { page, at, value, width } => {
            let Some(rest) = bytes.get_mut(page * ALIGNMENT..) else { return };
            if let Some(field) = rest.get_mut(*at..at + width) {
                field.copy_from_slice(&value.to_le_bytes()[..*width]);
                reseal(rest, *page == 0);
            }
        }
        Harm::Remove => {}
    }
}

/// Makes the checksum fit what is there.
fn reseal(bytes: &mut [u8], segment: bool) {
    if segment {
        if let Ok((mut header, _)) = SegmentHeader::read_from_prefix(bytes) {
            header.seal();
            bytes[..ALIGNMENT].copy_from_slice(header.as_bytes());
        }
        return;
    }
    let Ok((header, _)) = BlockHeader::read_from_prefix(bytes) else { return };
    let length = padded(BLOCK_HEADER_BYTES.saturating_add(header.payload_len.get() as usize));
    if let Some(block) = bytes.get_mut(..length) {
        let crc = crc32c(&block[8..]);
        block[4..8].copy_from_slice(&crc.to_le_bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_to_the_files_the_reader_says_so_and_changes_none(
        harms in proptest::collection::vec((1..5_u32, harm()), 1..6),
    ) {
        let mut image = sound().clone();
        harms.iter().for_each(|(number, harm)| apply(&mut image, *number, harm));
        let forged = harms.iter().any(|(_, harm)| matches!(harm, Harm::Reseal { .. }));
        let disk = SimStorage::of_image(image.clone());
        // Ids are numbers; where the oldest segments are gone, it begins later.
        let mut next = None;
        let outcome = Reader::open_in(Path::new(DIR), &disk).and_then(|reader| {
            reader.for_each_run(|run| {
                for record in run.records().filter(|_| run.kind != GAP && !forged) {
                    assert_eq!(id_of(record.payload), record.lsn, "under another's number");
                    assert_eq!(record.lsn, next.unwrap_or(record.lsn), "not in a row");
                    next = Some(record.lsn + 1);
                }
            })
        });
        let verdict = verify_in(Path::new(DIR), &disk);
        prop_assert_eq!(outcome.is_ok(), verdict.is_ok_and(|found| !found.is_damaged()));
        prop_assert!(disk.image() == image, "a reader changed a file");
        // Opening may go on with the log, or refuse it; it may not panic, nor touch used segments.
        if let Ok(log) = Log::open_in(tiny(), Arc::new(disk.clone()), None) {
            drop(log);
        }
    }
}

/// A header and its first block that agree on numbers which no writer reaches.
#[test]
fn numbers_at_the_end_of_their_range_are_refused_and_not_counted_on() {
    for huge in [u64::MAX, u64::MAX - 3, 1 << 63] {
        for (in_segment, in_block) in [(40, 16), (48, 24), (56, 32)] {
            let mut image = sound().clone();
            image.retain(|path, _| *path == segment(1));
            let bytes = image.get_mut(&segment(1)).unwrap();
            bytes[in_segment..in_segment + 8].copy_from_slice(&huge.to_le_bytes());
            reseal(bytes, true);
            let crc: [u8; 4] = bytes[12..16].try_into().unwrap();
            let block = &mut bytes[ALIGNMENT..];
            block[in_block..in_block + 8].copy_from_slice(&huge.to_le_bytes());
            block[52..56].copy_from_slice(&crc);
            reseal(block, false);
            let disk = SimStorage::of_image(image);
            let error = Reader::open_in(Path::new(DIR), &disk).unwrap_err();
            assert!(matches!(error, RecoverError::DamagedHeader { .. }), "{error}");
            Log::open_in(tiny(), Arc::new(disk), None).unwrap_err();
        }
    }
}

/// Two runs without bytes, of four thousand million records each.
#[test]
fn a_forged_count_of_records_without_bytes_is_counted_and_not_allocated() {
    let mut image = sound().clone();
    image.retain(|path, _| *path == segment(1));
    let bytes = image.get_mut(&segment(1)).unwrap();
    let block = &mut bytes[ALIGNMENT..2 * ALIGNMENT];
    block[40..44].copy_from_slice(&32_u32.to_le_bytes());
    block[44..48].copy_from_slice(&(u32::MAX - 1).to_le_bytes());
    block[112..].fill(0);
    for run in [112, 128] {
        block[run..run + 2].copy_from_slice(&0x0100_u16.to_le_bytes());
        block[run + 8..run + 12].copy_from_slice(&(u32::MAX / 2).to_le_bytes());
    }
    reseal(block, false);
    let disk = SimStorage::of_image(image);
    let mut counted = 0;
    let reader = Reader::open_in(Path::new(DIR), &disk).unwrap();
    let outcome = reader.for_each_run(|run| counted += u64::from(run.count));
    assert_eq!(counted, u64::from(u32::MAX - 1));
    // The second block doesn't follow any more.
    assert!(outcome.is_err() || outcome.is_ok_and(|report| report.torn.is_some()));
}
