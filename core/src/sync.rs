//! The one place that swaps the synchronisation primitives for loom's, so that the code which is
//! model-checked is the code which ships. It adds nothing of its own.

#[cfg(not(loom))]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering, compiler_fence, fence},
};

#[cfg(loom)]
pub(crate) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering, fence},
};
