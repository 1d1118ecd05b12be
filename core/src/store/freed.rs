//! Slots that held tokens before, many at once: they lie anywhere, so each is claimed by a
//! compare-and-swap of its own, and all else is shared. It finds none: the store does.

use super::ranges::RANGE_SLOTS;
use super::{StoreWriter, TokenStore};
use crate::sync::Ordering;
use crate::token::Token;

/// One of [`Freed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FreedSlot {
    /// The slot.
    pub slot: u32,
    /// The generation that a token published here gets.
    pub generation: u32,
}

/// Slots that held tokens before, in the order of their numbers as far as the store finds them so.
/// They are the writer's until they are published or given back (by dropping this).
///
/// While it exists, [`TokenStore::quiesce`] waits.
#[derive(Debug)]
#[must_use = "dropping it gives the slots back"]
pub struct Freed<'w> {
    writer: &'w mut StoreWriter,
    published: usize,
}

impl StoreWriter {
    /// Whether this writer knows of freed slots, which may be used again by now.
    #[must_use]
    #[inline(always)]
    pub const fn knows_freed(&self) -> bool {
        !self.free.is_empty()
    }

    /// Reserves up to `n` freed slots that this writer knows of; `None` if it knows of none, which does
    /// not mean that there are none: [`Self::reserve`] looks for more.
    pub fn reserve_freed(&mut self, n: usize) -> Option<Freed<'_>> {
        let Self { store, owner, free, claimed, .. } = self;
        claimed.clear();
        claimed.reserve(n);
        owner.begin();
        while claimed.len() < n
            && let Some(slot) = free.pop()
        {
            if let Some(cell) = store.slot(slot) {
                let seen = cell.head();
                if cell.claim(seen) {
                    claimed.push(FreedSlot { slot, generation: seen.generation() + 1 });
                }
            }
        }
        if claimed.is_empty() {
            owner.leave();
            return None;
        }
        store.took(claimed);
        Some(Freed { writer: self, published: 0 })
    }
}

impl TokenStore {
    fn took(&self, claimed: &[FreedSlot]) {
        let mut taken = Tally::default();
        for claimed in claimed {
            taken.add(claimed.slot, |slot, n| self.range(slot).take_holes(n));
        }
        taken.end(|slot, n| self.range(slot).take_holes(n));
    }
}

/// Counts slots range by range, so that many in a range cost what one does.
#[derive(Debug, Default)]
pub(super) struct Tally {
    slot: u32,
    n: u32,
}

impl Tally {
    /// One more; `tell` hears of those of another range that came before.
    #[inline(always)]
    pub(super) fn add(&mut self, slot: u32, tell: impl FnOnce(u32, u32)) {
        if self.n > 0 && self.slot / RANGE_SLOTS != slot / RANGE_SLOTS {
            tell(self.slot, self.n);
            self.n = 0;
        }
        self.slot = slot;
        self.n += 1;
    }

    /// Tells of the last ones.
    #[inline(always)]
    pub(super) fn end(self, tell: impl FnOnce(u32, u32)) {
        if self.n > 0 {
            tell(self.slot, self.n);
        }
    }
}

impl Freed<'_> {
    /// The slots; at least 1.
    #[must_use]
    #[inline(always)]
    pub fn slots(&self) -> &[FreedSlot] {
        &self.writer.claimed
    }

    /// Fills the first `n` slots with what `token` says for an index and its slot; the others are given
    /// back when this is dropped. From then on every thread sees these tokens. What a token says of its
    /// own domain and local id is ignored: the slot says it.
    ///
    /// # Panics
    /// If `n` is more than there are slots, some were filled before, or `token` panics.
    #[inline(always)]
    pub fn publish(&mut self, n: usize, mut token: impl FnMut(usize, u32) -> Token) {
        assert!(self.published == 0, "{} slots are filled already", self.published);
        for (i, FreedSlot { slot, generation }) in self.writer.claimed[..n].iter().enumerate() {
            if let Some(cell) = self.writer.store.slot(*slot) {
                cell.publish(&token(i, *slot), *generation);
                // Counted one by one, so that a panic in `token` leaves no slot in between.
                self.published = i + 1;
            }
        }
    }
}

impl Drop for Freed<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        let writer = &mut *self.writer;
        for at in self.published..writer.claimed.len() {
            writer.unclaim(writer.claimed[at].slot);
        }
        writer.owner.leave();
        writer.created += self.published as u64;
        writer.owner.created.store(writer.created, Ordering::Release);
    }
}
