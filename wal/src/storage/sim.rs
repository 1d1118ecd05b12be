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
}

impl Contents {
    fn durable(bytes: Vec<u8>) -> Self {
        Self { seen: bytes.clone(), durable: bytes, unsynced: Vec::new() }
    }
}

/// Files by name; the value is the place in [`Disk::files`].
type Names = BTreeMap<PathBuf, usize>;

/// What was done to the names since the directory was last synced.
#[derive(Debug, Clone)]
enum Change {
    Made(PathBuf, usize),
    Renamed(PathBuf, PathBuf, usize),
    Removed(PathBuf),
}

impl Change {
    fn apply(&self, names: &mut Names) {
        match self {
            Self::Made(path, file) => {
                names.insert(path.clone(), *file);
            }
            Self::Renamed(from, to, file) => {
                names.remove(from);
                names.insert(to.clone(), *file);
            }
            Self::Removed(path) => {
                names.remove(path);
            }
        }
    }
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
    files: Vec<Contents>,
    names: Names,
    durable_names: Names,
    changes: Vec<Change>,
    faults: Faults,
    held: bool,
}

impl Disk {
    fn named(&mut self, path: &Path) -> io::Result<&mut Contents> {
        let file = *self.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        self.files.get_mut(file).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.changes.push(change);
    }

    fn linked(&self) -> impl Iterator<Item = (&PathBuf, &Contents)> {
        self.names.iter().map(|(path, file)| (path, &self.files[*file]))
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct SimStorage {
    shared: Arc<(Mutex<Disk>, Condvar)>,
}

#[derive(Debug)]
struct SimFile {
    shared: Arc<(Mutex<Disk>, Condvar)>,
    file: usize,
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

    fn with(files: Vec<Contents>, names: Names) -> Self {
        let disk = Disk { files, durable_names: names.clone(), names, ..Disk::default() };
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
        let file = disk.named(path).unwrap();
        put(&mut file.seen, offset as usize, bytes);
        file.unsynced.push((offset as usize, bytes.to_vec()));
    }

    /// It ends, having written `bytes`; `durable` if they were flushed.
    pub(crate) fn end_write(&self, path: &Path, offset: u64, bytes: &[u8], durable: bool) {
        let mut disk = self.disk();
        let file = disk.named(path).unwrap();
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

    /// The disk after a power cut: of what was not synced, each sector is there or not, and each
    /// change of a name was done or not.
    pub(crate) fn power_cut(&self, seed: u64) -> Self {
        let mut random = Seeded(seed);
        let disk = self.disk();
        let files = disk.files.iter().map(|file| {
            let mut bytes = file.durable.clone();
            for (offset, write) in &file.unsynced {
                let whole = random.next() % 3;
                for (i, sector) in write.chunks(SECTOR).enumerate() {
                    if whole == 0 || (whole == 1 && random.next().is_multiple_of(2)) {
                        put(&mut bytes, offset + i * SECTOR, sector);
                    }
                }
            }
            Contents::durable(bytes)
        });
        let files = files.collect();
        let mut names = disk.durable_names.clone();
        let all = random.next() % 3;
        for change in &disk.changes {
            if all == 0 || (all == 1 && random.next().is_multiple_of(2)) {
                change.apply(&mut names);
            }
        }
        Self::with(files, names)
    }

    /// The disk after the process was killed: the page cache is still there.
    pub(crate) fn killed(&self) -> Self {
        let disk = self.disk();
        let (files, names) = (disk.files.clone(), disk.names.clone());
        let killed = Self::with(files, names);
        {
            let mut other = killed.disk();
            other.durable_names.clone_from(&disk.durable_names);
            other.changes.clone_from(&disk.changes);
        }
        killed
    }

    /// All files as the process sees them.
    pub(crate) fn image(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        self.disk().linked().map(|(path, file)| (path.clone(), file.seen.clone())).collect()
    }

    /// A disk with these files, all durable.
    pub(crate) fn of_image(image: BTreeMap<PathBuf, Vec<u8>>) -> Self {
        let names = image.keys().cloned().zip(0..).collect();
        Self::with(image.into_values().map(Contents::durable).collect(), names)
    }

    /// Changes a file behind the log's back.
    pub(crate) fn edit(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut disk = self.disk();
        let file = disk.named(path).unwrap();
        change(&mut file.seen);
        file.durable = file.seen.clone();
    }
}

impl Storage for SimStorage {
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let disk = self.disk();
        let inside = disk.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = *self.disk().names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(SimFile { shared: Arc::clone(&self.shared), file }))
    }

    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut disk = self.disk();
        if !disk.names.contains_key(path) {
            disk.files.push(Contents::default());
            let file = disk.files.len() - 1;
            disk.change(Change::Made(path.to_owned(), file));
        }
        drop(disk);
        self.open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        let file = *disk.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        disk.change(Change::Renamed(from.to_owned(), to.to_owned(), file));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        if !disk.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        disk.change(Change::Removed(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.durable_names = disk.names.clone();
        disk.changes.clear();
        Ok(())
    }
}

impl SimFile {
    fn with<R>(&self, work: impl FnOnce(&mut Disk, usize) -> io::Result<R>) -> io::Result<R> {
        work(&mut lock(&self.shared.0), self.file)
    }
}

fn contents(disk: &mut Disk, file: usize) -> io::Result<&mut Contents> {
    disk.files.get_mut(file).ok_or_else(|| io::ErrorKind::NotFound.into())
}

impl File for SimFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(|disk, file| {
            let from = contents(disk, file)?.seen.get(offset as usize..).unwrap_or_default();
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
        let file = contents(&mut disk, self.file)?;
        put(&mut file.seen, offset as usize, &bytes[..length]);
        file.unsynced.push((offset as usize, bytes[..length].to_vec()));
        Ok(length)
    }

    fn reserve(&self, length: u64) -> io::Result<()> {
        self.with(|disk, file| {
            let used: u64 = disk.linked().map(|(_, file)| file.seen.len() as u64).sum();
            if disk.faults.space.is_some_and(|space| used + length > space) {
                return Err(io::Error::from_raw_os_error(libc::ENOSPC));
            }
            let file = contents(disk, file)?;
            file.seen.resize(length as usize, 0);
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.with(|disk, file| {
            let mut failure = None;
            if let Some((left, error)) = disk.faults.syncs {
                disk.faults.syncs = left.checked_sub(1).map(|left| (left, error));
                failure = (left == 0).then_some(error);
            }
            let file = contents(disk, file)?;
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
        self.with(|disk, file| Ok(contents(disk, file)?.seen.len() as u64))
    }
}
