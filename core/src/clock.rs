//! The tick clock: the time that the hot path reads, refreshed by another thread.
//!
//! `Instant::now` costs 22 ns on the machine of docs/stress.md, a tick a quarter of one. A tick
//! is at most one period old (plus what the scheduler adds); it never goes backwards.

mod stamp;

pub use stamp::{counter, stamp_unix_ns};

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Nanoseconds since 1970 by the system's clock: exact, and 20 times dearer than a tick.
#[must_use]
pub fn precise_unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// A reader of the tick. Clones read the same tick.
#[derive(Debug, Clone)]
pub struct Tick(Arc<AtomicU64>);

impl Tick {
    /// A tick that stands still until [`Tick::set_unix_ns`]: for tests and for replay.
    #[must_use]
    pub fn manual(unix_ns: u64) -> Self {
        Self(Arc::new(AtomicU64::new(unix_ns)))
    }

    /// Nanoseconds since 1970, at the tick's resolution.
    #[must_use]
    #[inline(always)]
    pub fn unix_ns(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Seconds since 1970, at the tick's resolution, up to 2³² − 2 (the year 2106).
    #[must_use]
    #[inline(always)]
    pub fn unix_secs(&self) -> u32 {
        let seconds = self.unix_ns() / 1_000_000_000;
        if seconds >= u64::from(u32::MAX) {
            u32::MAX - 1
        } else {
            #[expect(clippy::cast_possible_truncation, reason = "checked above")]
            let seconds = seconds as u32;
            seconds
        }
    }

    /// Moves the tick forward to `unix_ns`; an earlier time is ignored.
    pub fn set_unix_ns(&self, unix_ns: u64) {
        self.0.fetch_max(unix_ns, Ordering::Relaxed);
    }
}

/// The thread that refreshes a [`Tick`]; it ends when this is dropped.
#[derive(Debug)]
pub struct TickClock {
    tick: Tick,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl TickClock {
    /// How old a tick may be by default.
    pub const PERIOD: Duration = Duration::from_millis(1);

    /// Starts the thread.
    ///
    /// # Errors
    /// What the operating system says if it gives no thread.
    pub fn start(period: Duration) -> std::io::Result<Self> {
        let tick = Tick::manual(precise_unix_ns());
        let stop = Arc::new(AtomicBool::new(false));
        let (ticking, stopped) = (tick.clone(), Arc::clone(&stop));
        let thread = std::thread::Builder::new().name("ng-tick".to_owned()).spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                std::thread::park_timeout(period);
                ticking.set_unix_ns(precise_unix_ns());
            }
        })?;
        Ok(Self { tick, stop, thread: Some(thread) })
    }

    /// A reader.
    #[must_use]
    pub fn tick(&self) -> Tick {
        self.tick.clone()
    }
}

impl Drop for TickClock {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // The thread has no way to panic, and a drop has no one to tell.
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_moves_and_never_goes_back() {
        let clock = TickClock::start(Duration::from_millis(1)).unwrap();
        let tick = clock.tick();
        let first = tick.unix_ns();
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while tick.unix_ns() == first {
            assert!(std::time::Instant::now() < deadline, "the tick stands still");
            std::thread::yield_now();
        }
        let later = tick.unix_ns();
        assert!(later > first);
        tick.set_unix_ns(1);
        assert!(tick.unix_ns() >= later);
    }

    #[test]
    fn seconds_stop_before_the_placeholder() {
        assert_eq!(Tick::manual(u64::MAX).unix_secs(), u32::MAX - 1);
        assert_eq!(Tick::manual(7_900_000_000).unix_secs(), 7);
    }
}
