//! What a thread is within, innermost last: a sampled span, an unsampled one, or nothing; and its
//! countdowns.
//!
//! The first is a byte that a macro's `enabled` reads; the stack behind it (`scopes`) is touched for
//! sampled spans, probes and handles alone. Scopes need not end in the order in which they began: a
//! future may be dropped anywhere.

use std::{
    cell::{Cell, RefCell},
    sync::Arc,
};

use ng_core::{
    sampling::Reason,
    spans::{SpanId, TraceId},
};
use rand::rngs::SmallRng;

use super::{
    scopes::Scopes,
    sites::{Kind, Site},
};
use crate::{
    owned::OwnedCell,
    sampling::{Shared, Tally, countdown::Countdown, counts::Block},
    spans::{Ids, SpanRing},
};

/// What a thread is within.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Nothing that is known.
    Outside,
    /// A span that is not sampled.
    Unsampled,
    /// A sampled span.
    Sampled,
}

/// A sampled span, as its children need it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sampled {
    pub(super) trace: TraceId,
    /// `None` where the trace is sampled and has no span yet.
    pub(super) span: Option<SpanId>,
    pub(super) reason: Reason,
    pub(super) probability: f64,
    /// The caller's `tracestate`.
    pub(super) state: Option<Arc<str>>,
    /// The span is in another process.
    pub(super) remote: bool,
}

/// A scope; `None` is an unsampled one.
pub(super) type Scope = Option<Sampled>;

/// Countdowns of this many callsites are kept at hand; where two share a place they draw anew, which
/// changes nothing: a countdown has no memory.
const PLACES: usize = 64;

/// The number of a callsite's place.
#[inline(always)]
pub(super) const fn place_of(key: usize) -> usize {
    // Callsites lie a few words apart.
    (key >> 5 ^ key >> 11) % PLACES
}

/// What a place is stamped with: changes with the layer and with each change of a rate.
#[inline(always)]
pub(super) const fn stamp(layer: u64, version: u64) -> u64 {
    layer << 40 ^ version
}

/// Whether a layer gave this stamp.
const fn of_layer(stamp: u64, layer: u64) -> bool {
    stamp >> 40 == layer
}

/// The countdown of one callsite. A cache line.
#[repr(align(64))]
pub(super) struct Place {
    /// The callsite.
    pub(super) key: Cell<usize>,
    /// The layer and the version of the rates that it was looked up for.
    pub(super) stamp: Cell<u64>,
    /// Where its operations are counted.
    pub(super) cell: Cell<Option<&'static OwnedCell>>,
    pub(super) countdown: Cell<Countdown>,
    pub(super) site: Cell<Option<&'static Site>>,
}

impl Place {
    const fn empty() -> Self {
        Self {
            key: Cell::new(0),
            stamp: Cell::new(0),
            cell: Cell::new(None),
            countdown: Cell::new(Countdown::NEVER),
            site: Cell::new(None),
        }
    }

    /// Passes over an operation of its callsite, if it is not to be sampled.
    #[inline(always)]
    pub(super) fn pass(&self) -> bool {
        self.cell.get().is_some_and(|cell| self.countdown.get().pass(cell))
    }

    /// Leaves the callsite: what was counted of it is told.
    pub(super) fn leave(&self) {
        if self.key.replace(0) != 0
            && let (Some(site), Some(cell)) = (self.site.get(), self.cell.get())
            && site.kind() != Kind::Child
        {
            site.operation.passed(self.countdown.get().passed(cell.own()));
        }
    }
}

/// The parts that need no destructor, which are cheap to reach.
pub(super) struct Hot {
    mode: Cell<Mode>,
    next_guard: Cell<u64>,
    scopes: Scopes,
    places: [Place; PLACES],
    /// The decision that `enabled` has just made for a span that is about to be made.
    pub(super) pending: Cell<Option<(usize, Pending)>>,
}

/// What `enabled` decided for a span outside of all scopes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Pending {
    /// It begins a sampled trace, with these ids.
    Root { ids: (TraceId, SpanId), decided: (Reason, f64) },
    /// It shows which spans are made within it.
    Probe,
}

/// The parts that have one.
pub(super) struct Cold {
    pub(super) ids: Ids,
    lanes: Vec<Lane>,
}

/// A thread's part in one layer's sampler.
pub(super) struct Lane {
    layer: u64,
    pub(super) random: SmallRng,
    pub(super) tally: Arc<Tally>,
    /// Where its places count.
    pub(super) block: &'static Block,
    /// Where its finished spans go; there is none before the first.
    pub(super) spans: Option<SpanRing>,
    shared: Arc<Shared>,
}

impl Drop for Lane {
    fn drop(&mut self) {
        // The block's next owner counts in it.
        hot(|hot| hot.forget(self.layer));
        self.shared.counts.give_back(self.block);
        self.shared.roster.leave(&self.tally);
    }
}

/// Layers that one thread keeps a part in; the oldest gives way.
const LANES: usize = 4;

thread_local! {
    static HOT: Hot = const {
        Hot {
            mode: Cell::new(Mode::Outside),
            next_guard: Cell::new(1 << 63),
            scopes: Scopes::new(),
            places: [const { Place::empty() }; PLACES],
            pending: Cell::new(None),
        }
    };
    static COLD: RefCell<Option<Cold>> = const { RefCell::new(None) };
}

/// The thread's hot parts.
#[inline(always)]
pub(super) fn hot<R>(with: impl FnOnce(&Hot) -> R) -> R {
    HOT.with(with)
}

/// The thread's cold parts; `None` while the thread ends.
pub(super) fn cold<R>(with: impl FnOnce(&mut Cold) -> R) -> Option<R> {
    let made = COLD.try_with(|cold| {
        let mut cold = cold.try_borrow_mut().ok()?;
        let cold = cold.get_or_insert_with(|| Cold { ids: Ids::new(), lanes: Vec::new() });
        Some(with(cold))
    });
    made.ok().flatten()
}

impl Hot {
    #[inline(always)]
    pub(super) fn mode(&self) -> Mode {
        self.mode.get()
    }

    /// Where a callsite's countdown is, or another's that it shares the place with.
    #[inline(always)]
    pub(super) fn place(&self, key: usize) -> &Place {
        &self.places[place_of(key)]
    }

    /// Where callsites of a layer count is no longer this thread's.
    fn forget(&self, layer: u64) {
        for place in &self.places {
            if of_layer(place.stamp.get(), layer) {
                place.leave();
                place.cell.set(None);
                place.stamp.set(0);
            }
        }
    }

    /// A key that no scope has.
    #[inline(always)]
    fn new_key(&self) -> u64 {
        let key = self.next_guard.get() + 1;
        self.next_guard.set(key);
        key
    }

    /// Goes into a sampled span of this process under a new key, which is given.
    #[inline(always)]
    pub(super) fn enter_sampled(&self, ids: (TraceId, SpanId), decided: (Reason, f64)) -> u64 {
        let key = self.new_key();
        self.enter_sampled_as(key, ids, decided);
        key
    }

    /// As [`Self::enter_sampled`], under a key of the caller's.
    #[inline(always)]
    pub(super) fn enter_sampled_as(&self, key: u64, ids: (TraceId, SpanId), decided: (Reason, f64)) {
        if self.scopes.enter_sampled(key, ids, decided, self.mode.get()) {
            self.mode.set(Mode::Sampled);
        }
    }

    /// Sets the mode without a scope, and gives the one before: for a guard that ends where it began.
    #[inline(always)]
    pub(super) fn replace(&self, mode: Mode) -> Mode {
        self.mode.replace(mode)
    }
}

impl Cold {
    /// The thread's part in the sampler of a layer, and its ids.
    pub(super) fn lane(
        &mut self,
        layer: u64,
        shared: &Arc<Shared>,
        random: impl FnOnce() -> SmallRng,
    ) -> (&mut Lane, &mut Ids) {
        let at = self.lanes.iter().position(|lane| lane.layer == layer);
        let at = at.unwrap_or_else(|| {
            if self.lanes.len() >= LANES {
                self.lanes.remove(0);
            }
            self.lanes.push(Lane {
                layer,
                random: random(),
                tally: shared.tally(),
                block: shared.counts.take(),
                spans: None,
                shared: Arc::clone(shared),
            });
            self.lanes.len() - 1
        });
        (&mut self.lanes[at], &mut self.ids)
    }
}

/// Goes into a scope under a key of the caller's.
pub(super) fn enter(key: u64, scope: Scope) {
    let mode = if scope.is_some() { Mode::Sampled } else { Mode::Unsampled };
    hot(|hot| {
        if hot.scopes.enter(key, scope, hot.mode.get()) {
            hot.mode.set(mode);
        }
    });
}

/// Goes into a scope under a new key, which is given.
pub(super) fn enter_new(scope: Scope) -> u64 {
    let key = hot(Hot::new_key);
    enter(key, scope);
    key
}

/// Leaves the innermost scope of this key, wherever it lies.
#[inline(always)]
pub(super) fn leave(key: u64) {
    hot(|hot| {
        if let Some(mode) = hot.scopes.leave(key) {
            hot.mode.set(mode);
        }
    });
}

/// The innermost scope; `None` outside of all.
pub(super) fn innermost() -> Option<Scope> {
    hot(|hot| match hot.mode() {
        Mode::Outside => None,
        Mode::Unsampled => Some(None),
        Mode::Sampled => hot.scopes.innermost(),
    })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn sampled(n: u64) -> Scope {
        let (trace, span) = (TraceId(n.into()), Some(SpanId(n)));
        Some(Sampled { trace, span, reason: Reason::Rate, probability: 0.5, state: None, remote: false })
    }

    #[test]
    fn scopes_may_end_in_any_order() {
        enter(1, sampled(1));
        enter(2, None);
        enter(3, sampled(3));
        assert_eq!(innermost(), Some(sampled(3)));
        leave(2);
        assert_eq!(innermost(), Some(sampled(3)));
        leave(3);
        assert_eq!(innermost(), Some(sampled(1)));
        leave(9);
        leave(1);
        assert_eq!(innermost(), None);
        enter(4, None);
        enter(5, sampled(5));
        leave(5);
        assert_eq!(innermost(), Some(None));
        leave(4);
        assert_eq!(innermost(), None);
    }
}
