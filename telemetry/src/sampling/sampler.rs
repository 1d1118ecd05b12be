//! The shared side of sampling: one rate, and the counts of all lanes.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use ng_core::sampling::{Reason, SamplerLane, SamplerStats, SpanSampler};
use rand::{SeedableRng, rngs::SmallRng};

use super::gate::Gate;
use crate::{
    owned::OwnedCell,
    roster::{Fold, Roster},
};

/// A sampling rate that is none.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("sampling rate {rate} is not a share: give a number from 0 (nothing) to 1 (everything)")]
pub struct RateError {
    /// What was given.
    pub rate: f64,
}

/// A rate that is between 0 and 1.
fn checked(rate: f64) -> Result<f64, RateError> {
    if (0.0..=1.0).contains(&rate) { Ok(rate) } else { Err(RateError { rate }) }
}

/// What one lane counts.
#[derive(Debug)]
pub(super) struct Tally {
    by_reason: [OwnedCell; Reason::ALL.len()],
    failed: OwnedCell,
}

impl Tally {
    /// Counts a sampled operation. Only the owner may call it.
    #[inline]
    pub(super) fn sampled(&self, reason: Reason) {
        self.by_reason[reason as usize].add(1);
    }

    /// Counts a failed one. Only the owner may call it.
    #[inline]
    pub(super) fn failed(&self) {
        self.failed.add(1);
    }
}

/// What all lanes counted.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tallies {
    by_reason: [u64; Reason::ALL.len()],
    failed: u64,
}

impl Fold for Tally {
    type Totals = Tallies;

    fn fold_into(&self, totals: &mut Tallies) {
        for (total, cell) in totals.by_reason.iter_mut().zip(&self.by_reason) {
            *total += cell.get();
        }
        totals.failed += self.failed.get();
    }
}

/// What the lanes of a sampler share. The rate has its cache lines to itself: each lane reads it
/// at each operation, and nothing that is written often may lie beside it.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Rate(AtomicU64);

impl Rate {
    /// The rate's bits: what a lane compares.
    #[inline(always)]
    pub(super) fn bits(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// See [`Rate`].
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) rate: Rate,
    pub(super) roster: Roster<Tally>,
}

/// The sampler of a stack: one rate for all lanes, changed at any time.
///
/// ```
/// use ng_core::sampling::{SamplerLane, SpanSampler};
/// use ng_telemetry::Sampler;
///
/// let sampler = Sampler::new(0.01, None)?;
/// let mut gate = sampler.open_lane();
/// // One call for a batch of operations; the next one goes on behind the sampled one.
/// let (mut left, mut sampled) = (10_000, 0);
/// while let Some(index) = gate.gate(left) {
///     left -= index + 1;
///     sampled += 1;
/// }
/// assert_eq!(sampler.stats().by_reason[0], sampled);
/// # Ok::<(), ng_telemetry::RateError>(())
/// ```
#[derive(Debug)]
pub struct Sampler {
    shared: Arc<Shared>,
    seed: Option<u64>,
    opened: AtomicU64,
}

impl Sampler {
    /// A sampler at `rate`, 0–1. With a `seed`, the n-th lane draws the same in each run; without
    /// one, from the system's randomness.
    ///
    /// # Errors
    /// [`RateError`] if the rate is not in 0–1.
    pub fn new(rate: f64, seed: Option<u64>) -> Result<Self, RateError> {
        let rate = Rate(AtomicU64::new(checked(rate)?.to_bits()));
        let shared = Arc::new(Shared { rate, roster: Roster::new() });
        Ok(Self { shared, seed, opened: AtomicU64::new(0) })
    }

    /// A new lane, as its own type, so that its calls can be inlined.
    #[must_use]
    pub fn open_lane(&self) -> Gate {
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        let random = match self.seed {
            Some(seed) => SmallRng::seed_from_u64(seed.wrapping_add(number)),
            None => rand::make_rng(),
        };
        let tally = self
            .shared
            .roster
            .enter(Tally { by_reason: std::array::from_fn(|_| OwnedCell::new()), failed: OwnedCell::new() });
        Gate::new(Arc::clone(&self.shared), tally, random)
    }

    /// Changes the rate; each lane follows with its next operation.
    ///
    /// # Errors
    /// [`RateError`] if the rate is not in 0–1; the old one stays in force.
    pub fn try_set_rate(&self, rate: f64) -> Result<(), RateError> {
        self.shared.rate.0.store(checked(rate)?.to_bits(), Ordering::Relaxed);
        Ok(())
    }
}

impl SpanSampler for Sampler {
    fn lane(&self) -> Box<dyn SamplerLane> {
        Box::new(self.open_lane())
    }

    fn rate(&self) -> f64 {
        f64::from_bits(self.shared.rate.bits())
    }

    fn set_rate(&self, rate: f64) -> bool {
        self.try_set_rate(rate).is_ok()
    }

    fn stats(&self) -> SamplerStats {
        let Tallies { by_reason, failed } = self.shared.roster.totals();
        SamplerStats { rate: self.rate(), by_reason, failed, ..SamplerStats::default() }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_rate_outside_0_to_1_is_refused_and_the_old_one_stays() {
        for rate in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert!(Sampler::new(rate, None).is_err(), "{rate}");
            let sampler = Sampler::new(0.5, None).unwrap();
            let error = sampler.try_set_rate(rate).unwrap_err();
            assert_eq!(error.rate.to_bits(), rate.to_bits());
            assert!((sampler.rate() - 0.5).abs() < f64::EPSILON);
        }
        assert!(RateError { rate: 1.5 }.to_string().contains("1.5"));
    }

    #[test]
    fn a_seed_gives_each_lane_its_own_draws_and_each_run_the_same() {
        let draws = |seed| {
            let sampler = Sampler::new(0.01, Some(seed)).unwrap();
            [sampler.open_lane(), sampler.open_lane()]
                .map(|mut gate| (0..20).map(|_| gate.gate(u64::MAX)).collect::<Vec<_>>())
        };
        let [first, second] = draws(7);
        assert_ne!(first, second);
        assert_eq!(draws(7), [first, second]);
    }
}
