//! The scopes that a thread is within, innermost last, in memory that needs no destructor: entering
//! and leaving one is a handful of moves, with no lock on a cell and no allocation.
//!
//! They need not end in the order in which they began. Beyond [`NEAR`] of them the rest lies in a
//! vector.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use ng_core::{
    sampling::Reason,
    spans::{SpanId, TraceId},
};

use super::thread::{Mode, Sampled, Scope};

/// Scopes at hand.
const NEAR: usize = 16;

/// A scope without what needs a destructor.
#[derive(Debug, Clone, Copy)]
struct Entry {
    key: u64,
    trace: u128,
    /// 0 for none.
    span: u64,
    probability: f64,
    reason: Reason,
    remote: bool,
    has_state: bool,
    /// What the thread was within before.
    before: Mode,
    /// Sampled or not.
    mode: Mode,
}

impl Entry {
    const EMPTY: Self = Self {
        key: 0,
        trace: 0,
        span: 0,
        probability: 0.0,
        reason: Reason::Rate,
        remote: false,
        has_state: false,
        before: Mode::Outside,
        mode: Mode::Unsampled,
    };
}

/// The stack.
pub(super) struct Scopes {
    len: Cell<usize>,
    near: [Cell<Entry>; NEAR],
}

/// What is seldom there.
#[derive(Default)]
struct Far {
    entries: Vec<Entry>,
    /// `tracestate` of scopes, by their keys.
    states: Vec<(u64, Arc<str>)>,
}

thread_local! {
    static FAR: RefCell<Far> = const { RefCell::new(Far { entries: Vec::new(), states: Vec::new() }) };
}

/// `None` while the thread ends.
#[cold]
fn far<R>(with: impl FnOnce(&mut Far) -> R) -> Option<R> {
    FAR.try_with(|far| Some(with(&mut *far.try_borrow_mut().ok()?))).ok().flatten()
}

impl Scopes {
    pub(super) const fn new() -> Self {
        Self { len: Cell::new(0), near: [const { Cell::new(Entry::EMPTY) }; NEAR] }
    }

    #[inline(always)]
    fn push(&self, entry: Entry) -> bool {
        let len = self.len.get();
        if let Some(place) = self.near.get(len) {
            place.set(entry);
        } else if far(|far| far.entries.push(entry)).is_none() {
            return false;
        }
        self.len.set(len + 1);
        true
    }

    fn get(&self, at: usize) -> Entry {
        match self.near.get(at) {
            Some(place) => place.get(),
            None => far(|far| far.entries.get(at - NEAR).copied()).flatten().unwrap_or(Entry::EMPTY),
        }
    }

    fn set(&self, at: usize, entry: Entry) {
        match self.near.get(at) {
            Some(place) => place.set(entry),
            None => drop(far(|far| far.entries.get_mut(at - NEAR).map(|place| *place = entry))),
        }
    }

    /// Goes into a sampled span of this process, on a thread that is within `before`; whether it did.
    #[inline(always)]
    pub(super) fn enter_sampled(
        &self,
        key: u64,
        (trace, span): (TraceId, SpanId),
        (reason, probability): (Reason, f64),
        before: Mode,
    ) -> bool {
        let (trace, span, mode) = (trace.0, span.0, Mode::Sampled);
        self.push(Entry { key, trace, span, probability, reason, before, mode, ..Entry::EMPTY })
    }

    /// Goes into any scope; whether it did.
    pub(super) fn enter(&self, key: u64, scope: Scope, before: Mode) -> bool {
        let Some(scope) = scope else { return self.push(Entry { key, before, ..Entry::EMPTY }) };
        let Sampled { trace, span, reason, probability, state, remote } = scope;
        let has_state = state.is_some();
        if let Some(state) = state
            && far(|far| far.states.push((key, state))).is_none()
        {
            return false;
        }
        self.push(Entry {
            key,
            trace: trace.0,
            span: span.map_or(0, |span| span.0),
            probability,
            reason,
            remote,
            has_state,
            before,
            mode: Mode::Sampled,
        })
    }

    /// Leaves the innermost scope of this key, wherever it lies. If it was the innermost of all, what
    /// the thread is within now.
    #[inline(always)]
    pub(super) fn leave(&self, key: u64) -> Option<Mode> {
        let top = self.len.get().checked_sub(1)?;
        if let Some(entry) = self.near.get(top).map(Cell::get)
            && entry.key == key
            && !entry.has_state
        {
            self.len.set(top);
            return Some(entry.before);
        }
        self.leave_slowly(key)
    }

    #[cold]
    #[inline(never)]
    fn leave_slowly(&self, key: u64) -> Option<Mode> {
        let len = self.len.get();
        let at = (0..len).rev().find(|&at| self.get(at).key == key)?;
        let entry = self.get(at);
        if entry.has_state {
            far(|far| {
                let state = far.states.iter().rposition(|(of, _)| *of == key);
                state.map(|state| far.states.remove(state))
            });
        }
        let is_last = at + 1 == len;
        if !is_last {
            // Whoever came later goes back to what was before this one.
            self.set(at + 1, Entry { before: entry.before, ..self.get(at + 1) });
        }
        for at in at + 1..len {
            self.set(at - 1, self.get(at));
        }
        if len > NEAR {
            far(|far| far.entries.truncate(len - 1 - NEAR));
        }
        self.len.set(len - 1);
        is_last.then_some(entry.before)
    }

    /// The innermost one, as its children need it.
    pub(super) fn innermost(&self) -> Option<Scope> {
        let entry = self.get(self.len.get().checked_sub(1)?);
        if entry.mode != Mode::Sampled {
            return Some(None);
        }
        let state = || far(|far| far.states.iter().rfind(|(of, _)| *of == entry.key).map(|(_, s)| s.clone()));
        Some(Some(Sampled {
            trace: TraceId(entry.trace),
            span: (entry.span != 0).then_some(SpanId(entry.span)),
            reason: entry.reason,
            probability: entry.probability,
            state: if entry.has_state { state().flatten() } else { None },
            remote: entry.remote,
        }))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scope(n: u64) -> Scope {
        (!n.is_multiple_of(3)).then(|| Sampled {
            trace: TraceId(u128::from(n) << 70 | 1),
            span: (n % 4 != 1).then_some(SpanId(n + 1)),
            reason: Reason::ALL[n as usize % Reason::ALL.len()],
            probability: n as f64,
            state: n.is_multiple_of(5).then(|| n.to_string().into()),
            remote: n.is_multiple_of(2),
        })
    }

    proptest! {
        #[test]
        fn scopes_that_end_in_any_order_are_those_of_a_plain_list(
            steps in prop::collection::vec((any::<bool>(), 0..40_u64), 1..200),
        ) {
            let scopes = Scopes::new();
            let mut mode = Mode::Outside;
            let mut model: Vec<(u64, Scope)> = Vec::new();
            for (enters, key) in steps {
                if enters {
                    prop_assert!(scopes.enter(key, scope(key), mode));
                    mode = if scope(key).is_some() { Mode::Sampled } else { Mode::Unsampled };
                    model.push((key, scope(key)));
                } else {
                    if let Some(now) = scopes.leave(key) {
                        mode = now;
                    }
                    if let Some(at) = model.iter().rposition(|(of, _)| *of == key) {
                        model.remove(at);
                    }
                }
                let last = model.last().map(|(_, scope)| scope.clone());
                prop_assert_eq!(scopes.innermost(), last.clone());
                let expected = match last {
                    None => Mode::Outside,
                    Some(None) => Mode::Unsampled,
                    Some(Some(_)) => Mode::Sampled,
                };
                prop_assert_eq!(mode, expected);
            }
            for (key, _) in model {
                scopes.leave(key);
            }
            prop_assert_eq!(scopes.innermost(), None);
            prop_assert!(far(|far| far.states.is_empty() && far.entries.is_empty()).unwrap());
        }
    }
}
