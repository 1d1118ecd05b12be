//! A planned pool as the guardian's thread watches it: its marks, the domains whose tokens a cleanup of it
//! may free, and what came of those. It looks at nothing by itself.

use crate::marks::MarkFractions;
use crate::obstacle::Obstacle;
use crate::pools::{PlannedPool, Pool};
use crate::report::{CleanupReport, PoolReport};
use crate::shared::lock;
use ng_core::store::DomainSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct PoolWatch {
    pub(crate) pool: Pool,
    pub(crate) name: String,
    /// Those of the pools below it too.
    pub(crate) domains: DomainSet,
    /// Whether it is within the guardian's own quota.
    pub(crate) in_tokens: bool,
    /// Marks, limit, or what frees, since the thread last looked.
    changed: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    marks: MarkFractions,
    obstacle: Obstacle,
    report: PoolReport,
}

impl PoolWatch {
    pub(crate) fn new(planned: PlannedPool) -> Self {
        let PlannedPool { name, pool, domains, in_tokens, marks } = planned;
        let state = State { marks, obstacle: Obstacle::None, report: PoolReport::default() };
        let changed = AtomicBool::new(false);
        Self { pool, name, domains, in_tokens, changed, state: Mutex::new(state) }
    }

    /// The marks in force.
    pub(crate) fn marks(&self) -> MarkFractions {
        lock(&self.state).marks
    }

    pub(crate) fn set_marks(&self, marks: MarkFractions) {
        lock(&self.state).marks = marks;
        self.set_changed();
    }

    /// The thread shall look anew.
    pub(crate) fn set_changed(&self) {
        self.changed.store(true, Ordering::Release);
    }

    /// Whether it shall; told once.
    pub(crate) fn take_changed(&self) -> bool {
        self.changed.swap(false, Ordering::AcqRel)
    }

    /// Why no cleanup helps just now.
    pub(crate) fn obstacle(&self) -> Obstacle {
        lock(&self.state).obstacle
    }

    pub(crate) fn set_obstacle(&self, obstacle: Obstacle) {
        lock(&self.state).obstacle = obstacle;
    }

    pub(crate) fn note_soft(&self) {
        lock(&self.state).report.soft_crossings += 1;
    }

    pub(crate) fn note_due(&self) {
        lock(&self.state).report.cleanups_due += 1;
    }

    pub(crate) fn note_cleanup(&self, cleanup: CleanupReport) {
        let report = &mut lock(&self.state).report;
        report.cleanups += 1;
        report.freed += cleanup.freed;
        report.last_cleanup = Some(cleanup);
    }

    pub(crate) fn report(&self) -> PoolReport {
        lock(&self.state).report
    }
}
