//! Reads the configuration again, applies what can be applied, and tells what became of it.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use ng_core::events::{Event, EventKind};
use ng_core::metrics::{MetricDesc, MetricSink, RegisterError, Scale};

use super::file_watch::{FileWatch, Seen};
use super::outcome::{Cause, Outcome, Waiting};
use super::part::{Part, Prepared};
use crate::config::{ConfigErrors, Loaded, LogLevel};
use crate::stack::Stack;

/// Reads the configuration as it was read at the start.
type Load = Box<dyn Fn() -> Result<Loaded, ConfigErrors> + Send + Sync>;

/// Puts a level in force.
type SetLevel = Arc<dyn Fn(LogLevel) + Send + Sync>;

/// Why a change that needs a restart is not in force.
const RESTART: &str = "it needs a restart";

/// Holds what is in force, and reads again what shall be.
///
/// ```
/// use ng_stack::Stack;
/// use ng_stack::config::Loader;
/// use ng_stack::reload::{Cause, Outcome, Reloader};
///
/// let dir = tempfile::tempdir()?;
/// let file = dir.path().join("ng.toml");
/// let layers = "[wal]\nkind = \"off\"\n[blackbox]\nkind = \"off\"\n[tracing]\noutput = \"\"\n";
/// std::fs::write(&file, format!("{layers}rate = 0.01"))?;
/// let load = { let file = file.clone(); move || Loader::new().file(&file).load() };
/// let loaded = load()?;
/// let stack = Stack::builder().loaded(loaded.clone()).build()?;
/// let reloader = Reloader::new(loaded, load).watch(&file);
///
/// std::fs::write(&file, format!("{layers}rate = 0.5"))?;
/// assert!(matches!(reloader.reload(&stack, Cause::Asked), Outcome::Applied { .. }));
/// assert_eq!(stack.sampler().rate(), 0.5);
///
/// std::fs::write(&file, format!("{layers}rate = 5"))?;
/// assert!(matches!(reloader.reload(&stack, Cause::Asked), Outcome::Refused(_)));
/// assert_eq!(stack.sampler().rate(), 0.5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Reloader {
    load: Load,
    set_level: Option<SetLevel>,
    part: Option<Box<dyn Part>>,
    state: Mutex<State>,
    counts: Arc<Counts>,
}

struct State {
    in_force: Loaded,
    /// The configuration's own files that are looked at.
    watched: Vec<FileWatch>,
    /// Those that the part reads.
    named: Vec<FileWatch>,
    /// A file has changed, and others still move.
    due: bool,
}

impl State {
    fn files(&mut self) -> impl Iterator<Item = &mut FileWatch> {
        self.watched.iter_mut().chain(&mut self.named)
    }

    /// Looks at these files and no others that were named; what is known of one stays known.
    fn watch_named(&mut self, files: Vec<PathBuf>) {
        self.named.retain(|one| files.iter().any(|file| file == one.path()));
        for file in files {
            if !self.named.iter().any(|one| one.path() == file) {
                self.named.push(FileWatch::new(file));
            }
        }
    }
}

/// What it counts, by [`Outcome::label`].
#[derive(Debug, Default)]
struct Counts {
    applied: AtomicU64,
    unchanged: AtomicU64,
    refused: AtomicU64,
    waiting: AtomicU64,
    /// Nanoseconds since 1970; 0 before the first.
    last_good_ns: AtomicU64,
    /// 0 after a refusal, until the next sound file.
    unsound: AtomicU64,
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader").field("counts", &self.counts).finish_non_exhaustive()
    }
}

impl Reloader {
    /// With the configuration that the stack was started with, and how to read it again: the same
    /// file, the same environment, the same options.
    pub fn new(
        in_force: Loaded,
        load: impl Fn() -> Result<Loaded, ConfigErrors> + Send + Sync + 'static,
    ) -> Self {
        Self {
            load: Box::new(load),
            set_level: None,
            part: None,
            state: Mutex::new(State { in_force, watched: Vec::new(), named: Vec::new(), due: false }),
            counts: Arc::default(),
        }
    }

    /// Looks at this file when [`look`](Self::look) is called.
    #[must_use]
    pub fn watch(self, file: impl Into<PathBuf>) -> Self {
        self.state().watched.push(FileWatch::new(file.into()));
        self
    }

    /// Puts a changed `log.level` in force; without this it needs a restart.
    #[must_use]
    pub fn on_level(mut self, set: impl Fn(LogLevel) + Send + Sync + 'static) -> Self {
        self.set_level = Some(Arc::new(set));
        self
    }

    /// Puts the live keys of `[serve]` in force by this part; without one they need a restart. The files that
    /// it reads are looked at too when [`look`](Self::look) is called. To be called before the part reads
    /// them for the first time, so that no change between the two is missed.
    #[must_use]
    pub fn with_part(mut self, part: impl Part + 'static) -> Self {
        let files = part.files(&self.state().in_force.config);
        self.state().named = files.into_iter().map(FileWatch::new).collect();
        self.part = Some(Box::new(part));
        self
    }

    /// Lets the constitution of a stack put a level in force in the same way.
    pub fn guide(&self, stack: &Stack) {
        if let Some(set) = &self.set_level {
            let set = Arc::clone(set);
            stack.on_level(move |level| set(level));
        }
    }

    /// What is in force.
    #[must_use]
    pub fn in_force(&self) -> Loaded {
        self.state().in_force.clone()
    }

    /// Reads it again if a file has changed and all of them have rested since the last look: call it about
    /// each second. `None` if none has, or none is watched.
    #[must_use = "whoever changed the file wants to know"]
    pub fn look(&self, stack: &Stack) -> Option<Outcome> {
        let mut state = self.state();
        // Every one of them: a certificate and its key are two files, and neither is of use without the other.
        let seen: Vec<Seen> = state.files().map(FileWatch::look).collect();
        state.due |= seen.contains(&Seen::Changed);
        (state.due && !seen.contains(&Seen::Moving)).then(|| self.again(&mut state, stack, Cause::Changed))
    }

    /// Reads it again, now. It reads files and may wait for another one that does the same: not for a
    /// thread that serves.
    pub fn reload(&self, stack: &Stack, cause: Cause) -> Outcome {
        let mut state = self.state();
        state.files().for_each(FileWatch::mark);
        self.again(&mut state, stack, cause)
    }

    fn again(&self, state: &mut State, stack: &Stack, cause: Cause) -> Outcome {
        state.due = false;
        let outcome = match (self.load)() {
            Err(errors) => Outcome::Refused(errors),
            Ok(loaded) => self.take(state, &loaded, stack),
        };
        self.tell(&outcome, stack, cause);
        outcome
    }

    /// All live changes, or none.
    fn take(&self, state: &mut State, loaded: &Loaded, stack: &Stack) -> Outcome {
        if let Some(part) = &self.part {
            // Before it reads them, and with those in force, which stay if this is refused.
            state.watch_named([part.files(&state.in_force.config), part.files(&loaded.config)].concat());
        }
        let in_force = &mut state.in_force;
        let found = in_force.diff(loaded);
        let prepared = match self.part.as_ref().map(|part| part.prepare(&loaded.config)).transpose() {
            Ok(prepared) => prepared,
            Err(why) => return Outcome::Failed(why),
        };
        let renewed = prepared.as_ref().map(|prepared| prepared.renewed.clone()).unwrap_or_default();
        if found.is_empty() && renewed.is_empty() {
            return Outcome::Unchanged;
        }
        let mut overruled = match stack.follow(&in_force.config, &loaded.config) {
            Ok(overruled) => overruled,
            Err(error) => return Outcome::Failed(error.to_string()),
        };
        if let Some(Prepared { overruled: more, commit, .. }) = prepared {
            overruled.extend(more);
            commit();
        }
        let (mut changed, mut waiting) = (Vec::new(), Vec::new());
        for difference in found {
            let deaf = match difference.key.split_once('.') {
                Some(("log", _)) => self.set_level.is_none(),
                Some(("serve", _)) => self.part.is_none(),
                _ => false,
            };
            let why = overruled.iter().find(|one| one.key == difference.key).map(|one| one.why);
            match why {
                Some(why) => waiting.push(Waiting { difference, why }),
                None if deaf || !difference.live => waiting.push(Waiting { difference, why: RESTART }),
                None => changed.push(difference),
            }
        }
        if let Some(set) = &self.set_level
            && changed.iter().any(|one| one.key == "log.level")
        {
            set(loaded.config.log.level);
        }
        in_force.adopt(loaded, changed.iter().map(|one| one.key.as_str()));
        self.counts.waiting.store(waiting.len() as u64, Ordering::Relaxed);
        Outcome::Applied { changed, waiting, renewed }
    }

    fn tell(&self, outcome: &Outcome, stack: &Stack, cause: Cause) {
        let counts = &self.counts;
        let counter = match outcome {
            Outcome::Unchanged => &counts.unchanged,
            Outcome::Applied { .. } => &counts.applied,
            Outcome::Refused(_) | Outcome::Failed(_) => &counts.refused,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        counts.unsound.store(u64::from(!outcome.is_good()), Ordering::Relaxed);
        if outcome.is_good() {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
            counts.last_good_ns.store(now, Ordering::Relaxed);
        }
        if matches!(outcome, Outcome::Unchanged) {
            counts.waiting.store(0, Ordering::Relaxed);
        }
        let (event, note) = match outcome {
            Outcome::Unchanged => return,
            Outcome::Applied { changed, waiting, renewed } => {
                let event =
                    Event::rare(EventKind::CONFIG_RELOADED, changed.len() as u64, waiting.len() as u64);
                let keys = changed.iter().map(|one| one.key.as_str());
                let keys: Vec<&str> = keys.chain(renewed.iter().copied()).collect();
                (event, format!("{cause}: {}", keys.join(", ")))
            }
            Outcome::Refused(errors) => {
                let event = Event::rare(EventKind::CONFIG_REFUSED, errors.count() as u64, 0);
                (event, errors.findings().first().map(|first| first.message.clone()).unwrap_or_default())
            }
            Outcome::Failed(why) => (Event::rare(EventKind::CONFIG_REFUSED, 1, 0), why.clone()),
        };
        stack.events().record_rare(event, &note);
    }

    /// Registers what it counts.
    ///
    /// # Errors
    /// If the sink takes no further series.
    pub fn register(&self, sink: &dyn MetricSink) -> Result<(), RegisterError> {
        type Read = fn(&Counts) -> &AtomicU64;
        let results: [(&str, Read); 3] = [
            ("applied", |counts| &counts.applied),
            ("unchanged", |counts| &counts.unchanged),
            ("refused", |counts| &counts.refused),
        ];
        for (result, read) in results {
            let desc = MetricDesc::new(
                "neurograph_config_reloads_total",
                "Times that the configuration was read again, by result.",
            );
            let counts = Arc::clone(&self.counts);
            let value = move || read(&counts).load(Ordering::Relaxed);
            sink.counter_from(&desc.label("result", result), Box::new(value))?;
        }
        let gauges: [(&str, &str, Read); 2] = [
            (
                "neurograph_config_changes_waiting",
                "Keys whose value in the file is not in force, because they need a restart or are overruled.",
                |counts| &counts.waiting,
            ),
            (
                "neurograph_config_file_refused",
                "1 while the file that was read last has faults, and the configuration before stays in force.",
                |counts| &counts.unsound,
            ),
        ];
        for (name, help, read) in gauges {
            let counts = Arc::clone(&self.counts);
            #[expect(clippy::cast_precision_loss, reason = "a gauge is a float, and there are few keys")]
            let value = move || read(&counts).load(Ordering::Relaxed) as f64;
            sink.gauge_from(&MetricDesc::new(name, help), Box::new(value))?;
        }
        let last = MetricDesc::new(
            "neurograph_config_last_good_seconds",
            "When a sound configuration was last read again, in seconds since 1970; 0 if never.",
        );
        let counts = Arc::clone(&self.counts);
        #[expect(clippy::cast_precision_loss, reason = "a time within a microsecond")]
        let value = move || counts.last_good_ns.load(Ordering::Relaxed) as f64 / 1e9;
        sink.gauge_from(&last.unit("seconds", Scale::One), Box::new(value))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
