//! Refusals that wait to be told: a storm of a million becomes one event per interval, which says
//! how many it stands for. Telling is the guardian's thread's; a refused lane only adds up.

use std::sync::{Mutex, PoisonError};

/// Refusals since the last telling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Refused {
    /// Requests refused.
    pub(crate) requests: u64,
    /// What they asked for, in tokens.
    pub(crate) tokens: u64,
    /// What the last one asked for, in tokens.
    pub(crate) last: u64,
    /// The limit that the last one met, in tokens.
    pub(crate) limit: u64,
}

#[derive(Debug, Default)]
pub(crate) struct News(Mutex<Refused>);

impl News {
    /// Adds a refusal. `true` if it is the first that is not yet told.
    pub(crate) fn add(&self, asked: u64, limit: u64) -> bool {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *waiting = Refused {
            requests: waiting.requests + 1,
            tokens: waiting.tokens.saturating_add(asked),
            last: asked,
            limit,
        };
        waiting.requests == 1
    }

    /// Whether something is not yet told.
    pub(crate) fn is_waiting(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).requests > 0
    }

    /// Takes what is not yet told.
    pub(crate) fn take(&self) -> Option<Refused> {
        let waiting = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        (waiting.requests > 0).then_some(waiting)
    }
}
