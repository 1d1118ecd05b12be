//! The store as records, for a checkpoint: taken while lanes go on.
//!
//! A lane logs an operation before the store shows it. Whoever knows that a record is in the log
//! (it was flushed) and then waits by [`TokenStore::quiesce`], finds its effect in the store. What
//! lanes do meanwhile may be in a snapshot or not: each record carries its slot's generation, so
//! that the log's records from before the snapshot on may be put over it.

use super::ranges::Owner;
use super::{Slot, TokenStore};
use crate::fence;
use crate::records::TokenRecord;
use crate::token::TokenId;
use std::sync::Arc;
use std::time::{Duration, Instant};

impl TokenStore {
    /// What writers are at now. Whoever knows that a record was appended before this call (by a
    /// flush, say) finds its effect in the store after [`AtWork::wait`].
    #[must_use]
    pub fn at_work(&self) -> AtWork {
        let owners = self.lock().owners.clone();
        // A writer declares itself busy before it appends. Who has seen the record sees that too,
        // or that the writer is through; the fence makes it so for whoever was only told.
        fence::heavy();
        // An operation whose record the caller knows of began before this, so that what the writer
        // counted before that operation is in here: any change is its end, or that of a later one.
        let seen = |owner: Arc<Owner>| (owner.progress(), owner);
        AtWork { writers: owners.into_iter().map(seen).collect() }
    }

    /// [`Self::at_work`] and [`AtWork::wait`] in one.
    #[must_use]
    pub fn quiesce(&self, timeout: Duration) -> bool {
        self.at_work().wait(timeout)
    }

    /// Each slot that was ever used, as the record that puts it back: live tokens with their
    /// generation, and deletions, without which a slot would begin to count again and an old log
    /// could bring back what it held.
    pub fn snapshot(&self) -> impl Iterator<Item = TokenRecord> + '_ {
        self.chunks
            .iter()
            .enumerate()
            .filter_map(|(i, chunk)| Some((self.first_slot(i), chunk.get()?)))
            .flat_map(|(first, chunk)| {
                (first..).zip(chunk.slots()).filter_map(|(slot, cell)| state_of(cell, slot))
            })
    }
}

/// Writers as they were when [`TokenStore::at_work`] was called.
#[derive(Debug)]
pub struct AtWork {
    writers: Vec<((u64, u64), Arc<Owner>)>,
}

impl AtWork {
    /// Waits until each writer has been seen between two operations, or has ended one since, at
    /// most `timeout`; whether all have. A writer whose log makes it wait is waited for: let it go
    /// on after [`TokenStore::at_work`], not before, or it may stand still again by then.
    #[must_use]
    pub fn wait(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        self.writers.iter().all(|(before, owner)| owner.wait_through(*before, deadline))
    }
}

#[inline]
fn state_of(cell: &Slot, slot: u32) -> Option<TokenRecord> {
    loop {
        if let Some((token, generation)) = cell.read(slot) {
            return Some(TokenRecord::Created { token, generation });
        }
        let head = cell.head();
        if head.is_live() {
            // Filled since.
            continue;
        }
        let generation = head.generation();
        let id = TokenId::from_slot(slot, 0);
        return (generation > 0).then_some(TokenRecord::Deleted { id, generation });
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::TokenSpec;

    const SOON: Duration = Duration::from_millis(5);
    const LATE: Duration = Duration::from_secs(30);

    #[test]
    fn a_snapshot_put_into_another_store_gives_the_same_tokens_and_generations() {
        let store = Arc::new(TokenStore::new());
        let mut writer = store.writer(3).unwrap();
        let slots: Vec<u32> = (0..100)
            .map(|i| {
                let run = writer.reserve(1).unwrap();
                let slot = run.first();
                run.publish(1, |_| TokenSpec::new().with_weight(i as f32).at(slot, 1));
                slot
            })
            .collect();
        for slot in &slots[..40] {
            let live = writer.look(TokenId::from_slot(*slot, 0)).unwrap();
            assert!(writer.remove(live));
        }
        // Twenty of them are used again.
        for _ in 0..20 {
            let run = writer.reserve(1).unwrap();
            let slot = run.first();
            assert_eq!(run.generation(), 3);
            run.publish(1, |_| TokenSpec::new().at(slot, 2));
        }
        let copy = TokenStore::new();
        store.snapshot().for_each(|record| assert!(copy.restore(&record).is_ok()));
        assert_eq!(copy.len(), 80);
        assert!(copy.iter().eq(store.iter()));
        assert!(copy.snapshot().eq(store.snapshot()), "deletions and their generations too");
    }

    #[test]
    fn quiesce_waits_for_untouched_and_used_slots_and_for_removals() {
        let store = Arc::new(TokenStore::new());
        let mut writer = store.writer(0).unwrap();
        assert!(store.quiesce(LATE));
        let run = writer.reserve(4).unwrap();
        let first = run.first();
        assert!(!store.quiesce(SOON), "an untouched run is at work");
        run.publish(4, |i| TokenSpec::new().at(first + i, 1));
        assert!(store.quiesce(LATE));
        let id = TokenId::from_slot(first, 0);
        let live = writer.look(id).unwrap();
        writer.begin_removal();
        assert!(!store.quiesce(SOON), "a removal is at work");
        assert!(writer.remove(live));
        writer.end_removal();
        assert!(store.quiesce(LATE));
        let run = writer.reserve_at(id).unwrap();
        assert!(!store.quiesce(SOON), "a slot used again is at work");
        drop(run);
        assert!(store.quiesce(LATE));
        assert!(writer.reserve_at(TokenId::from_slot(first + 1, 0)).is_err());
        assert!(store.quiesce(LATE), "a claim that failed is not at work");
        writer.begin_removal();
        drop(writer);
        assert!(store.quiesce(LATE), "a writer that is gone is not at work");
    }
}
