//! The two words in which a lease's owner and the pool meet. Nothing here takes a lock, waits, or knows
//! the limit.
//!
//! | word | written by | holds |
//! |---|---|---|
//! | `spent` | the owner alone | bits 8–63: units taken less those released; bits 0–7: the units of the last take |
//! | `ceiling` | whoever holds the pool's lock | the most that `spent` may reach, or [`RECALLED`] |
//! | `floor` | the same | below it so much is unused that some goes back; [`RECALLED`] for never |
//!
//! The owner takes first and looks then: it stores the new `spent`, and it has the units if that is not
//! above its ceiling. Otherwise the take is *pending*, and the owner goes to the pool's lock, where it is
//! settled. With a fence between store and look on the owner's side and `sync::heavy` on the pool's,
//! either the owner sees that it is recalled or the pool sees what it took. Both may be; so the pool
//! counts what it saw, and under the lock a take that was counted stands, and one that was not is undone.
//! A `spent` above the ceiling that the pool accounts for can only be a pending take, and bits 0–7 say
//! how much of it that is ([`Words::committed`]); in all other cases nobody looks at them, so that a
//! release leaves them as they are. So no one ever waits for an owner, though its thread
//! sleeps between store and look.
//!
//! The ceiling stands in one of two cells. [`Words::try_take`] looks at the *quick* one behind a fence
//! for the compiler alone, which is enough where the heavy side is `membarrier(2)`. A lease that needs
//! more than that (a full fence on its own side, or a second look at a rate) has its ceiling in the
//! *careful* cell: it finds nothing in the quick one, and so the hot path needs no branch to tell the two
//! apart. Which cell it is may change while the lease is recalled, since both say the same then.

use crate::sync::{AtomicI64, Ordering, light_full, light_quick, point};
use std::sync::atomic::AtomicBool;

/// The most units that a limit, or a single request, may have: so that sums of shifted numbers
/// stay within 64 bits.
pub(super) const MAX_UNITS: i64 = 1 << 52;

/// The most units of a take that need not ask the pool.
pub(super) const MAX_QUICK: u64 = TAKE.cast_unsigned();

const SHIFT: u32 = 8;

/// The bits that say how much the last take was.
const TAKE: i64 = (1 << SHIFT) - 1;

/// A ceiling that nothing fits under, below any `spent` that limits up to [`MAX_UNITS`] allow.
const RECALLED: i64 = i64::MIN / 2;

/// On a cache line of its own (two, because x86 prefetches them in pairs): the owner writes it
/// hundreds of millions of times a second.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Words {
    spent: AtomicI64,
    quick: AtomicI64,
    floor: AtomicI64,
    careful: AtomicI64,
    /// Looked at and changed under the pool's lock alone.
    is_careful: AtomicBool,
    /// Units that it may hold unused.
    keep: i64,
}

impl Words {
    /// Of a lease that was never granted anything, and gives back what it has unused above `keep` units.
    pub(super) fn new(keep: i64) -> Self {
        let [quick, floor, careful] = [RECALLED; 3].map(AtomicI64::new);
        Self { spent: AtomicI64::new(0), quick, floor, careful, is_careful: AtomicBool::new(false), keep }
    }

    /// The cell in which the ceiling stands.
    fn ceiling(&self) -> &AtomicI64 {
        if self.is_careful() { &self.careful } else { &self.quick }
    }

    /// Whether [`Words::try_take`] never has anything.
    pub(super) fn is_careful(&self) -> bool {
        self.is_careful.load(Ordering::Relaxed)
    }

    /// Changes that, for a lease that is recalled.
    pub(super) fn set_careful(&self, careful: bool) {
        self.is_careful.store(careful, Ordering::Relaxed);
    }

    /// The owner takes `n` units, 1 to [`MAX_QUICK`], and learns whether it has them; otherwise the take
    /// is pending. A careful lease never has them at once.
    #[inline(always)]
    pub(super) fn try_take(&self, n: i64) -> bool {
        point();
        let before = self.spent.load(Ordering::Relaxed);
        let after = (before | TAKE) + ((n << SHIFT) + n - TAKE);
        self.spent.store(after, Ordering::Release);
        light_quick();
        let has = after <= self.quick.load(Ordering::Acquire);
        point();
        has
    }

    /// A second look of a pending take, for the owner of a careful lease.
    pub(super) fn has_carefully(&self) -> bool {
        light_full();
        self.spent.load(Ordering::Relaxed) <= self.careful.load(Ordering::Acquire)
    }

    /// The owner releases `n` units, and learns whether it now holds so many unused that it should go to
    /// the pool; never if it is recalled or careful. Room that appears late is never room given twice.
    #[inline(always)]
    pub(super) fn put_back(&self, n: i64) -> bool {
        point();
        let after = self.spent.load(Ordering::Relaxed) - (n << SHIFT);
        self.spent.store(after, Ordering::Release);
        after < self.floor.load(Ordering::Relaxed)
    }

    /// The owner has `n` units more (less, if below zero) whatever its ceiling says; it holds the pool's
    /// lock, and no take of it is pending afterwards.
    pub(super) fn take_granted(&self, n: i64) {
        let before = self.spent.load(Ordering::Relaxed) & !TAKE;
        self.spent.store(before + (n << SHIFT), Ordering::Release);
    }

    /// Units taken less units released, as of now, without those of a take that is pending by the
    /// `ceiling` that the pool accounts for.
    pub(super) fn committed(&self, ceiling: i64) -> i64 {
        let word = self.spent.load(Ordering::Acquire);
        let spent = word >> SHIFT;
        if spent > ceiling { spent - (word & TAKE) } else { spent }
    }

    /// Whether the owner's pending take is within the `ceiling` that the pool accounts for: then it was
    /// counted when the lease was recalled.
    pub(super) fn is_counted(&self, ceiling: i64) -> bool {
        self.spent.load(Ordering::Relaxed) >> SHIFT <= ceiling
    }

    /// Nothing fits from now on, as soon as the owner sees it.
    pub(super) fn recall(&self) {
        self.floor.store(RECALLED, Ordering::Relaxed);
        self.ceiling().store(RECALLED, Ordering::Release);
    }

    /// The owner may take until `spent` is `ceiling`.
    pub(super) fn set_ceiling(&self, ceiling: i64) {
        if !self.is_careful() {
            self.floor.store((ceiling - self.keep) << SHIFT, Ordering::Relaxed);
        }
        self.ceiling().store((ceiling << SHIFT) | TAKE, Ordering::Release);
    }
}
