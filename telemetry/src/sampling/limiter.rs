//! How many operations a second may be sampled because somebody wishes it: a token bucket over a
//! clock that the caller reads.
//!
//! It is the generic cell rate algorithm (ITU-T I.371): one word, the time at which the bucket
//! would be full again. A burst of one second's worth is let through.

use std::sync::atomic::{AtomicU64, Ordering};

/// The limiter.
#[derive(Debug)]
pub(crate) struct Limiter {
    /// Nanoseconds between two; 0 limits nothing.
    gap: AtomicU64,
    full_at: AtomicU64,
}

const SECOND: u64 = 1_000_000_000;

impl Limiter {
    /// At most `per_second`, which counts as at least 1; `None` limits nothing.
    pub(crate) fn new(per_second: Option<f64>) -> Self {
        let limiter = Self { gap: AtomicU64::new(0), full_at: AtomicU64::new(0) };
        limiter.set(per_second);
        limiter
    }

    /// Changes the limit.
    pub(crate) fn set(&self, per_second: Option<f64>) {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and a second; a float's cast saturates"
        )]
        let gap = per_second.map_or(0, |n| (SECOND as f64 / n.max(1.0)) as u64);
        self.gap.store(gap, Ordering::Relaxed);
    }

    /// Whether one more may be let through at `now`, in nanoseconds.
    pub(crate) fn admit(&self, now: u64) -> bool {
        let gap = self.gap.load(Ordering::Relaxed);
        if gap == 0 {
            return true;
        }
        let next = |full_at: u64| {
            let at = full_at.max(now) + gap;
            (at <= now + SECOND).then_some(at)
        };
        self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_second_lets_through_what_was_agreed_and_never_nothing() {
        for (per_second, expected) in [(10.0, 10), (0.01, 1), (1.0, 1)] {
            let limiter = Limiter::new(Some(per_second));
            for second in 1..5 {
                let admitted = (0..1_000).filter(|_| limiter.admit(second * SECOND)).count();
                assert_eq!(admitted, expected, "{per_second} in second {second}");
            }
        }
        let limiter = Limiter::new(None);
        assert!((0..1_000).all(|_| limiter.admit(5)));
    }
}
