//! A countdown to the next sampled operation, drawn anew whenever it ends or the rate changes.
//!
//! **Geometric skips.** With the rate p, the number of operations passed over before a sampled one
//! is ⌊ln U / ln(1 − p)⌋ for U uniform in (0, 1] (Devroye, *Non-Uniform Random Variate
//! Generation*, 1986, X.2). That is the same distribution as tossing a coin for each operation, at
//! the cost of one draw for each *sampled* one. The distribution has no memory, so when the rate
//! changes the rest of a countdown is thrown away and drawn anew, and both rates stay exact.

use rand::{Rng, rngs::SmallRng};

/// The countdown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Countdown {
    /// Operations to pass over before the next sampled one; [`u64::MAX`] at the rate 0.
    left: u64,
    /// What `left` began with.
    drawn: u64,
    /// The bits of the rate that it was drawn with.
    rate: u64,
    /// 1 / ln(1 − rate): −0 at the rate 1, −∞ at 0.
    scale: f64,
}

impl Countdown {
    /// One that samples nothing, until it follows a rate.
    pub(crate) const NEVER: Self =
        Self { left: u64::MAX, drawn: u64::MAX, rate: 0, scale: f64::NEG_INFINITY };

    /// The bits of the rate in use.
    #[inline(always)]
    pub(crate) const fn rate_bits(&self) -> u64 {
        self.rate
    }

    /// The rate in use.
    pub(crate) const fn rate(&self) -> f64 {
        f64::from_bits(self.rate)
    }

    /// Goes over to another rate. Gives how many operations were passed over at the old one.
    pub(crate) fn follow(&mut self, rate_bits: u64, random: &mut SmallRng) -> u64 {
        let passed = self.passed();
        self.rate = rate_bits;
        self.scale = (-self.rate()).ln_1p().recip();
        self.draw(random);
        passed
    }

    /// How many operations it has passed over since it was drawn.
    pub(crate) const fn passed(&self) -> u64 {
        self.drawn - self.left
    }

    /// Passes over `operations`, if none of them is sampled.
    #[inline(always)]
    pub(crate) const fn pass(&mut self, operations: u64) -> bool {
        let passes = operations <= self.left;
        if passes {
            self.left -= operations;
        }
        passes
    }

    /// The countdown ended: how many are passed over before the sampled one, if there is one at all
    /// (at the rate 0 there is none), and how many in all since it was drawn.
    pub(crate) fn end(&mut self, random: &mut SmallRng) -> Option<(u64, u64)> {
        let (before, in_all) = (self.left, self.drawn);
        let sampled = !self.scale.is_infinite();
        self.draw(random);
        sampled.then_some((before, in_all))
    }

    fn draw(&mut self, random: &mut SmallRng) {
        self.left = if self.scale.is_infinite() {
            u64::MAX
        } else {
            #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
            let uniform = ((random.next_u64() >> 11) + 1) as f64 * 2.0_f64.powi(-53);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "both factors are at most 0; the cast rounds down and saturates"
            )]
            let skip = (uniform.ln() * self.scale) as u64;
            skip
        };
        self.drawn = self.left;
    }
}
