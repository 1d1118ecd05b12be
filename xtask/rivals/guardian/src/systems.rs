//! Each system: how a quota of so many units is made, and how a thread takes from it and gives back.
//! It measures nothing.

use std::cell::Cell;
use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex, PoisonError};
use std::time::{Duration, Instant};

use datafusion_execution::memory_pool::{GreedyMemoryPool, MemoryConsumer, MemoryPool, MemoryReservation};
use governor::{DefaultDirectRateLimiter, RateLimiter};
use ng_core::admission::AdmissionLane;
use ng_guardian::{Guardian, GuardianLane, GuardianOptions, Limits};

/// Tokens that a call of the case `admit_batch` asks for: a lane's group.
pub(crate) const BATCH: u64 = 64;

/// What is done over and over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    Admit,
    AdmitRelease,
    AdmitBatch,
}

impl Work {
    pub(crate) const ALL: [Self; 3] = [Self::Admit, Self::AdmitRelease, Self::AdmitBatch];

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Admit => "admit",
            Self::AdmitRelease => "admit_release",
            Self::AdmitBatch => "admit_batch",
        }
    }

    /// Runs it for so many units on one thread's handle.
    fn run(self, handle: &mut impl Handle, units: u64) {
        match self {
            Self::Admit => {
                for _ in 0..units {
                    looked_at(handle.admit(1));
                }
            }
            Self::AdmitRelease => {
                for _ in 0..units {
                    looked_at(handle.admit(1));
                    handle.release(1);
                }
            }
            Self::AdmitBatch => {
                for _ in 0..units / BATCH {
                    looked_at(handle.admit(BATCH));
                }
            }
        }
    }
}

/// A caller branches on the answer. To put it into memory, as `black_box` does, costs a store: as many
/// as the cheapest of these systems has for an admission.
#[inline(always)]
fn looked_at(admitted: bool) {
    #[cold]
    #[inline(never)]
    fn refused() {
        black_box(());
    }
    if !admitted {
        refused();
    }
}

/// One thread's way to a quota.
pub(crate) trait Handle {
    /// Takes `n` units, all or none.
    fn admit(&mut self, n: u64) -> bool;
    /// Gives `n` units back that it took.
    fn release(&mut self, n: u64);
}

/// A quota that threads share. The loop is compiled for each system, so that nothing is called
/// through a pointer for each unit.
pub(crate) trait Shared: Send + Sync {
    /// Takes units as `work` says: `units` after `gate`, and a tenth of them before it. When it began
    /// and ended.
    fn run(&self, work: Work, units: u64, gate: &Barrier) -> (Instant, Instant);
    /// A handle for whoever does not measure time.
    fn open(&self) -> Box<dyn Handle + '_>;
}

trait Quota: Send + Sync {
    type Handle<'a>: Handle
    where
        Self: 'a;
    fn handle(&self) -> Self::Handle<'_>;
}

impl<Q: Quota> Shared for Q {
    fn run(&self, work: Work, units: u64, gate: &Barrier) -> (Instant, Instant) {
        let mut handle = self.handle();
        work.run(&mut handle, units / 10);
        gate.wait();
        let began = Instant::now();
        work.run(&mut handle, units);
        (began, Instant::now())
    }

    fn open(&self) -> Box<dyn Handle + '_> {
        Box::new(self.handle())
    }
}

/// A system.
pub(crate) struct System {
    pub(crate) name: &'static str,
    pub(crate) ours: bool,
    /// A quota of so many units.
    pub(crate) open: fn(u64) -> Result<Box<dyn Shared>, String>,
    /// Whether units can be given back: a rate limiter only counts what comes in.
    pub(crate) gives_back: bool,
    /// Units of a round; the fast ones need more for a figure.
    pub(crate) fast: bool,
}

fn boxed(quota: impl Quota + 'static) -> Result<Box<dyn Shared>, String> {
    Ok(Box::new(quota))
}

pub(crate) const SYSTEMS: &[System] = &[
    System {
        name: "ng-guardian",
        ours: true,
        open: |limit| boxed(Ours::open(limit)?),
        gives_back: true,
        fast: true,
    },
    System {
        name: "fetch_add, then a look",
        ours: false,
        open: |limit| boxed(Added { limit, used: AtomicU64::new(0) }),
        gives_back: true,
        fast: false,
    },
    System {
        name: "compare-and-swap",
        ours: false,
        open: |limit| boxed(Swapped { limit, used: AtomicU64::new(0) }),
        gives_back: true,
        fast: false,
    },
    System {
        name: "a mutex",
        ours: false,
        open: |limit| boxed(Locked { limit, used: Mutex::new(0) }),
        gives_back: true,
        fast: false,
    },
    System {
        name: "leases nobody can recall",
        ours: false,
        open: |limit| boxed(Leased { limit, used: AtomicU64::new(0) }),
        gives_back: true,
        fast: true,
    },
    System {
        name: "governor",
        ours: false,
        open: |limit| boxed(Rated::open(limit)?),
        gives_back: false,
        fast: false,
    },
    System {
        name: "DataFusion's greedy pool",
        ours: false,
        open: |limit| {
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            boxed(Greedy(Arc::new(GreedyMemoryPool::new(limit))))
        },
        gives_back: true,
        fast: false,
    },
];

struct Ours(Guardian);

impl Ours {
    fn open(limit: u64) -> Result<Self, String> {
        let limits = Limits { max_tokens: limit, max_memory_bytes: u64::MAX };
        let options = GuardianOptions { limits, ..GuardianOptions::default() };
        Guardian::start(options).map(Self).map_err(|error| error.to_string())
    }
}

impl Quota for Ours {
    type Handle<'a> = GuardianLane;

    fn handle(&self) -> GuardianLane {
        self.0.open_lane("maker")
    }
}

impl Handle for GuardianLane {
    #[inline(always)]
    fn admit(&mut self, n: u64) -> bool {
        AdmissionLane::admit(self, n).is_ok()
    }

    #[inline(always)]
    fn release(&mut self, n: u64) {
        AdmissionLane::release(self, n);
    }
}

struct Added {
    limit: u64,
    used: AtomicU64,
}

impl Quota for Added {
    type Handle<'a> = &'a Self;

    fn handle(&self) -> &Self {
        self
    }
}

impl Handle for &Added {
    #[inline(always)]
    fn admit(&mut self, n: u64) -> bool {
        let fits = self.used.fetch_add(n, Ordering::Relaxed) + n <= self.limit;
        if !fits {
            self.used.fetch_sub(n, Ordering::Relaxed);
        }
        fits
    }

    #[inline(always)]
    fn release(&mut self, n: u64) {
        self.used.fetch_sub(n, Ordering::Relaxed);
    }
}

struct Swapped {
    limit: u64,
    used: AtomicU64,
}

impl Quota for Swapped {
    type Handle<'a> = &'a Self;

    fn handle(&self) -> &Self {
        self
    }
}

impl Handle for &Swapped {
    #[inline(always)]
    fn admit(&mut self, n: u64) -> bool {
        let fits = |used: u64| (used + n <= self.limit).then_some(used + n);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    #[inline(always)]
    fn release(&mut self, n: u64) {
        self.used.fetch_sub(n, Ordering::Relaxed);
    }
}

struct Locked {
    limit: u64,
    used: Mutex<u64>,
}

impl Quota for Locked {
    type Handle<'a> = &'a Self;

    fn handle(&self) -> &Self {
        self
    }
}

impl Handle for &Locked {
    #[inline(always)]
    fn admit(&mut self, n: u64) -> bool {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = *used + n <= self.limit;
        if fits {
            *used += n;
        }
        fits
    }

    #[inline(always)]
    fn release(&mut self, n: u64) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) -= n;
    }
}

/// What one writes first: a thread takes 1,024 units at once and keeps what it does not use.
struct Leased {
    limit: u64,
    used: AtomicU64,
}

const LEASE: u64 = 1_024;

struct Lease<'a> {
    quota: &'a Leased,
    left: Cell<u64>,
}

impl Quota for Leased {
    type Handle<'a> = Lease<'a>;

    fn handle(&self) -> Lease<'_> {
        Lease { quota: self, left: Cell::new(0) }
    }
}

impl Lease<'_> {
    #[cold]
    fn refill(&self, n: u64) -> bool {
        let missing = n - self.left.get();
        let mut taken = 0;
        let whole = self.quota.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            let room = self.quota.limit - used;
            taken = missing.max(LEASE).min(room);
            (room >= missing).then_some(used + taken)
        });
        if whole.is_ok() {
            self.left.set(self.left.get() + taken - n);
        }
        whole.is_ok()
    }
}

impl Handle for Lease<'_> {
    #[inline(always)]
    fn admit(&mut self, n: u64) -> bool {
        match self.left.get().checked_sub(n) {
            Some(left) => {
                self.left.set(left);
                true
            }
            None => self.refill(n),
        }
    }

    #[inline(always)]
    fn release(&mut self, n: u64) {
        self.left.set(self.left.get() + n);
    }
}

/// A bucket of so many units that is refilled once an hour.
struct Rated(DefaultDirectRateLimiter);

impl Rated {
    fn open(limit: u64) -> Result<Self, String> {
        let burst = NonZeroU32::new(u32::try_from(limit).unwrap_or(u32::MAX)).ok_or("no units")?;
        let quota = if limit == u64::MAX {
            governor::Quota::per_second(burst)
        } else {
            governor::Quota::with_period(Duration::from_secs(3_600)).ok_or("no period")?.allow_burst(burst)
        };
        Ok(Self(RateLimiter::direct(quota)))
    }
}

impl Quota for Rated {
    type Handle<'a> = &'a Self;

    fn handle(&self) -> &Self {
        self
    }
}

impl Handle for &Rated {
    #[inline(always)]
    fn admit(&mut self, n: u64) -> bool {
        if n == 1 {
            return self.0.check().is_ok();
        }
        let units = u32::try_from(n).ok().and_then(NonZeroU32::new);
        units.is_some_and(|units| matches!(self.0.check_n(units), Ok(Ok(()))))
    }

    #[inline(always)]
    fn release(&mut self, _n: u64) {}
}

struct Greedy(Arc<dyn MemoryPool>);

impl Quota for Greedy {
    type Handle<'a> = MemoryReservation;

    fn handle(&self) -> MemoryReservation {
        MemoryConsumer::new("maker").register(&self.0)
    }
}

impl Handle for MemoryReservation {
    #[inline(always)]
    fn admit(&mut self, n: u64) -> bool {
        usize::try_from(n).is_ok_and(|n| self.try_grow(n).is_ok())
    }

    #[inline(always)]
    fn release(&mut self, n: u64) {
        if let Ok(n) = usize::try_from(n) {
            self.shrink(n);
        }
    }
}
