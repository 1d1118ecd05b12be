//! The one place that swaps the synchronisation primitives for loom's, so that the ring which is
//! model-checked is the ring which ships. It adds nothing of its own.

#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU64, Ordering, fence};

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU64, Ordering, fence};
