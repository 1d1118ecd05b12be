//! Whether refusals explode under a version that came in force a moment ago. Arithmetic on counts
//! and times; it reads no clock.

use super::document::TrialTerms;
use std::time::{Duration, Instant};

/// Violations a second while no version is on trial, smoothed over a few looks.
#[derive(Debug, Default)]
pub(super) struct Baseline {
    last: Option<(Instant, u64)>,
    rate: f64,
}

impl Baseline {
    pub(super) fn look(&mut self, violations: u64, now: Instant) {
        if let Some((then, before)) = self.last {
            let rate = per_second(violations.saturating_sub(before), now.saturating_duration_since(then));
            self.rate += (rate - self.rate) / 4.0;
        }
        self.last = Some((now, violations));
    }
}

/// A version on trial.
#[derive(Debug)]
pub(super) struct Trial {
    terms: TrialTerms,
    began: Instant,
    before: u64,
    usual: f64,
}

/// How a trial stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Standing {
    /// Not over yet.
    Open,
    /// The version stays.
    Passed,
    /// So many violations.
    Exploded(u64),
}

impl Trial {
    pub(super) fn new(terms: TrialTerms, baseline: &Baseline, violations: u64, now: Instant) -> Self {
        Self { terms, began: now, before: violations, usual: baseline.rate }
    }

    pub(super) fn standing(&self, violations: u64, now: Instant) -> Standing {
        let since = now.saturating_duration_since(self.began);
        let new = violations.saturating_sub(self.before);
        if new >= self.terms.refusals && per_second(new, since) >= self.usual * self.terms.factor {
            Standing::Exploded(new)
        } else if since >= Duration::from_secs(self.terms.seconds) {
            Standing::Passed
        } else {
            Standing::Open
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate")]
fn per_second(n: u64, time: Duration) -> f64 {
    n as f64 / time.as_secs_f64().max(1e-9)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_was_usual_before_is_no_explosion() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut baseline = Baseline::default();
        (0..20).for_each(|i| baseline.look(u64::from(i) * 500, start + second * i));
        let trial = Trial::new(TrialTerms::default(), &baseline, 10_000, start + second * 20);
        assert_eq!(trial.standing(12_000, start + second * 24), Standing::Open, "500 a second as before");
        assert_eq!(trial.standing(10_999, start + second * 20), Standing::Open, "too few");
        assert_eq!(trial.standing(16_000, start + second * 21), Standing::Exploded(6_000));
        assert_eq!(trial.standing(25_000, start + second * 50), Standing::Passed);
    }
}
