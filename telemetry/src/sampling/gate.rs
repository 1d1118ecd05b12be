//! The lane of sampling: decisions on operations without a context, by a countdown, and on those
//! with one.

use std::sync::Arc;

use ng_core::clock::precise_unix_ns;
use ng_core::sampling::{Decision, Outcome, Priority, Reason, SamplerLane, SpanContext};
use rand::{RngExt, rngs::SmallRng};

use super::{countdown::Skips, sampler::Shared, tally::Tally};

/// How much more often than usual a [`Priority::High`] operation is sampled.
const HIGH: f64 = 10.0;
/// How much more often than usual a [`Priority::Low`] one is.
const LOW: f64 = 0.1;

/// One thread's side of sampling: [`Sampler::open_lane`](super::Sampler::open_lane) makes it.
#[derive(Debug)]
pub struct Gate {
    skips: Skips,
    /// The operation that is sampled next, by the tally's count of those before it.
    next: u64,
    random: SmallRng,
    tally: Arc<Tally>,
    shared: Arc<Shared>,
}

impl Gate {
    pub(super) fn new(shared: Arc<Shared>, mut random: SmallRng) -> Self {
        let skips = Skips::at(shared.rate.bits());
        let next = skips.draw(&mut random);
        Self { skips, next, random, tally: shared.tally(), shared }
    }

    #[cold]
    #[inline(never)]
    fn follow_rate(&mut self) {
        self.skips = Skips::at(self.shared.rate.bits());
        self.draw();
    }

    fn draw(&mut self) {
        self.next = self.tally.gated().saturating_add(self.skips.draw(&mut self.random));
    }

    /// The next sampled operation is among the next ones: how many are before it.
    #[cold]
    #[inline(never)]
    fn end_skip(&mut self, operations: u64) -> Option<u64> {
        let counted = self.tally.gated();
        if self.skips.are_endless() {
            // So many that the count of them begins anew.
            self.tally.set_gated(counted.wrapping_add(operations));
            return None;
        }
        let before = self.next - counted;
        self.tally.set_gated(self.next.wrapping_add(1));
        self.draw();
        self.tally.sampled(Reason::Rate);
        Some(before)
    }

    /// One operation at a probability of its own.
    fn by_lot(&mut self, probability: f64, reason: Reason) -> Decision {
        let sampled = self.random.random::<f64>() < probability;
        self.wished(sampled, reason, probability)
    }

    /// One that somebody wishes: within the limit.
    fn wished(&self, sampled: bool, reason: Reason, probability: f64) -> Decision {
        if sampled && !self.shared.limiter.admit(precise_unix_ns()) {
            self.tally.limited();
            return self.decided(false, reason, probability);
        }
        self.decided(sampled, reason, probability)
    }

    fn decided(&self, sampled: bool, reason: Reason, probability: f64) -> Decision {
        self.tally.passed(1);
        if sampled {
            self.tally.sampled(reason);
        }
        Decision { sampled, reason, probability }
    }
}

impl SamplerLane for Gate {
    #[inline(always)]
    fn gate(&mut self, operations: u64) -> Option<u64> {
        if self.shared.rate.bits() != self.skips.rate_bits() {
            self.follow_rate();
        }
        // The count that readers see is the countdown: exact at any time for one store.
        let counted = self.tally.gated();
        if operations <= self.next - counted {
            self.tally.set_gated(counted + operations);
            return None;
        }
        self.end_skip(operations)
    }

    /// Nothing is sampled while sampling is switched off. Whoever insists is sampled, within the
    /// limit; else the parent decides; else the caller's own rate (taken into
    /// 0–1; NaN counts as none given); else the priority changes the rate; else the countdown
    /// decides, as in [`Self::gate`]. A decision that was not left to chance has the probability 1
    /// if it is sampled, and 0 if it isn't.
    fn decide(&mut self, context: &SpanContext) -> Decision {
        if self.shared.is_off() {
            return self.decided(false, Reason::Off, 0.0);
        }
        if context.forced {
            return self.wished(true, Reason::Forced, 1.0);
        }
        if let Some(parent) = context.parent {
            return self.decided(parent.sampled, Reason::Parent, f64::from(u8::from(parent.sampled)));
        }
        if let Some(rate) = context.rate.filter(|rate| !rate.is_nan()) {
            return self.by_lot(rate.clamp(0.0, 1.0), Reason::Custom);
        }
        match context.priority {
            Priority::High => self.by_lot((self.probability() * HIGH).min(1.0), Reason::Priority),
            Priority::Low => self.by_lot(self.probability() * LOW, Reason::Priority),
            Priority::Normal => {
                let sampled = self.gate(1).is_some();
                Decision { sampled, reason: Reason::Rate, probability: self.skips.rate() }
            }
        }
    }

    fn probability(&self) -> f64 {
        f64::from_bits(self.shared.rate.bits())
    }

    fn outcome(&mut self, outcome: Outcome) {
        if outcome.failed {
            self.tally.failed();
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.shared.roster.leave(&self.tally);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use ng_core::sampling::SpanSampler;

    use super::*;
    use crate::Sampler;

    /// How many of `total` operations are sampled when they come in calls of `size`.
    fn sampled(gate: &mut Gate, total: u64, size: u64) -> u64 {
        let mut count = 0;
        for _ in 0..total / size {
            let mut left = size;
            while let Some(index) = gate.gate(left) {
                left -= index + 1;
                count += 1;
            }
        }
        count
    }

    /// Whether `count` of `total` lies within 5 standard deviations of the rate.
    #[track_caller]
    fn assert_share(count: u64, total: u64, rate: f64, what: &str) {
        let (n, k) = (total as f64, count as f64);
        let deviation = (n * rate * (1.0 - rate)).sqrt();
        assert!((k - n * rate).abs() <= 5.0 * deviation, "{what}: {count} of {total} at {rate}");
    }

    #[test]
    fn the_share_is_the_rate_however_many_operations_a_call_passes() {
        for (seed, rate) in [0.000_1, 0.001, 0.01, 0.1, 0.5, 0.9, 0.999].into_iter().enumerate() {
            let sampler = Sampler::new(rate, Some(seed as u64)).unwrap();
            for size in [1, 3, 64, 1_000, 320_000] {
                let count = sampled(&mut sampler.open_lane(), 960_000, size);
                assert_share(count, 960_000 / size * size, rate, &format!("calls of {size}"));
            }
        }
    }

    #[test]
    fn how_a_run_is_cut_into_calls_changes_nothing() {
        let cut = |size| sampled(&mut Sampler::new(0.02, Some(5)).unwrap().open_lane(), 640_000, size);
        assert_eq!(cut(1), cut(64));
        assert_eq!(cut(1), cut(640_000));
    }

    #[test]
    fn a_pattern_of_root_child_child_does_not_fall_in_step_with_the_countdown() {
        let mut gate = Sampler::new(0.01, Some(11)).unwrap().open_lane();
        let mut places = [0_u64; 3];
        let total = 3_000_000;
        for operation in 0..total {
            places[operation % 3] += u64::from(gate.gate(1).is_some());
        }
        for (place, count) in places.into_iter().enumerate() {
            assert_share(count, total as u64 / 3, 0.01, &format!("place {place} of 3"));
        }
    }

    #[test]
    fn the_skips_are_geometric() {
        let mut gate = Sampler::new(0.05, Some(3)).unwrap().open_lane();
        let draws = 200_000;
        let mut longer = [0_u64; 60];
        for _ in 0..draws {
            let skip = gate.gate(u64::MAX).unwrap();
            for (least, count) in longer.iter_mut().enumerate() {
                *count += u64::from(skip >= least as u64);
            }
        }
        for (least, count) in longer.into_iter().enumerate().skip(1) {
            let truth = 0.95_f64.powi(i32::try_from(least).unwrap());
            assert_share(count, draws, truth, &format!("skips of {least} and more"));
        }
    }

    #[test]
    fn a_change_of_the_rate_takes_effect_with_the_next_operation() {
        let sampler = Sampler::new(0.0, Some(1)).unwrap();
        let mut gate = sampler.open_lane();
        assert_eq!(gate.gate(u64::MAX), None);
        assert_eq!(gate.gate(u64::MAX), None, "a countdown that ran out samples nothing at 0");
        assert!(sampler.set_rate(1.0));
        assert_eq!(gate.gate(5), Some(0));
        assert_eq!(gate.gate(4), Some(0));
        assert!(sampler.set_rate(0.0));
        assert_eq!(gate.gate(1_000_000), None);
        assert_eq!(gate.gate(0), None);
    }

    #[test]
    fn rates_that_change_all_the_time_are_exact_together() {
        let sampler = Sampler::new(0.0, Some(9)).unwrap();
        let mut gate = sampler.open_lane();
        let mut count = 0;
        let rounds = 100_000;
        for round in 0..rounds {
            assert!(sampler.set_rate(if round % 2 == 0 { 0.1 } else { 0.3 }));
            count += sampled(&mut gate, 10, 5);
        }
        assert_share(count, rounds * 10, 0.2, "half at 0.1 and half at 0.3");
    }

    #[test]
    fn operations_are_counted_to_the_last_at_any_time() {
        let sampler = Sampler::new(0.01, Some(4)).unwrap();
        let mut gate = sampler.open_lane();
        sampled(&mut gate, 96_000, 64);
        assert_eq!(sampler.stats().operations, 96_000);
        assert!(sampler.set_rate(0.3));
        for n in 1..=96_000 {
            gate.gate(1);
            assert_eq!(sampler.stats().operations, 96_000 + n);
        }
        gate.decide(&SpanContext { forced: true, ..SpanContext::default() });
        assert_eq!(sampler.stats().operations, 192_001);
        drop(gate);
        assert_eq!(sampler.stats().operations, 192_001);
    }

    #[test]
    fn priorities_and_own_rates_change_the_share() {
        let cases = [
            (SpanContext { priority: Priority::High, ..SpanContext::default() }, 0.2, Reason::Priority),
            (SpanContext { priority: Priority::Low, ..SpanContext::default() }, 0.002, Reason::Priority),
            (SpanContext { rate: Some(0.7), ..SpanContext::default() }, 0.7, Reason::Custom),
            (SpanContext { rate: Some(f64::NAN), ..SpanContext::default() }, 0.02, Reason::Rate),
            (SpanContext { rate: Some(7.0), ..SpanContext::default() }, 1.0, Reason::Custom),
            (SpanContext::default(), 0.02, Reason::Rate),
        ];
        let sampler = Sampler::new(0.02, Some(2)).unwrap();
        let mut gate = sampler.open_lane();
        for (context, share, reason) in cases {
            let mut count = 0;
            for _ in 0..200_000 {
                let decision = gate.decide(&context);
                assert_eq!(decision.reason, reason);
                assert!((decision.probability - share).abs() < 1e-12);
                count += u64::from(decision.sampled);
            }
            assert_share(count, 200_000, share, &format!("{context:?}"));
        }
    }
}
