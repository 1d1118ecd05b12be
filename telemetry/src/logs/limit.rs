//! How much each callsite may say a second, and how much was left out.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// How much a callsite may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLimit {
    /// Lines a second from one callsite; 0 limits nothing.
    pub per_second: u32,
}

impl Default for LogLimit {
    fn default() -> Self {
        Self { per_second: 100 }
    }
}

/// What was written and what was not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogStats {
    /// Lines written.
    pub written: u64,
    /// Events left out because their callsite had said enough.
    pub suppressed: u64,
    /// Lines that could not be written.
    pub failed: u64,
}

/// The counts, for whoever keeps the layer's other end.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) written: AtomicU64,
    pub(super) suppressed: AtomicU64,
    pub(super) failed: AtomicU64,
}

impl Counts {
    pub(super) fn stats(&self) -> LogStats {
        LogStats {
            written: self.written.load(Ordering::Relaxed),
            suppressed: self.suppressed.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }
}

/// A callsite's last second.
#[derive(Debug, Default)]
struct Said {
    second: u64,
    lines: u32,
    left_out: u64,
}

/// All callsites: as many as the program has.
#[derive(Debug)]
pub(super) struct Limiter {
    limit: LogLimit,
    callsites: Mutex<HashMap<usize, Said>>,
    pub(super) counts: Arc<Counts>,
}

impl Limiter {
    pub(super) fn new(limit: LogLimit) -> Self {
        Self { limit, callsites: Mutex::default(), counts: Arc::default() }
    }

    /// Whether the callsite may say something in this second, and how much was left out before.
    pub(super) fn admit(&self, callsite: usize, second: u64) -> Option<u64> {
        if self.limit.per_second == 0 {
            return Some(0);
        }
        let mut callsites = self.callsites.lock().unwrap_or_else(PoisonError::into_inner);
        let said = callsites.entry(callsite).or_default();
        if said.second != second {
            (said.second, said.lines) = (second, 0);
        }
        if said.lines >= self.limit.per_second {
            said.left_out += 1;
            self.counts.suppressed.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        said.lines += 1;
        Some(std::mem::take(&mut said.left_out))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_wild_callsite_is_cut_off_and_the_next_second_says_by_how_much() {
        let limiter = Limiter::new(LogLimit { per_second: 3 });
        let said: Vec<_> = (0..10).map(|_| limiter.admit(1, 5)).collect();
        assert_eq!(said.iter().flatten().count(), 3);
        assert_eq!(limiter.admit(2, 5), Some(0), "another one is not concerned");
        assert_eq!(limiter.admit(1, 6), Some(7));
        assert_eq!(limiter.admit(1, 6), Some(0));
        assert_eq!(limiter.counts.stats().suppressed, 7);
        let free = Limiter::new(LogLimit { per_second: 0 });
        assert!((0..1_000).all(|_| free.admit(1, 5) == Some(0)));
    }
}
