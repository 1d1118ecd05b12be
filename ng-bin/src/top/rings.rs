//! The rings of the flight recorder: what a process that serves nothing tells, or what a dead one
//! left. They are only read.
//!
//! Rings hold events and no totals, so less is known: throughput is what was recorded since the last
//! look, and is an estimate where the ring was overwritten in between; refusals are those that are
//! still in it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use ng_blackbox::read::{RecordedEvent, Snapshot};
use ng_core::events::{EventKind, Tier};

use super::live::{Happened, Live, Log, Memory, Refusals, Tokens};
use super::source::{Source, SourceError};

/// Rare events that are shown.
const SHOWN: usize = 64;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Rings {
    dir: PathBuf,
    last: Option<Look>,
}

/// What was seen at the last look, of one process.
#[derive(Debug)]
struct Look {
    pid: u64,
    at: Instant,
    /// By ring: operations recorded.
    recorded: BTreeMap<u64, u64>,
}

impl Rings {
    /// Of the directory of all rings (`blackbox.dir`), or of one process.
    pub(crate) const fn new(dir: PathBuf) -> Self {
        Self { dir, last: None }
    }

    /// The directory of the process to look at: the latest that lives, else the latest.
    fn process(&self) -> Result<PathBuf, SourceError> {
        let all = ng_blackbox::find_all(&self.dir)
            .map_err(|error| SourceError::Rings { why: error.to_string() })?;
        let latest = all.iter().find(|process| process.alive).or(all.first());
        match latest {
            Some(process) => Ok(process.path.clone()),
            None if self.dir.is_dir() => Ok(self.dir.clone()),
            None => Err(SourceError::NoRings { dir: self.dir.clone() }),
        }
    }

    /// Tokens a second since the last look.
    #[expect(clippy::cast_precision_loss, reason = "tokens of a second")]
    fn per_s(&mut self, pid: u64, snapshot: &Snapshot) -> Option<f64> {
        let operations = |ring: &ng_blackbox::read::Ring| {
            ring.tiers.iter().find(|tier| tier.tier == Tier::Operation).map_or(0, |tier| tier.recorded)
        };
        let recorded = snapshot.rings.iter().map(|ring| (ring.number, operations(ring))).collect();
        let look = Look { pid, at: Instant::now(), recorded };
        let before = self.last.replace(look).filter(|before| before.pid == pid)?;
        let now = self.last.as_ref()?;
        let seconds = now.at.duration_since(before.at).as_secs_f64().max(1e-3);
        let mut tokens = 0.0;
        for (index, ring) in snapshot.rings.iter().enumerate() {
            let from = before.recorded.get(&ring.number).copied().unwrap_or(0);
            let came = operations(ring).saturating_sub(from);
            let new = snapshot.events.iter().filter(|event| {
                event.ring == index && event.tier == Tier::Operation && event.sequence >= from
            });
            let (mut seen, mut made) = (0, 0);
            for event in new {
                seen += 1;
                made += if event.kind == EventKind::TOKENS_CREATED.0 { event.b } else { 0 };
            }
            // What was overwritten is taken to be like what is left.
            if seen > 0 {
                tokens += made as f64 * came.max(seen) as f64 / seen as f64;
            }
        }
        Some(tokens / seconds)
    }
}

impl Source for Rings {
    fn name(&self) -> String {
        self.dir.display().to_string()
    }

    fn poll(&mut self) -> Result<Live, SourceError> {
        let path = self.process()?;
        let snapshot = Snapshot::open(&path).map_err(|error| match error {
            ng_blackbox::read::ReadError::NoRings { path } => SourceError::NoRings { dir: path },
            other => SourceError::Rings { why: other.to_string() },
        })?;
        let process = snapshot.process.clone();
        let pid = process.as_ref().map(|process| process.pid);
        let alive = process.as_ref().is_some_and(|process| process.alive);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let created = process.as_ref().map(|process| process.created_unix_ns);
        let ordered = process.as_ref().is_some_and(|process| process.closed_in_order);
        let uptime_s = created.filter(|_| alive).map(|ns| now.as_secs_f64() - ns as f64 / 1e9);
        let per_s = self.per_s(pid.unwrap_or(0), &snapshot);
        let rss_bytes = pid.filter(|_| alive).and_then(resident);
        Ok(Live {
            at_unix_ms: u64::try_from(now.as_millis()).ok(),
            uptime_s,
            state: Some(
                if alive {
                    "running"
                } else if ordered {
                    "ended in order"
                } else {
                    "dead"
                }
                .to_owned(),
            ),
            version: process.map(|process| process.build),
            pid,
            tokens: Tokens { per_s, ..Tokens::default() },
            log: log(&snapshot.events),
            memory: Memory { rss_bytes, ..Memory::default() },
            refusals: refusals(&snapshot.events),
            events: rare(&snapshot),
            ..Live::default()
        })
    }
}

/// What the events say of the log: the durable mark, and whether it has failed.
fn log(events: &[RecordedEvent]) -> Log {
    let last = |kind: EventKind| events.iter().rev().find(|event| event.kind == kind.0);
    let failed = last(EventKind::WAL_FAILED).is_some();
    Log {
        // Every record below the mark is durable.
        durable_lsn: last(EventKind::WAL_WRITTEN)
            .and_then(|event| event.a.checked_sub(1))
            .map(|lsn| lsn as f64),
        poisoned: failed.then_some(true),
        ..Log::default()
    }
}

fn refusals(events: &[RecordedEvent]) -> Vec<Refusals> {
    let kinds = [
        EventKind::QUOTA_EXCEEDED,
        EventKind::VALIDATION_FAILED,
        EventKind::STORE_FULL,
        EventKind::WAL_FAILED,
    ];
    let of = |kind: EventKind| {
        let total = events.iter().filter(|event| event.kind == kind.0).count();
        let reason = format!("{} (still in the rings)", kind.label().unwrap_or("?"));
        (total > 0).then_some(Refusals { reason, total: Some(total as f64) })
    };
    kinds.into_iter().filter_map(of).collect()
}

/// The last rare events, the latest first.
fn rare(snapshot: &Snapshot) -> Vec<Happened> {
    let rare = snapshot.events.iter().rev().filter(|event| event.tier == Tier::Rare).take(SHOWN);
    rare.map(|event| Happened {
        at_unix_ms: event.unix_ns.map(|ns| ns / 1_000_000),
        kind: event.label.clone(),
        thread: snapshot.rings.get(event.ring).map(|ring| ring.thread.clone()).unwrap_or_default(),
        text: if event.note.is_empty() { format!("{} {}", event.a, event.b) } else { event.note.clone() },
    })
    .collect()
}

/// Resident memory of a process (`VmRSS` of proc(5)), in bytes.
fn resident(pid: u64) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0)
}
