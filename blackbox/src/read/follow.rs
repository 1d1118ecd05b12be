//! A living process's events as they come.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use ng_core::events::Tier;

use super::{ReadError, Snapshot};

/// What was seen of a process's rings so far.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    /// By file and tier: the number of the first record that was not seen.
    next: HashMap<(String, Tier), u64>,
}

impl Follower {
    /// Of the directory of one process.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), next: HashMap::new() }
    }

    /// What was recorded since the last call, in order of time, and how many events came and were
    /// overwritten in between. Between two calls order is by the calls. The rings themselves are as
    /// they are now.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn poll(&mut self) -> Result<(Snapshot, u64), ReadError> {
        let first_time = self.next.is_empty();
        let mut snapshot = Snapshot::open(&self.path)?;
        // Events of one tier of one ring lie in the order of their numbers.
        let mut seen: HashMap<(usize, Tier), u64> = HashMap::new();
        let mut missed = 0;
        let (rings, next) = (&snapshot.rings, &self.next);
        snapshot.events.retain(|event| {
            let key = (rings[event.ring].file.clone(), event.tier);
            let from = next.get(&key).copied().unwrap_or(0);
            if event.sequence < from {
                return false;
            }
            let expected = seen.insert((event.ring, event.tier), event.sequence + 1).unwrap_or(from);
            // What was overwritten before anyone looked is no loss of the follower's.
            if !first_time {
                missed += event.sequence.saturating_sub(expected);
            }
            true
        });
        for ((ring, tier), next) in seen {
            self.next.insert((snapshot.rings[ring].file.clone(), tier), next);
        }
        Ok((snapshot, missed))
    }
}
