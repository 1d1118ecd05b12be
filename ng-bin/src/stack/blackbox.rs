//! The black box of a stack: what earlier processes left in its directory, the recorder with its
//! crash path, and the mark that says how far the log is durable.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ng_blackbox::read::{Autopsy, Cause, Snapshot};
use ng_core::events::{Event, EventKind, EventLane, EventRecorder, EventSchema, Tier};
use ng_core::metrics::{MetricDesc, MetricSink, RegisterError};

use super::StackError;
use super::build::size;
use super::choice::{EventChoice, EventLaneChoice, WalChoice};
use super::recover::Recovered;
use crate::config::StackConfig;

/// In the directory of a dead process: that it was announced.
const ANNOUNCED: &str = "announced";

/// How often the durable mark is looked at. The log's own interval is a millisecond; ten of them
/// cost the recorder's sampled tier a hundred events a second.
const MARK_PERIOD: Duration = Duration::from_millis(10);

/// How often it is looked at once it has stood still for [`MARK_PATIENCE`] looks: the mark of a burst
/// that follows comes that much later, and an idle process sleeps.
const IDLE_MARK_PERIOD: Duration = Duration::from_millis(100);

/// Looks, of a second together.
const MARK_PATIENCE: u32 = 100;

/// A process that had died, and what that meant for the log.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Died {
    /// What it was doing.
    #[serde(flatten)]
    pub autopsy: Autopsy,
    /// If it wrote the log that this stack recovered: the number of the record after the last one
    /// recovered.
    pub recovered_lsn: Option<u64>,
}

impl Died {
    /// Records that its rings say were durable, and that recovery did not find: 0 unless the disk
    /// lied or files were changed.
    #[must_use]
    pub fn lost(&self) -> u64 {
        let durable = self.autopsy.durable_lsn.zip(self.recovered_lsn);
        durable.map_or(0, |(durable, recovered)| durable.saturating_sub(recovered))
    }
}

impl std::fmt::Display for Died {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.autopsy.fmt(f)?;
        match (self.recovered_lsn, self.lost()) {
            (None, _) => Ok(()),
            (Some(lsn), 0) => {
                write!(f, "; recovery found its log up to record {lsn}, nothing that was durable is missing")
            }
            (Some(lsn), lost) => write!(
                f,
                "; recovery found its log up to record {lsn} only: {lost} records that were durable are MISSING"
            ),
        }
    }
}

/// What the directory held, and the recorder. Dead processes beyond the configured number and size
/// are removed once they were looked at.
pub(super) fn open(
    config: &StackConfig,
    schemas: Vec<EventSchema>,
    recovered: Option<&Recovered>,
) -> Result<(EventChoice, Vec<Died>), StackError> {
    let section = &config.blackbox;
    let failed = StackError::layer("blackbox");
    let dead = look(&section.dir, &config.wal.dir, recovered);
    // Another process may prune at the same time; what stays behind is tried again at the next start.
    let keep = (size(section.keep_dead), section.keep_dead_mib << 20);
    drop(ng_blackbox::prune_dead(&section.dir, keep.0, keep.1));
    let mut options = ng_blackbox::RecorderOptions::new(&section.dir);
    options.operation_events = size(section.operation_events);
    options.sampled_events = size(section.sampled_events);
    options.rare_events = size(section.rare_events);
    options.max_rings = size(section.max_rings);
    options.keep_on_exit = section.keep_on_exit;
    options.config_hash = config.fingerprint();
    options.schemas = schemas;
    let recorder = ng_blackbox::Recorder::create(options).map_err(|error| failed(error.into()))?;
    for died in &dead {
        let event =
            Event::rare(EventKind::DEAD_FOUND, died.autopsy.pid, died.autopsy.durable_lsn.unwrap_or(0));
        recorder.record_rare(event, &died.autopsy.cause.to_string());
        if matches!(died.autopsy.cause, Cause::Closed | Cause::Exited) {
            tracing::info!("{died}");
        } else {
            tracing::warn!("{died}");
        }
    }
    Ok((EventChoice::Built(Arc::new(recorder)), dead))
}

/// The dead processes that no one announced yet, the latest first. What can't be read is left for
/// `ng blackbox ls`: it must not keep a stack from starting.
fn look(dir: &Path, log: &Path, recovered: Option<&Recovered>) -> Vec<Died> {
    let log = absolute(log);
    let dead = ng_blackbox::find_dead(dir).unwrap_or_default();
    let unannounced = dead.into_iter().filter(|dead| !dead.path.join(ANNOUNCED).exists());
    unannounced
        .filter_map(|dead| {
            let autopsy = Autopsy::of(&Snapshot::open(&dead.path).ok()?);
            drop(std::fs::write(dead.path.join(ANNOUNCED), ""));
            let same_log = autopsy.started_note.as_deref() == Some(note_of(&log).as_str());
            let recovered_lsn = recovered.filter(|_| same_log).map(|recovered| recovered.next_lsn);
            Some(Died { autopsy, recovered_lsn })
        })
        .collect()
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// What the event of the start says beside its numbers: where the log is.
pub(super) fn started_note(config: &StackConfig) -> String {
    note_of(&absolute(&config.wal.dir))
}

fn note_of(log: &Path) -> String {
    let mut note = format!("log in {}", log.display());
    // A note keeps 200 bytes.
    note.truncate(note.floor_char_boundary(200));
    note
}

/// What is at work until the stack ends.
#[derive(Debug)]
pub(super) struct CrashPath {
    _hook: Option<ng_blackbox::PanicHook>,
    #[cfg(target_os = "linux")]
    _handlers: Option<ng_blackbox::CrashHandlers>,
}

/// Records panics and marks crashes from now on.
pub(super) fn crash_path(events: &EventChoice, config: &StackConfig) -> Result<CrashPath, StackError> {
    let EventChoice::Built(recorder) = events else {
        return Ok(CrashPath {
            _hook: None,
            #[cfg(target_os = "linux")]
            _handlers: None,
        });
    };
    #[cfg(target_os = "linux")]
    let handlers = config
        .blackbox
        .crash_marks
        .then(|| ng_blackbox::install_crash_handlers(recorder))
        .transpose()
        .map_err(|error| StackError::layer("blackbox")(error.into()))?;
    let options = ng_blackbox::PanicOptions {
        dump_to: config.blackbox.dump_on_panic.clone(),
        last_events: size(config.blackbox.dump_events),
    };
    Ok(CrashPath {
        _hook: Some(ng_blackbox::install_panic_hook(recorder, options)),
        #[cfg(target_os = "linux")]
        _handlers: handlers,
    })
}

/// Metrics of what the contract does not count.
pub(super) fn register(
    sink: &dyn MetricSink,
    events: &EventChoice,
    dead: &[Died],
) -> Result<(), RegisterError> {
    let EventChoice::Built(recorder) = events else { return Ok(()) };
    let found = dead.len() as u64;
    let desc = MetricDesc::new(
        "neurograph_blackbox_dead_found_total",
        "Dead processes whose rings were found at the start, for the first time.",
    );
    sink.counter_from(&desc, Box::new(move || found))?;
    let watched = Arc::clone(recorder);
    let panics = MetricDesc::new("neurograph_panics_total", "Panics recorded.");
    sink.counter_from(&panics, Box::new(move || watched.panic_counts().panics))?;
    let watched = Arc::clone(recorder);
    let recovered = MetricDesc::new("neurograph_panics_recovered_total", "Panics that were recovered.");
    sink.counter_from(&recovered, Box::new(move || watched.panic_counts().recovered))
}

/// The thread that records how far the log is durable, so that whoever reads the rings of a dead
/// process knows. It records when the mark has moved, and nothing else.
#[derive(Debug)]
pub(super) struct DurableMark {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl DurableMark {
    /// `base` is the number of the log's first record of this process. `None` where there is nothing
    /// to record, or nowhere.
    pub(super) fn start(wal: &WalChoice, events: &EventChoice, base: u64) -> std::io::Result<Option<Self>> {
        if wal.is_off() || events.is_off() {
            return Ok(None);
        }
        let stop = Arc::new(AtomicBool::new(false));
        let (wal, events, stopped) = (wal.clone(), events.clone(), Arc::clone(&stop));
        let thread = std::thread::Builder::new().name("ng-durable".to_owned()).spawn(move || {
            let mut lane: EventLaneChoice = events.lane("log");
            let (mut last, mut still) = (0, 0_u32);
            loop {
                // Read before the mark: the last look comes after the stack has closed the log.
                let ends = stopped.load(Ordering::Acquire);
                // The ticket first: it may be older than the count, never younger.
                let ticket = wal.shared().durable().0;
                let durable = wal.shared().stats().durable_records;
                if durable != last {
                    let event = Event::operation(EventKind::WAL_WRITTEN, base + durable, ticket);
                    lane.record(Event { tier: Tier::Sampled, ..event });
                    (last, still) = (durable, 0);
                } else {
                    still = still.saturating_add(1);
                }
                if ends {
                    return;
                }
                std::thread::park_timeout(if still < MARK_PATIENCE { MARK_PERIOD } else { IDLE_MARK_PERIOD });
            }
        })?;
        Ok(Some(Self { stop, thread: Some(thread) }))
    }
}

impl Drop for DurableMark {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // The thread has no way to panic, and a drop has no one to tell.
            drop(thread.join());
        }
    }
}
