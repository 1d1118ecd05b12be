//! One thread's side: admits and checks in a few plain instructions. It never reads a clock or
//! the process's memory, and takes a lock only when its lease is used up or the constitution has
//! changed.

use crate::constitution::Bounds;
use crate::lease::Lease;
use crate::shared::Shared;
use crate::tally::TallyPart;
use ng_core::admission::{AdmissionLane, Refusal, Violation};
use ng_core::token::Token;
use std::fmt;
use std::sync::Arc;

/// A lane of a [`Guardian`](crate::Guardian). Dropping it gives back the unused part of its
/// lease; the tokens that it admitted stay in use.
pub struct GuardianLane {
    lease: Lease,
    bounds: Bounds,
    generation: u64,
    violations: TallyPart,
    shared: Arc<Shared>,
}

impl GuardianLane {
    pub(crate) fn new(shared: Arc<Shared>, name: &str) -> Self {
        let (bounds, generation) = shared.bounds();
        let lease = shared.pool.open(name);
        Self { lease, bounds, generation, violations: shared.violations.part(), shared }
    }

    #[cold]
    #[inline(never)]
    fn admit_from_pool(&mut self, n: u64) -> Result<(), Refusal> {
        match self.lease.take_from_pool(n) {
            Ok(alarm) => {
                if alarm {
                    self.shared.wake();
                }
                Ok(())
            }
            Err(shortfall) => Err(self.shared.refuse(n, &shortfall)),
        }
    }

    #[cold]
    #[inline(never)]
    fn read_bounds(&mut self) {
        (self.bounds, self.generation) = self.shared.bounds();
    }

    #[cold]
    #[inline(never)]
    fn violated(&mut self, token: &Token) -> Result<(), Violation> {
        self.violations.add_one();
        if self.bounds.strict() { Err(self.bounds.violation(token)) } else { Ok(()) }
    }
}

impl AdmissionLane for GuardianLane {
    #[inline(always)]
    fn admit(&mut self, n: u64) -> Result<(), Refusal> {
        if self.lease.try_take(n) {
            return Ok(());
        }
        self.admit_from_pool(n)
    }

    #[inline(always)]
    fn release(&mut self, n: u64) {
        self.lease.release(n);
    }

    #[inline(always)]
    fn refresh(&mut self) {
        if self.shared.generation() != self.generation {
            self.read_bounds();
        }
    }

    #[inline(always)]
    fn check(&mut self, token: &Token) -> Result<(), Violation> {
        if self.bounds.allows(token) {
            return Ok(());
        }
        self.violated(token)
    }
}

impl fmt::Debug for GuardianLane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardianLane").field("lease", &self.lease).field("bounds", &self.bounds).finish()
    }
}
