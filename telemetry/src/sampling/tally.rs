//! What one lane counts of its decisions, and the sum of all lanes. It decides nothing.

use ng_core::sampling::Reason;

use crate::{owned::OwnedCell, roster::Fold};

/// What one lane counts. Written at each operation, so no other lane's may lie beside it.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Tally {
    /// Operations that passed the lane's gate.
    gated: OwnedCell,
    by_reason: [OwnedCell; Reason::ALL.len()],
    failed: OwnedCell,
    operations: OwnedCell,
    limited: OwnedCell,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            gated: OwnedCell::new(),
            by_reason: std::array::from_fn(|_| OwnedCell::new()),
            failed: OwnedCell::new(),
            operations: OwnedCell::new(),
            limited: OwnedCell::new(),
        }
    }

    /// Counts a sampled operation. Only the owner may call it, as the following ones.
    #[inline]
    pub(crate) fn sampled(&self, reason: Reason) {
        self.by_reason[reason as usize].add(1);
    }

    /// Operations that passed the gate so far, to the owner itself.
    #[inline(always)]
    pub(crate) fn gated(&self) -> u64 {
        self.gated.own()
    }

    /// As many have passed it now.
    #[inline(always)]
    pub(crate) fn set_gated(&self, operations: u64) {
        self.gated.set(operations);
    }

    /// Counts a failed one.
    #[inline]
    pub(crate) fn failed(&self) {
        self.failed.add(1);
    }

    /// Counts operations decided on.
    #[inline]
    pub(crate) fn passed(&self, operations: u64) {
        self.operations.add(operations);
    }

    /// Counts one that the limit left unsampled.
    pub(crate) fn limited(&self) {
        self.limited.add(1);
    }
}

/// What all lanes counted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tallies {
    pub(super) by_reason: [u64; Reason::ALL.len()],
    pub(super) failed: u64,
    /// Without those that [`Counts`](super::counts::Counts) has.
    pub(super) operations: u64,
    pub(super) limited: u64,
}

impl Fold for Tally {
    type Totals = Tallies;

    fn fold_into(&self, totals: &mut Tallies) {
        for (total, cell) in totals.by_reason.iter_mut().zip(&self.by_reason) {
            *total += cell.get();
        }
        totals.failed += self.failed.get();
        totals.operations =
            totals.operations.wrapping_add(self.operations.get()).wrapping_add(self.gated.get());
        totals.limited += self.limited.get();
    }
}
