//! An asymmetric fence: nearly free for the lane that runs it millions of times a second, and
//! expensive for the rare visitor (the log's writer, a thread that steals a lease).
//!
//! A pair `light()` / `heavy()` orders like two sequentially consistent fences: if a lane does
//! `store X; light(); load Y` and a visitor does `store Y; heavy(); load X`, at least one of them
//! sees the other's store. On Linux the heavy side is `membarrier(2)` with
//! `PRIVATE_EXPEDITED` (kernel 4.14), which makes each running thread of the process pass a full
//! fence, so that the light side only has to hold the compiler back. Elsewhere, and where a
//! sandbox refuses the call, both sides are full fences; [`strategy`] says which it is.
//!
//! It never falls back in silence after the choice is made: the choice is made once, by whoever
//! asks first.

use crate::sync::Ordering;
use crate::sync::fence as full_fence;

/// Which pair of fences this process uses. See [`strategy`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// `membarrier(2)` on the heavy side, a compiler fence on the light one.
    Membarrier,
    /// A sequentially consistent fence on both sides.
    FullFence,
}

/// The strategy in force, chosen at the first call and then kept for the process's life.
#[must_use]
pub fn strategy() -> Strategy {
    if imp::is_membarrier() { Strategy::Membarrier } else { Strategy::FullFence }
}

/// The lane's side: between its store and its load.
///
/// Call [`strategy`] once before the first use on a thread that races with [`heavy`]; everything
/// in this crate that hands out a lane does so.
#[inline(always)]
pub fn light() {
    if imp::is_membarrier() {
        imp::compiler_only();
    } else {
        full_fence(Ordering::SeqCst);
    }
}

/// The visitor's side: between its store and its load. About 1–10 µs with
/// [`Strategy::Membarrier`].
pub fn heavy() {
    full_fence(Ordering::SeqCst);
    if imp::is_membarrier() {
        imp::membarrier();
    }
}

#[cfg(all(target_os = "linux", not(loom), not(miri)))]
mod imp {
    //! `membarrier(2)`, reached through `syscall` because the C library has no wrapper.

    use crate::sync::{AtomicU8, Ordering, compiler_fence};

    const UNKNOWN: u8 = 0;
    const MEMBARRIER: u8 = 1;
    const FULL: u8 = 2;
    // From include/uapi/linux/membarrier.h.
    const CMD_PRIVATE_EXPEDITED: libc::c_int = 1 << 3;
    const CMD_REGISTER_PRIVATE_EXPEDITED: libc::c_int = 1 << 4;

    static CHOSEN: AtomicU8 = AtomicU8::new(UNKNOWN);

    #[inline(always)]
    pub(super) fn is_membarrier() -> bool {
        match CHOSEN.load(Ordering::Relaxed) {
            MEMBARRIER => true,
            FULL => false,
            _ => choose(),
        }
    }

    #[inline(always)]
    pub(super) fn compiler_only() {
        compiler_fence(Ordering::SeqCst);
    }

    #[cold]
    fn choose() -> bool {
        let chosen = if call(CMD_REGISTER_PRIVATE_EXPEDITED) && call(CMD_PRIVATE_EXPEDITED) {
            MEMBARRIER
        } else {
            FULL
        };
        // Two threads may race here; the kernel answers both alike, so both store the same value.
        CHOSEN.store(chosen, Ordering::SeqCst);
        chosen == MEMBARRIER
    }

    pub(super) fn membarrier() {
        // After a registration that succeeded this call has no way to fail (membarrier(2),
        // ERRORS); a failure would break the exactness that callers rely on, so it is fatal.
        if !call(CMD_PRIVATE_EXPEDITED) {
            std::process::abort();
        }
    }

    #[expect(unsafe_code, reason = "membarrier(2) has no safe wrapper")]
    fn call(command: libc::c_int) -> bool {
        // SAFETY: membarrier takes three integers and touches no memory of ours.
        let answer = unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) };
        answer == 0
    }
}

#[cfg(not(all(target_os = "linux", not(loom), not(miri))))]
mod imp {
    //! The portable pair: both sides are full fences.

    #[inline(always)]
    pub(super) const fn is_membarrier() -> bool {
        false
    }

    #[inline(always)]
    pub(super) fn compiler_only() {}

    pub(super) fn membarrier() {}
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;
    use std::sync::{Arc, Barrier};

    #[test]
    fn the_strategy_does_not_change() {
        let first = strategy();
        for _ in 0..100 {
            light();
            heavy();
            assert_eq!(strategy(), first);
        }
    }

    /// Dekker's test: without a fence pair both sides read 0 within a few thousand rounds.
    #[test]
    fn one_side_always_sees_the_other() {
        struct Shared {
            x: AtomicU32,
            y: AtomicU32,
            gate: Barrier,
        }
        let shared = Arc::new(Shared { x: AtomicU32::new(0), y: AtomicU32::new(0), gate: Barrier::new(2) });
        let lane = Arc::clone(&shared);
        let rounds = 2_000;
        let lane = std::thread::spawn(move || {
            (0..rounds)
                .map(|round| {
                    lane.gate.wait();
                    lane.x.store(round + 1, Ordering::Relaxed);
                    light();
                    let seen = lane.y.load(Ordering::Relaxed);
                    lane.gate.wait();
                    seen == round + 1
                })
                .collect::<Vec<_>>()
        });
        let visitor: Vec<_> = (0..rounds)
            .map(|round| {
                shared.gate.wait();
                shared.y.store(round + 1, Ordering::Relaxed);
                heavy();
                let seen = shared.x.load(Ordering::Relaxed);
                shared.gate.wait();
                seen == round + 1
            })
            .collect();
        let lane = lane.join().unwrap();
        for (round, (a, b)) in lane.iter().zip(&visitor).enumerate() {
            assert!(a | b, "round {round}: neither side saw the other");
        }
    }
}
