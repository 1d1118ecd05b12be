//! A limit within limits: what a pool gives counts in each pool above it, and none of them ever
//! gives more than it has. It decides who may take, not who should.

use super::lane::PoolLane;
use super::rate::{RateLimit, RateSlot, Rates};
use super::reservation::Reservation;
use crate::lease::{Lease, LeasePool};
use std::fmt;
use std::sync::Arc;

/// What a pool is told at its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolOptions {
    /// The most units in use, 1 to 2⁵²; `u64::MAX` leaves it to the pool above. For a root
    /// there is none above: it stands for 2⁵² then.
    pub limit: u64,
    /// The most units that a holder takes at a time without asking again, at least 1: a sixteenth of
    /// it at first, and twice as many each time that it has used them up and no one else needed them. A
    /// root's holds for all pools below. Default 1,024; 1 suits things as few as connections.
    pub max_lease: u64,
    /// So many units a second, beside the limit on what is in use. Default none.
    pub rate: Option<RateLimit>,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self { limit: u64::MAX, max_lease: 1_024, rate: None }
    }
}

/// Why a pool was not made or changed. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// A number of zero.
    #[error("{pool}: {option} = 0 lets nothing in: write 1 or more")]
    Zero {
        /// The pool.
        pool: String,
        /// `limit`, `max_lease`, `rate.per_second` or `rate.burst`.
        option: &'static str,
    },
    /// A limit that the pool above would never let it reach.
    #[error(
        "{pool}: limit = {limit} is above that of the pool it is in ({above}): lower it, or write u64::MAX to leave it to that pool"
    )]
    AboveParent {
        /// The pool.
        pool: String,
        /// Its limit.
        limit: u64,
        /// The limit of the pool above.
        above: u64,
    },
    /// A name that could not be told apart in a refusal.
    #[error("{name:?} can't name a pool: write 1 to 100 characters without a slash")]
    BadName {
        /// The name.
        name: String,
    },
    /// A quota of that name exists.
    #[error("the quota {name} exists already: use it, or choose another name")]
    Exists {
        /// The name.
        name: String,
    },
    /// What it is in is not there.
    #[error("{pool} is in \"{parent}\", which there is not: write one of {known}, or leave it out")]
    UnknownParent {
        /// The pool.
        pool: String,
        /// What it is said to be in.
        parent: String,
        /// What there is.
        known: String,
    },
    /// Pools that are in each other.
    #[error("{way} is a circle: one of them must be in tokens, or in none")]
    Circle {
        /// Their names.
        way: String,
    },
    /// A mark that can't be passed, or never be left.
    #[error(
        "{pool}: {mark} = {given} is no mark: write a number above guardian.rearm ({rearm}) and at most 1"
    )]
    BadMark {
        /// The pool.
        pool: String,
        /// `soft_mark` or `cleanup_mark`.
        mark: &'static str,
        /// The mark.
        given: String,
        /// How far use must sink below it.
        rearm: String,
    },
    /// Two marks that contradict each other.
    #[error(
        "{pool}: {lower} = {lower_given} is not below cleanup_mark = {cleanup_mark}: write such as 0.8 and 0.95"
    )]
    MarkOrder {
        /// The pool.
        pool: String,
        /// `soft_mark` or `cleanup_target`.
        lower: &'static str,
        /// Its value.
        lower_given: String,
        /// The mark that should be above it.
        cleanup_mark: String,
    },
    /// A cleanup of a pool in which no domain's tokens count.
    #[error(
        "{pool}: cleanup_mark asks for a cleanup, but it has no domain whose tokens could go: give it or a pool within it a domain, or remove the mark"
    )]
    NothingToClean {
        /// The pool.
        pool: String,
    },
    /// There is none of that name.
    #[error("there is no quota {name}: one that is new needs another start")]
    Unknown {
        /// The name.
        name: String,
    },
    /// An id has no such domain.
    #[error("{pool}: domain = {domain} is none: write a number from 0 to 15")]
    NoDomain {
        /// The pool.
        pool: String,
        /// The domain.
        domain: u8,
    },
    /// A domain of two pools.
    #[error(
        "{pool}: domain {domain} is that of {other} already: a token counts in one pool and those above it"
    )]
    DomainTaken {
        /// The pool.
        pool: String,
        /// The domain.
        domain: u8,
        /// Whose it is.
        other: String,
    },
    /// A domain of a pool that does not count tokens.
    #[error(
        "{pool}: domain = {domain} says whose tokens count there, but it counts something else: write parent = \"tokens\" or remove the domain"
    )]
    DomainElsewhere {
        /// The pool.
        pool: String,
        /// The domain.
        domain: u8,
    },
    /// The pool is of another tree than the one it was brought to.
    #[error("{pool} is no pool of this guardian's tokens: make it with Guardian::tokens().child(…)")]
    Stranger {
        /// The pool.
        pool: String,
    },
}

/// What is in use, and of how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolLevel {
    /// Units in use in the pool and in those below it. Exact while no holder is at work.
    pub used: u64,
    /// The limit.
    pub limit: u64,
    /// Units refused to holders here and below, whichever pool on their way refused them.
    pub refused: u64,
}

/// A pool of a counted resource. Clones are handles to the same pool; a pool lives as long as a
/// handle, a holder or a pool below it does, and what is in use when it ends stays in use in the
/// pool above.
///
/// ```
/// use ng_guardian::{Pool, PoolOptions};
///
/// let connections = Pool::new("connections", PoolOptions { limit: 100, max_lease: 1, rate: None })?;
/// let tenant = connections.child("acme", PoolOptions { limit: 60, ..PoolOptions::default() })?;
/// let mut batch = tenant.reservation("importer");
/// batch.try_grow(60)?;
/// let refusal = batch.try_grow(1).unwrap_err();
/// assert_eq!(
///     refusal.to_string(),
///     "connections/acme quota: 1 more would pass the limit of 60 (in use 60); top holders: importer 60"
/// );
/// drop(batch);
/// assert_eq!(connections.level().used, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Pool {
    inner: Arc<Inner>,
}

struct Inner {
    leases: Arc<LeasePool>,
    /// From the root, with the resource's name first: `connections/tenant`.
    path: String,
    resource: Arc<str>,
    /// Nearest first: its own, and those of the pools above.
    rates: Box<[Arc<RateSlot>]>,
}

impl PoolOptions {
    /// Whether they let anything in.
    pub(crate) fn check(&self, pool: &str) -> Result<(), PoolError> {
        let rate = self.rate.unwrap_or(RateLimit { per_second: 1, burst: 1 });
        let given = [
            ("limit", self.limit),
            ("max_lease", self.max_lease),
            ("rate.per_second", rate.per_second.into()),
            ("rate.burst", rate.burst.into()),
        ];
        match given.into_iter().find(|(_, given)| *given == 0) {
            Some((option, _)) => Err(PoolError::Zero { pool: pool.to_owned(), option }),
            None => Ok(()),
        }
    }
}

fn check_name(name: &str) -> Result<(), PoolError> {
    if name.is_empty() || name.chars().count() > 100 || name.contains('/') {
        return Err(PoolError::BadName { name: name.to_owned() });
    }
    Ok(())
}

impl Pool {
    /// A pool of its own, with nothing above it. `resource` is what its units are called in
    /// refusals: `connections`, `bytes`.
    ///
    /// # Errors
    /// [`PoolError`].
    pub fn new(resource: &str, options: PoolOptions) -> Result<Self, PoolError> {
        check_name(resource)?;
        options.check(resource)?;
        let leases = LeasePool::new(options.limit, options.max_lease);
        Ok(Self::of(leases, resource, options.rate))
    }

    /// The root of leases that exist already, with a rate that lets something through.
    pub(crate) fn of(leases: Arc<LeasePool>, resource: &str, rate: Option<RateLimit>) -> Self {
        let (path, rates) = (resource.to_owned(), Box::new([RateSlot::new(resource)]));
        let pool = Self { inner: Arc::new(Inner { leases, path, resource: resource.into(), rates }) };
        pool.apply_rate(rate);
        pool
    }

    /// A pool within this one: a tenant, a profile, a group of lanes. Limits of siblings may add
    /// up to more than this pool's: whoever comes first is served.
    ///
    /// # Errors
    /// [`PoolError`].
    pub fn child(&self, name: &str, options: PoolOptions) -> Result<Self, PoolError> {
        check_name(name)?;
        let path = format!("{}/{name}", self.inner.path);
        options.check(&path)?;
        self.check_limit(&path, options.limit, self.inner.leases.limit())?;
        let leases = self.inner.leases.child(name, options.limit);
        let rates = std::iter::once(RateSlot::new(&path)).chain(self.inner.rates.iter().cloned()).collect();
        let resource = Arc::clone(&self.inner.resource);
        let pool = Self { inner: Arc::new(Inner { leases, path, resource, rates }) };
        pool.apply_rate(options.rate);
        Ok(pool)
    }

    fn check_limit(&self, path: &str, limit: u64, above: u64) -> Result<(), PoolError> {
        if limit > above && limit != u64::MAX {
            return Err(PoolError::AboveParent { pool: path.to_owned(), limit, above });
        }
        Ok(())
    }

    /// One thread's way to take single units, at about a nanosecond. `holder` is how refusals
    /// call it.
    #[must_use]
    pub fn lane(&self, holder: &str) -> PoolLane {
        PoolLane::new(self, holder)
    }

    /// A variable amount, nothing at first, that gives itself back when it is dropped.
    #[must_use]
    pub fn reservation(&self, holder: &str) -> Reservation {
        Reservation::new(self.clone(), holder)
    }

    /// Changes the limit while holders are at work. Below what is in use, nothing is given until
    /// use has sunk; nothing is taken away. A limit above that of the pool above is allowed here,
    /// since that one may change too.
    ///
    /// # Errors
    /// [`PoolError::Zero`].
    pub fn set_limit(&self, limit: u64) -> Result<(), PoolError> {
        if limit == 0 {
            return Err(PoolError::Zero { pool: self.inner.path.clone(), option: "limit" });
        }
        self.inner.leases.set_limit(limit);
        Ok(())
    }

    /// Changes the rate while holders are at work: from their next request on, lanes that are open
    /// included. Another rate begins as after a pause, with its whole burst; the one in force goes on.
    ///
    /// # Errors
    /// [`PoolError::Zero`].
    pub fn set_rate(&self, rate: Option<RateLimit>) -> Result<(), PoolError> {
        PoolOptions { rate, ..PoolOptions::default() }.check(&self.inner.path)?;
        self.apply_rate(rate);
        Ok(())
    }

    /// Puts a rate in force that lets something through.
    fn apply_rate(&self, rate: Option<RateLimit>) {
        let Some(own) = self.inner.rates.first() else { return };
        own.set(rate, |rated| self.inner.leases.set_rated(rated));
    }

    /// The rate in force, its own and not one of the pools above.
    #[must_use]
    pub fn rate(&self) -> Option<RateLimit> {
        self.inner.rates.first().and_then(|own| own.rate())
    }

    /// What is in use, and of how much.
    #[must_use]
    pub fn level(&self) -> PoolLevel {
        let level = self.inner.leases.level();
        PoolLevel { used: level.used, limit: level.limit, refused: level.refused }
    }

    /// What the units are called.
    #[must_use]
    pub fn resource(&self) -> &str {
        &self.inner.resource
    }

    /// The pool's way from the root, with the resource's name first: `connections/tenant`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.inner.path
    }

    pub(crate) fn leases(&self) -> &Arc<LeasePool> {
        &self.inner.leases
    }

    pub(crate) fn lease(&self, holder: &str) -> Lease {
        self.inner.leases.open(holder)
    }

    /// The rates that each take is asked of besides.
    pub(crate) fn rates(&self) -> Rates {
        Rates::of(&self.inner.rates)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("path", &self.inner.path).field("level", &self.level()).finish()
    }
}
