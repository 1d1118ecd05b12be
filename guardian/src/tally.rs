//! Counts that each lane writes alone and anyone may sum up: they never go backwards, not when a
//! lane ends either.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<Parts>);

#[derive(Debug, Default)]
struct Parts {
    ended: u64,
    live: Vec<Arc<AtomicU64>>,
}

/// One lane's part of a [`Tally`].
#[derive(Debug)]
pub(crate) struct TallyPart {
    whole: Arc<Tally>,
    own: Arc<AtomicU64>,
}

impl Tally {
    pub(crate) fn part(self: &Arc<Self>) -> TallyPart {
        let own = Arc::new(AtomicU64::new(0));
        self.parts().live.push(Arc::clone(&own));
        TallyPart { whole: Arc::clone(self), own }
    }

    pub(crate) fn sum(&self) -> u64 {
        let parts = self.parts();
        parts.ended + parts.live.iter().map(|part| part.load(Ordering::Relaxed)).sum::<u64>()
    }

    fn parts(&self) -> std::sync::MutexGuard<'_, Parts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TallyPart {
    pub(crate) fn add_one(&mut self) {
        self.own.store(self.own.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
}

impl Drop for TallyPart {
    fn drop(&mut self) {
        let mut parts = self.whole.parts();
        parts.ended += self.own.load(Ordering::Relaxed);
        parts.live.retain(|part| !Arc::ptr_eq(part, &self.own));
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_ends_stays_counted() {
        let whole = Arc::new(Tally::default());
        let (mut a, mut b) = (whole.part(), whole.part());
        a.add_one();
        b.add_one();
        drop(a);
        b.add_one();
        assert_eq!(whole.sum(), 3);
        drop(b);
        assert_eq!(whole.sum(), 3);
    }
}
