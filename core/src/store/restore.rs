//! Putting records back: what recovery does with the log, and a snapshot with a store.
//!
//! Records of one slot may come in any order and from several threads: the youngest generation
//! wins. Lanes may be at work meanwhile; quotas are the caller's business.

use super::ranges::RANGE_SLOTS;
use super::slot::Slot;
use super::{StoreError, TokenStore};
use crate::records::{BadRecord, TokenRecord, decode};
use crate::wal::RecordKind;

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restored {
    /// The slot now is as the record says.
    Applied,
    /// The slot is younger already, or just as old.
    Superseded,
}

/// What became of a run of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RestoredRun {
    /// Records that changed the store.
    pub applied: u64,
    /// Records that a younger one had overtaken.
    pub superseded: u64,
    /// Records of kinds that are not tokens'.
    pub foreign: u64,
}

/// Why a run can't be put back. The records before the one at fault are in the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// It says that it is a token, and isn't.
    #[error(transparent)]
    Record(#[from] BadRecord),
    /// The store can't take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Puts records back one after the other, and counts them in groups: quick where neighbours come
/// together, as they do in a log. [`TokenStore::len`] is exact once it was dropped.
#[derive(Debug)]
pub struct Restorer<'a> {
    store: &'a TokenStore,
    /// The first slot of the range at hand; [`NO_RANGE`] at the beginning.
    range: u32,
    cells: &'a [Slot],
    /// Holes filled in it, not yet counted.
    filled: u32,
    added: u64,
    overwritten: u64,
}

/// No range begins here.
const NO_RANGE: u32 = u32::MAX;

impl TokenStore {
    /// Puts one record back. For many, [`Self::restorer`] is quicker.
    ///
    /// # Errors
    /// [`StoreError::Beyond`] if the store has no such slot, [`StoreError::NoMemory`].
    pub fn restore(&self, record: &TokenRecord) -> Result<Restored, StoreError> {
        self.restorer().record(record)
    }

    /// A way to put many records back.
    #[must_use]
    pub fn restorer(&self) -> Restorer<'_> {
        Restorer { store: self, range: NO_RANGE, cells: &[], filled: 0, added: 0, overwritten: 0 }
    }
}

impl Restorer<'_> {
    /// Puts one record back.
    ///
    /// # Errors
    /// As [`TokenStore::restore`].
    #[inline]
    pub fn record(&mut self, record: &TokenRecord) -> Result<Restored, StoreError> {
        let (id, generation) = match record {
            TokenRecord::Created { token, generation } => (token.id(), *generation),
            TokenRecord::Deleted { id, generation } => (*id, *generation),
        };
        let slot = id.slot();
        let within = slot % RANGE_SLOTS;
        if slot - within != self.range {
            self.enter(slot)?;
        }
        let Some(cell) = self.cells.get(within as usize) else {
            return Err(StoreError::Beyond { id, capacity: self.store.domain_capacity() });
        };
        let before = loop {
            let seen = cell.head();
            if seen.generation() >= generation {
                return Ok(Restored::Superseded);
            }
            if cell.supersede(seen) {
                break seen;
            }
            std::hint::spin_loop();
        };
        self.filled += u32::from(!before.is_live());
        self.overwritten += u64::from(before.is_live());
        match record {
            TokenRecord::Created { token, generation } => {
                cell.publish(token, *generation);
                self.added += 1;
            }
            TokenRecord::Deleted { generation, .. } => {
                cell.empty_at(*generation);
                self.store.freed(slot, 1);
            }
        }
        Ok(Restored::Applied)
    }

    /// Puts back a run of records of one kind, each `record_len` bytes long, as a log hands them
    /// out. Kinds that are not tokens' are counted and passed over.
    ///
    /// # Errors
    /// See [`RestoreError`].
    pub fn run(
        &mut self,
        kind: RecordKind,
        record_len: usize,
        records: &[u8],
    ) -> Result<RestoredRun, RestoreError> {
        let mut count = RestoredRun::default();
        for payload in records.chunks_exact(record_len.max(1)) {
            match decode(kind, payload)? {
                None => count.foreign += 1,
                Some(record) => match self.record(&record)? {
                    Restored::Applied => count.applied += 1,
                    Restored::Superseded => count.superseded += 1,
                },
            }
        }
        Ok(count)
    }

    /// Goes to the range around `slot`.
    #[cold]
    fn enter(&mut self, slot: u32) -> Result<(), StoreError> {
        self.count();
        self.store.open_for(slot)?;
        let range = slot - slot % RANGE_SLOTS;
        self.cells = self.store.run(range, RANGE_SLOTS).unwrap_or_default();
        self.range = range;
        Ok(())
    }

    fn count(&mut self) {
        if self.filled > 0 {
            self.store.range(self.range).take_holes(self.filled);
        }
        if self.added + self.overwritten > 0 {
            self.store.count_restored(self.added, self.overwritten);
        }
        (self.filled, self.added, self.overwritten) = (0, 0, 0);
    }
}

impl Drop for Restorer<'_> {
    fn drop(&mut self) {
        self.count();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::TokenSpec;
    use crate::records::{TOKEN_DELETED, TOKEN_FIRST, encode_deleted};
    use zerocopy::IntoBytes;

    #[test]
    fn a_run_is_put_back_and_counted_over_many_ranges() {
        let store = TokenStore::new();
        // Every 100th slot: 100,000 of them lie in many ranges.
        let tokens: Vec<_> = (0..1_000).map(|i| TokenSpec::new().at(i * 100, 7)).collect();
        let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.as_bytes().to_vec()).collect();
        let mut restorer = store.restorer();
        let all = restorer.run(TOKEN_FIRST, 64, &bytes).unwrap();
        assert_eq!(all, RestoredRun { applied: 1_000, ..RestoredRun::default() });
        let again = restorer.run(TOKEN_FIRST, 64, &bytes[..640]).unwrap();
        assert_eq!(again, RestoredRun { superseded: 10, ..RestoredRun::default() });
        let gone = restorer.run(TOKEN_DELETED, 8, &encode_deleted(tokens[3].id(), 2)).unwrap();
        assert_eq!(gone.applied, 1);
        assert_eq!(restorer.run(RecordKind::USER, 4, &[0; 8]).unwrap().foreign, 2);
        drop(restorer);
        assert_eq!(store.len(), 999);
        assert_eq!(store.iter().count(), 999);
    }

    #[test]
    fn a_record_that_is_no_token_stops_the_run_behind_the_sound_ones() {
        let store = TokenStore::new();
        let mut restorer = store.restorer();
        let error = restorer.run(TOKEN_FIRST, 63, &[0; 63]).unwrap_err();
        assert!(matches!(error, RestoreError::Record(_)), "{error}");
    }
}
