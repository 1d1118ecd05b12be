//! How this crate locks, and the one place that swaps the primitives of the hand-over for loom's,
//! so that the code which is model-checked is the code which ships.

use std::sync::PoisonError;

/// Locks, and goes on with the value as it is if another thread panicked while it held the lock:
/// nothing here panics between two halves of a change.
pub(crate) fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the hand-over is made of.
pub(crate) mod handover {
    use std::sync::PoisonError;

    #[cfg(not(loom))]
    pub(crate) use std::sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    };

    #[cfg(loom)]
    pub(crate) use loom::sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    };

    /// As [`super::lock`].
    pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One turn of a wait for a thread that is about to be through: spins first, then lets others
    /// run, since the awaited thread may have lost its core in the middle of a copy.
    #[cfg(not(loom))]
    pub(crate) fn wait_a_turn(turn: u32) {
        const SPINS: u32 = 64;
        if turn < SPINS {
            std::hint::spin_loop();
        } else {
            std::thread::yield_now();
        }
    }

    /// As the other one; loom needs to be told to run another thread.
    #[cfg(loom)]
    pub(crate) fn wait_a_turn(_turn: u32) {
        loom::thread::yield_now();
    }
}
