//! A disk for tests: it forgets what was not synced, tears writes at sectors, fails on demand, and
//! holds writes back. Its crashes are decided by a seed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test reports by panicking")]

use super::{File, Storage};
use crate::sync::lock;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// What a disk writes whole or not at all, in bytes.
const SECTOR: usize = 512;

#[derive(Debug, Clone, Default)]
struct Contents {
    seen: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<(usize, Vec<u8>)>,
    linked: bool,
}

/// What goes wrong, counted from now on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    /// So many writes succeed, then all fail with this error.
    pub(crate) writes: Option<(u32, i32)>,
    /// So many syncs succeed, the next one fails, and those after it succeed: as Linux does.
    pub(crate) syncs: Option<(u32, i32)>,
    /// No file may be longer in total, in bytes; more is ENOSPC.
    pub(crate) space: Option<u64>,
    /// Each write takes no more than this at once, in bytes.
    pub(crate) at_once: Option<usize>,
}

#[derive(Debug, Default)]
struct Disk {
    files: BTreeMap<PathBuf, Contents>,
    faults: Faults,
    held: bool,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct SimStorage {
    shared: Arc<(Mutex<Disk>, Condvar)>,
}

#[derive(Debug)]
struct SimFile {
    shared: Arc<(Mutex<Disk>, Condvar)>,
    path: PathBuf,
}

/// Numbers from a seed (splitmix64, Steele et al. 2014).
pub(crate) struct Seeded(pub(crate) u64);

impl Seeded {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

fn put(bytes: &mut Vec<u8>, offset: usize, from: &[u8]) {
    let end = offset + from.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(from);
}

impl SimStorage {
    fn disk(&self) -> std::sync::MutexGuard<'_, Disk> {
        lock(&self.shared.0)
    }

    fn with(files: BTreeMap<PathBuf, Contents>) -> Self {
        let disk = Disk { files, ..Disk::default() };
        Self { shared: Arc::new((Mutex::new(disk), Condvar::new())) }
    }

    pub(crate) fn set_faults(&self, faults: Faults) {
        self.disk().faults = faults;
    }

    /// Whether writes are held back.
    pub(crate) fn is_held(&self) -> bool {
        self.disk().held
    }

    /// The error that the next write has, if it has one.
    pub(crate) fn fault_of_write(&self) -> Option<i32> {
        let mut disk = self.disk();
        let (left, error) = disk.faults.writes.as_mut()?;
        match left.checked_sub(1) {
            Some(fewer) => {
                *left = fewer;
                None
            }
            None => Some(*error),
        }
    }

    /// A write past the page cache begins: any sector of it may be on the disk from now on.
    pub(crate) fn begin_write(&self, path: &Path, offset: u64, bytes: &[u8]) {
        let mut disk = self.disk();
        let file = disk.files.get_mut(path).unwrap();
        put(&mut file.seen, offset as usize, bytes);
        file.unsynced.push((offset as usize, bytes.to_vec()));
    }

    /// It ends, having written `bytes`; `durable` if they were flushed.
    pub(crate) fn end_write(&self, path: &Path, offset: u64, bytes: &[u8], durable: bool) {
        let mut disk = self.disk();
        let file = disk.files.get_mut(path).unwrap();
        if durable {
            put(&mut file.durable, offset as usize, bytes);
            let end = offset as usize + bytes.len();
            file.unsynced.retain(|(at, write)| *at < offset as usize || at + write.len() > end);
        }
    }

    /// Holds back writes, or lets them go on.
    pub(crate) fn hold(&self, held: bool) {
        self.disk().held = held;
        self.shared.1.notify_all();
    }

    /// The disk after a power cut: of what was not synced, each sector is there or not.
    pub(crate) fn power_cut(&self, seed: u64) -> Self {
        let mut random = Seeded(seed);
        let disk = self.disk();
        let linked = disk.files.iter().filter(|(_, file)| file.linked);
        let files = linked.map(|(path, file)| {
            let mut bytes = file.durable.clone();
            for (offset, write) in &file.unsynced {
                let whole = random.next() % 3;
                for (i, sector) in write.chunks(SECTOR).enumerate() {
                    if whole == 0 || (whole == 1 && random.next().is_multiple_of(2)) {
                        put(&mut bytes, offset + i * SECTOR, sector);
                    }
                }
            }
            (
                path.clone(),
                Contents { seen: bytes.clone(), durable: bytes, linked: true, ..Contents::default() },
            )
        });
        Self::with(files.collect())
    }

    /// The disk after the process was killed: the page cache is still there.
    pub(crate) fn killed(&self) -> Self {
        Self::with(self.disk().files.clone())
    }

    /// All files as the process sees them.
    pub(crate) fn image(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        self.disk().files.iter().map(|(path, file)| (path.clone(), file.seen.clone())).collect()
    }

    /// A disk with these files, all durable.
    pub(crate) fn of_image(image: BTreeMap<PathBuf, Vec<u8>>) -> Self {
        let files = image.into_iter().map(|(path, bytes)| {
            let contents =
                Contents { seen: bytes.clone(), durable: bytes, linked: true, ..Contents::default() };
            (path, contents)
        });
        Self::with(files.collect())
    }

    /// Changes a file behind the log's back.
    pub(crate) fn edit(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut disk = self.disk();
        let file = disk.files.get_mut(path).unwrap();
        change(&mut file.seen);
        file.durable = file.seen.clone();
    }
}

impl Storage for SimStorage {
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let disk = self.disk();
        let inside = disk.files.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        if !self.disk().files.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Arc::new(SimFile { shared: Arc::clone(&self.shared), path: path.to_owned() }))
    }

    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.disk().files.entry(path.to_owned()).or_default();
        self.open(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        let inside = disk.files.iter_mut().filter(|(path, _)| path.parent() == Some(dir));
        inside.for_each(|(_, file)| file.linked = true);
        Ok(())
    }
}

impl SimFile {
    fn with<R>(&self, work: impl FnOnce(&mut Disk, &Path) -> io::Result<R>) -> io::Result<R> {
        work(&mut lock(&self.shared.0), &self.path)
    }
}

fn contents<'a>(disk: &'a mut Disk, path: &Path) -> io::Result<&'a mut Contents> {
    disk.files.get_mut(path).ok_or_else(|| io::ErrorKind::NotFound.into())
}

impl File for SimFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(|disk, path| {
            let from = contents(disk, path)?.seen.get(offset as usize..).unwrap_or_default();
            let length = from.len().min(bytes.len());
            bytes[..length].copy_from_slice(&from[..length]);
            Ok(length)
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut disk = lock(&self.shared.0);
        while disk.held {
            disk = self.shared.1.wait(disk).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some((left, error)) = &mut disk.faults.writes {
            if *left == 0 {
                return Err(io::Error::from_raw_os_error(*error));
            }
            *left -= 1;
        }
        let length = bytes.len().min(disk.faults.at_once.unwrap_or(usize::MAX));
        let file = contents(&mut disk, &self.path)?;
        put(&mut file.seen, offset as usize, &bytes[..length]);
        file.unsynced.push((offset as usize, bytes[..length].to_vec()));
        Ok(length)
    }

    fn reserve(&self, length: u64) -> io::Result<()> {
        self.with(|disk, path| {
            let used: u64 = disk.files.values().map(|file| file.seen.len() as u64).sum();
            if disk.faults.space.is_some_and(|space| used + length > space) {
                return Err(io::Error::from_raw_os_error(libc::ENOSPC));
            }
            let file = contents(disk, path)?;
            file.seen.resize(length as usize, 0);
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.with(|disk, path| {
            let mut failure = None;
            if let Some((left, error)) = disk.faults.syncs {
                disk.faults.syncs = left.checked_sub(1).map(|left| (left, error));
                failure = (left == 0).then_some(error);
            }
            let file = contents(disk, path)?;
            file.unsynced.clear();
            if let Some(error) = failure {
                // What was to be synced is gone, and the next sync will not say so.
                return Err(io::Error::from_raw_os_error(error));
            }
            file.durable = file.seen.clone();
            Ok(())
        })
    }

    fn length(&self) -> io::Result<u64> {
        self.with(|disk, path| Ok(contents(disk, path)?.seen.len() as u64))
    }
}
