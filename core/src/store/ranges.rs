//! Who fills which ids. Lanes take ranges of free ids, so that they never meet; a range that a
//! lane has left is *open*: its holes are claimed slot by slot.
//!
//! ```text
//! untouched ──a lane takes it──▶ owned ──filled, left or revoked──▶ open
//!     └──────────────a caller brings an id of its own────────────────▲
//! ```
//!
//! Only the owner writes the untouched slots of an owned range, with plain stores. Whoever needs
//! one of them (a caller's own id, the last free slots of a domain) revokes the range first:
//! that is the one place where a lane is waited for, and it pays a flag for it.

use super::chunk::CHUNK_SLOTS;
use crate::fence;
use crate::sync::{AtomicU8, AtomicU32, AtomicU64, Ordering};

/// Slots in a range.
pub(super) const RANGE_SLOTS: u32 = {
    #[expect(clippy::cast_possible_truncation, reason = "2^15 at most")]
    let chunk = CHUNK_SLOTS as u32;
    if chunk > 4096 { 4096 } else { chunk / 2 }
};

const UNTOUCHED: u8 = 0;
const OWNED: u8 = 1;
const OPEN: u8 = 2;

/// What a range is. See the module's picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RangeState {
    Untouched,
    Owned,
    Open,
}

/// One range's state and how many of its slots may be claimed.
#[derive(Debug)]
pub(super) struct Range {
    state: AtomicU8,
    // Signed: a claim may be counted before the deletion that it follows.
    holes: AtomicU32,
}

impl Range {
    pub(super) fn new() -> Self {
        Self { state: AtomicU8::new(UNTOUCHED), holes: AtomicU32::new(0) }
    }

    #[inline]
    pub(super) fn state(&self) -> RangeState {
        match self.state.load(Ordering::Acquire) {
            UNTOUCHED => RangeState::Untouched,
            OWNED => RangeState::Owned,
            _ => RangeState::Open,
        }
    }

    pub(super) fn holes(&self) -> u32 {
        let holes = self.holes.load(Ordering::Relaxed);
        if holes > RANGE_SLOTS { 0 } else { holes }
    }

    pub(super) fn add_holes(&self, n: u32) {
        self.holes.fetch_add(n, Ordering::Relaxed);
    }

    pub(super) fn take_hole(&self) {
        self.take_holes(1);
    }

    pub(super) fn take_holes(&self, n: u32) {
        self.holes.fetch_sub(n, Ordering::Relaxed);
    }

    /// Under the store's lock.
    pub(super) fn own(&self) {
        self.state.store(OWNED, Ordering::Release);
    }

    /// Under the store's lock, with as many slots as nobody has used.
    pub(super) fn open(&self, unused: u32) {
        self.add_holes(unused);
        self.state.store(OPEN, Ordering::Release);
    }
}

/// What a lane shows of itself to those who may need its range.
#[derive(Debug)]
pub(super) struct Owner {
    busy: AtomicU32,
    /// The first slot of the range that the lane fills; [`Owner::NONE`] if it has none.
    range: AtomicU32,
    /// The lane's next untouched slot.
    next: AtomicU32,
    /// Written by the lane alone.
    pub(super) created: AtomicU64,
    /// Written by the lane alone.
    pub(super) removed: AtomicU64,
    /// Removals that were begun and have ended. Written by the lane alone.
    removals: AtomicU64,
}

impl Owner {
    pub(super) const NONE: u32 = u32::MAX;

    pub(super) fn new() -> Self {
        Self {
            busy: AtomicU32::new(0),
            range: AtomicU32::new(Self::NONE),
            next: AtomicU32::new(0),
            created: AtomicU64::new(0),
            removed: AtomicU64::new(0),
            removals: AtomicU64::new(0),
        }
    }

    /// The lane: begins to write into `range`. `false` if the range is no longer its own; then
    /// nothing has begun.
    #[inline(always)]
    pub(super) fn enter(&self, range: u32) -> bool {
        self.busy.store(1, Ordering::Relaxed);
        fence::light();
        if self.range.load(Ordering::Relaxed) == range {
            return true;
        }
        self.leave();
        false
    }

    /// The lane: begins something that does not touch its range's untouched slots. Before what the
    /// log will say of it.
    #[inline(always)]
    pub(super) fn begin(&self) {
        self.busy.store(1, Ordering::Relaxed);
        fence::light();
    }

    /// The lane: a removal that was logged is done, or given up.
    #[inline(always)]
    pub(super) fn end_removal(&self) {
        let ended = self.removals.load(Ordering::Relaxed) + 1;
        self.removals.store(ended, Ordering::Release);
        self.leave();
    }

    /// What changes when the lane ends an operation, for [`Self::wait_through`].
    pub(super) fn progress(&self) -> (u64, u64) {
        (self.created.load(Ordering::Acquire), self.removals.load(Ordering::Acquire))
    }

    /// Waits until the lane was seen between two operations, or has ended one since `before`, at
    /// most until `deadline`; whether it was. To see it idle by luck is not enough: it may always be
    /// at work when it is looked at, and at last stand still in the middle of an operation.
    pub(super) fn wait_through(&self, before: (u64, u64), deadline: std::time::Instant) -> bool {
        let mut spins = 0u32;
        while self.busy.load(Ordering::Acquire) != 0 && self.progress() == before {
            spins += 1;
            if spins.is_multiple_of(1024) && std::time::Instant::now() >= deadline {
                return false;
            }
            pause(spins);
        }
        true
    }

    /// The lane: ends what [`Self::enter`] or [`Self::begin`] began.
    #[inline(always)]
    pub(super) fn leave(&self) {
        self.busy.store(0, Ordering::Release);
    }

    /// The lane, between enter and leave: how far it has filled its range.
    #[inline(always)]
    pub(super) fn advance(&self, next: u32) {
        self.next.store(next, Ordering::Relaxed);
    }

    /// Under the store's lock: gives the lane a range, of which it has used nothing.
    pub(super) fn give(&self, range: u32) {
        self.next.store(range, Ordering::Relaxed);
        self.range.store(range, Ordering::Relaxed);
    }

    pub(super) fn range(&self) -> u32 {
        self.range.load(Ordering::Relaxed)
    }

    /// Under the store's lock: takes the lane's range away and waits until the lane has left it.
    /// Returns the range and the first slot that the lane didn't use.
    pub(super) fn revoke(&self) -> Option<(u32, u32)> {
        let range = self.range.load(Ordering::Relaxed);
        if range == Self::NONE {
            return None;
        }
        self.range.store(Self::NONE, Ordering::Relaxed);
        fence::heavy();
        let mut spins = 0u32;
        while self.busy.load(Ordering::Acquire) != 0 {
            spins += 1;
            pause(spins);
        }
        Some((range, self.next.load(Ordering::Relaxed)))
    }
}

#[cfg(not(loom))]
fn pause(spins: u32) {
    if spins < 64 {
        std::hint::spin_loop();
    } else {
        std::thread::yield_now();
    }
}

#[cfg(loom)]
fn pause(_spins: u32) {
    loom::thread::yield_now();
}
