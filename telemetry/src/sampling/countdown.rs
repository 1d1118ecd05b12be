//! A countdown to the next sampled operation, drawn anew whenever it ends or the rate changes.
//!
//! **Geometric skips.** With the rate p, the number of operations passed over before a sampled one
//! is ⌊ln U / ln(1 − p)⌋ for U uniform in (0, 1] (Devroye, *Non-Uniform Random Variate
//! Generation*, 1986, X.2). That is the same distribution as tossing a coin for each operation, at
//! the cost of one draw for each *sampled* one. The distribution has no memory, so when the rate
//! changes the rest of a countdown is thrown away and drawn anew, and both rates stay exact.

use rand::{Rng, rngs::SmallRng};

use crate::owned::OwnedCell;

/// How many operations are passed over before each sampled one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Skips {
    /// The bits of the rate.
    rate: u64,
    /// 1 / ln(1 − rate): −0 at the rate 1, −∞ at 0.
    scale: f64,
}

impl Skips {
    /// Those of the rate 0.
    pub(crate) const NEVER: Self = Self { rate: 0, scale: f64::NEG_INFINITY };

    /// Those of a rate, by its bits.
    pub(crate) fn at(rate_bits: u64) -> Self {
        Self { rate: rate_bits, scale: (-f64::from_bits(rate_bits)).ln_1p().recip() }
    }

    #[inline(always)]
    pub(crate) const fn rate_bits(&self) -> u64 {
        self.rate
    }

    pub(crate) const fn rate(&self) -> f64 {
        f64::from_bits(self.rate)
    }

    /// Whether nothing is ever sampled.
    pub(crate) const fn are_endless(&self) -> bool {
        self.scale.is_infinite()
    }

    /// The next one; [`u64::MAX`] if they are endless.
    pub(crate) fn draw(&self, random: &mut SmallRng) -> u64 {
        if self.are_endless() {
            return u64::MAX;
        }
        // At the rate 1 there is nothing to draw.
        if self.scale == 0.0 {
            return 0;
        }
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
        let uniform = ((random.next_u64() >> 11) + 1) as f64 * 2.0_f64.powi(-53);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "both factors are at most 0; the cast rounds down and saturates"
        )]
        let skip = (uniform.ln() * self.scale) as u64;
        skip
    }
}

/// The countdown: by a count that readers see, up to the one at which an operation is sampled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Countdown {
    /// The count of the operations before the next sampled one; [`u64::MAX`] at the rate 0.
    next: u64,
    /// The count that it was drawn at.
    began: u64,
    /// What it is drawn from.
    skips: Skips,
}

impl Countdown {
    /// One that samples nothing, until it follows a rate.
    pub(crate) const NEVER: Self = Self { next: u64::MAX, began: 0, skips: Skips::NEVER };

    /// The rate in use.
    pub(crate) const fn rate(&self) -> f64 {
        self.skips.rate()
    }

    /// Goes over to another rate at a count.
    pub(crate) fn follow(&mut self, rate_bits: u64, count: u64, random: &mut SmallRng) {
        self.skips = Skips::at(rate_bits);
        self.draw(count, random);
    }

    /// How many operations were counted since it was drawn, at a count.
    pub(crate) const fn passed(&self, count: u64) -> u64 {
        count - self.began
    }

    /// Passes over an operation, if it is not to be sampled: then it is counted. Only the cell's owner
    /// may call it.
    #[inline(always)]
    pub(crate) fn pass(&self, cell: &OwnedCell) -> bool {
        let count = cell.own();
        let passes = count < self.next;
        if passes {
            cell.set(count + 1);
        }
        passes
    }

    /// The countdown ended. The operation that ended it is counted; how many were since it was drawn, if
    /// it is sampled at all (at the rate 0 there is none).
    pub(crate) fn end(&mut self, cell: &OwnedCell, random: &mut SmallRng) -> Option<u64> {
        let count = cell.own().wrapping_add(1);
        cell.set(count);
        let passed = self.passed(count);
        let sampled = !self.skips.are_endless();
        self.draw(count, random);
        sampled.then_some(passed)
    }

    fn draw(&mut self, count: u64, random: &mut SmallRng) {
        self.began = count;
        self.next = count.saturating_add(self.skips.draw(random));
    }
}
