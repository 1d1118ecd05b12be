//! What the service can do right now: its phase, and what its layers say on top of it.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::stack::Stack;

/// Where the service is in its life.
#[derive(Debug, Default)]
pub(super) struct Phase(AtomicU8);

const READY: u8 = 1;
const STOPPING: u8 = 2;

/// What a caller can expect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// The log is being put back into the store.
    Recovering,
    /// Everything is taken.
    Ready,
    /// Tokens are refused for the quota or the store's size.
    Full,
    /// The log has failed.
    Poisoned,
    /// The end has begun.
    Stopping,
}

impl State {
    pub(super) const fn label(self) -> &'static str {
        ["recovering", "ready", "full", "poisoned", "stopping"][self as usize]
    }

    /// Why nothing is taken.
    pub(super) const fn reason(self) -> &'static str {
        [
            "the log is being put back into the store; try again in a moment",
            "",
            "every token that the quota or the store allows exists; delete some, or raise \
             guardian.max_tokens and guardian.max_memory_bytes",
            "a write of the log failed, so nothing more is promised; look at the log's disk, then restart",
            "the service is ending",
        ][self as usize]
    }
}

impl Phase {
    pub(super) fn set_ready(&self) {
        // A stop that came meanwhile stays.
        let _ = self.0.compare_exchange(0, READY, Ordering::AcqRel, Ordering::Acquire);
    }

    pub(super) fn set_stopping(&self) {
        self.0.store(STOPPING, Ordering::Release);
    }

    /// The state, with the stack if it has been built.
    pub(super) fn state(&self, stack: Option<&Stack>) -> State {
        let phase = self.0.load(Ordering::Acquire);
        if phase == STOPPING {
            return State::Stopping;
        }
        let (READY, Some(stack)) = (phase, stack) else { return State::Recovering };
        if stack.wal().stats().poisoned {
            return State::Poisoned;
        }
        let quota = stack.admission().stats();
        let no_room = quota.limit > 0 && quota.used >= quota.limit;
        if no_room || stack.store().len() >= u64::from(stack.store().domain_capacity()) {
            return State::Full;
        }
        State::Ready
    }
}
