//! One thread's side: admits and checks in a few plain instructions. It never reads a clock or
//! the process's memory, and takes a lock only when its lease is used up or the constitution has
//! changed.

use crate::constitution::Bounds;
use crate::lease::Lease;
use crate::pools::{Limiter, Pool};
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
    limiters: Box<[Arc<Limiter>]>,
    bounds: Bounds,
    generation: u64,
    violations: TallyPart,
    shared: Arc<Shared>,
}

impl GuardianLane {
    pub(crate) fn new(shared: Arc<Shared>, pool: &Pool, name: &str) -> Self {
        let (bounds, generation) = shared.bounds();
        let (lease, limiters) = (pool.lease(name), pool.limiters().into());
        Self { lease, limiters, bounds, generation, violations: shared.violations.part(), shared }
    }

    #[cold]
    #[inline(never)]
    fn admit_slowly(&mut self, n: u64) -> Result<(), Refusal> {
        match self.lease.take_from_pool(n) {
            Ok(true) => self.shared.wake(),
            Ok(false) => {}
            Err(shortfall) => return Err(self.shared.refuse(n, &shortfall)),
        }
        for limiter in &self.limiters {
            if let Err(refusal) = limiter.check(n) {
                self.lease.release(n);
                return Err(self.shared.refuse_rate(n, &refusal));
            }
        }
        Ok(())
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
        // With a rate the lease is careful, and always says no here.
        if self.lease.try_take(n) {
            return Ok(());
        }
        self.admit_slowly(n)
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

    fn may_delete(&mut self) -> Result<(), Violation> {
        self.bounds.may_delete()
    }
}

impl fmt::Debug for GuardianLane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardianLane").field("lease", &self.lease).field("bounds", &self.bounds).finish()
    }
}
