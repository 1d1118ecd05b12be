//! The lane of spans: a slab of its own, under a lock that only sampled operations and the export
//! thread's interval touch.
//!
//! The thread holds that lock for the exchange of one pointer a few times a second, and writes
//! nothing out under it, so the lane finds it free; an uncontended lock is what keeps the partial
//! slab of an idle or leaked lane within the exporter's reach.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ng_core::spans::{FinishedSpan, SpanId, SpanLane, TraceId};
use rand::{Rng, rngs::SmallRng};

use super::{depot::Slab, exporter::SpanRecord, writer::Shared};
use crate::{owned::OwnedCell, roster::Fold};

/// What a lane and the export thread share.
#[derive(Debug)]
pub(super) struct Shelf {
    held: Mutex<Held>,
    recorded: OwnedCell,
    dropped: OwnedCell,
}

#[derive(Debug)]
struct Held {
    slab: Slab,
    /// The export thread has ended: nothing more is taken.
    closed: bool,
}

impl Shelf {
    pub(super) fn new(slab_spans: usize) -> Self {
        Self {
            held: Mutex::new(Held { slab: Slab::with_capacity(slab_spans), closed: false }),
            recorded: OwnedCell::new(),
            dropped: OwnedCell::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread's side: exchanges what the lane holds for the empty `spare`; `false` if the lane
    /// holds nothing.
    pub(super) fn collect(&self, spare: &mut Slab) -> bool {
        let mut held = self.lock();
        if held.slab.is_empty() {
            return false;
        }
        std::mem::swap(&mut held.slab, spare);
        true
    }

    /// The thread's side: takes what is left, and lets the lane drop whatever comes after.
    pub(super) fn close(&self) -> Slab {
        let mut held = self.lock();
        held.closed = true;
        std::mem::take(&mut held.slab)
    }
}

/// What all lanes counted.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counted {
    pub(super) recorded: u64,
    pub(super) dropped: u64,
}

impl Fold for Shelf {
    type Totals = Counted;

    fn fold_into(&self, totals: &mut Counted) {
        // Dropped first: what is dropped was recorded before.
        totals.dropped += self.dropped.get();
        totals.recorded += self.recorded.get();
    }
}

/// One thread's side of the spans: [`SpanWriter::open_lane`](super::SpanWriter::open_lane) makes
/// it.
///
/// When it is dropped its last spans are handed over; when it is leaked they are collected.
#[derive(Debug)]
pub struct SpanSlab {
    shelf: Arc<Shelf>,
    shared: Arc<Shared>,
    random: SmallRng,
}

impl SpanSlab {
    pub(super) fn new(shelf: Arc<Shelf>, shared: Arc<Shared>) -> Self {
        Self { shelf, shared, random: rand::make_rng() }
    }

    fn new_trace(&mut self) -> TraceId {
        let id = (u128::from(self.random.next_u64()) << 64) | u128::from(self.random.next_u64());
        TraceId(id.max(1))
    }

    fn new_span(&mut self) -> SpanId {
        SpanId(self.random.next_u64().max(1))
    }
}

impl SpanLane for SpanSlab {
    #[inline]
    fn finish(&mut self, span: &FinishedSpan) -> Option<(TraceId, SpanId)> {
        let trace = span.trace.unwrap_or_else(|| self.new_trace());
        let id = self.new_span();
        self.shelf.recorded.add(1);
        let mut held = self.shelf.lock();
        let full = held.slab.len() == held.slab.capacity();
        if full && (held.closed || !self.shared.depot.exchange(&mut held.slab)) {
            drop(held);
            self.shelf.dropped.add(1);
            return None;
        }
        held.slab.push(SpanRecord { trace, id, span: *span });
        Some((trace, id))
    }
}

impl Drop for SpanSlab {
    fn drop(&mut self) {
        let slab = std::mem::take(&mut self.shelf.lock().slab);
        // The order counts: a flush that no longer finds the lane finds its slab in the queue.
        if !slab.is_empty()
            && let Err(slab) = self.shared.depot.give(slab)
        {
            self.shelf.dropped.add(slab.len() as u64);
        }
        self.shared.lanes.leave(&self.shelf);
    }
}
