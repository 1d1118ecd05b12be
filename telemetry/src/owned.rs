//! A count that one thread writes and any thread reads.
//!
//! It never uses an atomic read-modify-write: a locked instruction costs 5 ns even when nobody
//! else touches the cell, a load and a store a quarter of one. The price is the rule that only one
//! thread writes; each lane keeps it by holding its cells behind `&mut self`.
//!
//! Stores release and reads acquire (free on x86-64): whoever sees a count sees those that its
//! owner counted before it.

use crate::sync::{AtomicU64, Ordering};

/// The cell. Wraps at 2⁶⁴.
#[derive(Debug)]
pub(crate) struct OwnedCell(AtomicU64);

impl OwnedCell {
    /// Nothing counted yet.
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds. Only the owner may call it: with two writers a count would be lost (no worse).
    #[inline(always)]
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Release);
    }

    /// Reads, on the owner's thread.
    #[inline(always)]
    pub(crate) fn own(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Sets it to what is not less. Only the owner may call it.
    #[inline(always)]
    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Ordering::Release);
    }

    /// Reads, on any thread. Later reads never see less.
    #[inline]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}
