//! A log that no engine has open, taken by its lock: to be read back, and to get a checkpoint.

use super::replay::{Replayed, replay_in};
use crate::checkpoint::draft::{Draft, Stand, remove_older};
use crate::checkpoint::taking::put;
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::error::{IoError, LogError, RecoverError};
use crate::format::run::Run;
use crate::format::segment::{file_name, free_number_of};
use crate::log::lock_dir;
use crate::space::Held;
use crate::storage::{OsStorage, Storage};
use crate::writer::End;
use ng_core::TokenStore;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A log under this process's lock.
#[derive(Debug)]
pub struct Taken {
    dir: PathBuf,
    storage: Arc<dyn Storage>,
    end: End,
    held: Vec<Held>,
    junk: Vec<(u32, u64)>,
    _lock: Option<File>,
}

/// What an offline checkpoint did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freed {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// Segment files that were removed, recycled ones included.
    pub removed: u64,
    /// Their bytes.
    pub removed_bytes: u64,
}

/// Takes the log in a directory, finds its end, and makes what lies before that durable.
///
/// # Errors
/// See [`LogError`]: in use, not readable, or damaged with loss. Then nothing was changed.
pub fn take(dir: &Path) -> Result<Taken, LogError> {
    // Before the lock, which would make the file: a directory without a log stays as it is.
    std::fs::read_dir(dir).map_err(IoError::at("list", dir, 0))?;
    let lock = lock_dir(dir)?;
    Ok(Taken::of(dir, Arc::new(OsStorage::CACHED), Some(lock))?)
}

impl Taken {
    pub(crate) fn of(
        dir: &Path,
        storage: Arc<dyn Storage>,
        lock: Option<File>,
    ) -> Result<Self, RecoverError> {
        let found = super::find_end(dir, &*storage)?;
        Ok(Self {
            dir: dir.to_owned(),
            storage,
            end: found.end,
            held: found.held,
            junk: found.junk,
            _lock: lock,
        })
    }

    /// As [`super::replay`].
    ///
    /// # Errors
    /// As [`super::replay`].
    pub fn replay(&self, visit: impl FnMut(Run<'_>)) -> Result<Replayed, RecoverError> {
        replay_in(&self.dir, &*self.storage, visit).map(|(replayed, _)| replayed)
    }

    /// Writes a checkpoint of the store that this log was replayed into, and removes the segments
    /// that it covers: all but the last, and those that wait to be used again. The log must hold
    /// nothing but tokens, which is for the caller to know from the replay.
    ///
    /// # Errors
    /// See [`CheckpointError`].
    pub fn checkpoint(&self, store: &TokenStore) -> Result<Freed, CheckpointError> {
        let end = &self.end;
        let stand = Stand { log_id: end.log_id, lsn: end.next_lsn, epoch: end.epoch };
        let mut draft = Draft::begin(Arc::clone(&self.storage), &self.dir, stand, 1 << 20)?;
        for record in store.snapshot() {
            put(&mut draft, &record)?;
        }
        let checkpoint = draft.finish(end.next_lsn)?;
        let (storage, dir) = (&*self.storage, &self.dir);
        let mut freed = Freed { checkpoint, removed: 0, removed_bytes: 0 };
        // A segment behind a torn tail proves nothing, but it may be the last one by number.
        let kept = self.held.iter().position(|held| held.number == end.segment).unwrap_or(0);
        let first_kept = self.held.get(kept).map_or(0, |held| held.number);
        let old = self.junk.iter().copied().filter(|(number, _)| *number < first_kept);
        let covered = self.held.iter().take(kept).map(|held| (held.number, held.bytes));
        for (number, bytes) in old.chain(covered) {
            let path = dir.join(file_name(number));
            storage.remove(&path).map_err(IoError::at("remove", &path, 0))?;
            storage.sync_dir(dir).map_err(IoError::at("sync", dir, 0))?;
            freed.removed += 1;
            freed.removed_bytes += bytes;
        }
        for name in storage.list(dir).map_err(IoError::at("list", dir, 0))? {
            if free_number_of(&name).is_none() {
                continue;
            }
            let path = dir.join(name);
            let length = storage.open(&path).and_then(|file| file.length());
            freed.removed_bytes += length.map_err(IoError::at("length", &path, 0))?;
            storage.remove(&path).map_err(IoError::at("remove", &path, 0))?;
            freed.removed += 1;
        }
        remove_older(storage, dir, freed.checkpoint.lsn)?;
        Ok(freed)
    }
}
