//! The shared side of metrics: registration, reading, rendering.
//!
//! Callbacks are asked without any lock held, so they may use the registry themselves.

use std::sync::{Arc, atomic};

use ng_core::metrics::{
    CounterId, GaugeId, HistogramId, HistogramSnapshot, MetricDesc, MetricLane, MetricSink, RegisterError,
};

use super::{
    bound::BoundCounter,
    catalog::{Catalog, Kind, Listed, Source},
    chunks::Chunks,
    exposition::Scrapes,
    open_metrics,
    shard::{Lanes, MetricShard},
    snapshot::{FamilySnapshot, SeriesSnapshot, SeriesValue},
    text::{self, HISTOGRAM_SERIES},
};
use crate::sync::{Mutex, lock};

/// The most series that [`RegistryOptions::max_series`] may ask for.
pub const MAX_SERIES: usize = 1_000_000;

/// How a [`Registry`] is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryOptions {
    /// How many series there may be, 0–[`MAX_SERIES`] (a greater number is taken as that); a
    /// histogram counts for [`HISTOGRAM_SERIES`]. 10,000 by default. One more is refused, and
    /// counted in `neurograph_telemetry_series_refused_total`.
    pub max_series: usize,
}

impl Default for RegistryOptions {
    fn default() -> Self {
        Self { max_series: 10_000 }
    }
}

/// The metrics of a stack.
///
/// ```
/// use ng_core::metrics::{MetricDesc, MetricLane, MetricSink};
/// use ng_telemetry::{Registry, RegistryOptions};
///
/// let registry = Registry::new(&RegistryOptions::default());
/// let made = registry.counter(&MetricDesc::new("tokens_made_total", "Tokens made."))?;
/// let mut lane = registry.open_lane();
/// lane.add(made, 3);
/// drop(lane);
///
/// let mut text = String::new();
/// registry.render(&mut text);
/// assert!(text.contains("tokens_made_total 3\n"));
/// # Ok::<(), ng_core::metrics::RegisterError>(())
/// ```
#[derive(Debug)]
pub struct Registry {
    catalog: Mutex<Catalog>,
    lanes: Arc<Lanes>,
    /// The bits of each gauge's `f64`; they are shared, since a gauge is set and not added to.
    gauges: Chunks<atomic::AtomicU64>,
    gauges_given: atomic::AtomicU32,
    refused: Arc<atomic::AtomicU64>,
    scrapes: Arc<Scrapes>,
}

impl Registry {
    /// An empty registry, except for what it says of itself.
    #[must_use]
    pub fn new(options: &RegistryOptions) -> Self {
        let room = options.max_series.min(MAX_SERIES);
        let refused = Arc::new(atomic::AtomicU64::new(0));
        let mut catalog = Catalog::new(room);
        let read = Arc::clone(&refused);
        let described = catalog.ask_uncounted(
            &MetricDesc::new(
                "neurograph_telemetry_series_refused_total",
                "Series that were refused because telemetry.max_series are in use.",
            ),
            Kind::Counter,
            &Source::Count(Arc::new(move || read.load(atomic::Ordering::Relaxed))),
        );
        debug_assert!(described.is_ok(), "the name is right and the catalog is empty: {described:?}");
        Self {
            catalog: Mutex::new(catalog),
            lanes: Arc::new(Lanes::new(room, room / HISTOGRAM_SERIES)),
            gauges: Chunks::with_room_for(room),
            gauges_given: atomic::AtomicU32::new(0),
            refused,
            scrapes: Arc::default(),
        }
    }

    /// A new lane, as its own type, so that its calls can be inlined.
    #[must_use]
    pub fn open_lane(&self) -> MetricShard {
        self.lanes.open()
    }

    /// A counter of one owner, looked up once: the cheapest way to count. Each takes 128 bytes and a
    /// place in each scrape. One of an id that was not given out counts for nobody.
    #[must_use]
    pub fn bind(&self, counter: CounterId) -> BoundCounter {
        self.lanes.bind(counter)
    }

    fn register<R>(
        &self,
        register: impl FnOnce(&mut Catalog) -> Result<R, RegisterError>,
    ) -> Result<R, RegisterError> {
        let registered = register(&mut lock(&self.catalog));
        if let Err(RegisterError::TooMany { .. }) = registered {
            self.refused.fetch_add(1, atomic::Ordering::Relaxed);
        }
        registered
    }

    /// Registers an info: a gauge of 1 whose labels are what it says. The name gets `_info` if it
    /// doesn't end with it; the same description again changes nothing.
    ///
    /// # Errors
    /// See [`RegisterError`].
    pub fn info(&self, desc: &MetricDesc) -> Result<(), RegisterError> {
        let mut desc = desc.clone();
        if !desc.name.ends_with("_info") {
            desc.name.push_str("_info");
        }
        self.register(|catalog| catalog.ask(&desc, Kind::Info, &Source::Level(Arc::new(|| 1.0))))
    }

    /// Registers a counter that counts against no cap, for what the registry says of itself.
    pub(crate) fn count_of_own(&self, desc: &MetricDesc, read: Arc<dyn Fn() -> u64 + Send + Sync>) {
        let asked = lock(&self.catalog).ask_uncounted(desc, Kind::Counter, &Source::Count(read));
        debug_assert!(asked.is_ok(), "{}: {asked:?}", desc.name);
    }

    /// Registers a gauge as [`Self::count_of_own`] does a counter.
    pub(super) fn level_of_own(&self, desc: &MetricDesc, read: Arc<dyn Fn() -> f64 + Send + Sync>) {
        let asked = lock(&self.catalog).ask_uncounted(desc, Kind::Gauge, &Source::Level(read));
        debug_assert!(asked.is_ok(), "{}: {asked:?}", desc.name);
    }

    /// How the registry's own scrapes went.
    pub(super) fn scrapes(&self) -> &Arc<Scrapes> {
        &self.scrapes
    }

    /// Everything, as of one moment.
    pub(crate) fn snapshot(&self) -> Vec<FamilySnapshot> {
        let families = lock(&self.catalog).list();
        let totals = self.lanes.totals();
        let read = |family: Listed| {
            let value = |source: &Source| match (source, family.kind) {
                (Source::Owned(id), Kind::Counter) => SeriesValue::Count(totals.counter(*id)),
                (Source::Owned(id), Kind::Histogram) => {
                    SeriesValue::Histogram(Box::new((totals.histogram(*id), totals.exemplars(*id))))
                }
                (Source::Owned(id), Kind::Gauge | Kind::Info) => SeriesValue::Level(self.level(*id)),
                (Source::Count(read), _) => SeriesValue::Count(read()),
                (Source::Level(read), _) => SeriesValue::Level(read()),
            };
            let series = family
                .series
                .into_iter()
                .map(|(shown, source)| SeriesSnapshot { shown, value: value(&source) });
            FamilySnapshot {
                series: series.collect(),
                name: family.name,
                kind: family.kind,
                help: family.help,
                unit: family.unit,
                scale: family.scale,
            }
        };
        families.into_iter().map(read).collect()
    }

    fn level(&self, id: u32) -> f64 {
        let cell = self.gauges.get(id as usize);
        f64::from_bits(cell.map_or(0, |cell| cell.load(atomic::Ordering::Relaxed)))
    }
}

impl MetricSink for Registry {
    fn counter(&self, desc: &MetricDesc) -> Result<CounterId, RegisterError> {
        self.register(|catalog| {
            let id = catalog.own(desc, Kind::Counter)?;
            self.lanes.publish_counters(catalog.ids_given(Kind::Counter));
            Ok(CounterId(id))
        })
    }

    fn histogram(&self, desc: &MetricDesc) -> Result<HistogramId, RegisterError> {
        self.register(|catalog| {
            let id = catalog.own(desc, Kind::Histogram)?;
            self.lanes.publish_histograms(catalog.ids_given(Kind::Histogram));
            Ok(HistogramId(id))
        })
    }

    fn gauge(&self, desc: &MetricDesc) -> Result<GaugeId, RegisterError> {
        self.register(|catalog| {
            let id = catalog.own(desc, Kind::Gauge)?;
            self.gauges.get_or_make(id as usize, || atomic::AtomicU64::new(0));
            self.gauges_given.store(catalog.ids_given(Kind::Gauge), atomic::Ordering::Release);
            Ok(GaugeId(id))
        })
    }

    fn counter_from(
        &self,
        desc: &MetricDesc,
        read: Box<dyn Fn() -> u64 + Send + Sync>,
    ) -> Result<(), RegisterError> {
        self.register(|catalog| catalog.ask(desc, Kind::Counter, &Source::Count(read.into())))
    }

    fn gauge_from(
        &self,
        desc: &MetricDesc,
        read: Box<dyn Fn() -> f64 + Send + Sync>,
    ) -> Result<(), RegisterError> {
        self.register(|catalog| catalog.ask(desc, Kind::Gauge, &Source::Level(read.into())))
    }

    fn set(&self, gauge: GaugeId, value: f64) {
        if gauge.0 < self.gauges_given.load(atomic::Ordering::Acquire)
            && let Some(cell) = self.gauges.get(gauge.0 as usize)
        {
            cell.store(value.to_bits(), atomic::Ordering::Relaxed);
        }
    }

    fn lane(&self) -> Box<dyn MetricLane> {
        Box::new(self.open_lane())
    }

    fn counter_value(&self, counter: CounterId) -> u64 {
        self.lanes.counter(counter.0)
    }

    fn histogram_value(&self, histogram: HistogramId) -> HistogramSnapshot {
        self.lanes.histogram(histogram.0)
    }

    fn render(&self, out: &mut String) {
        text::write(out, &self.snapshot());
    }

    fn render_open_metrics(&self, out: &mut String) -> bool {
        open_metrics::write(out, &self.snapshot());
        true
    }
}
