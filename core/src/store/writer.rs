//! A lane's side of the store: it reserves slots, fills them or gives them back.
//!
//! Reserving a run of untouched slots costs a flag and a fence for the compiler; using a slot
//! again costs one compare-and-swap. Freed slots lie anywhere, so a batch takes many of them at once
//! ([`StoreWriter::reserve_freed`]) and shares all else. A writer takes the store's lock once for
//! up to 4,096 tokens.

use super::freed::{FreedSlot, Tally};
use super::ranges::{Owner, RANGE_SLOTS};
use super::slot::Head;
use super::{StoreError, TokenStore};
use crate::sync::Ordering;
use crate::token::{Token, TokenId};
use std::sync::Arc;

/// How many of its own deletions a writer remembers; the store finds the others by itself.
const OWN_FREE: usize = RANGE_SLOTS as usize;

/// One thread's writing side of a [`TokenStore`], in one domain.
///
/// Dropping it leaves its unused slots to the others; a leaked one's are taken when the domain
/// is otherwise full.
#[derive(Debug)]
pub struct StoreWriter {
    pub(super) store: Arc<TokenStore>,
    pub(super) owner: Arc<Owner>,
    pub(super) domain: u8,
    pub(super) next: u32,
    pub(super) end: u32,
    pub(super) free: Vec<u32>,
    /// Of the [`Freed`](super::Freed) that exists.
    pub(super) claimed: Vec<FreedSlot>,
    pub(super) created: u64,
    removed: u64,
}

/// Slots that are the writer's until they are published or given back (by dropping this).
///
/// While it exists, whoever wants the rest of the writer's range waits, and so does
/// [`TokenStore::quiesce`].
#[derive(Debug)]
#[must_use = "dropping a run gives its slots back"]
pub struct Run<'w> {
    writer: &'w mut StoreWriter,
    place: Place,
    published: u32,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    first: u32,
    len: u32,
    generation: u32,
    claimed: bool,
}

/// A live token that was looked at and may be removed.
#[derive(Debug, Clone, Copy)]
pub struct Live {
    id: TokenId,
    head: Head,
}

impl Live {
    /// The token's id.
    #[must_use]
    pub const fn id(&self) -> TokenId {
        self.id
    }

    /// The generation that the slot will have once this token is removed.
    #[must_use]
    pub const fn generation_after(&self) -> u32 {
        self.head.generation() + 1
    }
}

impl StoreWriter {
    pub(super) fn new(store: Arc<TokenStore>, owner: Arc<Owner>, domain: u8) -> Self {
        Self {
            store,
            owner,
            domain,
            next: 0,
            end: 0,
            free: Vec::new(),
            claimed: Vec::new(),
            created: 0,
            removed: 0,
        }
    }

    /// The store.
    #[must_use]
    pub const fn store(&self) -> &Arc<TokenStore> {
        &self.store
    }

    /// The domain whose slots this writer fills.
    #[must_use]
    pub const fn domain(&self) -> u8 {
        self.domain
    }

    /// Reserves 1 to `n` slots in a row, of the store's choice. Freed slots come first, one at a
    /// time; then untouched ones.
    ///
    /// # Errors
    /// [`StoreError::Full`] if not one slot of the domain is free, [`StoreError::NoMemory`] if
    /// the system has none.
    #[inline]
    pub fn reserve(&mut self, n: u32) -> Result<Run<'_>, StoreError> {
        let place = if self.free.is_empty() && self.next < self.end && self.owner.enter(self.range()) {
            self.untouched(n)
        } else {
            self.reserve_slowly(n)?
        };
        Ok(Run { writer: self, place, published: 0 })
    }

    /// Reserves the slot of an id that the caller chose, in any domain.
    ///
    /// # Errors
    /// [`StoreError::Taken`] if a token is there or is being put there, [`StoreError::Beyond`] if
    /// the store has no such slot, [`StoreError::NoMemory`] if the system has none.
    pub fn reserve_at(&mut self, id: TokenId) -> Result<Run<'_>, StoreError> {
        let slot = id.slot();
        self.store.open_for(slot)?;
        let taken = StoreError::Taken { id };
        let place = self.claim_at_work(slot).ok_or(taken)?;
        Ok(Run { writer: self, place, published: 0 })
    }

    /// The live token with this very id, entity type included.
    #[must_use]
    pub fn look(&self, id: TokenId) -> Option<Live> {
        let head = self.store.slot(id.slot())?.head();
        (head.is_live() && head.entity() == id.entity()).then_some(Live { id, head })
    }

    /// Says that a removal is about to be logged: until [`Self::end_removal`],
    /// [`TokenStore::quiesce`] waits for it. Not while a run exists, which says so by itself.
    #[inline(always)]
    pub fn begin_removal(&mut self) {
        self.owner.begin();
    }

    /// The removal is done, or given up.
    #[inline(always)]
    pub fn end_removal(&mut self) {
        self.owner.end_removal();
    }

    /// Removes a token that [`Self::look`] found; `false` if someone else was faster.
    pub fn remove(&mut self, live: Live) -> bool {
        self.remove_all(&[Some(live)], |_| ()) == 1
    }

    /// Removes tokens that [`Self::look`] found, calls `gone` for each that is gone by this, and
    /// returns how many: the others someone else removed first.
    pub fn remove_all(&mut self, live: &[Option<Live>], mut gone: impl FnMut(Live)) -> u64 {
        let before = self.removed;
        let mut freed = Tally::default();
        for live in live.iter().flatten() {
            let slot = live.id.slot();
            let removed = self.store.slot(slot).is_some_and(|cell| cell.remove(live.head));
            if removed {
                freed.add(slot, |slot, n| self.store.freed(slot, n));
                if self.free.len() < OWN_FREE && live.id.domain() == self.domain {
                    self.free.push(slot);
                }
                self.removed += 1;
                gone(*live);
            }
        }
        freed.end(|slot, n| self.store.freed(slot, n));
        self.owner.removed.store(self.removed, Ordering::Release);
        self.removed - before
    }

    #[inline(always)]
    fn range(&self) -> u32 {
        self.end.wrapping_sub(RANGE_SLOTS)
    }

    /// After `owner.enter` said yes.
    #[inline(always)]
    fn untouched(&self, n: u32) -> Place {
        Place { first: self.next, len: n.min(self.end - self.next), generation: 1, claimed: false }
    }

    #[cold]
    fn reserve_slowly(&mut self, n: u32) -> Result<Place, StoreError> {
        loop {
            while let Some(slot) = self.free.pop() {
                if let Some(place) = self.claim_at_work(slot) {
                    return Ok(place);
                }
            }
            if self.next < self.end {
                if self.owner.enter(self.range()) {
                    return Ok(self.untouched(n));
                }
                // Someone needed the rest of the range.
                (self.next, self.end) = (0, 0);
            }
            Arc::clone(&self.store).refill(self)?;
        }
    }

    /// Claims a slot, and is at work from before that on; not if it is taken.
    fn claim_at_work(&self, slot: u32) -> Option<Place> {
        self.owner.begin();
        let place = self.claim(slot);
        if place.is_none() {
            self.owner.leave();
        }
        place
    }

    fn claim(&self, slot: u32) -> Option<Place> {
        let cell = self.store.slot(slot)?;
        let seen = cell.head();
        cell.claim(seen).then(|| {
            self.store.range(slot).take_hole();
            Place { first: slot, len: 1, generation: seen.generation() + 1, claimed: true }
        })
    }

    /// Takes a range from the store, under its lock.
    pub(super) fn begin(&mut self, range: u32) {
        self.owner.give(range);
        (self.next, self.end) = (range, range + RANGE_SLOTS);
    }

    #[cold]
    pub(super) fn unclaim(&mut self, slot: u32) {
        if let Some(cell) = self.store.slot(slot) {
            cell.unclaim();
            self.store.freed(slot, 1);
            self.free.push(slot);
        }
    }
}

impl Drop for StoreWriter {
    fn drop(&mut self) {
        // A panic may have come between the beginning and the end of a removal.
        self.owner.leave();
        self.store.retire(&self.owner);
    }
}

impl Run<'_> {
    /// The first slot.
    #[must_use]
    #[inline(always)]
    pub const fn first(&self) -> u32 {
        self.place.first
    }

    /// How many slots in a row; at least 1.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a run is never empty")]
    #[inline(always)]
    pub const fn len(&self) -> u32 {
        self.place.len
    }

    /// The generation that tokens published here get: 1 on slots that were never used.
    #[must_use]
    #[inline(always)]
    pub const fn generation(&self) -> u32 {
        self.place.generation
    }

    /// Fills the first `n` slots with `token(0)`, `token(1)`, … and gives the others back. From
    /// then on every thread sees these tokens. What a token says of its own domain and local id
    /// is ignored: the slot says it.
    ///
    /// # Panics
    /// If `n` is more than [`Self::len`], or `token` panics; the slots are given back then.
    #[inline(always)]
    pub fn publish(mut self, n: u32, mut token: impl FnMut(u32) -> Token) {
        let Place { first, len, generation, .. } = self.place;
        assert!(n <= len, "a run of {len} slots can't take {n} tokens");
        if let Some(cells) = self.writer.store.run(first, n) {
            for (i, cell) in (0..).zip(cells) {
                cell.publish(&token(i), generation);
                // Counted one by one, so that a panic in `token` leaves no slot in between.
                self.published = i + 1;
            }
        }
    }
}

impl Drop for Run<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        let Place { first, claimed, .. } = self.place;
        let writer = &mut *self.writer;
        if claimed {
            if self.published == 0 {
                writer.unclaim(first);
            }
        } else {
            writer.next = first + self.published;
            writer.owner.advance(writer.next);
        }
        writer.owner.leave();
        writer.created += u64::from(self.published);
        writer.owner.created.store(writer.created, Ordering::Release);
    }
}
