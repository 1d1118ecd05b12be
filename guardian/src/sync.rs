//! The one place that swaps the synchronisation primitives for loom's, so that the lease protocol
//! which is model-checked is the one which ships. It adds nothing of its own.

#[cfg(not(loom))]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicI64, Ordering},
};

#[cfg(loom)]
pub(crate) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicI64, Ordering},
};

/// The owner's side of the asymmetric fence where the other side is `membarrier(2)`: it holds the
/// compiler back, and costs nothing.
#[cfg(not(loom))]
#[inline(always)]
pub(crate) fn light_quick() {
    std::sync::atomic::compiler_fence(Ordering::SeqCst);
}

/// The owner's side where there is no `membarrier(2)`: a full fence.
#[cfg(not(loom))]
pub(crate) fn light_full() {
    std::sync::atomic::fence(Ordering::SeqCst);
}

/// The other side: about 1–10 µs with `membarrier(2)`.
#[cfg(not(loom))]
pub(crate) use ng_core::fence::heavy;

/// Whether an owner's fence must be a full one.
#[cfg(not(loom))]
pub(crate) fn needs_full_fence() -> bool {
    ng_core::fence::strategy() == ng_core::fence::Strategy::FullFence
}

/// Where a model lets the other side's fence show.
#[cfg(not(loom))]
#[inline(always)]
pub(crate) const fn point() {}

#[cfg(loom)]
pub(crate) use crate::lease::fences::{heavy, light_full, light_quick, needs_full_fence, point};

/// Locks, whether or not an earlier holder panicked: what our locks guard is whole after each
/// statement, so there is nothing that a panic could have left half done.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    let wait = || mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    #[cfg(loom)]
    return crate::lease::fences::quiet(wait);
    #[cfg(not(loom))]
    wait()
}
