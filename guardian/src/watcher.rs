//! The guardian's own thread, `ng-guardian`: reads the process's memory, looks at the marks, runs
//! one cleanup at a time and tells of refusals. Lanes never wait for it, and it holds no lock
//! while it calls what others wrote.

use crate::cdna::{Court, Verdict};
use crate::cleanup::{self, Scope};
use crate::marks::{Marks, Seen};
use crate::memory::{Change, Drift, Pace, Probe, Reading, Shortage, drift};
use crate::notices::Notice;
use crate::obstacle::Obstacle;
use crate::options::{GuardianOptions, Mark, MarkCrossed};
use crate::pool_watch::PoolWatch;
use crate::quota::bytes_of;
use crate::shared::{Shared, lock};
use ng_core::events::{Event, EventKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The thread's name, as the operating system shows it.
const NAME: &str = "ng-guardian";

struct Watcher {
    shared: Arc<Shared>,
    marks: Marks,
    probe: Option<Probe>,
    pace: Pace,
    drift: Drift,
    shortage: Shortage,
    pools: Vec<(Arc<PoolWatch>, Marks)>,
    interval: Duration,
    next_read: Instant,
    next_news: Instant,
    court: Option<Court>,
    next_look: Instant,
}

/// Reads the memory once, so that no report is empty, and starts the thread.
pub(crate) fn start(
    shared: &Arc<Shared>,
    options: &GuardianOptions,
    court: Option<Court>,
) -> std::io::Result<JoinHandle<()>> {
    let now = Instant::now();
    let marks = |watch: &Arc<PoolWatch>| Marks::new(watch.marks(), options.memory_interval);
    let mut watcher = Watcher {
        shared: Arc::clone(shared),
        marks: Marks::new(shared.marks(), options.memory_interval),
        probe: Probe::open(options.allocator.clone(), options.memory_reader.clone()),
        pace: Pace::new(options.memory_interval),
        drift: Drift::new(options.drift_bound_bytes),
        shortage: Shortage::new(options.memory_mark, options.memory_rearm),
        pools: shared.watched.iter().map(|watch| (Arc::clone(watch), marks(watch))).collect(),
        interval: options.memory_interval,
        next_read: now,
        next_news: now,
        court,
        next_look: now,
    };
    watcher.read_memory(now);
    let thread = std::thread::Builder::new().name(NAME.to_owned()).spawn(move || watcher.run())?;
    // A lane woke no one until now: the first turn of the thread, just begun, looks at the level.
    let _ = shared.thread.set(thread.thread().clone());
    thread.thread().unpark();
    Ok(thread)
}

impl Watcher {
    fn run(&mut self) {
        while !self.stopped() {
            let now = Instant::now();
            if now >= self.next_read {
                self.read_memory(now);
            }
            self.look_at_marks();
            self.look_at_pools();
            if now >= self.next_look {
                self.look_at_history(now);
            }
            if now >= self.next_news {
                self.tell_refusals(now);
            }
            std::thread::park_timeout(self.pause(Instant::now()));
        }
        self.tell_refusals(Instant::now());
    }

    /// Until the next reading; shorter where something else may have changed by then of which no lane
    /// tells. A mark that is armed is no such thing: the lane that reaches it wakes this thread.
    fn pause(&self, now: Instant) -> Duration {
        let until = |then: Instant| then.saturating_duration_since(now);
        let mut pause = until(self.next_read);
        if self.marks.may_change() || !self.pools.is_empty() || self.court.is_some() {
            pause = pause.min(self.interval);
        }
        if self.shared.news.is_waiting() {
            pause = pause.min(until(self.next_news));
        }
        pause
    }

    fn stopped(&self) -> bool {
        self.shared.stop.load(Ordering::Acquire)
    }

    fn read_memory(&mut self, now: Instant) {
        let Self { shared, probe, .. } = self;
        // The allocator's figures are others' code.
        let read = catch_unwind(AssertUnwindSafe(|| probe.as_mut().and_then(|probe| probe.read(now))));
        if read.is_err() {
            lock(&shared.report).panics += 1;
        }
        let Some(reading) = read.ok().flatten() else {
            self.next_read = now + self.interval;
            return;
        };
        shared.readings.note(reading);
        let pressed = reading.pressure.is_some_and(|percent| percent > 0.0);
        self.next_read = now + self.pace.next(reading.resident, reading.cgroup_limit, pressed, now.elapsed());
        self.judge(&reading);
        let drift_bytes = drift(reading.resident, bytes_of(self.shared.pool.level().used));
        if self.drift.passes(drift_bytes) {
            lock(&self.shared.report).drifts += 1;
            let resident_bytes = reading.resident;
            let note = format!(
                "{drift_bytes} bytes of {resident_bytes} resident ones are of no admitted token: buffers, other data, a leak"
            );
            self.record(
                Event::rare(EventKind::MEMORY_DRIFT, drift_bytes.unsigned_abs(), resident_bytes),
                &note,
            );
            self.tell(Notice::MemoryDrift { drift_bytes, resident_bytes });
        }
    }

    /// Holds use at what it is while the real memory is short. One change of a limit for each change
    /// of the state, so nothing spins, however long it lasts.
    fn judge(&mut self, reading: &Reading) {
        match self.shortage.look(reading) {
            None => {}
            Some(Change::Short { held, limit }) => {
                let tokens = self.shared.hold(held, limit);
                lock(&self.shared.report).shortages += 1;
                let note = format!("no more than {tokens} tokens at once until it has sunk");
                self.record(Event::rare(EventKind::MEMORY_SHORT, held, limit), &note);
                self.tell(Notice::MemoryShort { held_bytes: held, limit_bytes: limit, tokens });
            }
            Some(Change::Eased { held, limit }) => {
                self.shared.let_go();
                self.record(Event::rare(EventKind::MEMORY_EASED, held, limit), "");
                self.tell(Notice::MemoryEased { held_bytes: held, limit_bytes: limit });
            }
        }
    }

    fn look_at_history(&mut self, now: Instant) {
        self.next_look = now + self.interval;
        let violations = self.shared.violations.sum();
        match self.court.as_mut().and_then(|court| court.look(violations, now)) {
            None => {}
            Some(Verdict::Enforce(constitution, reason)) => {
                let shared = &self.shared;
                if let Some(Err(error)) = shared.guarded(|| shared.enforce(constitution, reason)) {
                    self.tell(Notice::ConstitutionProblem(error.to_string()));
                }
            }
            Some(Verdict::Problem(why)) => {
                lock(&self.shared.report).constitution_problems += 1;
                let version = self.shared.constitution().version;
                self.record(Event::rare(EventKind::CONSTITUTION, version, version), &why);
                self.tell(Notice::ConstitutionProblem(why));
            }
        }
    }

    fn look_at_marks(&mut self) {
        look(&self.shared, Scope::Whole, &mut self.marks);
    }

    /// One after the other: while one is cleaned up, the others and the whole wait.
    fn look_at_pools(&mut self) {
        for (watch, marks) in &mut self.pools {
            look(&self.shared, Scope::Pool(watch), marks);
        }
    }

    fn tell_refusals(&mut self, now: Instant) {
        let Some(refused) = self.shared.news.take() else { return };
        self.next_news = now + self.interval;
        lock(&self.shared.report).refusals += refused.requests;
        let note = format!(
            "{} requests for {} tokens in all were refused since the last such event",
            refused.requests, refused.tokens
        );
        self.record(Event::rare(EventKind::QUOTA_EXCEEDED, refused.last, refused.limit), &note);
        let (requests, tokens, limit) = (refused.requests, refused.tokens, refused.limit);
        self.tell(Notice::Refused { requests, tokens, limit });
    }

    fn record(&self, event: Event, note: &str) {
        self.shared.record(event, note);
    }

    fn tell(&self, notice: Notice) {
        self.shared.subscribers.tell(&notice);
    }
}

/// Looks at the marks of one level, and does what they ask for, until nothing is due.
fn look(shared: &Shared, scope: Scope<'_>, marks: &mut Marks) {
    loop {
        let (used, limit) = scope.level(shared);
        // After the level, which may be older than the change; and at each look, so that a cleanup which
        // begins below has seen the change and no second one comes of it.
        if scope.take_changed(shared) {
            marks.change(scope.marks(shared));
            marks.arm_cleanup();
            continue;
        }
        let seen = marks.observe(used, limit, Instant::now());
        act(shared, scope, marks, seen, used, limit);
        let alarm = marks.alarm(limit).unwrap_or(u64::MAX);
        // Use may have passed a mark since the look: then `set_alarm` says so at once.
        let passed = match scope {
            Scope::Whole => shared.pool.set_alarm(alarm),
            Scope::Pool(watch) => watch.in_tokens && watch.pool.leases().set_alarm(alarm),
        };
        if !passed || shared.stop.load(Ordering::Acquire) {
            return;
        }
    }
}

fn act(shared: &Shared, scope: Scope<'_>, marks: &mut Marks, seen: Seen, used: u64, limit: u64) {
    if seen.soft {
        match scope {
            Scope::Whole => lock(&shared.report).soft_crossings += 1,
            Scope::Pool(watch) => watch.note_soft(),
        }
        tell_mark(shared, scope, MarkCrossed { mark: Mark::Soft, used, limit });
    }
    if let Some(asked) = seen.cleanup {
        lock(&shared.report).cleanups_due += 1;
        if let Scope::Pool(watch) = scope {
            watch.note_due();
        }
        tell_mark(shared, scope, MarkCrossed { mark: Mark::Cleanup, used, limit });
        let (freed, mut obstacle) = cleanup::run(shared, scope, asked, used);
        let (used, limit) = scope.level(shared);
        if marks.cleaned(freed, used, limit, Instant::now()) {
            obstacle = Obstacle::None;
        }
        scope.set_obstacle(shared, obstacle);
    } else if seen.below_cleanup {
        scope.set_obstacle(shared, Obstacle::None);
    }
}

fn tell_mark(shared: &Shared, scope: Scope<'_>, crossed: MarkCrossed) {
    let MarkCrossed { mark, used, limit } = crossed;
    let what = match mark {
        Mark::Soft => "soft mark",
        Mark::Cleanup => "cleanup mark",
    };
    shared.record(Event::rare(EventKind::MARK_CROSSED, used, limit), &scope.note(what));
    match scope {
        Scope::Pool(watch) => {
            let pool = watch.pool.path().to_owned();
            shared.subscribers.tell(&Notice::PoolMarkCrossed { pool, mark, used, limit });
        }
        Scope::Whole => {
            shared.subscribers.tell(&Notice::MarkCrossed(crossed));
            if let Some(hook) = &shared.on_mark {
                shared.guarded(|| hook(crossed));
            }
        }
    }
}
