//! A counter that one owner has by itself, looked up once: an addition is a load and a store, without
//! the look-up by id of a lane.

use std::{collections::HashMap, sync::Arc};

use ng_core::metrics::CounterId;

use super::shard::Lanes;
use crate::{owned::OwnedCell, roster::Fold};

/// The owner's cell. Aligned to two cache lines, since the prefetcher fetches lines in pairs.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Cell {
    /// `None` if the id had not been given out.
    counter: Option<u32>,
    count: OwnedCell,
}

impl Cell {
    pub(super) fn new(counter: Option<CounterId>) -> Self {
        Self { counter: counter.map(|counter| counter.0), count: OwnedCell::new() }
    }

    /// What it counted, if it is one of this counter.
    pub(super) fn of(&self, counter: u32) -> u64 {
        if self.counter == Some(counter) { self.count.get() } else { 0 }
    }
}

impl Fold for Cell {
    /// By counter.
    type Totals = HashMap<u32, u64>;

    fn fold_into(&self, totals: &mut Self::Totals) {
        if let Some(counter) = self.counter {
            let total = totals.entry(counter).or_default();
            *total = total.wrapping_add(self.count.get());
        }
    }
}

/// One owner's part in a counter: [`Registry::bind`](super::Registry::bind) makes it.
///
/// When it is dropped its count goes to the totals; when it is leaked it still counts.
///
/// ```
/// use ng_core::metrics::{MetricDesc, MetricSink as _};
/// use ng_telemetry::{Registry, RegistryOptions};
///
/// let registry = Registry::new(&RegistryOptions::default());
/// let orders = registry.counter(&MetricDesc::new("orders_total", "Orders taken."))?;
/// let mut counter = registry.bind(orders);
/// for _ in 0..3 {
///     counter.add(1);
/// }
/// assert_eq!(registry.counter_value(orders), 3);
/// # Ok::<(), ng_core::metrics::RegisterError>(())
/// ```
#[derive(Debug)]
pub struct BoundCounter {
    cell: Arc<Cell>,
    lanes: Arc<Lanes>,
}

impl BoundCounter {
    pub(super) const fn new(cell: Arc<Cell>, lanes: Arc<Lanes>) -> Self {
        Self { cell, lanes }
    }

    /// Adds to the counter.
    #[inline(always)]
    pub fn add(&mut self, n: u64) {
        self.cell.count.add(n);
    }
}

impl Drop for BoundCounter {
    fn drop(&mut self) {
        self.lanes.unbind(&self.cell);
    }
}
