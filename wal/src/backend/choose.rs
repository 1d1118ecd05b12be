//! Which way of output a log takes, and why: the one that was asked for, or the best that works in
//! this directory on this kernel.

use super::Backend;
use super::StdBackend;
use crate::error::{IoError, LogError};
use crate::hub::Hub;
use crate::options::{BackendKind, LogOptions};
use crate::storage::{OsStorage, Storage};
use std::path::Path;
use std::sync::Arc;

/// The way of output of an open log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// Which; never [`BackendKind::Auto`].
    pub kind: BackendKind,
    /// Why, in words: what was found where it was left to the log, what does not work as it might.
    pub why: String,
}

/// Starts a back end; may add to why it was chosen.
pub(crate) type Start = Box<dyn FnOnce(&Arc<Hub>, &mut Chosen) -> std::io::Result<Box<dyn Backend>>>;

/// A back end before it is started.
pub(crate) struct Prepared {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) start: Start,
    pub(crate) chosen: Chosen,
}

/// Prepares the back end that the options ask for.
///
/// # Errors
/// [`LogError::Backend`] if it was asked for by name and can't be had.
pub(crate) fn prepare(options: &LogOptions) -> Result<Prepared, LogError> {
    let asked = |why: &str| why.to_owned();
    match options.backend {
        BackendKind::Std => Ok(cached(asked("asked for"))),
        BackendKind::Mmap => mapped(asked("asked for")),
        BackendKind::Uring => match probe_uring(&options.dir) {
            Ok(()) => direct(asked("asked for")),
            Err(why) => Err(LogError::Backend { kind: BackendKind::Uring, why }),
        },
        BackendKind::Auto => match probe_uring(&options.dir) {
            Ok(()) => direct(asked("the best of all: io_uring and direct output both work here")),
            Err(why) => Ok(cached(format!("io_uring can't be used here: {why}"))),
        },
    }
}

/// `std` on whatever storage.
pub(crate) fn through(storage: Arc<dyn Storage>, kind: BackendKind, why: String) -> Prepared {
    Prepared {
        storage,
        start: Box::new(|hub, _| Ok(Box::new(StdBackend::start(Arc::clone(hub))?))),
        chosen: Chosen { kind, why },
    }
}

fn cached(why: String) -> Prepared {
    through(Arc::new(OsStorage::CACHED), BackendKind::Std, why)
}

#[cfg(feature = "mmap")]
#[expect(clippy::unnecessary_wraps, reason = "without the feature it fails")]
fn mapped(why: String) -> Result<Prepared, LogError> {
    Ok(through(Arc::new(crate::storage::MmapStorage), BackendKind::Mmap, why))
}

#[cfg(not(feature = "mmap"))]
fn mapped(_why: String) -> Result<Prepared, LogError> {
    Err(missing(BackendKind::Mmap))
}

#[cfg(not(all(feature = "uring", target_os = "linux")))]
fn direct(_why: String) -> Result<Prepared, LogError> {
    Err(missing(BackendKind::Uring))
}

#[cfg(not(all(feature = "uring", target_os = "linux")))]
fn probe_uring(_dir: &Path) -> Result<(), String> {
    Err(NOT_COMPILED.to_owned())
}

#[cfg(not(all(feature = "uring", feature = "mmap", target_os = "linux")))]
const NOT_COMPILED: &str = "it is not compiled in (a feature of ng-wal, on Linux)";

#[cfg(not(all(feature = "uring", feature = "mmap", target_os = "linux")))]
fn missing(kind: BackendKind) -> LogError {
    LogError::Backend { kind, why: NOT_COMPILED.to_owned() }
}

#[cfg(all(feature = "uring", target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "without the feature it fails")]
fn direct(why: String) -> Result<Prepared, LogError> {
    use super::direct::DirectBackend;
    use super::uring::UringDevice;
    Ok(Prepared {
        storage: Arc::new(OsStorage::DIRECT),
        start: Box::new(|hub, chosen| {
            let mut device = UringDevice::new()?;
            let windows = hub.number_buffers();
            if let Err(error) = device.register(&windows) {
                chosen.why += &format!("; its buffers are not registered: {error} (see ulimit -l)");
            }
            Ok(Box::new(DirectBackend::new(Arc::clone(hub), device)))
        }),
        chosen: Chosen { kind: BackendKind::Uring, why },
    })
}

/// Writes one page through a ring, past the page cache, durably, into a file of its own; says what
/// does not work.
#[cfg(all(feature = "uring", target_os = "linux"))]
fn probe_uring(dir: &Path) -> Result<(), String> {
    use super::direct::{Device, Request};
    use super::uring::UringDevice;
    use crate::buffer::Buffer;
    use crate::format::ALIGNMENT;
    use crate::segments::SegmentFile;
    let mut device = UringDevice::new().map_err(|error| format!("no ring: {error}"))?;
    let path = dir.join(PROBE);
    let mut probe = || {
        let file = OsStorage::DIRECT.open_write(&path).map_err(|error| format!("O_DIRECT: {error}"))?;
        let segment = SegmentFile { number: 0, path: path.clone(), file };
        let mut page = Buffer::new(ALIGNMENT);
        let bytes = &page.bytes_mut()[..];
        let request =
            Request { slot: 0, segment: &segment, registered: None, bytes, offset: 0, durable: true };
        let mut done = Vec::new();
        #[expect(unsafe_code, reason = "the device reads the page until it says that it is through")]
        // SAFETY: the page is not touched before its completion came, and leaked if that never does.
        let begun = unsafe { device.submit(&request) };
        let mut heard = begun;
        while heard.is_ok() && done.is_empty() {
            heard = device.wait(None, &mut done);
        }
        match (heard, done.first()) {
            (Ok(()), Some(completion)) if completion.result == ALIGNMENT as i32 => Ok(()),
            (Ok(()), Some(completion)) if completion.result < 0 => {
                let error = std::io::Error::from_raw_os_error(-completion.result);
                Err(format!("a durable direct write: {error}"))
            }
            (Ok(()), _) => Err("a durable direct write was cut short".to_owned()),
            (Err(error), _) => {
                std::mem::forget(page);
                Err(format!("the ring: {error}"))
            }
        }
    };
    let outcome = probe();
    // It may never have been made; and what can't be removed is overwritten by the next probe.
    let _ = std::fs::remove_file(&path);
    outcome
}

/// The probe's file; no segment has such a name.
#[cfg(all(feature = "uring", target_os = "linux"))]
const PROBE: &str = "probe.tmp";

/// As [`LogError::Io`], for a back end that did not start.
pub(crate) fn not_started(dir: &Path) -> impl FnOnce(std::io::Error) -> LogError {
    move |source| IoError::at("start of the back end", dir, 0)(source).into()
}
