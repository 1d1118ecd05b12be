//! What a guardian is told at its start, and what of it contradicts itself.

use crate::constitution::Constitution;
use crate::error::GuardianError;
use crate::marks::{CleanupAt, MarkFractions};
use crate::memory::{AllocatorStats, MemoryReader};
use crate::pools::{PoolSpec, RateLimit};
use crate::quota::Limits;
use ng_core::events::EventRecorder;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A mark of the quota, or of a pool within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mark {
    /// [`GuardianOptions::soft_mark`]: a warning.
    Soft,
    /// [`GuardianOptions::cleanup_mark`]: a cleanup follows.
    Cleanup,
}

/// A mark was crossed upwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarkCrossed {
    /// Which.
    pub mark: Mark,
    /// Tokens in use.
    pub used: u64,
    /// The limit, in tokens.
    pub limit: u64,
}

/// Called on the guardian's thread when a mark is crossed. It should be short: the memory is not
/// watched meanwhile.
pub type MarkHook = Arc<dyn Fn(MarkCrossed) + Send + Sync>;

/// Called when a constitution comes in force, on whichever thread put it there.
pub type ConstitutionHook = Arc<dyn Fn(&Constitution) + Send + Sync>;

/// How a guardian guards. All fractions are of the limit in force.
#[derive(Clone)]
pub struct GuardianOptions {
    /// The quotas; the tighter one is the limit. Default 10,000,000 tokens and 1,000,000,000
    /// bytes.
    pub limits: Limits,
    /// Tokens let in a second, beside the quotas; a lane then reads a clock at each admission.
    /// Default none.
    pub rate: Option<RateLimit>,
    /// Quotas on other things, and pools within `tokens` or within them. Default none.
    pub pools: Vec<PoolSpec>,
    /// The mark that warns once use is above it; above 0. Default 0.80.
    pub soft_mark: f64,
    /// The mark above which a cleanup starts; above the soft mark and at most 1. Default 0.95.
    pub cleanup_mark: f64,
    /// How far use must sink below a mark before that can be crossed again; above 0 and below
    /// the soft mark. Default 0.05.
    pub rearm: f64,
    /// What a cleanup brings use down to; below the cleanup mark. Default 0.80.
    pub cleanup_target: f64,
    /// The most tokens that a lane takes at a time without asking again, at least 1: a sixteenth of it
    /// at first, and twice as many each time that it has used them up and no one else needed them.
    /// Default 16,384.
    pub max_lease: u64,
    /// How many tokens of which domain exist already, such as those that recovery found: they are counted
    /// before anything is looked at, even where they are more than a limit allows. Default none.
    pub present: Vec<(u8, u64)>,
    /// How often the marks are looked at, above 0, and the process's memory is read: up to ten
    /// times as often while it moves, down to a tenth of it while it is still. Default 100 ms. (A
    /// mark crossed by a lane that asks for a new lease is seen at once.)
    pub memory_interval: Duration,
    /// How far the resident set may lie above the counted bytes before it is told, once until it
    /// came back below half of this; 0 never tells. Default 1 GiB.
    pub drift_bound_bytes: u64,
    /// The share of the control group's limit at which the real memory is short, counting what the
    /// kernel can't take back; 0 never finds it short. While it is, use may not rise above what it
    /// was: tokens that take the place of deleted ones go in, tokens that need new memory are refused
    /// with that reason. Default 0.95.
    pub memory_mark: f64,
    /// How far it must sink below `memory_mark` to be short no more; below that mark. Default 0.05.
    pub memory_rearm: f64,
    /// Reads the real memory in place of `/proc` and the control group. Default none.
    pub memory_reader: Option<MemoryReader>,
    /// Reads the allocator's own figures into [`MemoryReport::allocator`](crate::MemoryReport).
    pub allocator: Option<AllocatorStats>,
    /// The bounds on a token.
    pub constitution: Constitution,
    /// Hears of refusals (at most one event per `memory_interval`), marks, cleanups, constitutions
    /// and drift.
    pub events: Option<Arc<dyn EventRecorder>>,
    /// The directory of the constitution's history. What is in force by it goes before
    /// `constitution`, and what becomes active in it later is put in force and watched. Default
    /// none.
    pub cdna: Option<PathBuf>,
    /// Hears of marks.
    pub on_mark: Option<MarkHook>,
    /// Hears of each constitution that comes in force, the first one at the start: for settings
    /// that others hold, such as the sample rate.
    pub on_constitution: Option<ConstitutionHook>,
}

impl Default for GuardianOptions {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            rate: None,
            pools: Vec::new(),
            soft_mark: 0.80,
            cleanup_mark: 0.95,
            rearm: 0.05,
            cleanup_target: 0.80,
            max_lease: 16_384,
            present: Vec::new(),
            memory_interval: Duration::from_millis(100),
            drift_bound_bytes: 1 << 30,
            memory_mark: 0.95,
            memory_rearm: 0.05,
            memory_reader: None,
            allocator: None,
            constitution: Constitution::default(),
            events: None,
            cdna: None,
            on_mark: None,
            on_constitution: None,
        }
    }
}

impl fmt::Debug for GuardianOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardianOptions")
            .field("limits", &self.limits)
            .field("rate", &self.rate)
            .field("pools", &self.pools)
            .field("soft_mark", &self.soft_mark)
            .field("cleanup_mark", &self.cleanup_mark)
            .field("rearm", &self.rearm)
            .field("cleanup_target", &self.cleanup_target)
            .field("max_lease", &self.max_lease)
            .field("present", &self.present)
            .field("memory_interval", &self.memory_interval)
            .field("drift_bound_bytes", &self.drift_bound_bytes)
            .field("memory_mark", &self.memory_mark)
            .field("memory_rearm", &self.memory_rearm)
            .field("memory_reader", &self.memory_reader.is_some())
            .field("allocator", &self.allocator.is_some())
            .field("constitution", &self.constitution)
            .field("events", &self.events.is_some())
            .field("cdna", &self.cdna)
            .field("on_constitution", &self.on_constitution.is_some())
            .field("on_mark", &self.on_mark.is_some())
            .finish()
    }
}

impl GuardianOptions {
    /// Whether they make sense together.
    ///
    /// # Errors
    /// The first [`GuardianError`] found, apart from those of the constitution.
    pub fn validate(&self) -> Result<(), GuardianError> {
        self.limits.validate()?;
        self.levels().validate(self.rearm)?;
        if self.memory_mark != 0.0 {
            let fractions = [("memory_mark", self.memory_mark), ("memory_rearm", self.memory_rearm)];
            for (option, given) in fractions {
                if !(given > 0.0 && given <= 1.0) {
                    return Err(GuardianError::NoFraction { option, given });
                }
            }
            below(
                ("memory_rearm", self.memory_rearm),
                ("memory_mark", self.memory_mark),
                "memory could never sink that far, write such as 0.05",
            )?;
        }
        if self.max_lease == 0 {
            let why = "would make every token ask for the lock";
            return Err(GuardianError::TooSmall { option: "max_lease", given: 0, why, least: 1 });
        }
        if let Some(rate) = self.rate {
            for (option, given) in [("rate.per_second", rate.per_second), ("rate.burst", rate.burst)] {
                if given == 0 {
                    return Err(GuardianError::TooSmall {
                        option,
                        given: 0,
                        why: "admits no token",
                        least: 1,
                    });
                }
            }
        }
        if self.memory_interval.is_zero() {
            return Err(GuardianError::NoInterval);
        }
        Ok(())
    }

    pub(crate) const fn levels(&self) -> MarkLevels {
        let Self { soft_mark, cleanup_mark, cleanup_target, .. } = *self;
        MarkLevels { soft_mark, cleanup_mark, cleanup_target }
    }
}

/// The marks of the quota on tokens, as shares of its limit above 0 and at most 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MarkLevels {
    /// Above it a warning is recorded; below `cleanup_mark`, and above [`GuardianOptions::rearm`].
    pub soft_mark: f64,
    /// Above it a cleanup starts.
    pub cleanup_mark: f64,
    /// What a cleanup brings use down to; below `cleanup_mark`.
    pub cleanup_target: f64,
}

impl MarkLevels {
    /// Whether they make sense together.
    pub(crate) fn validate(&self, rearm: f64) -> Result<(), GuardianError> {
        let soft = ("soft_mark", self.soft_mark);
        let cleanup = ("cleanup_mark", self.cleanup_mark);
        let target = ("cleanup_target", self.cleanup_target);
        for (option, given) in [soft, cleanup, ("rearm", rearm), target] {
            if !(given > 0.0 && given <= 1.0) {
                return Err(GuardianError::NoFraction { option, given });
            }
        }
        below(soft, cleanup, "the warning comes before the cleanup, such as 0.80 and 0.95")?;
        below(target, cleanup, "a cleanup must free something, such as 0.80")?;
        below(("rearm", rearm), soft, "use could never sink that far, write such as 0.05")
    }

    pub(crate) const fn fractions(&self, rearm: f64) -> MarkFractions {
        let cleanup = CleanupAt { mark: self.cleanup_mark, target: self.cleanup_target };
        MarkFractions { soft: Some(self.soft_mark), cleanup: Some(cleanup), rearm }
    }
}

fn below(
    (lower, lower_given): (&'static str, f64),
    (upper, upper_given): (&'static str, f64),
    advice: &'static str,
) -> Result<(), GuardianError> {
    if lower_given < upper_given {
        return Ok(());
    }
    Err(GuardianError::OutOfOrder { lower, lower_given, upper, upper_given, advice })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn fault(change: impl FnOnce(&mut GuardianOptions)) -> String {
        let mut options = GuardianOptions::default();
        change(&mut options);
        options.validate().unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_make_sense() {
        GuardianOptions::default().validate().unwrap();
    }

    #[test]
    fn each_bad_option_is_named_with_what_to_write() {
        assert_eq!(
            fault(|o| o.soft_mark = f64::NAN),
            "guardian.soft_mark = NaN is no fraction of the limit: write a number above 0 and at most 1"
        );
        assert!(fault(|o| o.cleanup_mark = 1.5).contains("guardian.cleanup_mark = 1.5"));
        assert!(fault(|o| o.rearm = 0.0).contains("guardian.rearm = 0"));
        assert!(fault(|o| o.cleanup_target = -0.1).contains("guardian.cleanup_target = -0.1"));
        assert!(fault(|o| o.soft_mark = 0.95).contains("is not below guardian.cleanup_mark = 0.95"));
        assert!(fault(|o| o.cleanup_target = 0.99).contains("guardian.cleanup_target = 0.99 is not below"));
        assert!(fault(|o| o.rearm = 0.9).contains("guardian.rearm = 0.9 is not below"));
        assert!(fault(|o| o.limits.max_tokens = 0).contains("guardian.max_tokens = 0 admits no token"));
        assert!(fault(|o| o.limits.max_memory_bytes = 63).contains("write 64 or more"));
        assert!(fault(|o| o.memory_mark = f64::NAN).contains("guardian.memory_mark = NaN is no fraction"));
        assert!(fault(|o| o.memory_mark = -0.1).contains("guardian.memory_mark = -0.1"));
        assert!(fault(|o| o.memory_rearm = 0.95).contains("guardian.memory_rearm = 0.95 is not below"));
        GuardianOptions { memory_mark: 0.0, ..GuardianOptions::default() }.validate().unwrap();
        assert!(fault(|o| o.max_lease = 0).contains("guardian.max_lease = 0"));
        let rate = Some(RateLimit { per_second: 1, burst: 0 });
        assert!(fault(|o| o.rate = rate).contains("guardian.rate.burst = 0 admits no token"));
        assert!(fault(|o| o.memory_interval = Duration::ZERO).contains("guardian.memory_interval = 0"));
    }
}
