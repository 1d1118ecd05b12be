//! The time of day for spans: the system's clock at half of its price.
//!
//! Reading the system's clock takes 22 ns on the machine of docs/stress.md, the processor's time
//! stamp counter 9. So the counter is read, and converted by a pair of both clocks (an *anchor*) that
//! whoever finds it older than 10 ms renews; nobody waits for that. Where the kernel itself does not
//! keep time by the counter, or it can't be told, this is the system's clock.
//!
//! An anchor is off by what passes between the reading of both clocks: under a microsecond, since a
//! pair that was interrupted is not taken. So is a time, and a duration that an anchor's renewal falls
//! into.

use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Mutex, TryLockError};
use std::time::Instant;

use super::precise_unix_ns;

/// Nanoseconds since 1970, within a microsecond of [`precise_unix_ns`] and at half of its price.
#[must_use]
#[inline]
pub fn stamp_unix_ns() -> u64 {
    counter().and_then(|now| ANCHOR.convert(now)).unwrap_or_else(renew)
}

/// The processor's time stamp counter, where it has one; it may be off by the few dozen instructions in
/// flight. Whoever takes it for time must know that it keeps time, and how fast it runs.
#[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
#[must_use]
#[inline(always)]
#[expect(unsafe_code, reason = "the instruction has no safe wrapper")]
pub fn counter() -> Option<u64> {
    // SAFETY: rdtsc reads a register, and every x86-64 processor has it; Linux never sets CR4.TSD
    // except by prctl(PR_SET_TSC), which this process does not call.
    Some(unsafe { core::arch::x86_64::_rdtsc() })
}

/// The processor's time stamp counter, where it has one that is read here.
#[cfg(not(all(target_arch = "x86_64", not(loom), not(miri))))]
#[must_use]
#[inline(always)]
pub const fn counter() -> Option<u64> {
    None
}

/// What time it was by both clocks, under a sequence lock: odd while it is written.
#[derive(Debug)]
#[repr(align(64))]
struct Anchor {
    sequence: AtomicU64,
    ticks: AtomicU64,
    unix_ns: AtomicU64,
    /// Nanoseconds of a tick, times 2³².
    scale: AtomicU64,
    /// For how many ticks it holds, at most 2³² − 1; 0 before the first.
    holds: AtomicU64,
}

static ANCHOR: Anchor = Anchor::new();

impl Anchor {
    const fn new() -> Self {
        Self {
            sequence: AtomicU64::new(0),
            ticks: AtomicU64::new(0),
            unix_ns: AtomicU64::new(0),
            scale: AtomicU64::new(0),
            holds: AtomicU64::new(0),
        }
    }

    /// The time at `now`, if the anchor holds then and is not being written.
    #[inline(always)]
    fn convert(&self, now: u64) -> Option<u64> {
        let sequence = self.sequence.load(Ordering::Acquire);
        let since = now.wrapping_sub(self.ticks.load(Ordering::Relaxed));
        let unix_ns = self.unix_ns.load(Ordering::Relaxed);
        let scale = self.scale.load(Ordering::Relaxed);
        let holds = self.holds.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        let whole = sequence.is_multiple_of(2) && self.sequence.load(Ordering::Relaxed) == sequence;
        // A tick takes less than 4 ns (the counter runs at a quarter of a GHz or more), so the product
        // fits.
        (whole && since < holds).then(|| unix_ns + (since.wrapping_mul(scale) >> 32))
    }

    /// Only one thread at a time may call it.
    fn set(&self, ticks: u64, unix_ns: u64, scale: u64, holds: u64) {
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(sequence + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        self.ticks.store(ticks, Ordering::Relaxed);
        self.unix_ns.store(unix_ns, Ordering::Relaxed);
        self.scale.store(scale, Ordering::Relaxed);
        self.holds.store(holds, Ordering::Relaxed);
        self.sequence.store(sequence + 2, Ordering::Release);
    }
}

/// Where the counter stood at a moment of the monotonic clock: what its speed is measured from.
#[derive(Debug)]
enum Base {
    /// Nobody has asked yet.
    Unknown,
    /// The counter does not keep time.
    Unfit,
    /// Since then.
    At(u64, Instant),
}

static BASE: Mutex<Base> = Mutex::new(Base::Unknown);

/// Nanoseconds that an anchor holds at most.
const HOLDS_NS: u64 = 10_000_000;
/// The speed is measured over at least so many nanoseconds, and over a second at most.
const BASE_NS: u64 = 1_000_000;
/// Ticks between the readings of a pair that was not interrupted: about a microsecond.
const APART: u64 = 3_000;

/// Whether the kernel keeps time by the counter: then it runs evenly, and alike on all processors.
fn is_fit() -> bool {
    counter().is_some()
        && std::fs::read_to_string("/sys/devices/system/clocksource/clocksource0/current_clocksource")
            .is_ok_and(|source| source.trim() == "tsc")
}

/// The system's clock, and a new anchor if nobody else is making one.
#[cold]
#[inline(never)]
fn renew() -> u64 {
    let mut base = match BASE.try_lock() {
        Ok(base) => base,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => return precise_unix_ns(),
    };
    if matches!(*base, Base::Unknown) && !is_fit() {
        *base = Base::Unfit;
    }
    if matches!(*base, Base::Unfit) {
        drop(base);
        return precise_unix_ns();
    }
    let monotonic = Instant::now();
    let before = counter();
    let unix_ns = precise_unix_ns();
    let (Some(before), Some(after)) = (before, counter()) else { return unix_ns };
    if after.wrapping_sub(before) > APART {
        return unix_ns;
    }
    let now = before + (after - before) / 2;
    let Base::At(then, moment) = *base else {
        *base = Base::At(now, monotonic);
        return unix_ns;
    };
    let (passed, took) = (now.wrapping_sub(then), (monotonic - moment).as_nanos());
    let took = u64::try_from(took).unwrap_or(u64::MAX);
    let measured = passed > 0 && (BASE_NS..1_000 * HOLDS_NS).contains(&took);
    if measured {
        let scale = u64::try_from((u128::from(took) << 32) / u128::from(passed)).unwrap_or(u64::MAX);
        // As long as the speed was measured, so that its fault never exceeds a pair's.
        let holds = u128::from(took.min(HOLDS_NS)) * u128::from(passed) / u128::from(took);
        let sound = scale > 0 && scale < 4 << 32 && holds < 1 << 32;
        if sound {
            ANCHOR.set(now, unix_ns, scale, u64::try_from(holds).unwrap_or(0));
        }
    }
    // A machine that was asleep has no speed of before.
    if took >= 100 * HOLDS_NS {
        *base = Base::At(now, monotonic);
    }
    unix_ns
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_the_systems_time_and_follows_it() {
        let mut off = Vec::new();
        for _ in 0..20_000 {
            let (before, stamp, after) = (precise_unix_ns(), stamp_unix_ns(), precise_unix_ns());
            off.push(before.saturating_sub(stamp).max(stamp.saturating_sub(after)));
            std::hint::black_box((0..200).map(std::hint::black_box).sum::<u64>());
        }
        off.sort_unstable();
        // Who is interrupted between two readings is late by that, so only most of them are compared.
        assert!(off[off.len() / 2] < 2_000, "median {} ns", off[off.len() / 2]);
        assert!(off[off.len() * 9 / 10] < 1_000_000, "90 % {} ns", off[off.len() * 9 / 10]);
    }

    #[test]
    fn an_anchor_holds_for_a_while_and_not_before_itself() {
        let anchor = Anchor::new();
        assert_eq!(anchor.convert(5), None);
        // Half a nanosecond a tick.
        anchor.set(1_000, 7_000_000, 1 << 31, 100);
        assert_eq!(anchor.convert(1_000), Some(7_000_000));
        assert_eq!(anchor.convert(1_099), Some(7_000_049));
        assert_eq!((anchor.convert(1_100), anchor.convert(999)), (None, None));
    }

    #[test]
    fn readers_beside_a_writer_see_no_mixture() {
        let anchor = Anchor::new();
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 1..200_000_u64 {
                    // The time is always twice the ticks.
                    anchor.set(n, 2 * n, 2 << 32, u64::from(u32::MAX));
                }
                over.store(true, Ordering::Relaxed);
            });
            while !over.load(Ordering::Relaxed) {
                if let Some(time) = anchor.convert(1_000_000) {
                    assert_eq!(time, 2_000_000);
                }
            }
        });
    }
}
