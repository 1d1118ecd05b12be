//! The process's real memory: what the operating system counts, what the cgroup allows, and what
//! the allocator says. Read by the guardian's thread alone (all of it takes some 20 µs), never by a
//! lane. It frees and refuses nothing.

#[cfg(target_os = "linux")]
mod cgroup;
mod drift;
mod pace;
#[cfg(target_os = "linux")]
mod resident;
mod shortage;

pub(crate) use drift::Drift;
pub(crate) use pace::Pace;
pub(crate) use shortage::{Change, Shortage};

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// What an allocator says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AllocatorFigures {
    /// Bytes that the program holds (jemalloc's `stats.allocated`).
    pub allocated_bytes: u64,
    /// Bytes that the allocator holds of the system (jemalloc's `stats.resident`).
    pub resident_bytes: u64,
}

/// Reads the allocator's figures; `None` if it has none just now. Called on the guardian's thread,
/// up to ten times in each memory interval.
pub type AllocatorStats = Arc<dyn Fn() -> Option<AllocatorFigures> + Send + Sync>;

/// Real memory, as whoever knows better than `/proc` and the control group reads it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RealMemory {
    /// The process's resident set, in bytes.
    pub resident_bytes: u64,
    /// The most bytes that may be used, if there is a limit.
    pub limit_bytes: Option<u64>,
    /// What is used of them.
    pub used_bytes: u64,
    /// What of that would be given up before the limit hurts, such as page cache.
    pub reclaimable_bytes: u64,
    /// Share of the last 10 s in which some task waited for memory, 0–100.
    pub pressure_percent: Option<f64>,
}

/// Reads the real memory in place of the operating system; `None` if it can't just now. Called on the
/// guardian's thread.
pub type MemoryReader = Arc<dyn Fn() -> Option<RealMemory> + Send + Sync>;

/// Counted bytes beside real ones. What a system does not tell is absent rather than wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MemoryReport {
    /// What the admitted tokens take, in bytes: 64 for each.
    pub counted_bytes: u64,
    /// The process's resident set when last read, in bytes.
    pub resident_bytes: u64,
    /// Resident less counted bytes: what no quota knows of (code, buffers, other data). Below
    /// zero while admitted tokens have not been written yet.
    pub drift_bytes: i64,
    /// The largest resident set ever read, in bytes.
    pub peak_resident_bytes: u64,
    /// The tightest limit of the process's cgroup and those above it, in bytes.
    pub cgroup_limit_bytes: Option<u64>,
    /// What is charged to the cgroup that has this limit, in bytes: page cache too.
    pub cgroup_used_bytes: Option<u64>,
    /// What of that the kernel can take back (page cache, reclaimable slabs), in bytes.
    pub cgroup_reclaimable_bytes: Option<u64>,
    /// Share of the last 10 s in which some task waited for memory, 0–100 (PSI).
    pub pressure_percent: Option<f64>,
    /// What the allocator said.
    pub allocator: Option<AllocatorFigures>,
    /// How many times it was read.
    pub reads: u64,
}

/// One look at all of it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Reading {
    pub(crate) resident: u64,
    pub(crate) cgroup_limit: Option<u64>,
    pub(crate) cgroup_used: Option<u64>,
    pub(crate) cgroup_reclaimable: Option<u64>,
    pub(crate) pressure: Option<f64>,
    pub(crate) allocator: Option<AllocatorFigures>,
}

/// The last readings, for any thread to see.
#[derive(Debug, Default)]
pub(crate) struct Readings(Mutex<Kept>);

#[derive(Debug, Clone, Copy, Default)]
struct Kept {
    last: Reading,
    peak: u64,
    reads: u64,
}

impl Readings {
    pub(crate) fn note(&self, reading: Reading) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.last = reading;
        kept.peak = kept.peak.max(reading.resident);
        kept.reads += 1;
    }

    /// 0 if it was never read.
    pub(crate) fn resident(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).last.resident
    }

    pub(crate) fn report(&self, counted_bytes: u64) -> Option<MemoryReport> {
        let Kept { last, peak, reads } = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (reads > 0).then_some(MemoryReport {
            counted_bytes,
            resident_bytes: last.resident,
            drift_bytes: drift(last.resident, counted_bytes),
            peak_resident_bytes: peak,
            cgroup_limit_bytes: last.cgroup_limit,
            cgroup_used_bytes: last.cgroup_used,
            cgroup_reclaimable_bytes: last.cgroup_reclaimable,
            pressure_percent: last.pressure,
            allocator: last.allocator,
            reads,
        })
    }
}

/// Real less counted bytes.
pub(crate) fn drift(resident: u64, counted: u64) -> i64 {
    let drift = i128::from(resident) - i128::from(counted);
    i64::try_from(drift).unwrap_or(if drift < 0 { i64::MIN } else { i64::MAX })
}

/// An open door to the figures.
pub(crate) struct Probe {
    real: Real,
    allocator: Option<AllocatorStats>,
}

enum Real {
    #[cfg(target_os = "linux")]
    System {
        resident: resident::Resident,
        cgroup: cgroup::Cgroup,
    },
    Reader(MemoryReader),
}

impl Probe {
    /// `None` where nobody tells.
    pub(crate) fn open(allocator: Option<AllocatorStats>, reader: Option<MemoryReader>) -> Option<Self> {
        let real = match reader {
            Some(reader) => Real::Reader(reader),
            None => Real::of_the_system()?,
        };
        Some(Self { real, allocator })
    }

    /// `None` if it can't be read any more.
    pub(crate) fn read(&mut self, now: Instant) -> Option<Reading> {
        let reading = self.real.read(now)?;
        Some(Reading { allocator: self.allocator.as_ref().and_then(|read| read()), ..reading })
    }
}

impl Real {
    #[cfg(target_os = "linux")]
    fn of_the_system() -> Option<Self> {
        Some(Self::System { resident: resident::Resident::open()?, cgroup: cgroup::Cgroup::find() })
    }

    /// Always `None`: the report is absent rather than wrong.
    #[cfg(not(target_os = "linux"))]
    fn of_the_system() -> Option<Self> {
        None
    }

    #[cfg_attr(not(target_os = "linux"), allow(unused_variables))]
    fn read(&mut self, now: Instant) -> Option<Reading> {
        match self {
            #[cfg(target_os = "linux")]
            Self::System { resident, cgroup } => {
                let limited = cgroup.limit_and_use();
                Some(Reading {
                    resident: resident.read()?,
                    cgroup_limit: limited.map(|limited| limited.limit),
                    cgroup_used: limited.map(|limited| limited.used),
                    cgroup_reclaimable: limited.and_then(|limited| limited.reclaimable),
                    pressure: cgroup.pressure(now),
                    allocator: None,
                })
            }
            Self::Reader(read) => {
                let real = read()?;
                let of_a_limit = |bytes| real.limit_bytes.map(|_| bytes);
                Some(Reading {
                    resident: real.resident_bytes,
                    cgroup_limit: real.limit_bytes,
                    cgroup_used: of_a_limit(real.used_bytes),
                    cgroup_reclaimable: of_a_limit(real.reclaimable_bytes),
                    pressure: real.pressure_percent,
                    allocator: None,
                })
            }
        }
    }
}
