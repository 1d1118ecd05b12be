//! What a guardian tells of its marks and cleanups.

use std::time::Duration;

/// How one cleanup went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanupReport {
    /// Tokens that it was asked to free.
    pub asked: u64,
    /// Tokens that the [`Reclaim`](ng_core::admission::Reclaim) says it freed.
    pub freed: u64,
    /// Tokens in use before.
    pub used_before: u64,
    /// Tokens in use after; those that lanes admitted meanwhile count. Whether the cleanup was
    /// enough is judged by this, not by what it says of itself.
    pub used_after: u64,
    /// How long it took.
    pub took: Duration,
}

/// Counts of the guardian's thread since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GuardianReport {
    /// How often the soft mark was crossed.
    pub soft_crossings: u64,
    /// How often a cleanup was due, of the whole or of a pool, whether or not there was something to
    /// call.
    pub cleanups_due: u64,
    /// Cleanups that were called, of the whole or of a pool.
    pub cleanups: u64,
    /// Tokens that cleanups freed.
    pub freed: u64,
    /// Requests refused. (The stats count the tokens that these asked for.)
    pub refusals: u64,
    /// Panics of a reclaim, a mark hook or an event recorder that were caught.
    pub panics: u64,
    /// How often the real memory became short.
    pub shortages: u64,
    /// How often the drift of the real memory passed its bound.
    pub drifts: u64,
    /// How often the constitution's history changed into one that could not be put in force.
    pub constitution_problems: u64,
    /// Notices that found a subscriber's channel full.
    pub missed_notices: u64,
    /// The last cleanup.
    pub last_cleanup: Option<CleanupReport>,
}

/// Counts of a planned pool's own marks and cleanups since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PoolReport {
    /// How often its soft mark was crossed.
    pub soft_crossings: u64,
    /// How often a cleanup of it was due, whether or not there was something to call.
    pub cleanups_due: u64,
    /// Cleanups of it that were called.
    pub cleanups: u64,
    /// Tokens that these freed.
    pub freed: u64,
    /// The last of them: use is the pool's.
    pub last_cleanup: Option<CleanupReport>,
}
