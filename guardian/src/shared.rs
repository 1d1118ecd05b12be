//! What lanes, the guardian and its thread share. It decides nothing on its own.

use crate::constitution::{Bounds, Constitution, ConstitutionError};
use crate::error::GuardianError;
use crate::lease::{LeasePool, Shortfall};
use crate::memory::Readings;
use crate::news::News;
use crate::notices::{Notice, Subscribers};
use crate::options::{ConstitutionHook, GuardianOptions, MarkHook};
use crate::pools::{DOMAINS, Limiter, Planned, Pool, PoolRefusal};
use crate::quota::{Limits, bytes_of, pool_refusal};
use crate::report::{CleanupReport, GuardianReport};
use crate::tally::Tally;
use ng_core::admission::{Reclaim, Refusal};
use ng_core::events::{Event, EventKind, EventRecorder};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::Thread;

/// What the guardian's own quota counts.
const TOKENS: &str = "tokens";

/// Why no cleanup helps just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Obstacle {
    None,
    Running,
    NothingSet,
    TooLittle,
    Panicked,
}

impl Obstacle {
    const REASONS: [Option<&'static str>; 5] = [
        None,
        Some("a cleanup is running"),
        Some("nothing is set that could free tokens"),
        Some("the last cleanup could not free enough"),
        Some("the last cleanup panicked"),
    ];
}

pub(crate) struct Shared {
    pub(crate) pool: Arc<LeasePool>,
    /// The same pool, for pools within it.
    pub(crate) tokens: Pool,
    /// Quotas on other things, and pools that were planned at the start, by name.
    pub(crate) quotas: Mutex<BTreeMap<String, Pool>>,
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
    /// And the pools that have marks of their own.
    pub(crate) fn new(options: &GuardianOptions) -> Result<(Self, Vec<(Pool, f64)>), GuardianError> {
        let bounds = Bounds::new(&options.constitution)?;
        let pool = LeasePool::new(options.limits.tokens(), options.max_lease);
        let limiter = options.rate.and_then(|rate| Limiter::new(TOKENS, rate)).map(Arc::new);
        let tokens = Pool::of(Arc::clone(&pool), TOKENS, limiter);
        let Planned { pools, marked, domains } = Planned::new(&tokens, options.rearm, &options.pools)?;
        let shared = Self {
            tokens,
            pool,
            quotas: Mutex::new(pools),
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
        };
        Ok((shared, marked))
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

    pub(crate) fn set_reclaim(&self, reclaim: Weak<dyn Reclaim>) {
        *lock(&self.reclaim) = Some(reclaim);
        self.cleanup_changed.store(true, Ordering::Release);
        self.wake();
    }

    pub(crate) fn reclaim(&self) -> Option<Arc<dyn Reclaim>> {
        lock(&self.reclaim).as_ref().and_then(Weak::upgrade)
    }

    pub(crate) fn set_obstacle(&self, obstacle: Obstacle) {
        self.obstacle.store(obstacle as u8, Ordering::Relaxed);
    }

    /// Counts a refusal, and makes what the caller is told.
    pub(crate) fn refuse(&self, asked: u64, shortfall: &Shortfall) -> Refusal {
        let first = self.news.add(asked, shortfall.level.limit);
        if first || shortfall.alarm {
            self.wake();
        }
        if !shortfall.at_root {
            return pool_refusal(asked, shortfall);
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
        let reason = Obstacle::REASONS.get(obstacle).copied().flatten();
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
