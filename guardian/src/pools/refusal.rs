//! What a refused caller is told: the limit, what is in use, what was asked, and who holds most.

use crate::lease::Shortfall;
use std::time::Duration;

/// Why units were not given. Nothing has happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PoolRefusal {
    /// The quota of a pool has too little room.
    #[error("{pool} quota: {asked} more would pass the limit of {limit} (in use {used}){}", holders(.top))]
    Quota {
        /// The pool that has too little, which may be one above the pool that was asked:
        /// `connections`, or `connections/tenant/group`.
        pool: String,
        /// Units asked for.
        asked: u64,
        /// Units in use in that pool.
        used: u64,
        /// That pool's limit, in units.
        limit: u64,
        /// The largest holders in that pool by their way from it, and what each uses, largest
        /// first.
        top: Vec<(String, u64)>,
    },
    /// A rate limit is used up.
    #[error("{pool} rate: {asked} more would pass {per_second} a second (bursts of {burst}); {}", again(*.retry_after))]
    Rate {
        /// The pool whose rate it is.
        pool: String,
        /// Units asked for.
        asked: u64,
        /// Units a second.
        per_second: u32,
        /// The most units at once.
        burst: u32,
        /// When the same request could pass at the soonest; `None` if never, because it asks for
        /// more than a burst.
        retry_after: Option<Duration>,
    },
}

impl PoolRefusal {
    pub(super) fn quota(resource: &str, asked: u64, shortfall: Shortfall) -> Self {
        let Shortfall { level, path, top, .. } = shortfall;
        let pool = if path.is_empty() { resource.to_owned() } else { format!("{resource}/{path}") };
        Self::Quota { pool, asked, used: level.used, limit: level.limit, top }
    }
}

fn holders(top: &[(String, u64)]) -> String {
    if top.is_empty() {
        return String::new();
    }
    let named: Vec<_> = top.iter().map(|(name, used)| format!("{name} {used}")).collect();
    format!("; top holders: {}", named.join(", "))
}

fn again(retry_after: Option<Duration>) -> String {
    match retry_after {
        Some(wait) => format!("try again in {wait:?}"),
        None => "ask for less at once".to_owned(),
    }
}
