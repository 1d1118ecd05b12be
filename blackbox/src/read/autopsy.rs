//! What a process was doing when it died, in a few lines: the cause, how far the log was durable,
//! what each thread did last.

use std::fmt;
use std::path::PathBuf;

use ng_core::events::EventKind;
use serde::Serialize;

use super::{RecordedEvent, RingState, Snapshot};

/// How a process ended, as far as its rings tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cause {
    /// It runs.
    Running,
    /// Its recorder was closed in good order.
    Closed,
    /// It called exit with the recorder at work.
    Exited,
    /// A panic that nothing recovered.
    Panic {
        /// Place and message.
        note: String,
    },
    /// A signal of its own making.
    Crash {
        /// Its name.
        signal: String,
        /// Whether it looks like a stack that was used up.
        stack_overflow: bool,
    },
    /// It left no mark though handlers were installed: SIGKILL, the OOM killer, `_exit`, the end of
    /// the machine.
    Killed,
    /// It left no mark, and had no handlers that would have.
    Unknown,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running => f.write_str("running"),
            Self::Closed => f.write_str("closed in order"),
            Self::Exited => f.write_str("exited without closing the recorder"),
            Self::Panic { note } => write!(f, "ended by a panic: {note}"),
            Self::Crash { signal, stack_overflow: true } => write!(f, "died by {signal}, a stack overflow"),
            Self::Crash { signal, .. } => write!(f, "died by {signal}"),
            Self::Killed => f.write_str("killed, or ended by something else that leaves no mark"),
            Self::Unknown => f.write_str("died"),
        }
    }
}

impl Cause {
    /// Of the process whose rings these are.
    #[must_use]
    pub fn of(snapshot: &Snapshot) -> Self {
        let Some(process) = &snapshot.process else { return Self::Unknown };
        let state = snapshot.rings.iter().find(|ring| ring.number == 0).map(|ring| ring.state);
        let crash = snapshot.rings.iter().flat_map(|ring| &ring.crashes).next();
        let panicked = process.panics > process.recovered_panics;
        match (state, crash) {
            (Some(RingState::Closed), _) if !panicked => Self::Closed,
            _ if process.alive && state != Some(RingState::Closed) => Self::Running,
            (Some(RingState::Open | RingState::Damaged) | None, Some(crash)) => {
                Self::Crash { signal: crash.name.clone(), stack_overflow: crash.is_stack_overflow() }
            }
            (Some(RingState::Closed | RingState::Exited), _) if panicked => {
                let last = snapshot.events.iter().rfind(|event| event.kind == EventKind::PANIC.0);
                Self::Panic { note: last.map(|event| event.note.clone()).unwrap_or_default() }
            }
            (Some(RingState::Exited), _) => Self::Exited,
            _ if snapshot.watched => Self::Killed,
            _ => Self::Unknown,
        }
    }
}

/// The last event of a thread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LastDone {
    /// The thread's name.
    pub thread: String,
    /// What it was: label and fields.
    pub what: String,
    /// How long before the last event of the process, in nanoseconds.
    pub before_end_ns: Option<u64>,
}

/// What a process was doing when it died.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Autopsy {
    /// The directory of its rings.
    pub path: PathBuf,
    /// Its id.
    pub pid: u64,
    /// How it ended.
    pub cause: Cause,
    /// When its last event was recorded, in nanoseconds since 1970.
    pub last_unix_ns: Option<u64>,
    /// By the last `wal_written` event: each record of the log below this number was durable.
    pub durable_lsn: Option<u64>,
    /// What the last event of a start says beside its numbers; the stack names its log there.
    pub started_note: Option<String>,
    /// What each thread did last, the latest first.
    pub last: Vec<LastDone>,
    /// Events recorded, and of those how many were overwritten since.
    pub recorded: u64,
    /// See `recorded`.
    pub overwritten: u64,
    /// Records that were torn by the death.
    pub torn: u64,
    /// What is damaged, in words.
    pub damage: Vec<String>,
}

impl Autopsy {
    /// From the rings that it left.
    #[must_use]
    pub fn of(snapshot: &Snapshot) -> Self {
        let tiers = || snapshot.rings.iter().flat_map(|ring| &ring.tiers);
        let end = snapshot.events.iter().filter_map(|event| event.unix_ns).max();
        let durable = snapshot.events.iter().rfind(|event| event.kind == EventKind::WAL_WRITTEN.0);
        let started = snapshot.events.iter().rfind(|event| event.kind == EventKind::STARTED.0);
        let mut last: Vec<(usize, LastDone)> = Vec::new();
        for event in snapshot.events.iter().rev() {
            if last.iter().all(|(ring, _)| *ring != event.ring) {
                let what = describe(snapshot, event);
                let before_end_ns = end.zip(event.unix_ns).map(|(end, at)| end.saturating_sub(at));
                let thread = snapshot.rings[event.ring].thread.clone();
                last.push((event.ring, LastDone { thread, what, before_end_ns }));
            }
        }
        let damage = snapshot
            .rings
            .iter()
            .flat_map(|ring| ring.damage.iter().map(|what| format!("{}: {what}", ring.file)));
        Self {
            path: snapshot.path.clone(),
            pid: snapshot.process.as_ref().map_or(0, |process| process.pid),
            cause: Cause::of(snapshot),
            last_unix_ns: end,
            durable_lsn: durable.and_then(|event| event.number(&snapshot.schema, "durable_lsn")),
            started_note: started.map(|event| event.note.clone()),
            last: last.into_iter().map(|(_, done)| done).collect(),
            recorded: tiers().map(|tier| tier.recorded).sum(),
            overwritten: tiers().map(|tier| tier.overwritten).sum(),
            torn: tiers().map(|tier| tier.torn).sum(),
            damage: damage.chain(snapshot.unreadable.iter().cloned()).collect(),
        }
    }
}

fn describe(snapshot: &Snapshot, event: &RecordedEvent) -> String {
    let mut text = event.label.clone();
    for (name, value) in event.values(&snapshot.schema) {
        text.push_str(&format!(" {name}={value}"));
    }
    if !event.note.is_empty() {
        text.push_str(&format!(" {:?}", event.note));
    }
    text
}

impl fmt::Display for Autopsy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} {}", self.pid, self.cause)?;
        if let Some(lsn) = self.durable_lsn {
            write!(f, "; its log was durable below record {lsn}")?;
        }
        for done in self.last.iter().take(8) {
            write!(f, "; {} did {} last", done.thread, done.what)?;
        }
        if !self.damage.is_empty() {
            write!(f, "; {} parts of its rings are damaged", self.damage.len())?;
        }
        write!(f, "; its rings are in {}", self.path.display())
    }
}
