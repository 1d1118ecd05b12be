//! Files, as the log needs them. All that the log does to a disk goes through here, so that tests
//! can stand in for the disk and fail, tear and forget as real ones do.
//!
//! Nothing here retries: a failed write or sync is final, and its caller poisons the log.

#[cfg(feature = "mmap")]
mod mmap;
mod os;
#[cfg(all(test, not(loom)))]
pub(crate) mod sim;

#[cfg(feature = "mmap")]
pub(crate) use mmap::MmapStorage;
pub(crate) use os::OsStorage;

use std::fmt::Debug;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

/// A directory's worth of files.
pub(crate) trait Storage: Send + Sync + Debug {
    /// The names of the files in a directory, in any order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Opens a file for reading.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Opens a file for reading and writing; makes it if it isn't there.
    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Gives a file another name, in place of whatever had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Takes a file's name away.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Waits until the directory's entries are durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// An open file. Several threads may use it at once.
pub(crate) trait File: Send + Sync + Debug {
    /// Reads at most `bytes.len()` bytes; 0 at the end of the file.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes at least one byte of `bytes`, and says how many.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// Reserves space for `length` bytes and makes the file that long.
    fn reserve(&self, length: u64) -> io::Result<()>;
    /// Waits until the device acknowledged all that was written.
    fn sync(&self) -> io::Result<()>;
    /// The file's length in bytes.
    fn length(&self) -> io::Result<u64>;
    /// The file, long enough and synced, is about to be filled as a segment.
    fn begin(&self) -> io::Result<()> {
        Ok(())
    }
    /// A descriptor that goes past the page cache, if the storage opened one: offsets, lengths and
    /// memory must be aligned to [`ALIGNMENT`](crate::format::ALIGNMENT).
    fn direct(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// Writes all of `bytes`; on an error, says at which offset.
pub(crate) fn write_all(file: &dyn File, mut bytes: &[u8], mut offset: u64) -> Result<(), (u64, io::Error)> {
    while !bytes.is_empty() {
        match file.write_at(bytes, offset) {
            Ok(0) => return Err((offset, io::ErrorKind::WriteZero.into())),
            Ok(written) => {
                bytes = bytes.get(written..).unwrap_or_default();
                offset += written as u64;
            }
            // Nothing was written, so this is a first attempt still, not a retry.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err((offset, error)),
        }
    }
    Ok(())
}

/// Reads until `bytes` is full or the file ends, and says how much there was.
pub(crate) fn read_full(file: &dyn File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
