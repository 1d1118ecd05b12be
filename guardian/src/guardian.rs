//! The shared side: starts the guardian, opens lanes, changes limits and constitution while
//! lanes run, and reports. Nothing here is on the hot path.

use crate::cdna::Court;
use crate::constitution::{Constitution, ConstitutionError};
use crate::error::GuardianError;
use crate::lane::GuardianLane;
use crate::memory::MemoryReport;
use crate::notices::Subscription;
use crate::options::{GuardianOptions, MarkLevels};
use crate::pools::{Pool, PoolError, PoolOptions, PoolSpec};
use crate::quota::{Limits, bytes_of};
use crate::report::{GuardianReport, PoolReport};
use crate::shared::{Shared, lock};
use crate::watcher;
use ng_core::admission::{Admission, AdmissionLane, AdmissionStats, Reclaim};
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

/// An exact admission with its own thread. Dropping it ends the thread; lanes that are still
/// open go on being exact, but nothing cleans up or watches the memory any more.
///
/// ```
/// use ng_core::admission::{Admission, AdmissionLane};
/// use ng_guardian::{Guardian, GuardianOptions, Limits};
///
/// let limits = Limits { max_tokens: 100, ..Limits::default() };
/// let guardian = Guardian::start(GuardianOptions { limits, ..GuardianOptions::default() })?;
/// let mut lane = guardian.open_lane("importer");
/// assert!(lane.admit(100).is_ok());
/// let refusal = lane.admit(1).unwrap_err();
/// assert_eq!((refusal.quota, refusal.used, refusal.limit), ("tokens", 100, 100));
/// assert_eq!(refusal.top, [("importer".to_owned(), 100)]);
/// lane.release(1);
/// assert!(lane.admit(1).is_ok());
/// assert_eq!(guardian.stats().used, 100);
/// # Ok::<(), ng_guardian::GuardianError>(())
/// ```
pub struct Guardian {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Guardian {
    /// Checks the options, and starts the thread.
    ///
    /// # Errors
    /// [`GuardianError`]; nothing was started then.
    pub fn start(mut options: GuardianOptions) -> Result<Self, GuardianError> {
        options.validate()?;
        let court = match &options.cdna {
            None => None,
            Some(dir) => Some(Court::open(dir, &options.constitution)?),
        };
        if let Some(court) = &court {
            options.constitution = court.in_force().clone();
        }
        let shared = Arc::new(Shared::new(&options)?);
        for &(domain, n) in options.present.iter().filter(|(_, n)| *n > 0) {
            shared.pool_of(domain).lease("recovery").adopt(n);
        }
        if let Some(hook) = &options.on_constitution {
            hook(&options.constitution);
        }
        let thread = watcher::start(&shared, &options, court).map_err(GuardianError::NoThread)?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// A new lane, for one thread. `name` is how refusals call this holder. It takes nothing
    /// until its first use.
    #[must_use]
    pub fn open_lane(&self, name: &str) -> GuardianLane {
        GuardianLane::new(Arc::clone(&self.shared), &self.shared.tokens, name)
    }

    /// A new lane for one thread that makes tokens of a domain, which count in the pool of that
    /// domain if there is one ([`PoolSpec::domain`](crate::PoolSpec::domain)). A token that it deletes
    /// is given back by the token's own domain ([`AdmissionLane::release_in`]).
    #[must_use]
    pub fn open_lane_of(&self, domain: u8, name: &str) -> GuardianLane {
        GuardianLane::of_domain(Arc::clone(&self.shared), domain, name)
    }

    /// A lane whose tokens count in `pool` too: a tenant's, or a group's. Whoever releases them
    /// must be in the same pool; where tokens of one pool are deleted in lanes of another, give the
    /// pool a domain instead.
    ///
    /// # Errors
    /// [`PoolError::Stranger`] if the pool is not one of [`Guardian::tokens`].
    pub fn open_lane_in(&self, pool: &Pool, name: &str) -> Result<GuardianLane, PoolError> {
        if !pool.leases().is_kin(&self.shared.pool) {
            return Err(PoolError::Stranger { pool: pool.path().to_owned() });
        }
        Ok(GuardianLane::new(Arc::clone(&self.shared), pool, name))
    }

    /// Counts `n` tokens of a domain that came to exist otherwise than by admission, even where they are
    /// more than a limit allows: nothing is admitted there then until use has sunk. Those that are there
    /// from the start belong into [`GuardianOptions::present`].
    pub fn adopt(&self, domain: u8, n: u64) {
        self.shared.pool_of(domain).lease("recovery").adopt(n);
        // No request passed the marks, so nobody else tells.
        self.shared.wake();
    }

    /// The quota on tokens as a pool, to make pools within it. Its limit is for
    /// [`Guardian::set_limits`] to change.
    #[must_use]
    pub fn tokens(&self) -> Pool {
        self.shared.tokens.clone()
    }

    /// A quota on something else that can be counted, such as `connections`, found by its name
    /// from now on.
    ///
    /// # Errors
    /// [`PoolError`]; an existing quota of that name stays as it is.
    pub fn define_quota(&self, name: &str, options: PoolOptions) -> Result<Pool, PoolError> {
        let pool = Pool::new(name, options)?;
        let mut quotas = lock(&self.shared.quotas);
        if quotas.contains_key(name) || name == self.shared.tokens.resource() {
            return Err(PoolError::Exists { name: name.to_owned() });
        }
        quotas.insert(name.to_owned(), pool.clone());
        Ok(pool)
    }

    /// The quota or planned pool of that name; `tokens` is the guardian's own.
    #[must_use]
    pub fn quota(&self, name: &str) -> Option<Pool> {
        if name == self.shared.tokens.resource() {
            return Some(self.tokens());
        }
        lock(&self.shared.quotas).get(name).cloned()
    }

    /// All quotas and planned pools, the quota on tokens first, then by name.
    #[must_use]
    pub fn quotas(&self) -> Vec<Pool> {
        std::iter::once(self.tokens()).chain(lock(&self.shared.quotas).values().cloned()).collect()
    }

    /// The quotas in force.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.shared.limits()
    }

    /// Changes the quotas while lanes run. Below what is in use, nothing is admitted until use
    /// has sunk; nothing is taken away.
    ///
    /// # Errors
    /// [`GuardianError::TooSmall`]; the quotas stay as they were then.
    pub fn set_limits(&self, limits: Limits) -> Result<(), GuardianError> {
        limits.validate()?;
        self.shared.set_limits(limits);
        Ok(())
    }

    /// The marks in force.
    #[must_use]
    pub fn marks(&self) -> MarkLevels {
        *lock(&self.shared.levels)
    }

    /// Changes the marks while lanes run; one that differs counts as never crossed, so a level above it
    /// is told, or cleaned up, at once.
    ///
    /// # Errors
    /// [`GuardianError`]; the marks stay as they were then.
    pub fn set_marks(&self, marks: MarkLevels) -> Result<(), GuardianError> {
        self.shared.set_marks(marks)
    }

    /// Puts limits, rates and marks of planned pools ([`GuardianOptions::pools`]) in force while lanes
    /// run, all of them or none; where they are in trees, domains and leases stay as they are. Below what
    /// is in use, nothing is admitted there until use has sunk; nothing is taken away but by a cleanup of
    /// the pool whose mark is passed then.
    ///
    /// # Errors
    /// [`PoolError`]; nothing has changed then.
    pub fn change_pools(&self, specs: &[PoolSpec]) -> Result<(), PoolError> {
        self.shared.change_pools(specs)
    }

    /// The planned pools that a cleanup of their own can free tokens of, by name.
    #[must_use]
    pub fn cleanable(&self) -> Vec<(String, Pool)> {
        let watched = self.shared.watched.iter().filter(|watched| !watched.domains.is_empty());
        watched.map(|watched| (watched.name.clone(), watched.pool.clone())).collect()
    }

    /// What became of a planned pool's own marks and cleanups; `None` if there is none of that name.
    #[must_use]
    pub fn pool_report(&self, name: &str) -> Option<PoolReport> {
        self.shared.watched.iter().find(|watched| watched.name == name).map(|watched| watched.report())
    }

    /// The constitution in force.
    #[must_use]
    pub fn constitution(&self) -> Constitution {
        self.shared.constitution()
    }

    /// Puts a constitution of a higher version in force. Lanes see it at their next
    /// [`AdmissionLane::refresh`], which they call once per batch.
    ///
    /// # Errors
    /// [`ConstitutionError`]; the one before stays in force then.
    pub fn set_constitution(&self, constitution: Constitution) -> Result<(), ConstitutionError> {
        self.shared.set_constitution(constitution)
    }

    /// Counted memory beside the process's real memory as last read; `None` where the operating
    /// system does not tell (anything but Linux with `/proc`).
    #[must_use]
    pub fn memory(&self) -> Option<MemoryReport> {
        self.shared.readings.report(bytes_of(self.shared.pool.level().used))
    }

    /// Marks crossed, cleanups, refusals told.
    #[must_use]
    pub fn report(&self) -> GuardianReport {
        let missed_notices = self.shared.subscribers.missed();
        GuardianReport { missed_notices, ..*lock(&self.shared.report) }
    }

    /// Hears of everything that the guardian's thread does, from now on. `capacity` notices wait
    /// for whoever does not listen; further ones are dropped and counted.
    #[must_use]
    pub fn subscribe(&self, capacity: usize) -> Subscription {
        self.shared.subscribers.add(capacity)
    }
}

impl Admission for Guardian {
    fn lane(&self, name: &str) -> Box<dyn AdmissionLane> {
        Box::new(self.open_lane(name))
    }

    fn lane_in(&self, domain: u8, name: &str) -> Box<dyn AdmissionLane> {
        Box::new(self.open_lane_of(domain, name))
    }

    fn set_reclaim(&self, reclaim: Weak<dyn Reclaim>) {
        self.shared.set_reclaim(reclaim);
    }

    fn stats(&self) -> AdmissionStats {
        let level = self.shared.pool.level();
        let report = self.report();
        AdmissionStats {
            used: level.used,
            limit: level.limit,
            refused: level.refused + self.shared.rate_refused.load(Ordering::Relaxed),
            violations: self.shared.violations.sum(),
            cleanups: report.cleanups,
            freed: report.freed,
            resident_bytes: self.shared.readings.resident(),
        }
    }
}

impl fmt::Debug for Guardian {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guardian").field("limits", &self.limits()).field("stats", &self.stats()).finish()
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.wake();
        let Some(thread) = self.thread.take() else { return };
        // A reclaim may have owned this guardian, and end on the guardian's own thread.
        if thread.thread().id() != std::thread::current().id() {
            // The thread catches what others' code throws; if it panicked all the same, the
            // panic hook has told, and there is nothing left to stop.
            let _ = thread.join();
        }
    }
}
