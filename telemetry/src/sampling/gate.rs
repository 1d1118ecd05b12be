//! The lane of sampling: a countdown to the next sampled operation.
//!
//! **Geometric skips.** With the rate p, the number of operations passed over before a sampled one
//! is ⌊ln U / ln(1 − p)⌋ for U uniform in (0, 1] (Devroye, *Non-Uniform Random Variate
//! Generation*, 1986, X.2). That is the same distribution as tossing a coin for each operation, at
//! the cost of one draw for each *sampled* one. The distribution has no memory, so when the rate
//! changes the rest of a countdown is thrown away and drawn anew, and both rates stay exact.

use std::sync::Arc;

use ng_core::sampling::{Decision, Outcome, Priority, Reason, SamplerLane, SpanContext};
use rand::{Rng, RngExt, rngs::SmallRng};

use super::sampler::{Shared, Tally};

/// How much more often than usual a [`Priority::High`] operation is sampled.
const HIGH: f64 = 10.0;
/// How much more often than usual a [`Priority::Low`] one is.
const LOW: f64 = 0.1;

/// One thread's side of sampling: [`Sampler::open_lane`](super::Sampler::open_lane) makes it.
#[derive(Debug)]
pub struct Gate {
    /// Operations to pass over before the next sampled one; [`u64::MAX`] at the rate 0.
    countdown: u64,
    /// The bits of the rate that the countdown was drawn with.
    drawn_with: u64,
    /// 1 / ln(1 − rate): −0 at the rate 1, −∞ at 0.
    scale: f64,
    random: SmallRng,
    tally: Arc<Tally>,
    shared: Arc<Shared>,
}

impl Gate {
    pub(super) fn new(shared: Arc<Shared>, tally: Arc<Tally>, random: SmallRng) -> Self {
        let mut gate = Self { countdown: 0, drawn_with: 0, scale: 0.0, random, tally, shared };
        gate.follow_rate();
        gate
    }

    #[cold]
    #[inline(never)]
    fn follow_rate(&mut self) {
        self.drawn_with = self.shared.rate.bits();
        self.scale = (-self.rate()).ln_1p().recip();
        self.countdown = self.draw();
    }

    fn rate(&self) -> f64 {
        f64::from_bits(self.drawn_with)
    }

    /// A countdown at the rate drawn with.
    fn draw(&mut self) -> u64 {
        if self.scale.is_infinite() {
            return u64::MAX;
        }
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
        let uniform = ((self.random.next_u64() >> 11) + 1) as f64 * 2.0_f64.powi(-53);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "both factors are at most 0; the cast rounds down and saturates"
        )]
        let skip = (uniform.ln() * self.scale) as u64;
        skip
    }

    /// The countdown ends within the next `operations`.
    #[cold]
    #[inline(never)]
    fn end_countdown(&mut self) -> Option<u64> {
        let passed = self.countdown;
        self.countdown = self.draw();
        if self.scale.is_infinite() {
            return None;
        }
        self.tally.sampled(Reason::Rate);
        Some(passed)
    }

    /// One operation at a probability of its own.
    fn by_lot(&mut self, probability: f64, reason: Reason) -> Decision {
        let sampled = self.random.random::<f64>() < probability;
        self.decided(sampled, reason, probability)
    }

    fn decided(&self, sampled: bool, reason: Reason, probability: f64) -> Decision {
        if sampled {
            self.tally.sampled(reason);
        }
        Decision { sampled, reason, probability }
    }
}

impl SamplerLane for Gate {
    #[inline(always)]
    fn gate(&mut self, operations: u64) -> Option<u64> {
        if self.shared.rate.bits() != self.drawn_with {
            self.follow_rate();
        }
        if operations <= self.countdown {
            self.countdown -= operations;
            None
        } else {
            self.end_countdown()
        }
    }

    /// Whoever insists is sampled; else the parent decides; else the caller's own rate (taken into
    /// 0–1; NaN counts as none given); else the priority changes the rate; else the countdown
    /// decides, as in [`Self::gate`]. A decision that was not left to chance has the probability 1
    /// if it is sampled, and 0 if it isn't.
    fn decide(&mut self, context: &SpanContext) -> Decision {
        if context.forced {
            return self.decided(true, Reason::Forced, 1.0);
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
                Decision { sampled, reason: Reason::Rate, probability: self.rate() }
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
