//! The shared side: makes the process's directory, gives each thread a ring, keeps the count.
//!
//! No lane ever waits for it: a lane meets the recorder when it opens, and never again.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::panic::UnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ng_core::events::{Event, EventKind, EventLane, EventRecorder, RecorderStats, Tier};

use crate::error::RecorderError;
use crate::format::{self, live};
use crate::lane::{RecorderLane, meta};
use crate::options::RecorderOptions;
use crate::process::Identity;
use crate::region::Region;
use crate::ring::RareWriter;
use crate::ring_file::{Owner, RingFile};

/// The flight recorder of a process: one directory, one ring per thread, one shared ring for
/// [`EventRecorder::record_rare`].
///
/// # Fork
/// A forked child shares the parent's rings. It must not record before it calls exec: its events
/// would mix with the parent's. Dropping the recorder in the child leaves the parent's files alone.
#[derive(Debug)]
pub struct Recorder {
    options: RecorderOptions,
    identity: Identity,
    schema: String,
    path: PathBuf,
    shared: RingFile,
    /// Guards the shared ring's writer and the counts and marks of its live page.
    shared_writer: Mutex<RareWriter>,
    rings: Mutex<Rings>,
    pub(crate) dumps: AtomicU64,
    pub(crate) failed_dumps: AtomicU64,
}

#[derive(Debug, Default)]
struct Rings {
    /// The oldest first.
    files: Vec<Arc<RingFile>>,
    made: u64,
    /// What rings held whose place was taken.
    gone: [u64; 3],
    /// What each lane without a ring has dropped.
    ringless: Vec<Arc<AtomicU64>>,
    /// What such lanes that ended had dropped.
    dropped: u64,
}

/// What the panic hook and [`Recorder::catch`] counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PanicCounts {
    /// Panics recorded by a hook.
    pub panics: u64,
    /// Panics that [`Recorder::catch`] recovered.
    pub recovered: u64,
    /// Dumps written after a panic.
    pub dumps: u64,
    /// Dumps that could not be written.
    pub failed_dumps: u64,
}

impl Recorder {
    /// Makes `<dir>/<pid>-<start>-<boot>-<n>` with the shared ring in it.
    ///
    /// # Errors
    /// See [`RecorderError`]; nothing is left behind but `dir` itself.
    pub fn create(options: RecorderOptions) -> Result<Self, RecorderError> {
        options.validate()?;
        let identity = Identity::own();
        let path = make_directory(&options.dir, identity)?;
        let schema = format::schema(&options.schemas);
        let config_hash = options.config_hash;
        let owner = Owner { identity, thread: "shared", config_hash, schema: &schema, ring: 0 };
        let shared = RingFile::create(&path, "shared", options.shared_capacities(), &owner)
            .inspect_err(|_| drop(fs::remove_dir(&path)))?;
        let shared_writer = Mutex::new(RareWriter::new(shared.tiers[Tier::Rare as usize].clone()));
        Ok(Self {
            options,
            identity,
            schema,
            path,
            shared,
            shared_writer,
            rings: Mutex::default(),
            dumps: AtomicU64::new(0),
            failed_dumps: AtomicU64::new(0),
        })
    }

    /// The directory of this process's rings, for [`crate::read::Snapshot::open`].
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A new lane, for one thread: call it on that thread, whose id goes into the header. If there
    /// is no ring for it, the lane counts what it drops; [`Recorder::try_open_lane`] says why.
    #[must_use]
    pub fn open_lane(&self, name: &str) -> RecorderLane {
        self.try_open_lane(name).unwrap_or_else(|_| {
            let dropped = Arc::new(AtomicU64::new(0));
            let mut rings = self.rings();
            let Rings { ringless, dropped: ended, .. } = &mut *rings;
            ringless.retain(|lane| {
                let lives = Arc::strong_count(lane) > 1;
                if !lives {
                    *ended += lane.load(Ordering::Acquire);
                }
                lives
            });
            ringless.push(Arc::clone(&dropped));
            RecorderLane::without_ring(dropped)
        })
    }

    /// A new lane, for one thread, with a ring; it takes the place of the oldest ring of an ended
    /// thread if there are [`RecorderOptions::max_rings`] already.
    ///
    /// # Errors
    /// [`RecorderError::TooManyRings`] and [`RecorderError::Ring`].
    pub fn try_open_lane(&self, name: &str) -> Result<RecorderLane, RecorderError> {
        #[cfg(target_os = "linux")]
        crate::crash::protect_thread();
        let mut rings = self.rings();
        if rings.files.len() >= self.options.max_rings {
            let limit = self.options.max_rings;
            let oldest = rings.files.iter().position(|ring| ring.has_ended());
            let ring = rings.files.remove(oldest.ok_or(RecorderError::TooManyRings { limit })?);
            for (gone, recorded) in rings.gone.iter_mut().zip(ring.recorded()) {
                *gone += recorded;
            }
            // If it is gone already the room is free all the same.
            drop(fs::remove_file(&ring.path));
        }
        rings.made += 1;
        let owner = Owner {
            identity: self.identity,
            thread: name,
            config_hash: self.options.config_hash,
            schema: &self.schema,
            ring: rings.made,
        };
        let file = format!("ring-{:06}", rings.made);
        let ring = Arc::new(RingFile::create(&self.path, &file, self.options.capacities(), &owner)?);
        rings.files.push(Arc::clone(&ring));
        Ok(RecorderLane::with_ring(ring))
    }

    /// Runs `work`; a panic in it is counted as recovered and comes back as the error.
    ///
    /// # Errors
    /// What `work` panicked with.
    pub fn catch<R>(&self, work: impl FnOnce() -> R + UnwindSafe) -> std::thread::Result<R> {
        std::panic::catch_unwind(work).inspect_err(|_| {
            let _writer = self.shared_writer();
            self.shared.set_word(live::RECOVERED, self.shared.word(live::RECOVERED) + 1);
        })
    }

    /// What the panic hook and [`Recorder::catch`] counted.
    #[must_use]
    pub fn panic_counts(&self) -> PanicCounts {
        PanicCounts {
            panics: self.shared.word(live::PANICS),
            recovered: self.shared.word(live::RECOVERED),
            dumps: self.dumps.load(Ordering::Relaxed),
            failed_dumps: self.failed_dumps.load(Ordering::Relaxed),
        }
    }

    /// The shared ring's live page, where crashes are marked.
    pub(crate) fn live(&self) -> &Region {
        &self.shared.live
    }

    /// Counts a panic, leaves a mark and records the event.
    pub(crate) fn record_panic(&self, line: u64, note: &str) {
        let mut writer = self.shared_writer();
        let count = self.shared.word(live::PANICS) + 1;
        self.shared.set_word(live::PANICS, count);
        self.shared.mark(MARK_PANIC, line, count);
        let event = Event::rare(EventKind::PANIC, line, count);
        writer.push(meta(event), event.a, event.b, note.as_bytes());
    }

    /// Whether this is the process that made it, and not a forked child.
    pub(crate) fn is_own(&self) -> bool {
        std::process::id() == self.identity.pid
    }

    fn shared_writer(&self) -> MutexGuard<'_, RareWriter> {
        // Nothing under this lock panics, and a ring is whole after every record anyway.
        self.shared_writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rings(&self) -> MutexGuard<'_, Rings> {
        self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a crash mark of a panic begins with.
pub(crate) const MARK_PANIC: u64 = 1;

/// Makes the parent and the first directory of this process that is free.
fn make_directory(parent: &Path, identity: Identity) -> Result<PathBuf, RecorderError> {
    let error = |path: &Path, cause| RecorderError::Directory { path: path.to_owned(), cause };
    fs::create_dir_all(parent).map_err(|cause| error(parent, cause))?;
    let mut n = 0;
    loop {
        let path = parent.join(identity.directory(n));
        match fs::DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => return Ok(path),
            // Another recorder of this process.
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists && n < u32::MAX => n += 1,
            Err(cause) => return Err(error(&path, cause)),
        }
    }
}

impl EventRecorder for Recorder {
    fn lane(&self, name: &str) -> Box<dyn EventLane> {
        Box::new(self.open_lane(name))
    }

    /// Records into the shared ring's rare tier, whatever tier `event` names.
    fn record_rare(&self, event: Event, note: &str) {
        let event = Event { tier: Tier::Rare, ..event };
        let note = format::cut(note, format::NOTE_BYTES);
        self.shared_writer().push(meta(event), event.a, event.b, note.as_bytes());
    }

    /// Exact for lanes that rest, at most 32 operation events behind for one that is recording.
    /// What a ring held whose place was taken counts as overwritten; `rings` are those of threads
    /// that still run.
    fn stats(&self) -> RecorderStats {
        let rings = self.rings();
        let mut stats = RecorderStats { recorded: rings.gone, overwritten: rings.gone, ..Default::default() };
        let lanes = rings.files.iter().map(|ring| (ring.recorded(), self.options.capacities()));
        let shared = (self.shared.recorded(), self.options.shared_capacities());
        for (recorded, capacities) in lanes.chain([shared]) {
            for tier in 0..3 {
                stats.recorded[tier] += recorded[tier];
                stats.overwritten[tier] += recorded[tier].saturating_sub(capacities[tier] as u64);
            }
        }
        let running = rings.ringless.iter().map(|lane| lane.load(Ordering::Acquire));
        stats.dropped = rings.dropped + running.sum::<u64>();
        stats.rings = rings.files.iter().filter(|ring| !ring.has_ended()).count() as u64;
        stats
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if !self.is_own() {
            return;
        }
        self.shared.set_state(live::CLOSED);
        let PanicCounts { panics, recovered, .. } = self.panic_counts();
        if !self.options.keep_on_exit && panics <= recovered && !std::thread::panicking() {
            // A drop has no one to tell; what stays behind is found by `find_dead`.
            drop(fs::remove_dir_all(&self.path));
        }
    }
}
