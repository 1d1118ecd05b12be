//! When a mark counts as crossed, and when a cleanup is due: arithmetic on levels and times, on
//! one thread. It reads no clock, takes no lock and frees nothing.
//!
//! A mark is crossed by the first unit above it: 9.5 million tokens of 10 million stand at a mark
//! of 95 % and cross nothing, as in the seed's own test.
//!
//! A mark that was crossed is disarmed until use has sunk a margin below it (TiDB's memory alarm
//! does the same), so that use which trembles at a mark does not cross it a thousand times. A
//! cleanup that left use above the mark is tried again only after use has changed and a pause has
//! passed, which doubles while cleanups free nothing.

use std::time::{Duration, Instant};

/// The longest pause between two cleanups that free nothing, in pauses.
const LONGEST: u32 = 64;

/// The marks as fractions of the limit. See [`crate::GuardianOptions`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct MarkFractions {
    pub(crate) soft: Option<f64>,
    pub(crate) cleanup: Option<CleanupAt>,
    pub(crate) rearm: f64,
}

/// When a cleanup starts, and what it brings use down to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct CleanupAt {
    pub(crate) mark: f64,
    pub(crate) target: f64,
}

/// What a look at the level showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Seen {
    /// The soft mark was crossed.
    pub(crate) soft: bool,
    /// Use is not above the cleanup mark.
    pub(crate) below_cleanup: bool,
    /// A cleanup is due, of so many units. [`Marks::cleaned`] must be told how it went.
    pub(crate) cleanup: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct Marks {
    at: MarkFractions,
    pause: Duration,
    soft_armed: bool,
    cleanup: Cleanup,
}

#[derive(Debug, Clone, Copy)]
enum Cleanup {
    Armed,
    /// The last one left use above the level at which the mark is armed again.
    Waiting {
        used: u64,
        until: Instant,
        pause: Duration,
    },
}

/// The nearest whole unit: `ceil` would make 0.07 × 100 eight.
fn part(fraction: f64, limit: u64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a fraction within 0..=1 of a limit; beyond 2^53 units the last digits don't matter"
    )]
    let part = (fraction * limit as f64).round() as u64;
    part
}

/// The first level above a mark; a mark at the limit itself is crossed by the limit's last unit.
fn above(mark: f64, limit: u64) -> u64 {
    part(mark, limit).saturating_add(1).min(limit)
}

impl Marks {
    pub(crate) fn new(at: MarkFractions, pause: Duration) -> Self {
        Self { at, pause, soft_armed: true, cleanup: Cleanup::Armed }
    }

    /// Other marks from now on: what differs counts as never crossed.
    pub(crate) fn change(&mut self, at: MarkFractions) {
        let before = std::mem::replace(&mut self.at, at);
        self.soft_armed |= at.soft != before.soft;
        if at.cleanup != before.cleanup {
            self.arm_cleanup();
        }
    }

    /// Looks at a level.
    pub(crate) fn observe(&mut self, used: u64, limit: u64, now: Instant) -> Seen {
        let MarkFractions { soft, cleanup, rearm } = self.at;
        let mut seen = Seen { below_cleanup: true, ..Seen::default() };
        if let Some(soft) = soft {
            if used < part(soft - rearm, limit) {
                self.soft_armed = true;
            }
            if self.soft_armed && used >= above(soft, limit) {
                self.soft_armed = false;
                seen.soft = true;
            }
        }
        let Some(CleanupAt { mark, target }) = cleanup else { return seen };
        if used < part(mark - rearm, limit) {
            self.cleanup = Cleanup::Armed;
        }
        let due = match self.cleanup {
            Cleanup::Armed => true,
            Cleanup::Waiting { used: then, until, .. } => used != then && now >= until,
        };
        seen.below_cleanup = used < above(mark, limit);
        if due && !seen.below_cleanup {
            // With a limit of a few units, mark and target may be the same unit.
            seen.cleanup = Some(used.saturating_sub(part(target, limit)).max(1));
        }
        seen
    }

    /// How a cleanup went. `true` if use is no longer above the cleanup mark.
    pub(crate) fn cleaned(&mut self, freed: u64, used: u64, limit: u64, now: Instant) -> bool {
        let pause = match self.cleanup {
            Cleanup::Waiting { pause, .. } if freed == 0 => (pause * 2).min(self.pause * LONGEST),
            _ => self.pause,
        };
        let mark = self.at.cleanup.map_or(f64::INFINITY, |at| at.mark);
        self.cleanup = if used < part(mark - self.at.rearm, limit) {
            Cleanup::Armed
        } else {
            Cleanup::Waiting { used, until: now + pause, pause }
        };
        used < above(mark, limit)
    }

    /// What frees has changed, or the limit: whatever was waited for, a cleanup may be tried.
    pub(crate) fn arm_cleanup(&mut self) {
        self.cleanup = Cleanup::Armed;
    }

    /// Whether a look may show something though no lane reached the [alarm](Self::alarm): that use has
    /// sunk, so that a mark is armed again, or that a pause is over.
    pub(crate) fn may_change(&self) -> bool {
        !self.soft_armed || !matches!(self.cleanup, Cleanup::Armed)
    }

    /// The level at which to look again, if it comes before the next regular look.
    pub(crate) fn alarm(&self, limit: u64) -> Option<u64> {
        let soft = self.at.soft.filter(|_| self.soft_armed);
        let cleanup = self.at.cleanup.filter(|_| matches!(self.cleanup, Cleanup::Armed)).map(|at| at.mark);
        soft.into_iter().chain(cleanup).map(|mark| above(mark, limit)).min()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(1);

    fn marks() -> Marks {
        Marks::new(fractions(0.80, 0.95), PAUSE)
    }

    fn fractions(soft: f64, mark: f64) -> MarkFractions {
        MarkFractions { soft: Some(soft), cleanup: Some(CleanupAt { mark, target: 0.80 }), rearm: 0.05 }
    }

    #[test]
    fn marks_that_are_not_there_are_never_crossed() {
        let (mut marks, now) =
            (Marks::new(MarkFractions { soft: None, cleanup: None, rearm: 0.05 }, PAUSE), Instant::now());
        assert_eq!(marks.observe(100, 100, now), Seen { below_cleanup: true, ..Seen::default() });
        assert_eq!((marks.alarm(100), marks.may_change()), (None, false));
    }

    #[test]
    fn a_mark_that_changed_may_be_crossed_again_and_one_that_did_not_may_not() {
        let (mut marks, now) = (marks(), Instant::now());
        let seen = marks.observe(96, 100, now);
        assert!(seen.soft && seen.cleanup == Some(16));
        marks.cleaned(0, 96, 100, now);
        marks.change(fractions(0.80, 0.95));
        assert_eq!(marks.observe(96, 100, now), Seen::default(), "nothing has changed");
        marks.change(fractions(0.70, 0.95));
        assert_eq!(marks.observe(96, 100, now), Seen { soft: true, ..Seen::default() });
        marks.change(fractions(0.70, 0.90));
        assert_eq!(marks.observe(96, 100, now), Seen { cleanup: Some(16), ..Seen::default() });
    }

    #[test]
    fn a_level_that_trembles_at_the_soft_mark_crosses_it_once() {
        let (mut marks, now) = (marks(), Instant::now());
        let crossings = (0..1_000).filter(|i| marks.observe(80 + i % 2, 100, now).soft).count();
        assert_eq!(crossings, 1);
        assert!(!marks.observe(75, 100, now).soft);
        assert!(!marks.observe(81, 100, now).soft, "75 is not below the re-arming level");
        marks.observe(74, 100, now);
        assert!(marks.observe(81, 100, now).soft);
    }

    #[test]
    fn nine_and_a_half_million_of_ten_cross_no_mark_of_95_percent() {
        let (mut marks, now) = (marks(), Instant::now());
        assert_eq!(marks.observe(9_500_000, 10_000_000, now).cleanup, None);
        assert!(marks.alarm(10_000_000) == Some(9_500_001));
        assert!(marks.observe(9_500_001, 10_000_000, now).cleanup.is_some());
    }

    #[test]
    fn a_cleanup_is_due_above_the_mark_and_asks_for_what_lies_above_the_target() {
        let (mut marks, now) = (marks(), Instant::now());
        assert_eq!(marks.observe(95, 100, now).cleanup, None);
        assert_eq!(marks.observe(97, 100, now).cleanup, Some(17));
        assert!(marks.cleaned(17, 80, 100, now));
        assert_eq!(marks.observe(96, 100, now).cleanup, Some(16), "armed again at once");
    }

    #[test]
    fn a_cleanup_that_frees_nothing_is_tried_again_only_after_a_change_and_longer_and_longer_pauses() {
        let (mut marks, start) = (marks(), Instant::now());
        marks.observe(97, 100, start);
        assert!(!marks.cleaned(0, 97, 100, start));
        assert_eq!(marks.observe(97, 100, start + PAUSE * 1_000).cleanup, None, "nothing changed");
        assert_eq!(marks.observe(98, 100, start).cleanup, None, "too early");
        assert!(marks.observe(98, 100, start + PAUSE).cleanup.is_some());
        let second = start + PAUSE;
        marks.cleaned(0, 98, 100, second);
        assert_eq!(marks.observe(97, 100, second + PAUSE).cleanup, None, "the pause has doubled");
        assert!(marks.observe(97, 100, second + PAUSE * 2).cleanup.is_some());
    }

    #[test]
    fn a_cleanup_that_freed_something_but_not_enough_runs_again_when_use_rises() {
        let (mut marks, now) = (marks(), Instant::now());
        marks.observe(97, 100, now);
        assert!(marks.cleaned(5, 92, 100, now), "92 is below the mark");
        assert!(marks.observe(96, 100, now + PAUSE).cleanup.is_some(), "though it never was armed again");
    }

    #[test]
    fn the_alarm_is_the_lowest_mark_that_is_armed() {
        let (mut marks, now) = (marks(), Instant::now());
        assert_eq!(marks.alarm(100), Some(81));
        assert!(!marks.may_change(), "lanes tell of all that may come");
        marks.observe(85, 100, now);
        assert!(marks.may_change(), "none tells that use has sunk");
        assert_eq!(marks.alarm(100), Some(96));
        marks.observe(96, 100, now);
        marks.cleaned(0, 96, 100, now);
        assert_eq!(marks.alarm(100), None);
    }

    #[test]
    fn marks_fall_on_the_nearest_unit() {
        assert_eq!(part(0.07, 100), 7);
        assert_eq!(part(0.95, 10_000_000), 9_500_000);
        assert_eq!(part(0.8, 0), 0);
        assert_eq!((above(0.95, 100), above(1.0, 100)), (96, 100));
    }
}
