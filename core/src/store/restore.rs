//! Putting records back: what recovery does with the log, and a snapshot with a store.
//!
//! Records of one slot may come in any order and from several threads: the youngest generation
//! wins. Lanes may be at work meanwhile; quotas are the caller's business.

use super::{StoreError, TokenStore};
use crate::records::TokenRecord;

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restored {
    /// The slot now is as the record says.
    Applied,
    /// The slot is younger already, or just as old.
    Superseded,
}

impl TokenStore {
    /// Puts one record back.
    ///
    /// # Errors
    /// [`StoreError::Beyond`] if the store has no such slot, [`StoreError::NoMemory`].
    pub fn restore(&self, record: &TokenRecord) -> Result<Restored, StoreError> {
        let (id, generation) = match record {
            TokenRecord::Created { token, generation } => (token.id(), *generation),
            TokenRecord::Deleted { id, generation } => (*id, *generation),
        };
        let slot = id.slot();
        self.open_for(slot)?;
        let Some(cell) = self.slot(slot) else {
            return Err(StoreError::Beyond { id, capacity: self.domain_capacity() });
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
        if !before.is_live() {
            self.range(slot).take_hole();
        }
        let mut added = 0;
        match record {
            TokenRecord::Created { token, generation } => {
                cell.publish(token, *generation);
                added = 1;
            }
            TokenRecord::Deleted { generation, .. } => {
                cell.empty_at(*generation);
                self.freed(slot);
            }
        }
        self.count_restored(added, u64::from(before.is_live()));
        Ok(Restored::Applied)
    }
}
