//! A limit within limits: what a pool gives counts in each pool above it, and none of them ever
//! gives more than it has. It decides who may take, not who should.

use super::lane::PoolLane;
use super::rate::{Limiter, RateLimit};
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
    /// The most units that a holder takes at a time without asking again, at least 1. A root's
    /// holds for all pools below. Default 1,024; 1 suits things as few as connections.
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
        "{pool}: soft_mark = {given} is no mark: write a number above guardian.rearm ({rearm}) and at most 1"
    )]
    BadMark {
        /// The pool.
        pool: String,
        /// The mark.
        given: String,
        /// How far use must sink below it.
        rearm: String,
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
    /// Nearest first.
    limiters: Box<[Arc<Limiter>]>,
}

fn check(pool: &str, options: &PoolOptions) -> Result<Option<Arc<Limiter>>, PoolError> {
    let zero = |option| PoolError::Zero { pool: pool.to_owned(), option };
    if options.limit == 0 {
        return Err(zero("limit"));
    }
    if options.max_lease == 0 {
        return Err(zero("max_lease"));
    }
    let Some(rate) = options.rate else { return Ok(None) };
    let option = if rate.per_second == 0 { "rate.per_second" } else { "rate.burst" };
    Limiter::new(pool, rate).map(|limiter| Some(Arc::new(limiter))).ok_or_else(|| zero(option))
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
        let limiter = check(resource, &options)?;
        let leases = LeasePool::new(options.limit, options.max_lease);
        Ok(Self::of(leases, resource, limiter))
    }

    /// The root of leases that exist already.
    pub(crate) fn of(leases: Arc<LeasePool>, resource: &str, limiter: Option<Arc<Limiter>>) -> Self {
        let limiters = limiter.into_iter().collect();
        let (path, resource) = (resource.to_owned(), resource.into());
        Self { inner: Arc::new(Inner { leases, path, resource, limiters }) }
    }

    /// A pool within this one: a tenant, a profile, a group of lanes. Limits of siblings may add
    /// up to more than this pool's: whoever comes first is served.
    ///
    /// # Errors
    /// [`PoolError`].
    pub fn child(&self, name: &str, options: PoolOptions) -> Result<Self, PoolError> {
        check_name(name)?;
        let path = format!("{}/{name}", self.inner.path);
        let limiter = check(&path, &options)?;
        self.check_limit(&path, options.limit, self.inner.leases.limit())?;
        let leases = self.inner.leases.child(name, options.limit);
        let limiters = limiter.into_iter().chain(self.inner.limiters.iter().cloned()).collect();
        let resource = Arc::clone(&self.inner.resource);
        Ok(Self { inner: Arc::new(Inner { leases, path, resource, limiters }) })
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

    /// A lease that asks the rates too, if there are any.
    pub(crate) fn lease(&self, holder: &str) -> Lease {
        let leases = &self.inner.leases;
        if self.inner.limiters.is_empty() { leases.open(holder) } else { leases.open_careful(holder) }
    }

    pub(crate) fn limiters(&self) -> &[Arc<Limiter>] {
        &self.inner.limiters
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("path", &self.inner.path).field("level", &self.level()).finish()
    }
}
