//! How often the memory is read: oftener while it moves or is short, seldom while it is still, and
//! never so often that the readings take more than their share of a core, unless the limit is near.
//! Arithmetic alone; it reads no clock.

use std::time::Duration;

/// The interval may shrink and grow by this.
const RANGE: u32 = 10;

/// A reading may take this part of the pause that follows it: half of the watcher's budget, which is
/// a thousandth of a core.
const SHARE: u32 = 2_000;

/// A reading whose thread was off its core seems dear. What one costs is taken for the least of late,
/// which rises by a part of this each time.
const FORGETS: u32 = 16;

/// The pace of the readings: a tenth of the usual interval to ten times that.
#[derive(Debug)]
pub(crate) struct Pace {
    usual: Duration,
    now: Duration,
    last: u64,
    cost: Duration,
}

impl Pace {
    pub(crate) fn new(usual: Duration) -> Self {
        Self { usual, now: usual, last: 0, cost: Duration::MAX }
    }

    /// The pause after a reading of `resident` bytes, of which at most `limit` may be, that took so
    /// long.
    ///
    /// A change by an eighth of what is left below the limit, or by 1 % without one, halves the
    /// pause; so does pressure. Less than a tenth of that lets it grow by a quarter.
    pub(crate) fn next(
        &mut self,
        resident: u64,
        limit: Option<u64>,
        pressed: bool,
        took: Duration,
    ) -> Duration {
        let moved = resident.abs_diff(self.last);
        self.last = resident;
        let room = limit.map_or(u64::MAX, |limit| limit.saturating_sub(resident) / 8);
        let much = room.min(resident / 100).max(1);
        if moved >= much || pressed {
            self.now = (self.now / 2).max(self.usual / RANGE);
        } else if moved < much / 10 {
            self.now = (self.now + self.now / 4).min(self.longest());
        }
        self.cost = took.min(self.cost.saturating_add(self.cost / FORGETS));
        if moved >= room { self.now } else { self.now.max(self.affordable()) }
    }

    fn affordable(&self) -> Duration {
        self.cost.saturating_mul(SHARE).min(self.longest())
    }

    fn longest(&self) -> Duration {
        self.usual.saturating_mul(RANGE)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const USUAL: Duration = Duration::from_millis(100);
    const MIB: u64 = 1 << 20;
    const FREE: Duration = Duration::ZERO;

    #[test]
    fn still_memory_is_read_ten_times_seldomer_and_moving_memory_ten_times_oftener() {
        let mut pace = Pace::new(USUAL);
        pace.next(1_000 * MIB, None, false, FREE);
        let still = (0..30).fold(USUAL, |_, _| pace.next(1_000 * MIB, None, false, FREE));
        assert_eq!(still, USUAL * 10);
        let moving = (0..30).fold(USUAL, |_, i| pace.next((1_000 + i * 20) * MIB, None, false, FREE));
        assert_eq!(moving, USUAL / 10);
    }

    #[test]
    fn the_same_change_counts_more_near_the_limit() {
        let after = |limit| {
            let mut pace = Pace::new(USUAL);
            pace.next(1_000 * MIB, limit, false, FREE);
            let before = pace.now;
            pace.next(1_004 * MIB, limit, false, FREE) < before
        };
        assert!(!after(None));
        assert!(!after(Some(4_000 * MIB)));
        assert!(after(Some(1_020 * MIB)));
    }

    #[test]
    fn pressure_makes_it_look_oftener() {
        let mut pace = Pace::new(USUAL);
        pace.next(MIB, None, false, FREE);
        let before = pace.now;
        assert!(pace.next(MIB, None, true, FREE) < before.max(USUAL / 10 + Duration::from_nanos(1)));
    }

    #[test]
    fn readings_that_are_dear_come_seldomer_unless_the_limit_is_near() {
        let dear = Duration::from_micros(30);
        let pause = |limit: Option<u64>| {
            let mut pace = Pace::new(USUAL);
            (0..30).fold(USUAL, |_, i| pace.next((1_000 + i * 20) * MIB, limit, true, dear))
        };
        assert_eq!(pause(None), dear * SHARE);
        assert_eq!(pause(Some(100_000 * MIB)), dear * SHARE);
        assert_eq!(pause(Some(1_600 * MIB)), USUAL / 10);
    }

    #[test]
    fn one_reading_that_was_not_let_run_does_not_make_the_others_late() {
        let mut pace = Pace::new(USUAL);
        let cheap = Duration::from_micros(10);
        pace.next(MIB, None, false, cheap);
        assert!(pace.next(2 * MIB, None, true, Duration::from_secs(1)) < Duration::from_millis(30));
    }
}
