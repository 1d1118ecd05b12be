//! Ticks to nanoseconds since 1970, by the clock pairs of all rings of a process.
//!
//! Between two pairs it interpolates, so that a clock that was set or slewed is followed; outside
//! it goes on with the pace of the whole span.

use std::time::Duration;

/// Pairs less than this apart say nothing about the pace: reading one takes up to a microsecond,
/// which is one in a thousand here.
const LEAST_SPAN_NS: u64 = 1_000_000;

/// The pairs, ascending and more than one, or none.
pub(super) struct Timeline(Vec<(u64, u64)>);

impl Timeline {
    /// From pairs in any order. If the rings were written since this machine was booted, the
    /// reader's own clock is one more pair; it may wait a millisecond for it.
    pub(super) fn new(pairs: impl Iterator<Item = (u64, u64)>, same_boot: bool) -> Self {
        let mut pairs: Vec<_> = pairs.collect();
        if same_boot && !pairs.is_empty() {
            let now = || (crate::ticks::now(), ng_core::clock::precise_unix_ns());
            // A process that died as soon as it began, or dumps then, has pairs too close together.
            if pairs.iter().all(|pair| pair.1.abs_diff(now().1) < LEAST_SPAN_NS) {
                std::thread::sleep(Duration::from_nanos(LEAST_SPAN_NS));
            }
            pairs.push(now());
        }
        Self::from_pairs(pairs)
    }

    fn from_pairs(mut pairs: Vec<(u64, u64)>) -> Self {
        pairs.sort_unstable();
        // Pairs taken too close together would make the pace between them a matter of luck.
        let mut kept: Vec<(u64, u64)> = Vec::new();
        for pair in pairs {
            if kept.last().is_none_or(|last| pair.0 > last.0 && pair.1 >= last.1 + LEAST_SPAN_NS) {
                kept.push(pair);
            }
        }
        if kept.len() < 2 {
            kept.clear();
        }
        Self(kept)
    }

    pub(super) fn is_calibrated(&self) -> bool {
        !self.0.is_empty()
    }

    pub(super) fn unix_ns(&self, ticks: u64) -> Option<u64> {
        let (first, last) = (*self.0.first()?, *self.0.last()?);
        if ticks == 0 {
            return None;
        }
        let next = self.0.partition_point(|pair| pair.0 <= ticks);
        let (from, to, base) = if next == 0 {
            (first, last, first)
        } else if next == self.0.len() {
            (first, last, last)
        } else {
            (self.0[next - 1], self.0[next], self.0[next - 1])
        };
        let pace = i128::from(to.1 - from.1) * (i128::from(ticks) - i128::from(base.0));
        let unix_ns = i128::from(base.1) + pace / i128::from(to.0 - from.0);
        u64::try_from(unix_ns).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_between_pairs_are_interpolated_and_outside_extrapolated() {
        let time = Timeline::from_pairs(vec![(3_000, 30_000_000), (1_000, 10_000_000), (2_000, 14_000_000)]);
        assert_eq!(time.unix_ns(1_500), Some(12_000_000));
        assert_eq!(time.unix_ns(2_500), Some(22_000_000));
        assert_eq!(time.unix_ns(3_100), Some(31_000_000));
        assert_eq!(time.unix_ns(900), Some(9_000_000));
        assert_eq!(time.unix_ns(0), None);
    }

    #[test]
    fn one_pair_is_no_clock() {
        let time = Timeline::from_pairs(vec![(1_000, 10_000_000), (1_100, 10_000_500)]);
        assert!(!time.is_calibrated());
        assert_eq!(time.unix_ns(1_000), None);
    }
}
