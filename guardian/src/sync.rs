//! The one place that swaps the synchronisation primitives for loom's, so that the lease protocol
//! which is model-checked is the one which ships. It adds nothing of its own.

#[cfg(not(loom))]
pub(crate) use std::{
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicI64, Ordering},
    },
    thread::yield_now,
};

#[cfg(loom)]
pub(crate) use loom::{
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicI64, Ordering},
    },
    thread::yield_now,
};

/// Locks, whether or not an earlier holder panicked: what our locks guard is whole after each
/// statement, so there is nothing that a panic could have left half done.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
