//! One slot: eight atomic words, and the protocol by which a reader sees a whole token or none.
//!
//! The address says domain and local id, so those 28 bits of the stored id are free. They hold
//! the slot's *generation*: even while it is empty, odd while it holds a token, never the same
//! twice. That makes the first word a sequence lock that costs no memory:
//!
//! ```text
//! word 0   bits 0–27 generation   28–31 entity type (15 on an empty slot: claimed)   32–63 weight
//! word 1   timestamp, flags, radius, strength
//! word 2…7 coordinates
//! ```
//!
//! A writer owns an empty slot (its range is its own, or it claimed the slot), writes words 1–7,
//! then word 0. A reader reads word 0, the rest, and word 0 again. Nothing here blocks.

use crate::sync::{AtomicU64, Ordering, fence};
use crate::token::Token;

/// The youngest generation that a token can have. After its deletion the slot is retired.
const LAST_LIVE: u32 = (1 << 28) - 3;
const GENERATION: u64 = (1 << 28) - 1;
const CLAIMED: u64 = 0xf << 28;

/// A slot. All zeros is empty, generation 0.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Slot([AtomicU64; 8]);

/// What a slot's first word says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head(u64);

impl Head {
    pub(super) const fn generation(self) -> u32 {
        (self.0 & GENERATION) as u32
    }

    pub(super) const fn is_live(self) -> bool {
        self.0 & 1 == 1
    }

    pub(super) const fn entity(self) -> u8 {
        (self.0 >> 28 & 0xf) as u8
    }

    /// Empty, not claimed, and young enough to be used again.
    pub(super) const fn is_free(self) -> bool {
        !self.is_live() && self.0 & CLAIMED == 0 && self.generation() < LAST_LIVE
    }
}

impl Slot {
    #[cfg(loom)]
    pub(super) fn new() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }

    #[inline]
    pub(super) fn head(&self) -> Head {
        Head(self.0[0].load(Ordering::Acquire))
    }

    /// Puts a token into an empty slot that the caller owns, with an odd `generation` younger
    /// than the slot's own.
    #[inline(always)]
    pub(super) fn publish(&self, token: &Token, generation: u32) {
        debug_assert!(generation % 2 == 1 && generation <= LAST_LIVE);
        let [first, a, b, c, d, e, f, g]: [u64; 8] = zerocopy::transmute!(*token);
        let entity = first >> 24 & 0xf;
        let head = first & !0xffff_ffff | entity << 28 | u64::from(generation);
        // Whoever sees one of the words below also sees that the slot was emptied before, so a
        // reader of the previous token finds a changed head and starts again.
        fence(Ordering::Release);
        // One by one: the compiler keeps a loop over atomics as a loop, and the token in memory.
        let [head_cell, rest @ ..] = &self.0;
        rest[0].store(a, Ordering::Relaxed);
        rest[1].store(b, Ordering::Relaxed);
        rest[2].store(c, Ordering::Relaxed);
        rest[3].store(d, Ordering::Relaxed);
        rest[4].store(e, Ordering::Relaxed);
        rest[5].store(f, Ordering::Relaxed);
        rest[6].store(g, Ordering::Relaxed);
        head_cell.store(head, Ordering::Release);
    }

    /// The whole token at this slot, or `None` while it is empty.
    #[inline]
    pub(super) fn read(&self, slot: u32) -> Option<(Token, u32)> {
        let (head, mut words) = self.read_words::<8>()?;
        let id = crate::token::TokenId::from_slot(slot, head.entity());
        words[0] = head.0 & !0xffff_ffff | u64::from(id.raw());
        Some((zerocopy::transmute!(words), head.generation()))
    }

    /// The first `N` words, of one token, or `None` while the slot is empty.
    #[inline(always)]
    pub(super) fn read_words<const N: usize>(&self) -> Option<(Head, [u64; N])> {
        loop {
            let before = self.head();
            if !before.is_live() {
                return None;
            }
            let mut words = [before.0; N];
            for (word, cell) in words.iter_mut().zip(&self.0).skip(1) {
                *word = cell.load(Ordering::Relaxed);
            }
            fence(Ordering::Acquire);
            if Head(self.0[0].load(Ordering::Relaxed)) == before {
                return Some((before, words));
            }
            #[cfg(loom)]
            loom::thread::yield_now();
        }
    }

    /// Makes an empty slot the caller's. Its generation stays.
    pub(super) fn claim(&self, seen: Head) -> bool {
        seen.is_free() && self.swap(seen, Head(seen.0 | CLAIMED))
    }

    /// Gives a claimed slot back as it was.
    pub(super) fn unclaim(&self) {
        let claimed = self.0[0].load(Ordering::Relaxed);
        self.0[0].store(claimed & GENERATION, Ordering::Release);
    }

    /// Takes out the token that `seen` shows; `false` if someone else changed the slot first.
    pub(super) fn remove(&self, seen: Head) -> bool {
        debug_assert!(seen.is_live());
        self.swap(seen, Head((seen.0 & GENERATION) + 1))
    }

    /// Makes an older slot the caller's, whatever it holds, so that a younger record can be put
    /// there by [`Self::publish`] or [`Self::empty_at`].
    pub(super) fn supersede(&self, seen: Head) -> bool {
        let claimed = !seen.is_live() && seen.0 & CLAIMED == CLAIMED;
        let even = (seen.0 & GENERATION).next_multiple_of(2);
        !claimed && self.swap(seen, Head(even | CLAIMED))
    }

    /// Leaves a claimed slot empty at an even `generation`.
    pub(super) fn empty_at(&self, generation: u32) {
        debug_assert!(generation.is_multiple_of(2));
        self.0[0].store(u64::from(generation), Ordering::Release);
    }

    fn swap(&self, from: Head, to: Head) -> bool {
        self.0[0].compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}
