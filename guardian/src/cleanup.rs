//! One cleanup, of the whole or of a pool: calls what frees, measures it, and tells of it. When one is
//! due is the marks' business.

use crate::marks::MarkFractions;
use crate::notices::Notice;
use crate::obstacle::Obstacle;
use crate::pool_watch::PoolWatch;
use crate::report::CleanupReport;
use crate::shared::Shared;
use ng_core::admission::{PoolReclaim, Reclaim};
use ng_core::events::{Event, EventKind};
use std::sync::atomic::Ordering;
use std::time::Instant;

/// What is cleaned up.
#[derive(Clone, Copy)]
pub(crate) enum Scope<'a> {
    Whole,
    Pool(&'a PoolWatch),
}

impl Scope<'_> {
    pub(crate) fn set_obstacle(self, shared: &Shared, obstacle: Obstacle) {
        match self {
            Scope::Whole => shared.set_obstacle(obstacle),
            Scope::Pool(watch) => watch.set_obstacle(obstacle),
        }
    }

    /// Whether what frees, or what it frees for, has changed since the last look; told once.
    pub(crate) fn take_changed(self, shared: &Shared) -> bool {
        match self {
            Scope::Whole => shared.cleanup_changed.swap(false, Ordering::AcqRel),
            Scope::Pool(watch) => watch.take_changed(),
        }
    }

    /// The marks in force.
    pub(crate) fn marks(self, shared: &Shared) -> MarkFractions {
        match self {
            Scope::Whole => shared.marks(),
            Scope::Pool(watch) => watch.marks(),
        }
    }

    /// Tokens in use, and the limit. Of the quota's own limit, even while short memory holds use below it.
    pub(crate) fn level(self, shared: &Shared) -> (u64, u64) {
        match self {
            Scope::Whole => (shared.pool.level().used, shared.limits().tokens()),
            Scope::Pool(watch) => {
                let level = watch.pool.level();
                (level.used, level.limit)
            }
        }
    }

    /// As events have it, behind what happened.
    pub(crate) fn note(self, what: &str) -> String {
        match self {
            Scope::Whole => what.to_owned(),
            Scope::Pool(watch) => format!("{what} of {}", watch.pool.path()).trim_start().to_owned(),
        }
    }

    fn call(self, reclaim: &dyn Reclaim, tokens: u64) -> u64 {
        match self {
            Scope::Whole => reclaim.reclaim(tokens),
            Scope::Pool(watch) => {
                let (pool, domains) = (watch.pool.path(), watch.domains);
                let level = || {
                    let level = watch.pool.level();
                    (level.used, level.limit)
                };
                reclaim.reclaim_in(&PoolReclaim { pool, domains, tokens, level: &level })
            }
        }
    }

    fn tell_begun(self, shared: &Shared, used: u64, target: u64) {
        shared.record(Event::rare(EventKind::CLEANUP_BEGUN, used, target), &self.note(""));
        shared.subscribers.tell(&match self {
            Scope::Whole => Notice::CleanupBegun { used, target },
            Scope::Pool(watch) => {
                Notice::PoolCleanupBegun { pool: watch.pool.path().to_owned(), used, target }
            }
        });
    }

    fn tell_ended(self, shared: &Shared, cleanup: CleanupReport) {
        shared.note_cleanup(cleanup);
        let micros = u64::try_from(cleanup.took.as_micros()).unwrap_or(u64::MAX);
        shared.record(Event::rare(EventKind::CLEANUP_ENDED, cleanup.freed, micros), &self.note(""));
        shared.subscribers.tell(&match self {
            Scope::Whole => Notice::CleanupEnded(cleanup),
            Scope::Pool(watch) => {
                watch.note_cleanup(cleanup);
                Notice::PoolCleanupEnded { pool: watch.pool.path().to_owned(), cleanup }
            }
        });
    }
}

/// Frees `asked` tokens if it can: how many it did, and what stands in the way if they are too few.
pub(crate) fn run(shared: &Shared, scope: Scope<'_>, asked: u64, used_before: u64) -> (u64, Obstacle) {
    let Some(reclaim) = shared.reclaim() else { return (0, Obstacle::NothingSet) };
    scope.set_obstacle(shared, Obstacle::Running);
    scope.tell_begun(shared, used_before, used_before - asked.min(used_before));
    let begun = Instant::now();
    let answer = shared.guarded(|| scope.call(&*reclaim, asked));
    let obstacle = if answer.is_some() { Obstacle::TooLittle } else { Obstacle::Panicked };
    let freed = answer.unwrap_or(0);
    let took = begun.elapsed();
    // If this was the last owner, what it owns ends here, perhaps the guardian itself.
    shared.guarded(|| drop(reclaim));
    let (used_after, _) = scope.level(shared);
    scope.tell_ended(shared, CleanupReport { asked, freed, used_before, used_after, took });
    (freed, obstacle)
}
