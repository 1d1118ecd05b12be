//! Label sets that are bound as they come up, for labels whose values are not known beforehand.
//!
//! Whoever has a label value from outside (a tenant, a route) must not be able to make a series of
//! each: after `cap` sets all further ones share one series, whose label values are
//! [`OVERFLOW`], and each look-up that ended there is counted in
//! `neurograph_telemetry_label_overflow_total{metric}`. Bind once and keep the id: a look-up takes
//! a lock.

use std::collections::HashMap;
use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use ng_core::metrics::{CounterId, GaugeId, HistogramId, MetricDesc, MetricSink, RegisterError};

/// The value of every label of the series that takes what is beyond the cap.
pub const OVERFLOW: &str = "_overflow";

/// Bytes of a label value beyond which it is cut.
pub const MAX_VALUE_BYTES: usize = 256;

/// A metric's series by their label values. `I` is what is bound: a [`CounterId`], a [`GaugeId`] or
/// a [`HistogramId`].
///
/// ```
/// use std::sync::Arc;
/// use ng_core::metrics::{MetricDesc, MetricLane, MetricSink};
/// use ng_telemetry::{Registry, RegistryOptions, metrics::Family};
///
/// let registry = Arc::new(Registry::new(&RegistryOptions::default()));
/// let desc = MetricDesc::new("requests_total", "Requests, by tenant.");
/// let requests = Family::counters(registry.clone(), &desc, &["tenant"], 2)?;
/// let mut lane = registry.open_lane();
/// for tenant in ["a", "b", "c", "d"] {
///     lane.add(requests.bind(&[tenant]), 1);
/// }
/// let mut text = String::new();
/// registry.render(&mut text);
/// assert!(text.contains("requests_total{tenant=\"a\"} 1\n"));
/// assert!(text.contains("requests_total{tenant=\"_overflow\"} 2\n"));
/// assert!(text.contains("neurograph_telemetry_label_overflow_total{metric=\"requests_total\"} 2\n"));
/// # Ok::<(), ng_core::metrics::RegisterError>(())
/// ```
pub struct Family<I> {
    sink: Arc<dyn MetricSink>,
    register: fn(&dyn MetricSink, &MetricDesc) -> Result<I, RegisterError>,
    desc: MetricDesc,
    names: Vec<String>,
    cap: usize,
    bound: Mutex<HashMap<Vec<String>, I>>,
    overflow: I,
    overflowed: Arc<AtomicU64>,
}

impl Family<CounterId> {
    /// A counter's.
    ///
    /// # Errors
    /// See [`RegisterError`]; the series for what is beyond the cap is registered at once, so a bad
    /// name shows here.
    pub fn counters(
        sink: Arc<dyn MetricSink>,
        desc: &MetricDesc,
        labels: &[&str],
        cap: usize,
    ) -> Result<Self, RegisterError> {
        Self::new(sink, |sink, desc| sink.counter(desc), desc, labels, cap)
    }
}

impl Family<GaugeId> {
    /// A gauge's.
    ///
    /// # Errors
    /// As [`Family::counters`].
    pub fn gauges(
        sink: Arc<dyn MetricSink>,
        desc: &MetricDesc,
        labels: &[&str],
        cap: usize,
    ) -> Result<Self, RegisterError> {
        Self::new(sink, |sink, desc| sink.gauge(desc), desc, labels, cap)
    }
}

impl Family<HistogramId> {
    /// A histogram's.
    ///
    /// # Errors
    /// As [`Family::counters`].
    pub fn histograms(
        sink: Arc<dyn MetricSink>,
        desc: &MetricDesc,
        labels: &[&str],
        cap: usize,
    ) -> Result<Self, RegisterError> {
        Self::new(sink, |sink, desc| sink.histogram(desc), desc, labels, cap)
    }
}

impl<I: Copy> Family<I> {
    fn new(
        sink: Arc<dyn MetricSink>,
        register: fn(&dyn MetricSink, &MetricDesc) -> Result<I, RegisterError>,
        desc: &MetricDesc,
        labels: &[&str],
        cap: usize,
    ) -> Result<Self, RegisterError> {
        let names: Vec<String> = labels.iter().map(|&name| name.to_owned()).collect();
        let overflow = register(&*sink, &labelled(desc, &names, |_| OVERFLOW))?;
        let overflowed = Arc::new(AtomicU64::new(0));
        let read = Arc::clone(&overflowed);
        let about = MetricDesc::new(
            "neurograph_telemetry_label_overflow_total",
            "Label sets looked up beyond a metric's cap, which share one series.",
        );
        sink.counter_from(
            &about.label("metric", &desc.name),
            Box::new(move || read.load(Ordering::Relaxed)),
        )?;
        let bound = Mutex::new(HashMap::new());
        Ok(Self { sink, register, desc: desc.clone(), names, cap, bound, overflow, overflowed })
    }

    /// The series of these label values, in the order of the names; missing ones are empty, further
    /// ones are ignored. Beyond the cap, and when the registry is full, the overflow's.
    #[must_use]
    pub fn bind(&self, values: &[&str]) -> I {
        let value = |at: usize| cut(values.get(at).copied().unwrap_or_default());
        let key: Vec<String> = (0..self.names.len()).map(|at| value(at).to_owned()).collect();
        let mut bound = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = bound.get(&key) {
            return *id;
        }
        if bound.len() < self.cap
            && let Ok(id) = (self.register)(&*self.sink, &labelled(&self.desc, &self.names, value))
        {
            bound.insert(key, id);
            return id;
        }
        self.overflowed.fetch_add(1, Ordering::Relaxed);
        self.overflow
    }

    /// How many label sets have a series of their own.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bound.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether no label set has been bound yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn labelled<'a>(desc: &MetricDesc, names: &[String], value: impl Fn(usize) -> &'a str) -> MetricDesc {
    let label = |desc: MetricDesc, (at, name): (usize, &String)| desc.label(name, value(at));
    names.iter().enumerate().fold(desc.clone(), label)
}

fn cut(value: &str) -> &str {
    let end = value.floor_char_boundary(MAX_VALUE_BYTES);
    &value[..end]
}

impl<I> std::fmt::Debug for Family<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Family").field("desc", &self.desc).field("cap", &self.cap).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::{Registry, RegistryOptions};

    #[test]
    fn a_full_registry_overflows_as_a_full_family_does() {
        let registry = Arc::new(Registry::new(&RegistryOptions { max_series: 3 }));
        let family =
            Family::gauges(registry, &MetricDesc::new("g", "").label("fixed", "1"), &["l"], 10).unwrap();
        let first = family.bind(&["a"]);
        assert_eq!(family.bind(&["a"]), first);
        assert_eq!((family.bind(&["b"]), family.len()), (family.overflow, 1));
        assert_eq!(family.overflowed.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn long_missing_and_surplus_values_are_bound_all_the_same() {
        let registry = Arc::new(Registry::new(&RegistryOptions::default()));
        let family =
            Family::counters(registry.clone(), &MetricDesc::new("c_total", ""), &["a", "b"], 9).unwrap();
        let long = "\u{4e16}".repeat(1_000);
        assert_eq!(family.bind(&[&long]), family.bind(&[&long[..MAX_VALUE_BYTES - 1], "", "more"]));
        Family::counters(registry, &MetricDesc::new("d_total", ""), &["0"], 9).unwrap_err();
    }
}
