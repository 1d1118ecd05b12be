//! Log-linear buckets: 16 to each power of two, so that a bucket's upper bound overstates no value
//! in it by more than a sixteenth, from 0 to 2⁶⁴ − 1, without floating point.
//!
//! The scheme is HdrHistogram's (Gil Tene, 2012): values below 32 have a bucket each; above, the
//! four bits that follow the leading one choose the bucket within the octave.

use std::sync::OnceLock;

use ng_core::metrics::{Exemplar, HistogramSnapshot};

use super::exemplars::{ExemplarCells, keep_newest};
use crate::owned::OwnedCell;

/// Bits that choose the bucket within an octave.
const SUB_BITS: u32 = 4;
/// Buckets in an octave.
const SUB: u64 = 1 << SUB_BITS;
/// Buckets in all: the exact ones below 2·[`SUB`], and [`SUB`] for each octave above.
const BUCKETS: usize = 976;

/// By how much a bucket's upper bound, and so a quantile, may exceed a value in it: a share of it.
pub const RELATIVE_ERROR: f64 = 1.0 / SUB as f64;

/// The bucket that `value` falls into.
#[inline(always)]
pub(crate) const fn bucket_of(value: u64) -> usize {
    let shift = u64::BITS - 1 - SUB_BITS - (value | SUB).leading_zeros();
    #[expect(clippy::cast_possible_truncation, reason = "below 976")]
    let bucket = ((shift as u64) << SUB_BITS) as usize + (value >> shift) as usize;
    bucket
}

/// The greatest value that falls into `bucket`.
pub(crate) const fn upper_bound(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < 2 * SUB {
        return bucket;
    }
    let shift = bucket / SUB - 1;
    // The last bucket's bound is 2⁶⁴ − 1: the shift drops the leading one, the difference wraps.
    ((SUB + bucket % SUB + 1) << shift).wrapping_sub(1)
}

/// One lane's counts of one histogram.
#[derive(Debug)]
pub(crate) struct HistogramCells {
    buckets: [OwnedCell; BUCKETS],
    sum: OwnedCell,
    exemplars: OnceLock<Box<ExemplarCells>>,
}

impl HistogramCells {
    /// Nothing observed yet. 8 KiB.
    pub(crate) fn new() -> Self {
        Self {
            buckets: std::array::from_fn(|_| OwnedCell::new()),
            sum: OwnedCell::new(),
            exemplars: OnceLock::new(),
        }
    }

    /// Keeps an exemplar. Only the owner may call it; the first call allocates.
    pub(crate) fn exemplar(&self, exemplar: &Exemplar) {
        self.exemplars.get_or_init(|| Box::new(ExemplarCells::new())).put(exemplar);
    }

    /// Counts `value`, `times` over. Only the owner may call it.
    #[inline(always)]
    pub(crate) fn observe(&self, value: u64, times: u64) {
        self.buckets[bucket_of(value)].add(times);
        self.sum.add(value.wrapping_mul(times));
    }
}

/// Counts of one histogram, merged.
#[derive(Debug, Clone)]
pub(crate) struct HistogramTotals {
    buckets: Box<[u64]>,
    sum: u64,
    exemplars: Vec<Exemplar>,
}

impl Default for HistogramTotals {
    fn default() -> Self {
        Self { buckets: vec![0; BUCKETS].into(), sum: 0, exemplars: Vec::new() }
    }
}

impl HistogramTotals {
    /// Adds a lane's counts.
    pub(crate) fn add(&mut self, cells: &HistogramCells) {
        for (total, cell) in self.buckets.iter_mut().zip(&cells.buckets) {
            *total = total.wrapping_add(cell.get());
        }
        self.sum = self.sum.wrapping_add(cells.sum.get());
        if let Some(exemplars) = cells.exemplars.get() {
            exemplars.merge_into(&mut self.exemplars);
        }
    }

    /// The latest exemplar of each shown bucket, by value.
    pub(crate) fn exemplars(&self) -> Vec<Exemplar> {
        let mut newest = Vec::with_capacity(self.exemplars.len());
        for &exemplar in &self.exemplars {
            keep_newest(&mut newest, exemplar);
        }
        newest.sort_unstable_by_key(|exemplar| exemplar.value);
        newest
    }

    /// As the contract shows it. The count is the buckets' sum, so the two always agree; the sum
    /// of the values may be one observation behind or ahead of them on each lane that is writing.
    pub(crate) fn snapshot(&self) -> HistogramSnapshot {
        let filled = self.buckets.iter().enumerate().filter(|&(_, &n)| n > 0);
        HistogramSnapshot {
            count: self.buckets.iter().fold(0, |count, &n| count.wrapping_add(n)),
            sum: self.sum,
            buckets: filled.map(|(bucket, &n)| (upper_bound(bucket), n)).collect(),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn buckets_are_numbered_without_a_gap_up_to_the_last() {
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
        assert_eq!(upper_bound(BUCKETS - 1), u64::MAX);
        for bucket in 0..BUCKETS - 1 {
            let bound = upper_bound(bucket);
            assert_eq!(bucket_of(bound), bucket, "the bound {bound} lies in its bucket");
            assert_eq!(bucket_of(bound + 1), bucket + 1, "and {} in the next", bound + 1);
        }
    }

    #[test]
    fn a_value_below_32_is_kept_exactly() {
        for value in 0..32 {
            assert_eq!(upper_bound(bucket_of(value)), value);
        }
    }

    proptest! {
        #[test]
        fn a_bound_overstates_a_value_by_a_sixteenth_at_most(bits in 0u32..64, low in any::<u64>()) {
            let value = (1 << bits) | (low & ((1 << bits) - 1));
            let bound = upper_bound(bucket_of(value));
            prop_assert!(bound >= value);
            prop_assert!(u128::from(bound - value) * 16 <= u128::from(value));
        }

        #[test]
        fn a_quantile_is_at_most_a_sixteenth_above_the_true_one(
            mut values in prop::collection::vec(prop_oneof![0u64..100, any::<u64>()], 1..200),
            q in 0.0f64..=1.0,
        ) {
            let cells = HistogramCells::new();
            for &value in &values {
                cells.observe(value, 1);
            }
            let mut totals = HistogramTotals::default();
            totals.add(&cells);
            let snapshot = totals.snapshot();
            prop_assert_eq!(snapshot.count, values.len() as u64);
            prop_assert_eq!(snapshot.sum, values.iter().fold(0, |sum: u64, v| sum.wrapping_add(*v)));

            values.sort_unstable();
            #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss,
                reason = "a rank below 200")]
            let rank = ((values.len() as f64 * q).ceil() as usize).max(1);
            let truth = values[rank - 1];
            let read = snapshot.quantile(q).unwrap();
            prop_assert!(read >= truth);
            prop_assert!(u128::from(read - truth) * 16 <= u128::from(truth));
        }
    }
}
