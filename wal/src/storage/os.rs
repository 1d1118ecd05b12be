//! The operating system's files, through the page cache or past it.

use super::{File, Storage};
use crate::format::ALIGNMENT;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

/// Files of the operating system.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OsStorage {
    /// Whether files that are written to are opened a second time, past the page cache.
    direct: bool,
}

impl OsStorage {
    /// Through the page cache.
    pub(crate) const CACHED: Self = Self { direct: false };
    /// Aligned writes go past the page cache.
    pub(crate) const DIRECT: Self = Self { direct: true };

    pub(super) fn open_os(self, path: &Path) -> io::Result<OsFile> {
        let cached = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let direct = if self.direct {
            Some(fs::OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(path)?)
        } else {
            None
        };
        Ok(OsFile { cached, direct })
    }
}

impl Storage for OsStorage {
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(OsFile { cached: fs::File::open(path)?, direct: None }))
    }

    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(self.open_os(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(dir)?.sync_all()
    }
}

/// An open file.
#[derive(Debug)]
pub(crate) struct OsFile {
    pub(super) cached: fs::File,
    direct: Option<fs::File>,
}

fn aligned(bytes: &[u8], offset: u64) -> bool {
    let align = ALIGNMENT as u64;
    (bytes.as_ptr().addr() as u64).is_multiple_of(align)
        && (bytes.len() as u64).is_multiple_of(align)
        && offset.is_multiple_of(align)
}

impl File for OsFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.cached.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        match &self.direct {
            Some(direct) if aligned(bytes, offset) => direct.write_at(bytes, offset),
            _ => self.cached.write_at(bytes, offset),
        }
    }

    #[expect(unsafe_code, reason = "posix_fallocate has no safe wrapper")]
    fn reserve(&self, length: u64) -> io::Result<()> {
        let length = i64::try_from(length).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        // SAFETY: the descriptor is open for as long as `self` lives, and no memory is passed.
        match unsafe { libc::posix_fallocate(self.cached.as_raw_fd(), 0, length) } {
            0 => Ok(()),
            code => Err(io::Error::from_raw_os_error(code)),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.cached.sync_data()
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.cached.metadata()?.len())
    }

    fn direct(&self) -> Option<BorrowedFd<'_>> {
        self.direct.as_ref().map(AsFd::as_fd)
    }
}
