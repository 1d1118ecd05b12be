//! The ring file in bytes: where everything is, and the fixed header that says so.
//!
//! ```text
//! 0      fixed header, checksummed: who wrote this, the schema of events, where the tiers are
//! 8192   live page: state, heads of the tiers, clock pairs, marks of panics and of crashes
//! 12288  per tier: anchors (16 bytes a block), then slots (32 or 256 bytes)
//! end−8192  the fixed header once more
//! ```
//! Every word is 8 bytes, little-endian. The schema follows the fixed fields of the header, a line
//! a kind: number, label, and `name:type:byte` of each field in a and b, apart by tabs. Nothing in the two headers is ever overwritten by events.
//!
//! * **slot of the operation and sampled tiers**: a, b, meta (`kind | tier << 16`), sealed
//!   sequence number.
//! * **slot of the rare tier**: a, b, meta (`… | note length << 32`), 28 words of which the note
//!   takes up to 25, sealed sequence number.
//! * **anchor**: ticks, sealed number of the block's first record. A block is 32 records of the
//!   operation tier and one of the others.
//! * **head** of a tier: the number of the first record in the block being written.
//! * **clock pair**: ticks, nanoseconds since 1970, seal, spare.
//! * **panic mark**: what (1 = panic), ticks, thread id, line, number of the panic, spare, spare,
//!   sealed number of the mark.
//! * **crash mark**, left by a signal handler: what (2 = signal), ticks, thread id, `signal | code <<
//!   32`, address, program counter, stack pointer, sealed number of the mark; up to 23 words of the
//!   stack that point into code, and the sealed number once more, over these. Only the shared
//!   ring's file has any.

use ng_core::events::{EventKind, EventSchema, Tier};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::seal;

/// Raised by whatever a reader of the former version would misread.
pub(crate) const VERSION: u32 = 2;
pub(crate) const MAGIC: [u8; 8] = *b"NGBLKBX\n";
pub(crate) const FIXED_BYTES: usize = 8192;
pub(crate) const LIVE_BYTES: usize = 4096;
pub(crate) const TIERS_AT: usize = FIXED_BYTES + LIVE_BYTES;

/// Words of an anchor.
pub(crate) const ANCHOR_WORDS: usize = 2;
/// Words of a slot of the operation and sampled tiers.
pub(crate) const SLOT_WORDS: usize = 4;
/// Words of a slot of the rare tier.
pub(crate) const RARE_WORDS: usize = 32;
/// Bytes of a note that are kept.
pub(crate) const NOTE_BYTES: usize = 200;
/// Records of a block, by tier.
pub(crate) const BLOCK: [usize; 3] = [32, 1, 1];

/// The live page, in words.
pub(crate) mod live {
    /// 0 = being written, 1 = its thread ended, 2 = the recorder closed in order, 3 = the process
    /// called exit while the recorder was at work.
    pub(crate) const STATE: usize = 0;
    pub(crate) const PANICS: usize = 1;
    pub(crate) const RECOVERED: usize = 2;
    pub(crate) const MARKS_TOTAL: usize = 3;
    /// How many crash marks were begun.
    pub(crate) const CRASHES_TOTAL: usize = 4;
    /// One head a tier, each in a cache line of its own.
    pub(crate) const HEADS: [usize; 3] = [8, 16, 24];
    /// The pair of the file's creation, then [`PAIRS_A_TIER`] for each tier.
    pub(crate) const PAIRS: usize = 32;
    pub(crate) const PAIR_WORDS: usize = 4;
    pub(crate) const PAIRS_A_TIER: usize = 4;
    pub(crate) const PAIRS_TOTAL: usize = 1 + 3 * PAIRS_A_TIER;
    pub(crate) const MARKS: usize = 96;
    pub(crate) const MARK_WORDS: usize = 8;
    /// The first half is kept for good; later marks take turns in the second.
    pub(crate) const MARK_SLOTS: u64 = 8;

    /// Apart from the panics', so that neither can use up the other's.
    pub(crate) const CRASHES: usize = 160;
    pub(crate) const CRASH_WORDS: usize = 32;
    /// Words of a crash mark before the stack's.
    pub(crate) const CRASH_FIXED: usize = 7;
    #[expect(clippy::cast_possible_truncation, reason = "8")]
    pub(crate) const CRASHES_END: usize = CRASHES + MARK_SLOTS as usize * CRASH_WORDS;

    pub(crate) const ENDED: u64 = 1;
    pub(crate) const CLOSED: u64 = 2;
    pub(crate) const EXITED: u64 = 3;

    /// Which slot the `number`-th mark takes: the first half stay for good, later ones take turns
    /// in the second.
    #[expect(clippy::cast_possible_truncation, reason = "less than MARK_SLOTS")]
    pub(crate) const fn mark_slot(number: u64) -> usize {
        let half = MARK_SLOTS / 2;
        (if number < MARK_SLOTS { number } else { half + number % half }) as usize
    }
}

/// Where a tier lies. A capacity of 0 means that the file has no such tier.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(crate) struct TierPlace {
    pub(crate) anchors_at: U64,
    pub(crate) slots_at: U64,
    pub(crate) capacity: U64,
}

/// The fixed header without its schema, which follows it.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(crate) struct Fixed {
    pub(crate) magic: [u8; 8],
    pub(crate) version: U32,
    pub(crate) schema_bytes: U32,
    /// Of all [`FIXED_BYTES`], with this field as zero.
    pub(crate) checksum: U64,
    pub(crate) file_bytes: U64,
    pub(crate) pid: U64,
    /// Clock ticks after boot, from `/proc/<pid>/stat`; 0 where there is none.
    pub(crate) process_start: U64,
    pub(crate) boot: U64,
    pub(crate) tid: U64,
    pub(crate) created_unix_ns: U64,
    pub(crate) config_hash: U64,
    /// The number of this ring among all that its recorder ever made.
    pub(crate) ring: U64,
    pub(crate) tiers: [TierPlace; 3],
    /// UTF-8, padded with zeros.
    pub(crate) thread: [u8; 64],
    /// UTF-8, padded with zeros.
    pub(crate) build: [u8; 64],
}

const SCHEMA_AT: usize = size_of::<Fixed>();
/// How long a schema may be.
pub(crate) const SCHEMA_BYTES: usize = FIXED_BYTES - SCHEMA_AT;

/// The workspace's kinds and these, a line each: kind, label, `name:type:byte` of each field.
pub(crate) fn schema(own: &[EventSchema]) -> String {
    let both = |a: &str, b: &str| {
        let fields = [(a, 0), (b, 8)].into_iter().filter(|(name, _)| *name != "unused");
        fields.map(|(name, at)| format!("\t{name}:u64:{at}")).collect()
    };
    let line = |kind: EventKind, label: &str, fields: String| format!("{}\t{label}{fields}\n", kind.0);
    let mut schema: String =
        EventKind::SCHEMA.iter().map(|&(kind, label, a, b)| line(kind, label, both(a, b))).collect();
    for EventSchema { kind, label, fields } in own {
        let fields = fields.iter().map(|field| format!("\t{}:{}:{}", field.name, field.ty.label(), field.at));
        schema.push_str(&line(*kind, label, fields.collect()));
    }
    schema
}

/// Where the tiers lie for these capacities, and how long the file is.
pub(crate) fn plan(capacities: [usize; 3]) -> ([TierPlace; 3], usize) {
    let mut at = TIERS_AT;
    let places = Tier::ALL.map(|tier| {
        let capacity = capacities[tier as usize];
        let anchors_at = at;
        let slots_at = anchors_at + anchors(tier, capacity) * ANCHOR_WORDS * 8;
        at = slots_at + capacity * slot_words(tier) * 8;
        TierPlace {
            anchors_at: U64::new(anchors_at as u64),
            slots_at: U64::new(slots_at as u64),
            capacity: U64::new(capacity as u64),
        }
    });
    (places, at + FIXED_BYTES)
}

pub(crate) const fn slot_words(tier: Tier) -> usize {
    match tier {
        Tier::Operation | Tier::Sampled => SLOT_WORDS,
        Tier::Rare => RARE_WORDS,
    }
}

/// How many anchors a tier of this capacity has.
pub(crate) const fn anchors(tier: Tier, capacity: usize) -> usize {
    match tier {
        Tier::Operation => capacity / 32,
        Tier::Sampled | Tier::Rare => capacity,
    }
}

impl Fixed {
    /// The header in bytes: this, the schema of at most [`SCHEMA_BYTES`], the checksum.
    pub(crate) fn encode(mut self, schema: &str) -> Vec<u8> {
        self.schema_bytes = U32::new(u32::try_from(schema.len()).unwrap_or(u32::MAX));
        self.checksum = U64::ZERO;
        let mut bytes = self.as_bytes().to_vec();
        bytes.extend_from_slice(schema.as_bytes());
        bytes.resize(FIXED_BYTES, 0);
        self.checksum = U64::new(seal::checksum(&bytes));
        bytes[..SCHEMA_AT].copy_from_slice(self.as_bytes());
        bytes
    }

    /// The header and its schema, or what is wrong with it.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Self, String), String> {
        let (fixed, _) = Self::read_from_prefix(bytes).map_err(|_| "shorter than a header".to_owned())?;
        if bytes.len() != FIXED_BYTES {
            return Err("shorter than a header".to_owned());
        }
        if fixed.magic != MAGIC {
            return Err("does not begin with the magic of a ring file".to_owned());
        }
        if fixed.version.get() != VERSION {
            return Err(format!("version {}, but this reader knows {VERSION}", fixed.version));
        }
        let mut zeroed = bytes.to_vec();
        zeroed[..SCHEMA_AT].copy_from_slice(Self { checksum: U64::ZERO, ..fixed }.as_bytes());
        if seal::checksum(&zeroed) != fixed.checksum.get() {
            return Err("its checksum does not match".to_owned());
        }
        let schema = bytes
            .get(SCHEMA_AT..SCHEMA_AT + fixed.schema_bytes.get() as usize)
            .map(|schema| String::from_utf8_lossy(schema).into_owned())
            .ok_or("its schema is longer than the header")?;
        Ok((fixed, schema))
    }
}

/// A text in a field of fixed length, cut between characters.
pub(crate) fn padded(text: &str) -> [u8; 64] {
    let text = cut(text, 64);
    let mut field = [0; 64];
    field[..text.len()].copy_from_slice(text.as_bytes());
    field
}

/// The text in such a field.
pub(crate) fn unpadded(field: &[u8]) -> String {
    let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

/// The longest beginning of `text` of at most `bytes` bytes that does not split a character.
pub(crate) fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    #[test]
    fn a_header_comes_back_and_any_damaged_byte_of_it_shows() {
        let (tiers, file_bytes) = plan([64, 64, 64]);
        let fixed = Fixed {
            magic: MAGIC,
            version: U32::new(VERSION),
            file_bytes: U64::new(file_bytes as u64),
            tiers,
            thread: padded(&"ü".repeat(40)),
            ..Fixed::new_zeroed()
        };
        let bytes = fixed.encode(&schema(&[]));
        let (read, lines) = Fixed::decode(&bytes).unwrap();
        assert_eq!(unpadded(&read.thread), "ü".repeat(32));
        assert!(lines.starts_with("1\ttokens_created\tfirst_id:u64:0\tcount:u64:8\n"), "{lines}");
        for at in (0..FIXED_BYTES).step_by(37).chain(0..64) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert!(Fixed::decode(&damaged).is_err(), "byte {at}");
        }
    }

    #[test]
    fn the_live_page_has_room_for_all_that_is_in_it() {
        const { assert!(live::PAIRS + live::PAIRS_TOTAL * live::PAIR_WORDS <= live::MARKS) };
        let slots = usize::try_from(live::MARK_SLOTS).unwrap();
        assert!(live::MARKS + slots * live::MARK_WORDS <= live::CRASHES);
        const { assert!(live::CRASHES_END * 8 <= LIVE_BYTES) };
    }
}
