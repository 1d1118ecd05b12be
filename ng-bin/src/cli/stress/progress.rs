//! What a person sees of a stress run while it goes on, on standard error: each stage as it begins, and
//! on a terminal how long it has taken and how many tokens a second are being made.
//!
//! It reads one counter five times a second, which is too seldom to show in a figure.

use std::fmt::Write;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use super::super::output::say;
use crate::stress::made;

/// How often the line is drawn.
const EVERY: Duration = Duration::from_millis(200);

/// Runs `work`, which says what begins.
pub(super) fn shown<T>(work: impl FnOnce(&mut dyn FnMut(&str)) -> T) -> T {
    let bar = std::io::stderr().is_terminal().then(bar);
    let outcome = work(&mut |stage| match &bar {
        // Above the line, where it stays.
        Some(bar) => {
            bar.suspend(|| say(format_args!("stress: {stage}")));
            bar.reset_elapsed();
            bar.enable_steady_tick(EVERY);
        }
        None => say(format_args!("stress: {stage}")),
    });
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    outcome
}

fn bar() -> ProgressBar {
    let rate = Arc::new(Mutex::new(Rate::begin(made(), Instant::now())));
    let write = move |_: &ProgressState, out: &mut dyn Write| {
        let mut rate = rate.lock().unwrap_or_else(PoisonError::into_inner);
        let per_s = rate.at(made(), Instant::now());
        // A terminal that is gone is no reason to end.
        let _ = write!(out, "{:.1}", per_s / 1e6);
    };
    let template = "        {elapsed} {spinner} {rate} M tokens/s";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner());
    ProgressBar::new_spinner().with_style(style.with_key("rate", write))
}

/// Tokens a second since the last look.
struct Rate {
    made: u64,
    at: Instant,
    last: f64,
}

impl Rate {
    const fn begin(made: u64, at: Instant) -> Self {
        Self { made, at, last: 0.0 }
    }

    /// The rate, made anew each half second at most, so that batches do not make it jump.
    #[expect(clippy::cast_precision_loss, reason = "tokens of half a second")]
    fn at(&mut self, made: u64, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.at);
        if passed >= Duration::from_millis(500) {
            self.last = made.saturating_sub(self.made) as f64 / passed.as_secs_f64();
            (self.made, self.at) = (made, now);
        }
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_time_since_the_last_look() {
        let begin = Instant::now();
        let after = |ms| begin + Duration::from_millis(ms);
        let mut rate = Rate::begin(1_000, begin);
        assert_eq!(rate.at(9_000, after(100)), 0.0, "too soon to say");
        assert_eq!(rate.at(2_001_000, after(1_000)), 2e6);
        assert_eq!(rate.at(5_000_000, after(1_100)), 2e6, "not anew within half a second");
        assert_eq!(rate.at(2_001_000, after(2_000)), 0.0, "nothing was made");
    }
}
