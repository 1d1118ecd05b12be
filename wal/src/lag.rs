//! How long records took to become durable: a histogram with four steps to each doubling, so that
//! a quantile is at most 19 % too high. Written once an epoch, read at any time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Steps to a doubling, as a power of two.
const STEP_BITS: u32 = 2;
const STEPS: usize = 64 << STEP_BITS;

/// Durable lags of the epochs since a log was opened: from the first append that an epoch may hold
/// until all of it was durable. Epochs without records don't count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LagReport {
    /// Epochs.
    pub epochs: u64,
    /// The median.
    pub p50: Duration,
    /// 99 of 100 were at most this.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
}

#[derive(Debug)]
pub(crate) struct Lags {
    counts: [AtomicU64; STEPS],
    longest_ns: AtomicU64,
}

impl Default for Lags {
    fn default() -> Self {
        Self { counts: std::array::from_fn(|_| AtomicU64::new(0)), longest_ns: AtomicU64::new(0) }
    }
}

/// The step that a lag belongs to.
fn step(ns: u64) -> usize {
    let ns = ns.max(1 << STEP_BITS);
    let doubling = ns.ilog2();
    let within = (ns >> (doubling - STEP_BITS)) as usize & ((1 << STEP_BITS) - 1);
    (((doubling as usize) << STEP_BITS) | within).min(STEPS - 1)
}

/// The smallest lag beyond a step.
fn beyond(step: usize) -> u64 {
    let (doubling, within) = (step >> STEP_BITS, step & ((1 << STEP_BITS) - 1));
    let parts = (1_u128 << STEP_BITS) + within as u128 + 1;
    u64::try_from((parts << doubling) >> STEP_BITS).unwrap_or(u64::MAX)
}

impl Lags {
    /// Counts one; 0 is none.
    pub(crate) fn note(&self, ns: u64) {
        if ns == 0 {
            return;
        }
        if let Some(count) = self.counts.get(step(ns)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.longest_ns.fetch_max(ns, Ordering::Relaxed);
    }

    pub(crate) fn report(&self) -> LagReport {
        let counts: Vec<u64> = self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let epochs: u64 = counts.iter().sum();
        let longest = self.longest_ns.load(Ordering::Relaxed);
        let quantile = |percent: u64| {
            let wanted = (epochs * percent).div_ceil(100);
            let mut seen = 0;
            let reached = counts.iter().position(|count| {
                seen += count;
                seen >= wanted && wanted > 0
            });
            Duration::from_nanos(reached.map_or(0, beyond).min(longest))
        };
        LagReport { epochs, p50: quantile(50), p99: quantile(99), max: Duration::from_nanos(longest) }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_quantile_is_at_least_the_true_one_and_at_most_a_quarter_above(
            mut lags in proptest::collection::vec(1_u64..1 << 40, 1..200),
        ) {
            let counted = Lags::default();
            lags.iter().for_each(|lag| counted.note(*lag));
            lags.sort_unstable();
            let report = counted.report();
            prop_assert_eq!(report.epochs, lags.len() as u64);
            prop_assert_eq!(report.max.as_nanos() as u64, lags[lags.len() - 1]);
            for (percent, found) in [(50, report.p50), (99, report.p99)] {
                let truth = lags[(lags.len() * percent).div_ceil(100) - 1];
                let found = found.as_nanos() as u64;
                prop_assert!(found >= truth && found <= truth + truth / 4 + 4, "{truth} {found}");
            }
        }
    }

    #[test]
    fn nothing_counted_is_no_lag() {
        let lags = Lags::default();
        lags.note(0);
        assert_eq!(lags.report(), LagReport::default());
        lags.note(u64::MAX);
        assert_eq!(lags.report().epochs, 1);
    }
}
