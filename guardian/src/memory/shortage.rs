//! Whether the real memory is short: near the limit of the control group, beyond which the kernel
//! kills. Arithmetic on readings; it refuses nothing itself.
//!
//! What counts is what the kernel can't take back: page cache and reclaimable slabs go before anyone
//! is killed, so a log that fills the cache is no shortage.

use super::Reading;

/// The share of the limit at which memory is short, and how far below that it must sink again.
#[derive(Debug)]
pub(crate) struct Shortage {
    mark: f64,
    rearm: f64,
    short: bool,
}

/// What a reading changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Memory is short from now on: so many bytes are held, of so many.
    Short { held: u64, limit: u64 },
    /// It is short no more.
    Eased { held: u64, limit: u64 },
}

#[expect(clippy::cast_precision_loss, reason = "a share of a limit")]
fn share(held: u64, limit: u64) -> f64 {
    held as f64 / limit.max(1) as f64
}

impl Shortage {
    /// A `mark` of 0 never finds it short.
    pub(crate) fn new(mark: f64, rearm: f64) -> Self {
        Self { mark, rearm, short: false }
    }

    /// Without a limit there is no shortage, and one that was ends.
    pub(crate) fn look(&mut self, reading: &Reading) -> Option<Change> {
        let used = reading.cgroup_used.unwrap_or(0);
        let held = used.saturating_sub(reading.cgroup_reclaimable.unwrap_or(0));
        let limit = reading.cgroup_limit.unwrap_or(u64::MAX);
        let share = share(held, limit);
        match self.short {
            false if self.mark > 0.0 && share >= self.mark => {
                self.short = true;
                Some(Change::Short { held, limit })
            }
            true if share < self.mark - self.rearm => {
                self.short = false;
                Some(Change::Eased { held, limit })
            }
            _ => None,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn reading(used: u64, reclaimable: u64) -> Reading {
        Reading {
            cgroup_limit: Some(100),
            cgroup_used: Some(used),
            cgroup_reclaimable: Some(reclaimable),
            ..Reading::default()
        }
    }

    #[test]
    fn memory_that_trembles_at_the_mark_is_short_once() {
        let mut shortage = Shortage::new(0.90, 0.05);
        let changes = (0..1_000).filter_map(|i| shortage.look(&reading(89 + i % 2, 0))).count();
        assert_eq!(changes, 1);
        assert_eq!(shortage.look(&reading(85, 0)), None, "not yet a margin below");
        assert_eq!(shortage.look(&reading(84, 0)), Some(Change::Eased { held: 84, limit: 100 }));
    }

    #[test]
    fn what_the_kernel_can_take_back_is_no_shortage() {
        let mut shortage = Shortage::new(0.90, 0.05);
        assert_eq!(shortage.look(&reading(100, 40)), None);
        assert_eq!(shortage.look(&reading(100, 10)), Some(Change::Short { held: 90, limit: 100 }));
    }

    #[test]
    fn a_limit_that_is_lifted_ends_the_shortage() {
        let mut shortage = Shortage::new(0.90, 0.05);
        assert!(shortage.look(&reading(95, 0)).is_some());
        let lifted = Reading { cgroup_limit: None, ..reading(95, 0) };
        assert!(matches!(shortage.look(&lifted), Some(Change::Eased { .. })));
    }

    #[test]
    fn a_mark_of_zero_looks_at_nothing() {
        assert_eq!(Shortage::new(0.0, 0.05).look(&reading(100, 0)), None);
    }
}
