//! Files that are written through a mapping once they are in use.
//!
//! What an error can say is weaker here than elsewhere: a copy into a mapping can't fail, so a
//! device's error shows only at the `msync` after it, and a page that can't be had at all ends the
//! process with SIGBUS. Segments are reserved and written with zeros beforehand, so that a full disk
//! is no such case.

use super::os::{OsFile, OsStorage};
use super::{File, Storage};
use crate::sync::lock;
use memmap2::MmapRaw;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

/// The operating system's files, written through mappings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MmapStorage;

#[derive(Debug)]
struct MmapFile {
    file: OsFile,
    /// There once the file is in use as a segment.
    map: OnceLock<MmapRaw>,
    /// What was written since the last sync began; empty if nothing was.
    dirty: Mutex<Range<usize>>,
}

impl Storage for MmapStorage {
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        OsStorage::CACHED.list(dir)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        OsStorage::CACHED.open(path)
    }

    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = OsStorage::CACHED.open_os(path)?;
        Ok(Arc::new(MmapFile { file, map: OnceLock::new(), dirty: Mutex::default() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsStorage::CACHED.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        OsStorage::CACHED.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        OsStorage::CACHED.sync_dir(dir)
    }
}

impl File for MmapFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let Some(map) = self.map.get() else { return self.file.write_at(bytes, offset) };
        let beyond = || io::Error::from(io::ErrorKind::FileTooLarge);
        let start = usize::try_from(offset).map_err(|_| beyond())?;
        let end = start.checked_add(bytes.len()).filter(|end| *end <= map.len()).ok_or_else(beyond)?;
        #[expect(unsafe_code, reason = "a mapping is written through its address")]
        // SAFETY: `start..end` lies in the mapping, which lives as long as `self`; it is reached
        // through raw pointers alone, and only the writer's thread copies into it.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), map.as_mut_ptr().add(start), bytes.len());
        }
        let mut dirty = lock(&self.dirty);
        *dirty = if dirty.is_empty() { start..end } else { dirty.start.min(start)..dirty.end.max(end) };
        Ok(bytes.len())
    }

    fn reserve(&self, length: u64) -> io::Result<()> {
        self.file.reserve(length)
    }

    fn sync(&self) -> io::Result<()> {
        let dirty = std::mem::take(&mut *lock(&self.dirty));
        match self.map.get() {
            Some(map) if !dirty.is_empty() => map.flush_range(dirty.start, dirty.len()),
            Some(_) => Ok(()),
            None => self.file.sync(),
        }
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn begin(&self) -> io::Result<()> {
        if self.map.get().is_none() {
            let map = MmapRaw::map_raw(&self.file.cached)?;
            // Nobody else begins a file.
            let _ = self.map.set(map);
        }
        Ok(())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_copied_into_the_mapping_is_in_the_file_and_stays_within_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("segment");
        let file = MmapStorage.open_write(&path).unwrap();
        file.reserve(8192).unwrap();
        file.write_at(b"before", 0).unwrap();
        file.begin().unwrap();
        assert_eq!(file.write_at(b"after", 4096).unwrap(), 5);
        file.sync().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!((&bytes[..6], &bytes[4096..4101]), (&b"before"[..], &b"after"[..]));
        let error = file.write_at(&[1; 2], 8191).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }
}
