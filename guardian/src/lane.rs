//! One thread's side: admits and checks in a few plain instructions. It never reads a clock or
//! the process's memory, and takes a lock only when its lease is used up or the constitution has
//! changed.

use crate::constitution::Bounds;
use crate::lease::Lease;
use crate::pools::{DOMAINS, Pool, Rates};
use crate::shared::Shared;
use crate::tally::TallyPart;
use ng_core::admission::{AdmissionLane, Refusal, Violation};
use ng_core::token::Token;
use std::fmt;
use std::sync::Arc;

/// A lane of a [`Guardian`](crate::Guardian). Dropping it gives back the unused part of its
/// lease; the tokens that it admitted stay in use.
pub struct GuardianLane {
    place: Place,
    bounds: Bounds,
    generation: u64,
    violations: TallyPart,
    /// The domain whose tokens `place` counts; [`NOWHERE`] if it is no one domain's.
    home: u8,
    /// What it takes from and gives back to for tokens of other domains; by domain.
    abroad: [Option<Box<Place>>; DOMAINS],
    name: Box<str>,
    shared: Arc<Shared>,
}

/// No domain.
const NOWHERE: u8 = u8::MAX;

/// Where a lane takes from.
#[derive(Debug)]
struct Place {
    lease: Lease,
    rates: Rates,
}

impl Place {
    fn new(pool: &Pool, name: &str) -> Self {
        Self { lease: pool.lease(name), rates: pool.rates() }
    }

    #[cold]
    #[inline(never)]
    fn admit_slowly(&mut self, shared: &Shared, n: u64) -> Result<(), Refusal> {
        match self.lease.take_from_pool(n) {
            Ok(true) => shared.wake(),
            Ok(false) => {}
            Err(shortfall) => return Err(shared.refuse(n, &shortfall)),
        }
        self.rates.check(n).map_err(|refusal| {
            self.lease.release(n);
            shared.refuse_rate(n, &refusal)
        })
    }
}

impl GuardianLane {
    /// A lane that counts in `pool`, whatever the domain.
    pub(crate) fn new(shared: Arc<Shared>, pool: &Pool, name: &str) -> Self {
        Self::at(shared, Place::new(pool, name), NOWHERE, name)
    }

    /// A lane that makes tokens of a domain.
    pub(crate) fn of_domain(shared: Arc<Shared>, domain: u8, name: &str) -> Self {
        let place = Place::new(shared.pool_of(domain), name);
        Self::at(shared, place, domain, name)
    }

    fn at(shared: Arc<Shared>, place: Place, home: u8, name: &str) -> Self {
        let (bounds, generation) = shared.bounds();
        let (violations, abroad) = (shared.violations.part(), Default::default());
        Self { place, bounds, generation, violations, home, abroad, name: name.into(), shared }
    }

    /// Where tokens of a domain count: at home unless this domain, or the home's, has a pool.
    fn place_of(&mut self, domain: u8) -> &mut Place {
        if domain == self.home || !self.shared.has_domains() {
            return &mut self.place;
        }
        self.place_abroad(domain)
    }

    #[cold]
    #[inline(never)]
    fn place_abroad(&mut self, domain: u8) -> &mut Place {
        let Self { place, abroad, name, shared, .. } = self;
        match abroad.get_mut(usize::from(domain)) {
            None => place,
            Some(cell) => cell.get_or_insert_with(|| Box::new(Place::new(shared.pool_of(domain), name))),
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
        // With a rate the lease is careful, and always says no here.
        if self.place.lease.try_take(n) {
            return Ok(());
        }
        self.place.admit_slowly(&self.shared, n)
    }

    #[inline(always)]
    fn release(&mut self, n: u64) {
        self.place.lease.release(n);
    }

    fn admit_in(&mut self, domain: u8, n: u64) -> Result<(), Refusal> {
        let shared = Arc::clone(&self.shared);
        let place = self.place_of(domain);
        if place.lease.try_take(n) {
            return Ok(());
        }
        place.admit_slowly(&shared, n)
    }

    #[inline]
    fn release_in(&mut self, domain: u8, n: u64) {
        self.place_of(domain).lease.release(n);
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
        f.debug_struct("GuardianLane").field("place", &self.place).field("bounds", &self.bounds).finish()
    }
}
