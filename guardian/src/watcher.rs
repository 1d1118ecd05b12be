//! The guardian's own thread, `ng-guardian`: reads the process's memory, looks at the marks, runs
//! one cleanup at a time and tells of refusals. Lanes never wait for it, and it holds no lock
//! while it calls what others wrote.

use crate::cdna::{Court, Verdict};
use crate::marks::{Marks, PoolMark, Seen};
use crate::memory::{Change, Drift, Pace, Probe, Reading, Shortage, drift};
use crate::notices::Notice;
use crate::options::{GuardianOptions, Mark, MarkCrossed};
use crate::pools::Pool;
use crate::quota::bytes_of;
use crate::report::CleanupReport;
use crate::shared::{Obstacle, Shared, lock};
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
    pools: Vec<PoolMark>,
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
    marked: &[(Pool, f64)],
) -> std::io::Result<JoinHandle<()>> {
    let now = Instant::now();
    let mut watcher = Watcher {
        shared: Arc::clone(shared),
        marks: Marks::new(options.marks(), options.memory_interval),
        probe: Probe::open(options.allocator.clone(), options.memory_reader.clone()),
        pace: Pace::new(options.memory_interval),
        drift: Drift::new(options.drift_bound_bytes),
        shortage: Shortage::new(options.memory_mark, options.memory_rearm),
        pools: marked.iter().map(|(pool, mark)| PoolMark::new(pool, *mark, options.rearm)).collect(),
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
            if now >= self.next_look {
                self.look_at_pools();
            }
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
                if let Some(Err(error)) = self.guarded(|| shared.enforce(constitution, reason)) {
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
        loop {
            if self.shared.cleanup_changed.swap(false, Ordering::AcqRel) {
                self.marks.arm_cleanup();
            }
            // Of the quota's own limit, even while short memory holds use below it.
            let (used, limit) = (self.shared.pool.level().used, self.limit());
            let seen = self.marks.observe(used, limit, Instant::now());
            self.act(seen, used, limit);
            // Use may have passed a mark since the look: then `set_alarm` says so at once.
            let alarm = self.marks.alarm(limit).unwrap_or(u64::MAX);
            if !self.shared.pool.set_alarm(alarm) || self.stopped() {
                return;
            }
        }
    }

    fn look_at_pools(&mut self) {
        let crossed: Vec<_> = self.pools.iter_mut().filter_map(PoolMark::look).collect();
        for (pool, used, limit) in crossed {
            self.record(Event::rare(EventKind::MARK_CROSSED, used, limit), &format!("soft mark of {pool}"));
            self.tell(Notice::PoolMarkCrossed { pool, used, limit });
        }
    }

    fn act(&mut self, seen: Seen, used: u64, limit: u64) {
        if seen.soft {
            lock(&self.shared.report).soft_crossings += 1;
            self.tell_mark(MarkCrossed { mark: Mark::Soft, used, limit });
        }
        if let Some(asked) = seen.cleanup {
            lock(&self.shared.report).cleanups_due += 1;
            self.tell_mark(MarkCrossed { mark: Mark::Cleanup, used, limit });
            self.clean(asked, used);
        } else if seen.below_cleanup {
            self.shared.set_obstacle(Obstacle::None);
        }
    }

    fn clean(&mut self, asked: u64, used_before: u64) {
        let mut freed = 0;
        let mut obstacle = Obstacle::NothingSet;
        if let Some(reclaim) = self.shared.reclaim() {
            self.shared.set_obstacle(Obstacle::Running);
            let target = used_before - asked.min(used_before);
            self.record(Event::rare(EventKind::CLEANUP_BEGUN, used_before, target), "");
            self.tell(Notice::CleanupBegun { used: used_before, target });
            let begun = Instant::now();
            let answer = self.guarded(|| reclaim.reclaim(asked));
            obstacle = if answer.is_some() { Obstacle::TooLittle } else { Obstacle::Panicked };
            freed = answer.unwrap_or(0);
            let took = begun.elapsed();
            // If this was the last owner, what it owns ends here, perhaps the guardian itself.
            self.guarded(|| drop(reclaim));
            let used_after = self.shared.pool.level().used;
            let cleanup = CleanupReport { asked, freed, used_before, used_after, took };
            self.shared.note_cleanup(cleanup);
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            self.record(Event::rare(EventKind::CLEANUP_ENDED, freed, micros), "");
            self.tell(Notice::CleanupEnded(cleanup));
        }
        let (used, limit) = (self.shared.pool.level().used, self.limit());
        if self.marks.cleaned(freed, used, limit, Instant::now()) {
            obstacle = Obstacle::None;
        }
        self.shared.set_obstacle(obstacle);
    }

    fn limit(&self) -> u64 {
        self.shared.limits().tokens()
    }

    fn tell(&self, notice: Notice) {
        self.shared.subscribers.tell(&notice);
    }

    fn tell_mark(&self, crossed: MarkCrossed) {
        let note = match crossed.mark {
            Mark::Soft => "soft mark",
            Mark::Cleanup => "cleanup mark",
        };
        self.record(Event::rare(EventKind::MARK_CROSSED, crossed.used, crossed.limit), note);
        self.tell(Notice::MarkCrossed(crossed));
        if let Some(hook) = &self.shared.on_mark {
            self.guarded(|| hook(crossed));
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
        if let Some(events) = &self.shared.events
            && (self.shared.tells_events.load(Ordering::Relaxed) || event.kind == EventKind::CONSTITUTION)
        {
            self.guarded(|| events.record_rare(event, note));
        }
    }

    /// Calls what others wrote. If it panics, the guardian goes on, and counts it.
    fn guarded<T>(&self, call: impl FnOnce() -> T) -> Option<T> {
        let answer = catch_unwind(AssertUnwindSafe(call)).ok();
        if answer.is_none() {
            lock(&self.shared.report).panics += 1;
        }
        answer
    }
}
