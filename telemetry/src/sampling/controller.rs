//! The controller: a thread of its own that turns "so many samples a second" into rates.
//!
//! Each round it takes how many operations lanes passed over since the last, keeps an exponential
//! moving average of operations a second, and sets rate = target / average, within floor and
//! ceiling, and so that at least one a second is sampled. Lanes tell of what they passed over when
//! they sample or follow a new rate, so an idle lane's share comes late, never twice.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::sampler::Shared;

/// A target for the number of sampled operations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adaptive {
    /// Samples a second to come near; counts as at least 1.
    pub target_per_second: f64,
    /// The least rate, 0–1.
    pub floor: f64,
    /// The greatest rate, 0–1; in force while nothing is known yet.
    pub ceiling: f64,
}

impl Default for Adaptive {
    fn default() -> Self {
        Self { target_per_second: 100.0, floor: 0.0, ceiling: 1.0 }
    }
}

impl Adaptive {
    /// The rate for so many operations a second.
    #[must_use]
    pub fn rate_for(&self, operations_per_second: f64) -> f64 {
        let ceiling = self.ceiling.clamp(0.0, 1.0);
        if operations_per_second.is_nan() || operations_per_second <= 0.0 {
            return ceiling;
        }
        let target = self.target_per_second.max(1.0);
        (target / operations_per_second).clamp(self.floor.clamp(0.0, ceiling), ceiling)
    }
}

/// The moving average of a rate of events.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Average {
    per_second: Option<f64>,
    last_count: u64,
}

impl Average {
    /// How fast the average follows: after this long, half of a step is in it.
    const HALF_LIFE: f64 = 0.2;

    /// Takes the count so far in, `seconds` after the last time, and gives the average.
    pub(super) fn update(&mut self, count: u64, seconds: f64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "operations of a fraction of a second")]
        let now = count.saturating_sub(self.last_count) as f64 / seconds.max(1e-6);
        self.last_count = count;
        let keep = 0.5_f64.powf(seconds / Self::HALF_LIFE);
        let average = self.per_second.map_or(now, |old| old * keep + now * (1.0 - keep));
        self.per_second = Some(average);
        average
    }
}

/// The thread; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Controller {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Controller {
    /// How often rates are set anew: a change of load is followed within a second.
    const PERIOD: Duration = Duration::from_millis(100);

    pub(super) fn start(shared: Arc<Shared>) -> std::io::Result<Self> {
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("ng-sampling".to_owned()).spawn(move || {
            let mut last = Instant::now();
            let mut ended = stopped.0.lock().unwrap_or_else(PoisonError::into_inner);
            while !*ended {
                let waited = stopped.1.wait_timeout(ended, Self::PERIOD);
                ended = waited.unwrap_or_else(PoisonError::into_inner).0;
                let now = Instant::now();
                shared.control((now - last).as_secs_f64());
                last = now;
            }
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        *self.stop.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.1.notify_all();
        if let Some(thread) = self.thread.take() {
            // The thread has no way to panic, and a drop has no one to tell.
            drop(thread.join());
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_rate_meets_the_target_between_floor_and_ceiling() {
        let adaptive = Adaptive { target_per_second: 100.0, floor: 0.001, ceiling: 0.5 };
        for (operations, rate) in [(0.0, 0.5), (10.0, 0.5), (1_000.0, 0.1), (1e9, 0.001), (f64::NAN, 0.5)] {
            assert!((adaptive.rate_for(operations) - rate).abs() < 1e-12, "{operations}");
        }
        let least = Adaptive { target_per_second: 0.0, floor: 0.0, ceiling: 1.0 };
        assert!((least.rate_for(1_000.0) - 0.001).abs() < 1e-12, "one a second at least");
    }

    #[test]
    fn the_average_follows_a_step_by_half_in_its_half_life() {
        let mut average = Average::default();
        assert!((average.update(1_000, 1.0) - 1_000.0).abs() < 1e-9);
        assert!((average.update(1_000, Average::HALF_LIFE) - 500.0).abs() < 1e-9);
        for _ in 0..100 {
            average.update(1_000, 0.1);
        }
        assert!(average.update(1_000, 0.1) < 1.0);
    }
}
