//! The lane of metrics: cells of its own, written without a locked instruction, and the table
//! through which readers find them.
//!
//! The first [`FIRST`] counters lie within the shard itself, one addition away from the lane's
//! pointer; later ones cost a second look-up. A lane learns of metrics registered after it was
//! opened when it first meets their ids.

use std::sync::{Arc, OnceLock};

use ng_core::metrics::{CounterId, Exemplar, HistogramId, HistogramSnapshot, MetricLane};

use super::{
    bound::{BoundCounter, Cell},
    chunks::Chunks,
    histogram::{HistogramCells, HistogramTotals},
};
use crate::{
    owned::OwnedCell,
    roster::{Fold, Roster},
    sync::{AtomicU64, Ordering},
};

/// Counters that a shard holds within itself.
const FIRST: usize = if cfg!(loom) { 2 } else { 256 };

/// One lane's cells. Aligned to two cache lines, since the prefetcher fetches lines in pairs.
#[derive(Debug)]
#[repr(align(128))]
struct Shard {
    first: [OwnedCell; FIRST],
    rest: Chunks<OwnedCell>,
    histograms: Box<[OnceLock<Box<HistogramCells>>]>,
}

/// What is left of lanes that ended.
#[derive(Debug, Clone, Default)]
pub(crate) struct Totals {
    counters: Vec<u64>,
    histograms: Vec<Option<HistogramTotals>>,
}

impl Totals {
    /// A counter's total.
    pub(crate) fn counter(&self, id: u32) -> u64 {
        self.counters.get(id as usize).copied().unwrap_or(0)
    }

    /// A histogram's exemplars, by value.
    pub(crate) fn exemplars(&self, id: u32) -> Vec<Exemplar> {
        let totals = self.histograms.get(id as usize).and_then(Option::as_ref);
        totals.map(HistogramTotals::exemplars).unwrap_or_default()
    }

    /// A histogram's total.
    pub(crate) fn histogram(&self, id: u32) -> HistogramSnapshot {
        let totals = self.histograms.get(id as usize).and_then(Option::as_ref);
        totals.map(HistogramTotals::snapshot).unwrap_or_default()
    }
}

impl Shard {
    fn counter(&self, index: usize) -> Option<&OwnedCell> {
        match self.first.get(index) {
            Some(cell) => Some(cell),
            None => self.rest.get(index - FIRST),
        }
    }

    fn histogram(&self, index: usize) -> Option<&HistogramCells> {
        Some(self.histograms.get(index)?.get()?)
    }
}

impl Fold for Shard {
    type Totals = Totals;

    fn fold_into(&self, totals: &mut Totals) {
        let rest = self.rest.made().map(|(index, cell)| (FIRST + index, cell));
        for (index, cell) in self.first.iter().enumerate().chain(rest) {
            let n = cell.get();
            if n > 0 {
                if totals.counters.len() <= index {
                    totals.counters.resize(index + 1, 0);
                }
                totals.counters[index] = totals.counters[index].wrapping_add(n);
            }
        }
        for (index, cells) in self.histograms.iter().enumerate() {
            if let Some(cells) = cells.get() {
                if totals.histograms.len() <= index {
                    totals.histograms.resize(index + 1, None);
                }
                totals.histograms[index].get_or_insert_default().add(cells);
            }
        }
    }
}

/// What all lanes of a registry share: the roster, and how many ids have been given out.
#[derive(Debug)]
pub(crate) struct Lanes {
    roster: Roster<Shard>,
    bound: Roster<Cell>,
    counters: AtomicU64,
    histograms: AtomicU64,
    counter_room: usize,
    histogram_room: usize,
}

impl Lanes {
    /// No lanes yet, and room for so many of each.
    pub(crate) fn new(counter_room: usize, histogram_room: usize) -> Self {
        Self {
            roster: Roster::new(),
            bound: Roster::new(),
            counters: AtomicU64::new(0),
            histograms: AtomicU64::new(0),
            counter_room,
            histogram_room,
        }
    }

    /// Lets lanes write to counters below `ids`.
    pub(crate) fn publish_counters(&self, ids: u32) {
        self.counters.fetch_max(u64::from(ids), Ordering::Release);
    }

    /// Lets lanes write to histograms below `ids`.
    pub(crate) fn publish_histograms(&self, ids: u32) {
        self.histograms.fetch_max(u64::from(ids), Ordering::Release);
    }

    /// A new lane.
    pub(crate) fn open(self: &Arc<Self>) -> MetricShard {
        let shard = self.roster.enter(Shard {
            first: std::array::from_fn(|_| OwnedCell::new()),
            rest: Chunks::with_room_for(self.counter_room.saturating_sub(FIRST)),
            histograms: (0..self.histogram_room).map(|_| OnceLock::new()).collect(),
        });
        MetricShard { shard, lanes: Arc::clone(self), first_known: 0 }
    }

    /// One owner's part in a counter.
    pub(crate) fn bind(self: &Arc<Self>, counter: CounterId) -> BoundCounter {
        let is_known = u64::from(counter.0) < self.counters.load(Ordering::Acquire);
        let cell = self.bound.enter(Cell::new(is_known.then_some(counter)));
        BoundCounter::new(cell, Arc::clone(self))
    }

    /// The owner has ended.
    pub(super) fn unbind(&self, cell: &Arc<Cell>) {
        self.bound.leave(cell);
    }

    /// Everything, as of one moment.
    pub(crate) fn totals(&self) -> Totals {
        let mut totals = self.roster.totals();
        for (id, n) in self.bound.totals() {
            let index = id as usize;
            if totals.counters.len() <= index {
                totals.counters.resize(index + 1, 0);
            }
            totals.counters[index] = totals.counters[index].wrapping_add(n);
        }
        totals
    }

    /// One counter's sum.
    pub(crate) fn counter(&self, id: u32) -> u64 {
        let bound = self.bound.read(|retired, live| {
            let ended = retired.get(&id).copied().unwrap_or(0);
            live.iter().fold(ended, |sum, cell| sum.wrapping_add(cell.of(id)))
        });
        self.roster.read(|retired, live| {
            let counted = live.iter().filter_map(|shard| shard.counter(id as usize));
            let sum = counted.fold(retired.counter(id), |sum, cell| sum.wrapping_add(cell.get()));
            sum.wrapping_add(bound)
        })
    }

    /// One histogram, merged.
    pub(crate) fn histogram(&self, id: u32) -> HistogramSnapshot {
        self.roster.read(|retired, live| {
            let retired = retired.histograms.get(id as usize).and_then(Option::as_ref);
            let mut totals = retired.cloned().unwrap_or_default();
            for cells in live.iter().filter_map(|shard| shard.histogram(id as usize)) {
                totals.add(cells);
            }
            totals.snapshot()
        })
    }
}

/// One thread's side of the metrics: [`Registry::open_lane`](super::Registry::open_lane) makes it.
///
/// When it is dropped its counts go to the totals; when it is leaked they still count.
#[derive(Debug)]
pub struct MetricShard {
    shard: Arc<Shard>,
    lanes: Arc<Lanes>,
    /// Counters below this have been given out and lie in the shard's `first`.
    first_known: usize,
}

impl MetricShard {
    #[cold]
    #[inline(never)]
    fn add_to_new_or_late(&mut self, counter: CounterId, n: u64) {
        let known = self.lanes.counters.load(Ordering::Acquire);
        if u64::from(counter.0) >= known {
            return;
        }
        let index = counter.0 as usize;
        if let Some(cell) = self.shard.first.get(index) {
            self.first_known = FIRST.min(usize::try_from(known).unwrap_or(FIRST));
            cell.add(n);
        } else if let Some(cell) = self.shard.rest.get_or_make(index - FIRST, OwnedCell::new) {
            cell.add(n);
        }
    }

    #[cold]
    #[inline(never)]
    fn observe_new(&mut self, histogram: HistogramId, value: u64, times: u64) {
        if u64::from(histogram.0) >= self.lanes.histograms.load(Ordering::Acquire) {
            return;
        }
        if let Some(cells) = self.shard.histograms.get(histogram.0 as usize) {
            cells.get_or_init(|| Box::new(HistogramCells::new())).observe(value, times);
        }
    }
}

impl MetricLane for MetricShard {
    #[inline(always)]
    fn add(&mut self, counter: CounterId, n: u64) {
        let index = counter.0 as usize;
        match self.shard.first.get(index) {
            Some(cell) if index < self.first_known => cell.add(n),
            _ => self.add_to_new_or_late(counter, n),
        }
    }

    #[inline(always)]
    fn observe(&mut self, histogram: HistogramId, value: u64, times: u64) {
        match self.shard.histogram(histogram.0 as usize) {
            Some(cells) => cells.observe(value, times),
            None => self.observe_new(histogram, value, times),
        }
    }

    /// A histogram that this lane has not observed yet has no exemplars.
    fn exemplar(&mut self, histogram: HistogramId, exemplar: &Exemplar) {
        if let Some(cells) = self.shard.histogram(histogram.0 as usize) {
            cells.exemplar(exemplar);
        }
    }
}

impl Drop for MetricShard {
    fn drop(&mut self) {
        self.lanes.roster.leave(&self.shard);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_counter_registered_after_the_lane_was_opened_is_counted_wherever_its_cell_lies() {
        let lanes = Arc::new(Lanes::new(FIRST + 600, 1));
        let mut lane = lanes.open();
        let ids = [0, FIRST - 1, FIRST, FIRST + 300].map(|id| u32::try_from(id).unwrap());
        for id in ids {
            lane.add(CounterId(id), 1);
            assert_eq!(lanes.counter(id), 0, "{id} has not been given out");
            lanes.publish_counters(id + 1);
            lane.add(CounterId(id), 5);
            assert_eq!(lanes.counter(id), 5);
        }
        drop(lane);
        for id in ids {
            assert_eq!(lanes.counter(id), 5, "{id} is kept when the lane ends");
            assert_eq!(lanes.totals().counter(id), 5);
        }
    }

    #[test]
    fn a_bound_counter_counts_beside_lanes_and_after_its_end() {
        let lanes = Arc::new(Lanes::new(2, 1));
        lanes.publish_counters(1);
        let mut lane = lanes.open();
        lane.add(CounterId(0), 1);
        let (mut first, mut second, mut never) =
            (lanes.bind(CounterId(0)), lanes.bind(CounterId(0)), lanes.bind(CounterId(1)));
        first.add(2);
        second.add(4);
        never.add(8);
        lanes.publish_counters(2);
        assert_eq!((lanes.counter(0), lanes.totals().counter(0)), (7, 7));
        drop(first);
        std::mem::forget(second);
        drop(lane);
        assert_eq!((lanes.counter(0), lanes.totals().counter(0)), (7, 7));
        assert_eq!((lanes.counter(1), lanes.totals().counter(1)), (0, 0), "it was not given out then");
    }

    #[test]
    fn a_leaked_lane_still_counts() {
        let lanes = Arc::new(Lanes::new(1, 1));
        lanes.publish_counters(1);
        lanes.publish_histograms(1);
        let mut lane = lanes.open();
        lane.add(CounterId(0), 3);
        lane.observe(HistogramId(0), 7, 2);
        std::mem::forget(lane);
        assert_eq!(lanes.counter(0), 3);
        assert_eq!(lanes.histogram(0).sum, 14);
    }

    #[test]
    fn an_id_beyond_the_room_is_ignored() {
        let lanes = Arc::new(Lanes::new(1, 1));
        lanes.publish_counters(u32::MAX);
        lanes.publish_histograms(u32::MAX);
        let mut lane = lanes.open();
        lane.add(CounterId(u32::MAX), 1);
        lane.observe(HistogramId(u32::MAX), 1, 1);
        assert_eq!(lanes.counter(u32::MAX), 0);
        assert_eq!(lanes.histogram(u32::MAX).count, 0);
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;

    #[test]
    fn loom_a_read_beside_a_lanes_end_never_goes_backwards() {
        loom::model(|| {
            let lanes = Arc::new(Lanes::new(1, 0));
            lanes.publish_counters(1);
            let writing = Arc::clone(&lanes);
            let writer = loom::thread::spawn(move || {
                let mut lane = writing.open();
                lane.add(CounterId(0), 1);
                lane.add(CounterId(0), 1);
            });
            let first = lanes.counter(0);
            let second = lanes.counter(0);
            assert!(first <= second && second <= 2, "{first}, then {second}");
            writer.join().unwrap();
            assert_eq!(lanes.counter(0), 2, "nothing is lost or counted twice");
        });
    }

    #[test]
    fn loom_two_lanes_that_end_at_once_are_both_counted() {
        loom::model(|| {
            let lanes = Arc::new(Lanes::new(1, 0));
            lanes.publish_counters(1);
            let writers = [1, 2].map(|n| {
                let mut lane = lanes.open();
                loom::thread::spawn(move || lane.add(CounterId(0), n))
            });
            let seen = lanes.counter(0);
            for writer in writers {
                writer.join().unwrap();
            }
            assert!(seen <= 3);
            assert_eq!(lanes.counter(0), 3);
        });
    }
}
