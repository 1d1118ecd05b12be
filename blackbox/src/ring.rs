//! One tier of one ring: how its only writer fills it, and how anyone counts it meanwhile.
//!
//! A writer does `anchor; head = first record of the block (Release); fence(Release)` before the
//! first record of a block, and for each record three plain stores and the sealed sequence word
//! (Release). So whoever reads a word of record m, passes an acquire fence and *then* reads the
//! head, sees at least m's block; and every record outside the lap that ends with the head's block
//! may have been overwritten under his eyes and is not shown. That is all the protocol: the writer
//! never waits, and reads nothing but its own variables.

#[cfg(not(loom))]
use crate::format::live;
use crate::format::{ANCHOR_WORDS, NOTE_BYTES, RARE_WORDS, SLOT_WORDS};
use crate::region::{Region, Window};
#[cfg(not(loom))]
use crate::sync::AtomicU64;
use crate::sync::{Ordering, fence};
use crate::{seal, ticks};

/// How far apart two clock pairs of a tier are at least, in ticks: 0.1 s at 2.7 GHz.
#[cfg_attr(loom, allow(dead_code, reason = "a model has no clock"))]
const PAIR_EVERY: u64 = 1 << 28;

/// The words of one tier.
#[derive(Debug, Clone)]
pub(crate) struct TierWords {
    /// One word.
    pub(crate) head: Region,
    pub(crate) anchors: Region,
    pub(crate) slots: Region,
    /// The clock pairs that this tier's writer refreshes.
    pub(crate) pairs: Region,
}

/// What all tiers of a ring share: numbers, blocks, anchors.
#[derive(Debug)]
struct Writer<const WORDS: usize, const BLOCK: usize> {
    head: Region,
    anchors: Region,
    #[cfg_attr(loom, allow(dead_code, reason = "a model has no clock"))]
    pairs: Region,
    /// The slots of the block that `next` is in.
    block: Window<WORDS, BLOCK>,
    next: u64,
    #[cfg_attr(loom, allow(dead_code, reason = "a model has no clock"))]
    last_pair: u64,
    #[cfg_attr(loom, allow(dead_code, reason = "a model has no clock"))]
    pairs_written: usize,
}

impl<const WORDS: usize, const BLOCK: usize> Writer<WORDS, BLOCK> {
    fn new(words: TierWords) -> Self {
        let TierWords { head, anchors, slots, pairs } = words;
        let block = Window::new(slots);
        Self { head, anchors, pairs, block, next: 0, last_pair: ticks::now(), pairs_written: 0 }
    }

    #[inline(never)]
    fn begin_block(&mut self) {
        let now = ticks::now();
        let anchors = self.anchors.as_chunks::<ANCHOR_WORDS>().0;
        let number = self.next / BLOCK as u64;
        self.block.turn(number);
        #[expect(clippy::cast_possible_truncation, reason = "masked by the number of anchors")]
        let index = number as usize & anchors.len().wrapping_sub(1);
        if let Some([when, number]) = anchors.get(index) {
            when.store(now.to_le(), Ordering::Relaxed);
            number.store(seal::words(self.next, [now]).to_le(), Ordering::Relaxed);
        }
        if let Some(head) = self.head.first() {
            head.store(self.next.to_le(), Ordering::Release);
        }
        fence(Ordering::Release);
        #[cfg(not(loom))]
        if now.wrapping_sub(self.last_pair) > PAIR_EVERY {
            self.refresh_pair(now);
        }
    }

    #[cfg(not(loom))]
    #[cold]
    fn refresh_pair(&mut self, now: u64) {
        let pairs = self.pairs.as_chunks::<{ live::PAIR_WORDS }>().0;
        if let Some(pair) = pairs.get(self.pairs_written % pairs.len().max(1)) {
            write_pair(pair);
        }
        self.last_pair = now;
        self.pairs_written += 1;
    }
}

/// Writes what the counter and the system's clock say now.
#[cfg(not(loom))]
pub(crate) fn write_pair([when, unix, sealed, _spare]: &[AtomicU64; live::PAIR_WORDS]) {
    let unix_ns = ng_core::clock::precise_unix_ns();
    let now = ticks::now();
    when.store(now.to_le(), Ordering::Relaxed);
    unix.store(unix_ns.to_le(), Ordering::Relaxed);
    sealed.store(seal::words(1, [now, unix_ns]).to_le(), Ordering::Release);
}

/// The only writer of a tier of 32-byte slots; `BLOCK` records share one reading of the clock.
#[derive(Debug)]
pub(crate) struct SlotWriter<const BLOCK: usize>(Writer<SLOT_WORDS, BLOCK>);

impl<const BLOCK: usize> SlotWriter<BLOCK> {
    pub(crate) fn new(words: TierWords) -> Self {
        Self(Writer::new(words))
    }

    #[inline(always)]
    pub(crate) fn push(&mut self, meta: u64, a: u64, b: u64) {
        let sequence = self.0.next;
        #[expect(clippy::cast_possible_truncation, reason = "below the size of a block")]
        let at = (sequence % BLOCK as u64) as usize;
        if at == 0 {
            self.0.begin_block();
        }
        let [first, second, third, sealed] = &self.0.block[at];
        first.store(a.to_le(), Ordering::Relaxed);
        second.store(b.to_le(), Ordering::Relaxed);
        third.store(meta.to_le(), Ordering::Relaxed);
        sealed.store(seal::record(sequence, a, b, meta).to_le(), Ordering::Release);
        self.0.next = sequence + 1;
    }
}

/// A record as its own writer finds it again.
#[cfg(not(loom))]
pub(crate) struct Own {
    pub(crate) a: u64,
    pub(crate) b: u64,
    pub(crate) meta: u64,
    /// When its block began, and the next one; `None` if its is the last.
    pub(crate) ticks: (u64, Option<u64>),
}

#[cfg(not(loom))]
impl<const BLOCK: usize> SlotWriter<BLOCK> {
    /// The last `most` records that are still there, the latest first. Nobody writes meanwhile: the
    /// writer is borrowed.
    pub(crate) fn recent(&self, most: usize) -> impl Iterator<Item = Own> {
        let Writer { anchors, block, next, .. } = &self.0;
        let slots = block.region().as_chunks::<SLOT_WORDS>().0;
        let anchors = anchors.as_chunks::<ANCHOR_WORDS>().0;
        let word = |word: &AtomicU64| u64::from_le(word.load(Ordering::Relaxed));
        #[expect(clippy::cast_possible_truncation, reason = "taken modulo a length")]
        let anchor =
            move |block: u64| anchors.get(block as usize % anchors.len()).map(|[when, _]| word(when));
        let least = next.saturating_sub(most.min(slots.len()) as u64);
        (least..*next).rev().filter_map(move |sequence| {
            let block = sequence / BLOCK as u64;
            #[expect(clippy::cast_possible_truncation, reason = "taken modulo a length")]
            let [a, b, meta, _] = slots.get(sequence as usize % slots.len())?;
            let after = if (block + 1) * (BLOCK as u64) < *next { anchor(block + 1) } else { None };
            Some(Own { a: word(a), b: word(b), meta: word(meta), ticks: (anchor(block)?, after) })
        })
    }
}

/// The only writer of a tier of 256-byte slots with notes.
#[derive(Debug)]
pub(crate) struct RareWriter(Writer<RARE_WORDS, 1>);

impl RareWriter {
    pub(crate) fn new(words: TierWords) -> Self {
        Self(Writer::new(words))
    }

    /// Writes a record; bytes of the note beyond [`NOTE_BYTES`] are cut.
    pub(crate) fn push(&mut self, meta: u64, a: u64, b: u64, note: &[u8]) {
        let note = &note[..note.len().min(NOTE_BYTES)];
        let meta = meta | (note.len() as u64) << 32;
        let sequence = self.0.next;
        self.0.begin_block();
        let [[content @ .., sealed]] = &*self.0.block;
        let sealed_as = seal::words(
            sequence,
            [a, b, meta].into_iter().chain(note_words(note)).zip(content).map(|(word, slot)| {
                slot.store(word.to_le(), Ordering::Relaxed);
                word
            }),
        );
        sealed.store(sealed_as.to_le(), Ordering::Release);
        self.0.next = sequence + 1;
    }
}

/// A note as words, the last one filled up with zeros.
pub(crate) fn note_words(note: &[u8]) -> impl Iterator<Item = u64> {
    note.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    })
}

impl TierWords {
    /// How many records of the operation or sampled tier were written: exact when the writer
    /// rests, at most a block behind while it writes, never less than at an earlier call.
    pub(crate) fn recorded_slots<const BLOCK: usize>(&self) -> u64 {
        let slots = self.slots.as_chunks::<SLOT_WORDS>().0;
        self.recorded::<BLOCK>(|sequence| {
            #[expect(clippy::cast_possible_truncation, reason = "masked by the number of slots")]
            let slot = slots.get(sequence as usize & slots.len().wrapping_sub(1));
            slot.is_some_and(|[a, b, meta, sealed]| {
                let sealed = u64::from_le(sealed.load(Ordering::Acquire));
                let [a, b, meta] = [a, b, meta].map(|word| u64::from_le(word.load(Ordering::Relaxed)));
                seal::record(sealed, a, b, meta) == sequence
            })
        })
    }

    /// The same of the rare tier.
    pub(crate) fn recorded_rare(&self) -> u64 {
        let slots = self.slots.as_chunks::<RARE_WORDS>().0;
        self.recorded::<1>(|sequence| {
            #[expect(clippy::cast_possible_truncation, reason = "masked by the number of slots")]
            let slot = slots.get(sequence as usize & slots.len().wrapping_sub(1));
            slot.is_some_and(|[content @ .., sealed]| {
                let sealed = u64::from_le(sealed.load(Ordering::Acquire));
                let word = |at: usize| u64::from_le(content[at].load(Ordering::Relaxed));
                let used = 3 + ((word(2) >> 32) as usize).min(NOTE_BYTES).div_ceil(8);
                seal::words(sealed, (0..used).map(word)) == sequence
            })
        })
    }

    fn recorded<const BLOCK: usize>(&self, holds: impl Fn(u64) -> bool) -> u64 {
        let Some(head) = self.head.first() else { return 0 };
        let load = || u64::from_le(head.load(Ordering::Acquire));
        let begun = load();
        let written = (begun..begun + BLOCK as u64).take_while(|&sequence| holds(sequence)).count() as u64;
        fence(Ordering::Acquire);
        let still = load();
        // If the head moved, slots of its old block may belong to another lap by now; but then all
        // of that block was written, so the new head is at least what any earlier call answered.
        if still == begun { begun + written } else { still }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::region::Mapping;
    use proptest::prelude::*;
    use std::collections::VecDeque;
    use std::sync::Arc;

    fn words(slots: usize, slot_words: usize, block: usize) -> TierWords {
        let file = tempfile::tempfile().unwrap();
        let mapping = Arc::new(Mapping::create(&file, 1 << 20).unwrap());
        TierWords {
            head: Region::new(&mapping, 0, 1),
            pairs: Region::new(&mapping, 64, 16),
            anchors: Region::new(&mapping, 4096, slots / block * 2),
            slots: Region::new(&mapping, 65536, slots * slot_words),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_ring_holds_the_last_lap_like_a_queue(events: Vec<(u16, u64, u64)>, laps in 1usize..6) {
            let words = words(64, SLOT_WORDS, 32);
            let mut ring = SlotWriter::<32>::new(words.clone());
            let mut model = VecDeque::new();
            for &(kind, a, b) in std::iter::repeat_n(&events, laps).flatten() {
                ring.push(u64::from(kind), a, b);
                model.push_back((u64::from(kind), a, b));
                if model.len() > 64 {
                    model.pop_front();
                }
                let total = words.recorded_slots::<32>();
                prop_assert_eq!(total, ring.0.next);
            }
            let first = ring.0.next - model.len() as u64;
            let slots = words.slots.as_chunks::<SLOT_WORDS>().0;
            for (sequence, &(kind, a, b)) in (first..).zip(&model) {
                let slot = &slots[(sequence % 64) as usize];
                let [x, y, meta, sealed] =
                    std::array::from_fn(|at| u64::from_le(slot[at].load(Ordering::Relaxed)));
                prop_assert_eq!((meta, x, y), (kind, a, b));
                prop_assert_eq!(seal::record(sealed, x, y, meta), sequence);
            }
        }

        #[test]
        fn rare_records_are_counted_with_any_note(notes in prop::collection::vec(any::<Vec<u8>>(), 0..80)) {
            let words = words(16, RARE_WORDS, 1);
            let mut ring = RareWriter::new(words.clone());
            for (at, note) in notes.iter().enumerate() {
                ring.push(7, 1, 2, note);
                prop_assert_eq!(words.recorded_rare(), at as u64 + 1);
            }
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::thread;

    fn words() -> TierWords {
        TierWords {
            head: Region::zeros(1),
            pairs: Region::zeros(0),
            anchors: Region::zeros(4),
            slots: Region::zeros(2 * SLOT_WORDS),
        }
    }

    /// Two slots, three records: the last overwrites the first while it is read. What the reader
    /// takes, by the word that it read first and by the head that it read last, is whole. The
    /// seal's mix is left out of the judgement: order alone must do.
    #[test]
    fn loom_a_record_within_the_lap_of_the_head_is_whole() {
        loom::model(|| {
            let words = words();
            let mut ring = SlotWriter::<1>::new(words.clone());
            ring.push(10, 100, 1_000);
            let writer = thread::spawn(move || {
                ring.push(11, 101, 1_001);
                ring.push(12, 102, 1_002);
            });
            let [a, b, meta, sealed] = &words.slots.as_chunks::<SLOT_WORDS>().0[0];
            let sealed = sealed.load(Ordering::Acquire);
            let [a, b, meta] = [a, b, meta].map(|word| word.load(Ordering::Relaxed));
            fence(Ordering::Acquire);
            let head = words.head[0].load(Ordering::Relaxed);
            let written = (0..3u64)
                .find(|n| sealed == seal::record(*n, 100 + n, 1_000 + n, 10 + n))
                .expect("the seal is one that was written");
            // One record a block, two slots: the lap that ends with the head's block.
            if written + 2 > head {
                assert_eq!((a, b, meta), (100 + written, 1_000 + written, 10 + written));
            }
            writer.join().unwrap();
        });
    }

    #[test]
    fn loom_a_count_never_goes_back_and_ends_exact() {
        // Three preemptions take seconds; without a bound the model takes more than five minutes.
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(|| {
            let words = words();
            let mut ring = SlotWriter::<1>::new(words.clone());
            let writer = thread::spawn(move || (0..3).for_each(|n| ring.push(1, n, n)));
            let first = words.recorded_slots::<1>();
            let second = words.recorded_slots::<1>();
            assert!(first <= second && second <= 3);
            writer.join().unwrap();
            assert_eq!(words.recorded_slots::<1>(), 3);
        });
    }
}
