//! The two words in which a lease's owner and the pool meet. Nothing here takes a lock, waits for
//! a lock's holder, or knows the limit.
//!
//! | word | written by | holds |
//! |---|---|---|
//! | `spent` | the owner alone | twice the units taken less those released; bit 0 is *busy* |
//! | `ceiling` | whoever holds the pool's lock | twice the most that `spent` may reach, or [`RECALLED`] |
//!
//! Bit 0 is set from before the owner looks at its ceiling until after it has taken. With a fence
//! between the two on the owner's side and `sync::heavy` on the pool's, either the owner sees that
//! it is recalled or the pool sees that it is busy, and waits.
//!
//! The ceiling stands in one of two cells, chosen when the lease is opened. [`Words::try_take`]
//! looks at the *quick* one behind a fence for the compiler alone, which is enough where the heavy
//! side is `membarrier(2)`. A lease that needs more than that (a full fence on its own side, or a
//! second look at a rate) has its ceiling in the *careful* cell: it finds nothing in the quick one,
//! and so the hot path needs no branch to tell the two apart.

use crate::sync::{AtomicI64, Ordering, light_full, light_quick, point, yield_now};

/// The most units that a limit, or a single request, may have: so that sums of doubled numbers
/// stay within 64 bits.
pub(super) const MAX_UNITS: i64 = 1 << 60;

const BUSY: i64 = 1;

/// A ceiling that nothing fits under, below any `spent` that limits up to [`MAX_UNITS`] allow.
const RECALLED: i64 = i64::MIN / 2;

/// On a cache line of its own (two, because x86 prefetches them in pairs): the owner writes it
/// hundreds of millions of times a second.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Words {
    spent: AtomicI64,
    quick: AtomicI64,
    careful: AtomicI64,
    is_careful: bool,
}

impl Words {
    /// Of a lease that was never granted anything.
    pub(super) fn new(is_careful: bool) -> Self {
        let [quick, careful] = [RECALLED; 2].map(AtomicI64::new);
        Self { spent: AtomicI64::new(0), quick, careful, is_careful }
    }

    /// The cell in which the ceiling stands.
    fn ceiling(&self) -> &AtomicI64 {
        if self.is_careful { &self.careful } else { &self.quick }
    }

    /// The owner of a quick lease takes `n` units if they fit under its ceiling; that of a careful
    /// one never does.
    #[inline(always)]
    pub(super) fn try_take(&self, n: i64) -> bool {
        point();
        let before = self.spent.load(Ordering::Relaxed);
        self.spent.store(before | BUSY, Ordering::Relaxed);
        light_quick();
        self.finish_take(before, n, &self.quick)
    }

    /// The owner of a careful lease takes `n` units if they fit under its ceiling; that of a quick
    /// one never does.
    pub(super) fn try_take_carefully(&self, n: i64) -> bool {
        let before = self.spent.load(Ordering::Relaxed);
        self.spent.store(before | BUSY, Ordering::Relaxed);
        light_full();
        self.finish_take(before, n, &self.careful)
    }

    #[inline(always)]
    fn finish_take(&self, before: i64, n: i64, ceiling: &AtomicI64) -> bool {
        let after = before + 2 * n;
        // Two branches, not one store of either value: what is taken next must not wait for this
        // load.
        if after <= ceiling.load(Ordering::Acquire) {
            point();
            self.spent.store(after, Ordering::Release);
            true
        } else {
            point();
            self.spent.store(before, Ordering::Release);
            false
        }
    }

    /// The owner releases `n` units, and learns twice how many it now holds unused; less than 0 if it
    /// is recalled or careful. Needs no busy bit: room that appears late is never room given twice.
    #[inline(always)]
    pub(super) fn put_back(&self, n: i64) -> i64 {
        point();
        let after = self.spent.load(Ordering::Relaxed) - 2 * n;
        self.spent.store(after, Ordering::Release);
        self.quick.load(Ordering::Relaxed) - after
    }

    /// The owner takes `n` units whatever its ceiling says; it holds the pool's lock and raises
    /// the ceiling next.
    pub(super) fn take_granted(&self, n: i64) {
        let before = self.spent.load(Ordering::Relaxed);
        self.spent.store(before + 2 * n, Ordering::Release);
    }

    /// Units taken less units released, as of now.
    pub(super) fn spent(&self) -> i64 {
        self.spent.load(Ordering::Acquire) >> 1
    }

    /// Waits until the owner is in no take that began before the recall. Called after
    /// [`Words::recall`] and `sync::heavy`. The wait is a few instructions long, or as long as
    /// the owner's thread is off its core.
    pub(super) fn settle(&self) {
        while self.spent.load(Ordering::Acquire) & BUSY != 0 {
            point();
            yield_now();
        }
    }

    /// Nothing fits from now on, as soon as the owner sees it.
    pub(super) fn recall(&self) {
        self.ceiling().store(RECALLED, Ordering::Release);
    }

    /// The owner may take until `spent` is `ceiling`.
    pub(super) fn set_ceiling(&self, ceiling: i64) {
        self.ceiling().store(2 * ceiling, Ordering::Release);
    }
}
