//! What lanes, the guardian and its thread share. It decides nothing on its own.

use crate::constitution::{Bounds, Constitution, ConstitutionError};
use crate::error::GuardianError;
use crate::lease::{LeasePool, Shortfall};
use crate::marks::MarkFractions;
use crate::memory::Readings;
use crate::news::News;
use crate::notices::{Notice, Subscribers};
use crate::obstacle::Obstacle;
use crate::options::{ConstitutionHook, GuardianOptions, MarkHook, MarkLevels};
use crate::pool_watch::PoolWatch;
use crate::pools::{DOMAINS, Planned, Pool, PoolError, PoolRefusal, PoolSpec};
use crate::quota::{Limits, bytes_of, pool_refusal};
use crate::report::{CleanupReport, GuardianReport};
use crate::tally::Tally;
use ng_core::admission::{Reclaim, Refusal};
use ng_core::events::{Event, EventKind, EventRecorder};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::Thread;

/// What the guardian's own quota counts.
const TOKENS: &str = "tokens";

pub(crate) struct Shared {
    pub(crate) pool: Arc<LeasePool>,
    /// The same pool, for pools within it.
    pub(crate) tokens: Pool,
    /// Quotas on other things, and pools that were planned at the start, by name.
    pub(crate) quotas: Mutex<BTreeMap<String, Pool>>,
    /// Those that were planned, in the order of the plan.
    pub(crate) watched: Vec<Arc<PoolWatch>>,
    /// The marks of the quota on tokens.
    pub(crate) levels: Mutex<MarkLevels>,
    pub(crate) rearm: f64,
    domains: [Option<Pool>; DOMAINS],
    has_domains: bool,
    pub(crate) rate_refused: AtomicU64,
    pub(crate) violations: Arc<Tally>,
    pub(crate) readings: Readings,
    pub(crate) news: News,
    pub(crate) subscribers: Subscribers,
    pub(crate) events: Option<Arc<dyn EventRecorder>>,
    pub(crate) on_mark: Option<MarkHook>,
    on_constitution: Option<ConstitutionHook>,
    /// Whether the constitution lets events be recorded.
    pub(crate) tells_events: AtomicBool,
    pub(crate) report: Mutex<GuardianReport>,
    pub(crate) stop: AtomicBool,
    /// What frees, or what it frees for, has changed since the thread last looked.
    pub(crate) cleanup_changed: AtomicBool,
    pub(crate) thread: OnceLock<Thread>,
    limits: Mutex<InForce>,
    law: Mutex<Law>,
    generation: AtomicU64,
    reclaim: Mutex<Option<Weak<dyn Reclaim>>>,
    obstacle: AtomicU8,
}

/// What the pool's limit is made of.
#[derive(Debug, Clone, Copy)]
struct InForce {
    limits: Limits,
    short: Option<Short>,
}

/// Real memory is short.
#[derive(Debug, Clone, Copy)]
struct Short {
    /// What use is held at, in tokens.
    tokens: u64,
    held: u64,
    limit: u64,
}

impl InForce {
    fn tokens(&self) -> u64 {
        self.limits.tokens().min(self.short.map_or(u64::MAX, |short| short.tokens))
    }
}

struct Law {
    constitution: Constitution,
    bounds: Bounds,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn new(options: &GuardianOptions) -> Result<Self, GuardianError> {
        let bounds = Bounds::new(&options.constitution)?;
        let pool = LeasePool::new(options.limits.tokens(), options.max_lease);
        let tokens = Pool::of(Arc::clone(&pool), TOKENS, options.rate);
        let Planned { pools, watched, domains } = Planned::new(&tokens, options.rearm, &options.pools)?;
        Ok(Self {
            tokens,
            pool,
            quotas: Mutex::new(pools),
            watched: watched.into_iter().map(PoolWatch::new).map(Arc::new).collect(),
            levels: Mutex::new(options.levels()),
            rearm: options.rearm,
            has_domains: domains.iter().any(Option::is_some),
            domains,
            rate_refused: AtomicU64::new(0),
            violations: Arc::default(),
            readings: Readings::default(),
            news: News::default(),
            subscribers: Subscribers::default(),
            events: options.events.clone(),
            on_mark: options.on_mark.clone(),
            on_constitution: options.on_constitution.clone(),
            tells_events: AtomicBool::new(options.constitution.events),
            report: Mutex::default(),
            stop: AtomicBool::new(false),
            cleanup_changed: AtomicBool::new(false),
            thread: OnceLock::new(),
            limits: Mutex::new(InForce { limits: options.limits, short: None }),
            law: Mutex::new(Law { constitution: options.constitution.clone(), bounds }),
            generation: AtomicU64::new(0),
            reclaim: Mutex::new(None),
            obstacle: AtomicU8::new(Obstacle::None as u8),
        })
    }

    /// Whether any domain has a pool of its own.
    #[inline(always)]
    pub(crate) fn has_domains(&self) -> bool {
        self.has_domains
    }

    /// Where tokens of a domain count.
    pub(crate) fn pool_of(&self, domain: u8) -> &Pool {
        self.domains.get(usize::from(domain)).and_then(Option::as_ref).unwrap_or(&self.tokens)
    }

    /// Lets the guardian's thread look now instead of at its next turn.
    pub(crate) fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    #[inline(always)]
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// The bounds in force, with the generation that they belong to.
    pub(crate) fn bounds(&self) -> (Bounds, u64) {
        let law = lock(&self.law);
        (law.bounds.clone(), self.generation())
    }

    pub(crate) fn constitution(&self) -> Constitution {
        lock(&self.law).constitution.clone()
    }

    pub(crate) fn set_constitution(&self, constitution: Constitution) -> Result<(), ConstitutionError> {
        let mut law = lock(&self.law);
        let (given, current) = (constitution.version, law.constitution.version);
        let bounds = Bounds::new(&constitution)?;
        if given <= current {
            return Err(ConstitutionError::VersionNotAbove { given, current });
        }
        self.enact(&mut law, constitution.clone(), bounds);
        drop(law);
        self.proclaim(&constitution, current, None);
        Ok(())
    }

    /// What the history has in force, whichever version that is.
    pub(crate) fn enforce(
        &self,
        constitution: Constitution,
        reason: Option<String>,
    ) -> Result<(), ConstitutionError> {
        let bounds = Bounds::new(&constitution)?;
        let mut law = lock(&self.law);
        let previous = law.constitution.version;
        self.enact(&mut law, constitution.clone(), bounds);
        drop(law);
        self.proclaim(&constitution, previous, reason);
        Ok(())
    }

    fn enact(&self, law: &mut Law, constitution: Constitution, bounds: Bounds) {
        self.tells_events.store(constitution.events, Ordering::Relaxed);
        *law = Law { constitution, bounds };
        // Within the lock, so that a lane which sees the new number reads the new bounds.
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    fn proclaim(&self, constitution: &Constitution, previous: u64, reason: Option<String>) {
        let version = constitution.version;
        if let Some(events) = &self.events {
            let event = Event::rare(EventKind::CONSTITUTION, version, previous);
            events.record_rare(event, reason.as_deref().unwrap_or_default());
        }
        self.subscribers.tell(&Notice::ConstitutionChanged { version, previous, reason });
        if let Some(hook) = &self.on_constitution {
            hook(constitution);
        }
    }

    pub(crate) fn limits(&self) -> Limits {
        lock(&self.limits).limits
    }

    /// Real memory is short: use may not rise above what it is. Returns that, in tokens.
    pub(crate) fn hold(&self, held: u64, limit: u64) -> u64 {
        let mut current = lock(&self.limits);
        let tokens = self.pool.level().used;
        current.short = Some(Short { tokens, held, limit });
        self.pool.set_limit(current.tokens());
        tokens
    }

    /// Real memory is short no more.
    pub(crate) fn let_go(&self) {
        let mut current = lock(&self.limits);
        current.short = None;
        self.pool.set_limit(current.tokens());
    }

    pub(crate) fn set_limits(&self, limits: Limits) {
        let mut current = lock(&self.limits);
        current.limits = limits;
        self.pool.set_limit(current.tokens());
        drop(current);
        self.cleanup_changed.store(true, Ordering::Release);
        self.wake();
    }

    pub(crate) fn set_marks(&self, levels: MarkLevels) -> Result<(), GuardianError> {
        levels.validate(self.rearm)?;
        *lock(&self.levels) = levels;
        self.cleanup_changed.store(true, Ordering::Release);
        self.wake();
        Ok(())
    }

    /// The same as the guardian's thread looks at them.
    pub(crate) fn marks(&self) -> MarkFractions {
        lock(&self.levels).fractions(self.rearm)
    }

    /// Puts limits, rates and marks of planned pools in force, all of them or none.
    pub(crate) fn change_pools(&self, specs: &[PoolSpec]) -> Result<(), PoolError> {
        let mut checked = Vec::with_capacity(specs.len());
        for spec in specs {
            let watched = self.watched.iter().find(|watched| watched.name == spec.name);
            let watched = watched.ok_or_else(|| PoolError::Unknown { name: spec.name.clone() })?;
            let path = watched.pool.path();
            spec.options.check(path)?;
            checked.push((watched, spec, spec.marks(path, self.rearm, watched.domains)?));
        }
        for (watched, spec, marks) in checked {
            // Checked above.
            let _ = watched.pool.set_limit(spec.options.limit);
            let _ = watched.pool.set_rate(spec.options.rate);
            watched.set_marks(marks);
        }
        self.wake();
        Ok(())
    }

    pub(crate) fn set_reclaim(&self, reclaim: Weak<dyn Reclaim>) {
        *lock(&self.reclaim) = Some(reclaim);
        self.cleanup_changed.store(true, Ordering::Release);
        for watched in &self.watched {
            watched.set_changed();
        }
        self.wake();
    }

    pub(crate) fn reclaim(&self) -> Option<Arc<dyn Reclaim>> {
        lock(&self.reclaim).as_ref().and_then(Weak::upgrade)
    }

    pub(crate) fn set_obstacle(&self, obstacle: Obstacle) {
        self.obstacle.store(obstacle as u8, Ordering::Relaxed);
    }

    /// Records an event that the constitution lets be recorded.
    pub(crate) fn record(&self, event: Event, note: &str) {
        if let Some(events) = &self.events
            && (self.tells_events.load(Ordering::Relaxed) || event.kind == EventKind::CONSTITUTION)
        {
            self.guarded(|| events.record_rare(event, note));
        }
    }

    /// Calls what others wrote. If it panics, the guardian goes on, and counts it.
    pub(crate) fn guarded<T>(&self, call: impl FnOnce() -> T) -> Option<T> {
        let answer = catch_unwind(AssertUnwindSafe(call)).ok();
        if answer.is_none() {
            lock(&self.report).panics += 1;
        }
        answer
    }

    /// Counts a refusal, and makes what the caller is told.
    pub(crate) fn refuse(&self, asked: u64, shortfall: &Shortfall) -> Refusal {
        let first = self.news.add(asked, shortfall.level.limit);
        if first || shortfall.alarm {
            self.wake();
        }
        if !shortfall.at_root {
            // A pool that was made in code has no cleanup.
            let way = format!("{TOKENS}/{}", shortfall.path);
            let watched = self.watched.iter().find(|watched| watched.pool.path() == way);
            let obstacle = watched.map_or(Obstacle::None, |watched| watched.obstacle());
            return pool_refusal(asked, shortfall, obstacle.of_a_pool());
        }
        let InForce { limits, short } = *lock(&self.limits);
        if let Some(short) = short.filter(|short| short.tokens < limits.tokens()) {
            return Refusal {
                quota: "memory",
                asked: bytes_of(asked),
                used: short.held,
                limit: short.limit,
                top: shortfall.top.iter().map(|(name, held)| (name.clone(), bytes_of(*held))).collect(),
                reason: Some("the process's real memory is near the limit of its control group"),
            };
        }
        let obstacle = usize::from(self.obstacle.load(Ordering::Relaxed));
        let reason = Obstacle::ALL.get(obstacle).and_then(|obstacle| obstacle.of_the_whole());
        limits.refusal(asked, shortfall, reason)
    }

    /// Counts a refusal by a rate, and makes what the caller is told.
    pub(crate) fn refuse_rate(&self, asked: u64, refusal: &PoolRefusal) -> Refusal {
        self.rate_refused.fetch_add(asked, Ordering::Relaxed);
        let limit = match refusal {
            PoolRefusal::Rate { per_second, .. } => u64::from(*per_second),
            PoolRefusal::Quota { limit, .. } => *limit,
        };
        if self.news.add(asked, limit) {
            self.wake();
        }
        let reason = Some("the rate is used up for now");
        Refusal { quota: "tokens_per_second", asked, used: limit, limit, top: Vec::new(), reason }
    }

    pub(crate) fn note_cleanup(&self, cleanup: CleanupReport) {
        let mut report = lock(&self.report);
        report.cleanups += 1;
        report.freed += cleanup.freed;
        report.last_cleanup = Some(cleanup);
    }
}
