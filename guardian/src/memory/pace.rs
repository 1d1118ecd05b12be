//! How often the memory is read: oftener while it moves or is short, seldom while it is still.
//! Arithmetic alone; it reads no clock.

use std::time::Duration;

/// The interval may shrink and grow by this.
const RANGE: u32 = 10;

/// The pace of the readings: a tenth of the usual interval to ten times that.
#[derive(Debug)]
pub(crate) struct Pace {
    usual: Duration,
    now: Duration,
    last: u64,
}

impl Pace {
    pub(crate) fn new(usual: Duration) -> Self {
        Self { usual, now: usual, last: 0 }
    }

    /// The pause after a reading of `resident` bytes, of which at most `limit` may be.
    ///
    /// A change by an eighth of what is left below the limit, or by 1 % without one, halves the
    /// pause; so does pressure. Less than a tenth of that lets it grow by a quarter.
    pub(crate) fn next(&mut self, resident: u64, limit: Option<u64>, pressed: bool) -> Duration {
        let moved = resident.abs_diff(self.last);
        self.last = resident;
        let room = limit.map(|limit| limit.saturating_sub(resident) / 8);
        let much = room.unwrap_or(u64::MAX).min(resident / 100).max(1);
        if moved >= much || pressed {
            self.now = (self.now / 2).max(self.usual / RANGE);
        } else if moved < much / 10 {
            self.now = (self.now + self.now / 4).min(self.usual.saturating_mul(RANGE));
        }
        self.now
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const USUAL: Duration = Duration::from_millis(100);
    const MIB: u64 = 1 << 20;

    #[test]
    fn still_memory_is_read_ten_times_seldomer_and_moving_memory_ten_times_oftener() {
        let mut pace = Pace::new(USUAL);
        pace.next(1_000 * MIB, None, false);
        let still = (0..30).fold(USUAL, |_, _| pace.next(1_000 * MIB, None, false));
        assert_eq!(still, USUAL * 10);
        let moving = (0..30).fold(USUAL, |_, i| pace.next((1_000 + i * 20) * MIB, None, false));
        assert_eq!(moving, USUAL / 10);
    }

    #[test]
    fn the_same_change_counts_more_near_the_limit() {
        let after = |limit| {
            let mut pace = Pace::new(USUAL);
            pace.next(1_000 * MIB, limit, false);
            let before = pace.now;
            pace.next(1_004 * MIB, limit, false) < before
        };
        assert!(!after(None));
        assert!(!after(Some(4_000 * MIB)));
        assert!(after(Some(1_020 * MIB)));
    }

    #[test]
    fn pressure_makes_it_look_oftener() {
        let mut pace = Pace::new(USUAL);
        pace.next(MIB, None, false);
        let before = pace.now;
        assert!(pace.next(MIB, None, true) < before.max(USUAL / 10 + Duration::from_nanos(1)));
    }
}
