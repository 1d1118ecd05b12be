//! The lane of spans: ids, and a ring that the export thread empties.
//!
//! **Trace ids and consistent sampling.** OpenTelemetry lets whoever comes later sample again by
//! the 56 low bits of the trace id: what was sampled with the probability p has them at or above
//! the threshold (1 − p)·2⁵⁶. Here the countdown decides before there is an id, so the id of a
//! sampled root is drawn from those that this probability would have let in.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use ng_core::{
    sampling::Reason,
    spans::{FinishedSpan, SpanId, SpanLane, TraceId, Value},
};
use rand::{Rng, rngs::SmallRng};

use super::{
    record::SpanRecord,
    ring::{Line, Pushed, Ring, Writer},
    writer::Shared,
};
use crate::{context::threshold, owned::OwnedCell, roster::Fold};

/// What a lane and the export thread share.
#[derive(Debug)]
pub(super) struct Shelf {
    ring: Ring,
    recorded: OwnedCell,
    dropped: OwnedCell,
    /// Spans that the thread took; it alone writes it.
    taken: AtomicU64,
    /// Held by whoever empties the ring: the thread, or a lane that ends and can't leave its ring.
    reader: Mutex<()>,
}

impl Shelf {
    pub(super) fn new(spans: usize) -> Self {
        Self {
            ring: Ring::with_room_for(spans),
            recorded: OwnedCell::new(),
            dropped: OwnedCell::new(),
            taken: AtomicU64::new(0),
            reader: Mutex::new(()),
        }
    }

    /// The thread's side: takes what was finished before this call.
    pub(super) fn drain(&self, each: impl FnMut(SpanRecord)) -> u64 {
        let _only = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let spans = self.ring.drain(each);
        self.taken.fetch_add(spans, Ordering::Release);
        spans
    }

    /// The ended lane's side: drops what nobody will take.
    fn discard(&self) {
        let _only = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        self.dropped.add(self.ring.drain(|_| ()));
    }
}

/// What all lanes counted.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counted {
    pub(super) recorded: u64,
    pub(super) dropped: u64,
    pub(super) taken: u64,
}

impl Fold for Shelf {
    type Totals = Counted;

    fn fold_into(&self, totals: &mut Counted) {
        // What comes out first: it was recorded before.
        totals.taken += self.taken.load(Ordering::Acquire);
        totals.dropped += self.dropped.get();
        totals.recorded += self.recorded.get();
    }
}

/// Draws trace and span ids.
#[derive(Debug)]
pub(crate) struct Ids {
    random: SmallRng,
    /// The bits of the probability that `least` was computed for.
    drawn_for: u64,
    /// The least that the low 56 bits of a root's trace id may be.
    least: u64,
}

impl Ids {
    pub(crate) fn new() -> Self {
        Self { random: rand::make_rng(), drawn_for: 1.0_f64.to_bits(), least: 0 }
    }

    /// A trace id that a sampler with this probability would have let in.
    #[inline]
    pub(crate) fn trace(&mut self, probability: f64) -> TraceId {
        if probability.to_bits() != self.drawn_for {
            self.drawn_for = probability.to_bits();
            self.least = threshold::of(probability).unwrap_or(0);
        }
        let (high, random) = (self.random.next_u64(), self.random.next_u64());
        let span = (1 << 56) - self.least;
        // The upper half of a product spreads 64 random bits evenly (Lemire 2019).
        let low = self.least + ((u128::from(random) * u128::from(span)) >> 64) as u64;
        let id = u128::from(high) << 56 | u128::from(low);
        // The 8 bits above those of `high`, from what the product did not use up.
        let id = id | u128::from(random & 0xff) << 120;
        TraceId(id.max(1))
    }

    #[inline]
    pub(crate) fn span(&mut self) -> SpanId {
        SpanId(self.random.next_u64().max(1))
    }
}

/// One thread's side of the spans: [`SpanWriter::open_lane`](super::SpanWriter::open_lane) makes
/// it.
///
/// When it is dropped its last spans are handed over; when it is leaked they are collected.
#[derive(Debug)]
pub struct SpanRing {
    shelf: Arc<Shelf>,
    shared: Arc<Shared>,
    writer: Writer,
    ids: Ids,
}

impl SpanRing {
    pub(super) fn new(shelf: Arc<Shelf>, shared: Arc<Shared>) -> Self {
        Self { shelf, shared, writer: Writer::default(), ids: Ids::new() }
    }

    #[cold]
    #[inline(never)]
    fn refuse(&self) -> bool {
        self.shelf.dropped.add(1);
        self.shared.depot.wake();
        false
    }

    #[cold]
    #[inline(never)]
    fn half_full(&self) {
        self.shared.depot.wake();
    }
}

/// Whether the probability of a decision says how many others it stands for: then it goes on the
/// wire, and the trace id must agree with it.
pub(crate) const fn is_by_lot(reason: Reason) -> bool {
    matches!(reason, Reason::Rate | Reason::Priority | Reason::Custom | Reason::Rule)
}

impl SpanLane for SpanRing {
    #[inline]
    fn finish(&mut self, span: &FinishedSpan) -> Option<(TraceId, SpanId)> {
        let probability = if is_by_lot(span.reason) { span.probability } else { 1.0 };
        let trace = match span.trace {
            Some(trace) => trace,
            None => self.ids.trace(probability),
        };
        let id = self.ids.span();
        let attributes = span.attributes.iter().map_while(|attribute| *attribute);
        self.write(Line::of(trace, id, span), attributes).then_some((trace, id))
    }
}

impl SpanRing {
    /// The generator of its ids.
    pub(crate) const fn ids(&mut self) -> &mut Ids {
        &mut self.ids
    }

    /// As [`Self::write`], but a span that finds no room is neither taken nor counted, and the answer is
    /// `false`: the caller has another way for it.
    #[inline]
    pub(crate) fn offer(
        &mut self,
        span: Line,
        attributes: impl Iterator<Item = (&'static str, Value)>,
    ) -> bool {
        let fits = !self.shared.closed.load(Ordering::Relaxed) && self.shelf.ring.has_room(&mut self.writer);
        if fits {
            self.write(span, attributes);
        }
        fits
    }

    /// Takes a finished span that has its ids; `false` if it was dropped, which is counted.
    #[inline]
    pub(crate) fn write(
        &mut self,
        span: Line,
        attributes: impl Iterator<Item = (&'static str, Value)>,
    ) -> bool {
        self.shelf.recorded.add(1);
        if self.shared.closed.load(Ordering::Relaxed) {
            return self.refuse();
        }
        match self.shelf.ring.push(&mut self.writer, span, attributes) {
            Pushed::In => {}
            Pushed::Half => self.half_full(),
            Pushed::Full => return self.refuse(),
        }
        true
    }
}

impl Drop for SpanRing {
    fn drop(&mut self) {
        // The order counts: a flush that no longer finds the lane finds its ring in the queue.
        if !self.shelf.ring.is_empty() && !self.shared.depot.give(&self.shelf) {
            self.shelf.discard();
        }
        self.shared.lanes.leave(&self.shelf);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_trace_id_of_a_sampled_root_agrees_with_its_probability() {
        let mut ids = Ids::new();
        for probability in [1.0, 0.5, 0.01, 0.000_001, 0.01] {
            let least = threshold::of(probability).unwrap();
            let low = |id: TraceId| u64::try_from(id.0 & ((1 << 56) - 1)).unwrap();
            let drawn: Vec<u64> = (0..10_000).map(|_| low(ids.trace(probability))).collect();
            assert!(drawn.iter().all(|low| *low >= least), "{probability}");
            // Evenly spread over what is let in: about half in its upper half.
            let middle = least + ((1 << 56) - least) / 2;
            let upper = drawn.iter().filter(|low| **low >= middle).count();
            assert!((4_700..5_300).contains(&upper), "{upper} at {probability}");
        }
    }
}
