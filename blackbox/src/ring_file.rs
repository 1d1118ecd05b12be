//! One ring as a file: made under a temporary name, renamed once its header is whole, then only
//! written through its mapping. It never grows, and never changes hands: a later lane gets a file
//! of its own.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ng_core::events::Tier;
use zerocopy::FromZeros;
use zerocopy::little_endian::{U32, U64};

use crate::error::RecorderError;
use crate::format::{self, Fixed, live};
use crate::process::{self, Identity};
use crate::region::{Mapping, Region};
use crate::ring::{self, TierWords};
use crate::sync::Ordering;
use crate::ticks;

/// What a ring file says of its owner.
pub(crate) struct Owner<'a> {
    pub(crate) identity: Identity,
    pub(crate) thread: &'a str,
    pub(crate) config_hash: u64,
    pub(crate) schema: &'a str,
    /// The number of this ring among all that its recorder ever made.
    pub(crate) ring: u64,
}

/// A ring file that is mapped.
#[derive(Debug)]
pub(crate) struct RingFile {
    pub(crate) path: PathBuf,
    pub(crate) live: Region,
    /// By [`Tier`].
    pub(crate) tiers: [TierWords; 3],
}

impl RingFile {
    /// Makes `dir/<name>.ring` with these capacities by tier.
    pub(crate) fn create(
        dir: &Path,
        name: &str,
        capacities: [usize; 3],
        owner: &Owner<'_>,
    ) -> Result<Self, RecorderError> {
        let path = dir.join(format!("{name}.ring"));
        let temporary = dir.join(format!(".{name}.tmp"));
        let (places, bytes) = format::plan(capacities);
        let made = Self::make(&temporary, &path, places, bytes, owner);
        made.map_err(|cause| {
            // The first failure is the one that tells; whatever is left is of no use.
            drop(fs::remove_file(&temporary));
            RecorderError::Ring { path, bytes, cause }
        })
    }

    fn make(
        temporary: &Path,
        path: &Path,
        places: [format::TierPlace; 3],
        bytes: usize,
        owner: &Owner<'_>,
    ) -> io::Result<Self> {
        // Notes may tell more than other users of the machine should know.
        let file: File =
            OpenOptions::new().create_new(true).read(true).write(true).mode(0o600).open(temporary)?;
        let mapping = Arc::new(Mapping::create(&file, bytes)?);
        let header = Fixed {
            magic: format::MAGIC,
            version: U32::new(format::VERSION),
            file_bytes: U64::new(bytes as u64),
            pid: U64::new(u64::from(owner.identity.pid)),
            process_start: U64::new(owner.identity.start),
            boot: U64::new(owner.identity.boot),
            tid: U64::new(process::thread_id()),
            created_unix_ns: U64::new(ng_core::clock::precise_unix_ns()),
            config_hash: U64::new(owner.config_hash),
            ring: U64::new(owner.ring),
            tiers: places,
            thread: format::padded(owner.thread),
            build: format::padded(concat!("ng-blackbox ", env!("CARGO_PKG_VERSION"))),
            ..Fixed::new_zeroed()
        }
        .encode(owner.schema);
        file.write_all_at(&header, 0)?;
        file.write_all_at(&header, (bytes - format::FIXED_BYTES) as u64)?;
        let live = Region::new(&mapping, format::FIXED_BYTES, format::LIVE_BYTES / 8);
        if let Some(pair) = live[live::PAIRS..].first_chunk() {
            ring::write_pair(pair);
        }
        let word = |at: usize| format::FIXED_BYTES + at * 8;
        let tiers = Tier::ALL.map(|tier| {
            let place = places[tier as usize];
            #[expect(clippy::cast_possible_truncation, reason = "made from usize by format::plan")]
            let [anchors_at, slots_at, capacity] =
                [place.anchors_at, place.slots_at, place.capacity].map(|field| field.get() as usize);
            let pair = live::PAIRS + live::PAIR_WORDS * (1 + tier as usize * live::PAIRS_A_TIER);
            TierWords {
                head: Region::new(&mapping, word(live::HEADS[tier as usize]), 1),
                anchors: Region::new(
                    &mapping,
                    anchors_at,
                    format::anchors(tier, capacity) * format::ANCHOR_WORDS,
                ),
                slots: Region::new(&mapping, slots_at, capacity * format::slot_words(tier)),
                pairs: Region::new(&mapping, word(pair), live::PAIR_WORDS * live::PAIRS_A_TIER),
            }
        });
        fs::rename(temporary, path)?;
        Ok(Self { path: path.to_owned(), live, tiers })
    }

    /// How many records each tier was given, by [`Tier`].
    pub(crate) fn recorded(&self) -> [u64; 3] {
        let [operation, sampled, rare] = &self.tiers;
        [operation.recorded_slots::<32>(), sampled.recorded_slots::<1>(), rare.recorded_rare()]
    }

    /// The clock pair of its creation: ticks and nanoseconds since 1970.
    pub(crate) fn created(&self) -> (u64, u64) {
        (self.word(live::PAIRS), self.word(live::PAIRS + 1))
    }

    /// Whether the thread that wrote it has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.word(live::STATE) == live::ENDED
    }

    /// Says what became of the writer, with a last clock pair.
    pub(crate) fn set_state(&self, state: u64) {
        if let Some(pair) = self.tiers[Tier::Operation as usize].pairs.first_chunk() {
            ring::write_pair(pair);
        }
        self.set_word(live::STATE, state);
    }

    /// A word of the live page.
    pub(crate) fn word(&self, at: usize) -> u64 {
        u64::from_le(self.live[at].load(Ordering::Acquire))
    }

    /// Sets a word of the live page. Two threads that set the same word need a lock of their own.
    pub(crate) fn set_word(&self, at: usize, value: u64) {
        self.live[at].store(value.to_le(), Ordering::Release);
    }

    /// Leaves a panic mark. Callers hold a lock.
    pub(crate) fn mark(&self, what: u64, a: u64, b: u64) {
        let number = self.word(live::MARKS_TOTAL);
        let at = live::MARKS + live::mark_slot(number) * live::MARK_WORDS;
        let content = [what, ticks::now(), process::thread_id(), a, b, 0, 0];
        for (offset, word) in content.into_iter().enumerate() {
            self.set_word(at + offset, word);
        }
        self.set_word(at + content.len(), crate::seal::words(number + 1, content));
        self.set_word(live::MARKS_TOTAL, number + 1);
    }
}
