//! What an engine's start does to a log, without the engine: checkpoint and log are read under the
//! lock, and what was found is made durable. Nothing else is written.

use super::replay::{Replayed, replay_in};
use crate::error::{IoError, LogError};
use crate::log::lock_dir;
use crate::storage::OsStorage;
use std::path::Path;

/// Reads a log strictly, every checksum included, and syncs its files, so that what is reported
/// stays. A process may have died with blocks in the page cache that no sync has covered.
///
/// # Errors
/// See [`LogError`]: in use, not readable, or damaged with loss. Then nothing was done.
pub fn settle(dir: &Path) -> Result<Replayed, LogError> {
    // Before the lock, which would make the file: a directory without a log stays as it is.
    std::fs::read_dir(dir).map_err(IoError::at("list", dir, 0))?;
    let _lock = lock_dir(dir)?;
    let (replayed, reader) = replay_in(dir, &OsStorage::CACHED, |_| ())?;
    reader.sync()?;
    Ok(replayed)
}
