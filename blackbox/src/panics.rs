//! The panic hook: records, dumps if asked, and hands on to the hook that was there before.
//!
//! It never panics itself, and takes no lock but the shared ring's, under which nothing panics.

use std::fs;
use std::io::{self, Write};
use std::panic::PanicHookInfo;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use crate::read::Snapshot;
use crate::recorder::Recorder;

/// What the hook does beside recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PanicOptions {
    /// The file that gets the last events as JSON; a later panic replaces it.
    pub dump_to: Option<PathBuf>,
    /// How many events a dump holds at most.
    pub last_events: usize,
}

impl Default for PanicOptions {
    /// No dump; 1,000 events.
    fn default() -> Self {
        Self { dump_to: None, last_events: 1_000 }
    }
}

/// Keeps the hook at work until it is dropped.
///
/// Other hooks may have been put on top meanwhile, so it is not taken out of the chain then: it
/// stays as a link that only hands on.
#[derive(Debug)]
#[must_use = "the hook stops recording when this is dropped"]
pub struct PanicHook(Arc<AtomicBool>);

impl Drop for PanicHook {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// From now on each panic of this process is recorded: a [`PANIC`] event with message and place, a
/// crash mark, a count, and a dump if `options` name one. The previous hook runs afterwards. The
/// recorder is not kept alive.
///
/// A dump that fails is counted in [`crate::PanicCounts::failed_dumps`]; nothing is printed here,
/// so the previous hook's message stays what the user sees.
///
/// # Panics
/// Like [`std::panic::set_hook`], on a thread that is panicking.
///
/// [`PANIC`]: ng_core::events::EventKind::PANIC
pub fn install_panic_hook(recorder: &Arc<Recorder>, options: PanicOptions) -> PanicHook {
    let armed = Arc::new(AtomicBool::new(true));
    let (recorder, still_armed) = (Arc::downgrade(recorder), Arc::clone(&armed));
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if still_armed.load(Ordering::Acquire) {
            on_panic(&recorder, &options, info);
        }
        previous(info);
    }));
    PanicHook(armed)
}

fn on_panic(recorder: &Weak<Recorder>, options: &PanicOptions, info: &PanicHookInfo<'_>) {
    let Some(recorder) = recorder.upgrade().filter(|recorder| recorder.is_own()) else { return };
    let message = info.payload_as_str().unwrap_or("a panic whose payload is no text");
    let (line, note) = info.location().map_or_else(
        || (0, message.to_owned()),
        // The place first: a long message must not push it out of the note.
        |place| (u64::from(place.line()), format!("{}:{}: {message}", place.file(), place.line())),
    );
    recorder.record_panic(line, &note);
    if let Some(path) = &options.dump_to {
        let done = match dump(&recorder, path, options.last_events) {
            Ok(()) => &recorder.dumps,
            Err(_) => &recorder.failed_dumps,
        };
        done.fetch_add(1, Ordering::Relaxed);
    }
}

/// Writes the dump beside `path` and renames it, so that whoever looks sees a whole one.
fn dump(recorder: &Recorder, path: &Path, last: usize) -> io::Result<()> {
    static DUMPS: AtomicU64 = AtomicU64::new(0);
    let snapshot = Snapshot::open(recorder.path()).map_err(io::Error::other)?;
    let mut temporary = path.as_os_str().to_owned();
    let number = DUMPS.fetch_add(1, Ordering::Relaxed);
    temporary.push(format!(".{}-{number}.tmp", std::process::id()));
    let written = fs::File::create(&temporary).and_then(|file| {
        let mut out = io::BufWriter::new(file);
        serde_json::to_writer_pretty(&mut out, &snapshot.to_json(last))?;
        out.write_all(b"\n")?;
        out.flush()?;
        fs::rename(&temporary, path)
    });
    if written.is_err() {
        // The first failure is the one that tells.
        drop(fs::remove_file(&temporary));
    }
    written
}
