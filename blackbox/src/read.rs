//! The reader: a snapshot of a process's rings, living or dead, whole or damaged.
//!
//! It maps nothing and writes nothing, so a file that shrinks under it is an error and no SIGBUS,
//! and a living writer is not slowed. It never shows a record whose seal does not hold, and never
//! one that its writer may have been overwriting during the copy.
//!
//! A record of 32 bytes is protected by its seal: damage to one of its four words always shows;
//! damage to several shows but once in 2⁶⁴. Nothing here withstands a forger.

mod autopsy;
mod crash;
mod diff;
mod file;
mod filter;
mod follow;
#[cfg(feature = "symbols")]
mod symbols;
mod tier;
mod time;
mod trace;
mod value;
mod write;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ng_core::events::{FieldType, Tier};
use serde::Serialize;

pub use self::autopsy::{Autopsy, Cause, LastDone};
pub use self::crash::{Crash, Frame, Module, Symbol};
pub use self::diff::{Diff, Row};
pub use self::filter::Filter;
pub use self::follow::Follower;
use self::time::Timeline;
pub use self::value::Value;
use crate::code_map;

/// Why there is no snapshot at all. Damage to a single file is no error: see [`Ring::damage`] and
/// [`Snapshot::unreadable`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The directory can't be listed.
    #[error("can't read the directory of rings {path}: {cause}")]
    Directory {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// There is no ring file in it.
    #[error(
        "{path} holds no ring file: name the directory of one process, such as \
         <blackbox.dir>/<pid>-…"
    )]
    NoRings {
        /// Which one.
        path: PathBuf,
    },
}

/// What a process's rings held at one moment.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// The directory.
    pub path: PathBuf,
    /// The process, by the first header that could be read.
    pub process: Option<Process>,
    /// Whether ticks could be turned into time; without it times are `None`.
    pub clock: Clock,
    /// One entry a ring file, by the ring's number; the shared ring first.
    pub rings: Vec<Ring>,
    /// Whether crash handlers were installed, so that a death without a mark is a kill.
    pub watched: bool,
    /// Files that say nothing any more, and why.
    pub unreadable: Vec<String>,
    /// What is known of each kind of event: number, label, fields.
    pub schema: Vec<KindSchema>,
    /// All events of all rings, in order of time.
    #[serde(skip)]
    pub events: Vec<RecordedEvent>,
}

/// The process that wrote the rings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Process {
    /// Its id.
    pub pid: u64,
    /// Whether it runs now, on this machine.
    pub alive: bool,
    /// Whether its recorder was closed in good order.
    pub closed_in_order: bool,
    /// Whether it called exit while the recorder was at work.
    pub exited: bool,
    /// What wrote the rings, with its version.
    pub build: String,
    /// Of its configuration.
    pub config_hash: u64,
    /// When the recorder was made, in nanoseconds since 1970.
    pub created_unix_ns: u64,
    /// Panics recorded by the hook.
    pub panics: u64,
    /// Panics that were recovered.
    pub recovered_panics: u64,
}

/// How well ticks are turned into time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// From clock pairs that lie far enough apart.
    Calibrated,
    /// There is one pair only, or none: order within a ring is right, times are not to be had.
    Unknown,
}

/// One kind of event as the ring's own header describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct KindSchema {
    /// Its number.
    pub kind: u16,
    /// What it is called.
    pub label: String,
    /// What its two numbers hold.
    pub fields: Vec<FieldSchema>,
}

/// A field of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FieldSchema {
    /// What it is called.
    pub name: String,
    /// What it holds.
    #[serde(rename = "type", serialize_with = "write::field_type")]
    pub ty: FieldType,
    /// The byte at which it begins, 0–15.
    pub at: u8,
}

/// One ring file.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Ring {
    /// The file's name.
    pub file: String,
    /// The ring's number; 0 is the shared one.
    pub number: u64,
    /// The name that its lane was given.
    pub thread: String,
    /// The thread's id; 0 if the system did not say.
    pub tid: u64,
    /// What became of its writer.
    pub state: RingState,
    /// What each tier held, busiest first; tiers that the file does not have are left out.
    pub tiers: Vec<TierSummary>,
    /// Marks of panics, in the order in which they were left.
    pub marks: Vec<Mark>,
    /// How many marks were left, those included whose slot was taken by a later one.
    pub marks_left: u64,
    /// What signal handlers left, in order.
    pub crashes: Vec<Crash>,
    /// How many crashes were marked, those included whose slot was taken by a later one.
    pub crashes_left: u64,
    /// What is damaged, in words. Empty for a sound file.
    pub damage: Vec<String>,
}

/// What became of a ring's writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RingState {
    /// It writes, or died writing.
    Open,
    /// Its thread ended.
    Ended,
    /// The recorder was closed in good order.
    Closed,
    /// The process called exit while the recorder was at work.
    Exited,
    /// The word that says so is damaged.
    Damaged,
}

/// What one tier of one ring held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TierSummary {
    /// Which.
    #[serde(serialize_with = "write::tier")]
    pub tier: Tier,
    /// How many events it was ever given.
    pub recorded: u64,
    /// How many of them fell out of the window. The window ends with the block being written, so
    /// it is up to 31 events shorter than the operation tier is long, and not shorter in the others.
    pub overwritten: u64,
    /// How many are shown.
    pub shown: u64,
    /// Slots within the window whose seal does not hold: torn by the death, being written, or
    /// damaged.
    pub torn: u64,
    /// Slots that were read before the writer, going on, wrote what now belongs there.
    pub passed: u64,
    /// The time of the first event shown, in nanoseconds since 1970.
    pub from_unix_ns: Option<u64>,
    /// The time of the last.
    pub to_unix_ns: Option<u64>,
}

/// A mark that a panic left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Mark {
    /// Which one in order, from 0.
    pub number: u64,
    /// 1 = a panic.
    pub what: u64,
    /// When, in nanoseconds since 1970.
    pub unix_ns: Option<u64>,
    /// On which thread.
    pub tid: u64,
    /// Of a panic the line.
    pub a: u64,
    /// Of a panic its number.
    pub b: u64,
    #[serde(skip)]
    ticks: u64,
}

/// An event as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordedEvent {
    /// When, in nanoseconds since 1970. Events of the operation tier share one reading of the
    /// clock among 32; between two readings they are spread evenly.
    pub unix_ns: Option<u64>,
    /// How far the time may be off: 0 where the clock was read for this event, the distance of the
    /// two readings around it else, `None` after the last reading.
    pub within_ns: Option<u64>,
    /// The index of its ring in [`Snapshot::rings`].
    pub ring: usize,
    /// Its tier.
    pub tier: Tier,
    /// Its number in its tier of its ring, from 0, without gaps.
    pub sequence: u64,
    /// Its kind's number.
    pub kind: u16,
    /// Its kind's label, by the schema of the header; `kind_<number>` if that has none.
    pub label: String,
    /// First number.
    pub a: u64,
    /// Second number.
    pub b: u64,
    /// The note; bytes that are no UTF-8 are replaced.
    pub note: String,
    ticks: u64,
}

impl Snapshot {
    /// Reads the directory of one process, or one ring file alone.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let error = |cause| ReadError::Directory { path: path.to_owned(), cause };
        if path.is_file() {
            let dir = path.parent().unwrap_or(Path::new(""));
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            return Ok(Self::read(dir, vec![name]));
        }
        let mut names = Vec::new();
        for entry in fs::read_dir(path).map_err(error)? {
            let name = entry.map_err(error)?.file_name().to_string_lossy().into_owned();
            if name.ends_with(".ring") {
                names.push(name);
            }
        }
        if names.is_empty() {
            return Err(ReadError::NoRings { path: path.to_owned() });
        }
        names.sort();
        Ok(Self::read(path, names))
    }

    fn read(path: &Path, names: Vec<String>) -> Self {
        let (mut files, mut unreadable) = (Vec::new(), Vec::new());
        for name in names {
            match file::read(&path.join(&name), &name) {
                Ok(read) => files.push(read),
                // Its place was taken by a later ring since the directory was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => unreadable.push(format!("{name}: {error}")),
            }
        }
        files.sort_by_key(|read| read.ring.number);
        assemble(path, files, unreadable)
    }
}

/// Puts what was read of each file on one line of time.
fn assemble(path: &Path, files: Vec<file::RingRead>, unreadable: Vec<String>) -> Snapshot {
    let same_boot = files.first().is_some_and(|read| read.boot == crate::process::boot());
    let timeline = Timeline::new(files.iter().flat_map(|read| read.pairs.iter().copied()), same_boot);
    let process = files.first().map(|read| read.process.clone());
    let schema = files.first().map(|read| read.schema.clone()).unwrap_or_default();
    let code = fs::read_to_string(path.join(code_map::MAPS_FILE));
    let watched = code.is_ok();
    let code = code_map::parse(&code.unwrap_or_default());
    let (mut rings, mut events) = (Vec::new(), Vec::new());
    for (index, mut read) in files.into_iter().enumerate() {
        for mark in &mut read.ring.marks {
            mark.unix_ns = timeline.unix_ns(mark.ticks);
        }
        for crash in &mut read.ring.crashes {
            crash.unix_ns = timeline.unix_ns(crash.ticks);
            crash::place(crash, &code);
        }
        for (summary, raw) in read.ring.tiers.iter_mut().zip(read.events) {
            let first = events.len();
            events.extend(raw.into_iter().map(|raw| {
                let kind = schema.iter().find(|kind| kind.kind == raw.kind);
                let (earliest, latest) = raw.between;
                let unix_ns = timeline.unix_ns(raw.ticks);
                RecordedEvent {
                    unix_ns,
                    within_ns: latest
                        .and_then(|latest| timeline.unix_ns(latest))
                        .zip(timeline.unix_ns(earliest))
                        .map(|(latest, earliest)| latest.saturating_sub(earliest)),
                    ring: index,
                    tier: summary.tier,
                    sequence: raw.sequence,
                    kind: raw.kind,
                    label: kind.map_or_else(|| format!("kind_{}", raw.kind), |kind| kind.label.clone()),
                    a: raw.a,
                    b: raw.b,
                    note: raw.note,
                    ticks: raw.ticks,
                }
            }));
            summary.from_unix_ns = events[first..].first().and_then(|event: &RecordedEvent| event.unix_ns);
            summary.to_unix_ns = events[first..].last().and_then(|event| event.unix_ns);
        }
        rings.push(read.ring);
    }
    // By ticks: right where the system's clock was set back, and where there is no time at all.
    events.sort_by_key(|event| (event.ticks, event.ring, event.tier, event.sequence));
    let clock = if timeline.is_calibrated() { Clock::Calibrated } else { Clock::Unknown };
    Snapshot { path: path.to_owned(), process, clock, rings, watched, unreadable, schema, events }
}
