//! The contract of metrics: ids given at registration, written by their owner, merged when read.
//!
//! A counter never goes backwards, not when a thread ends either. A lane never formats, locks or
//! allocates.

use crate::spans::{SpanId, TraceId};

/// A counter's dense id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CounterId(pub u32);

/// A gauge's dense id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GaugeId(pub u32);

/// A histogram's dense id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HistogramId(pub u32);

/// What a metric is called and means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricDesc {
    /// Full name, such as `neurograph_tokens_created_total`: `[a-zA-Z_:][a-zA-Z0-9_:]*`.
    pub name: String,
    /// One sentence.
    pub help: String,
    /// Fixed labels, in the order in which they are shown.
    pub labels: Vec<(String, String)>,
    /// The unit as Prometheus writes it (`seconds`, `bytes`), with which the name ends (before
    /// `_total`); empty if there is none.
    pub unit: &'static str,
    /// What one step of the whole numbers that are counted stands for, in `unit`.
    pub scale: Scale,
}

/// What one step of a counter or a histogram stands for when it is shown: lanes count whole
/// nanoseconds, Prometheus wants seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Scale {
    /// One.
    #[default]
    One,
    /// A thousandth.
    Milli,
    /// A millionth.
    Micro,
    /// A billionth.
    Nano,
}

impl Scale {
    /// How many steps are one of the unit.
    #[must_use]
    pub const fn steps(self) -> f64 {
        [1.0, 1e3, 1e6, 1e9][self as usize]
    }
}

impl MetricDesc {
    /// A metric without labels.
    #[must_use]
    pub fn new(name: &str, help: &str) -> Self {
        Self { name: name.to_owned(), help: help.to_owned(), labels: Vec::new(), unit: "", scale: Scale::One }
    }

    /// Shown in `unit`, of which one step is `scale`.
    #[must_use]
    pub fn unit(mut self, unit: &'static str, scale: Scale) -> Self {
        (self.unit, self.scale) = (unit, scale);
        self
    }

    /// With one more label.
    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// Why a metric could not be registered. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The name breaks Prometheus' rules.
    #[error("metric name {0:?} is not [a-zA-Z_:][a-zA-Z0-9_:]*")]
    BadName(String),
    /// The unit is not what the name ends with.
    #[error("{name} does not end with its unit {unit:?} (before _total): name it so, or leave the unit out")]
    BadUnit {
        /// The metric.
        name: String,
        /// The unit.
        unit: &'static str,
    },
    /// A label's name breaks Prometheus' rules, or stands twice, or is reserved.
    #[error("label name {label:?} of {metric}: {why}")]
    BadLabel {
        /// The metric.
        metric: String,
        /// The label.
        label: String,
        /// Which rule.
        why: &'static str,
    },
    /// The name is taken by a metric of another type.
    #[error("{name} is already a {existing}, and can't be a {asked} as well: choose another name")]
    OtherType {
        /// The name.
        name: String,
        /// What it is.
        existing: &'static str,
        /// What was asked for.
        asked: &'static str,
    },
    /// There is no room for another series.
    #[error("no room for {name}: all {limit} series are in use; raise telemetry.max_series")]
    TooMany {
        /// The name.
        name: String,
        /// How many series there may be.
        limit: usize,
    },
}

/// A histogram as read: how many values fell at or below each bound.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HistogramSnapshot {
    /// How many values.
    pub count: u64,
    /// Their sum; wraps at 2⁶⁴.
    pub sum: u64,
    /// `(upper bound inclusive, how many values in this bucket)`, ascending, empty ones left out.
    pub buckets: Vec<(u64, u64)>,
}

impl HistogramSnapshot {
    /// The least bound at or below which at least `q` of the values lie; `None` if there are no
    /// values. `q` is clamped to 0–1.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<u64> {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank among counts; 2^53 values are enough"
        )]
        let rank = ((self.count as f64 * q.clamp(0.0, 1.0)).ceil() as u64).max(1);
        let mut seen = 0;
        self.buckets.iter().find_map(|&(bound, n)| {
            seen += n;
            (seen >= rank).then_some(bound)
        })
    }
}

/// A span that shows what a value of a histogram was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exemplar {
    /// The value, in the histogram's steps.
    pub value: u64,
    /// The trace.
    pub trace: TraceId,
    /// The span.
    pub span: SpanId,
    /// When it ended, in nanoseconds since 1970.
    pub unix_ns: u64,
}

/// The shared side of metrics: one per stack.
pub trait MetricSink: Send + Sync {
    /// Registers a counter; the same description again gives the same id.
    ///
    /// # Errors
    /// See [`RegisterError`].
    fn counter(&self, desc: &MetricDesc) -> Result<CounterId, RegisterError>;

    /// Registers a histogram; the same description again gives the same id.
    ///
    /// # Errors
    /// See [`RegisterError`].
    fn histogram(&self, desc: &MetricDesc) -> Result<HistogramId, RegisterError>;

    /// Registers a gauge; the same description again gives the same id.
    ///
    /// # Errors
    /// See [`RegisterError`].
    fn gauge(&self, desc: &MetricDesc) -> Result<GaugeId, RegisterError>;

    /// Registers a counter that is asked for its value when it is read. For what another layer
    /// counts already. If it is registered twice, the later source counts.
    ///
    /// # Errors
    /// See [`RegisterError`].
    fn counter_from(
        &self,
        desc: &MetricDesc,
        read: Box<dyn Fn() -> u64 + Send + Sync>,
    ) -> Result<(), RegisterError>;

    /// Registers a gauge that is asked for its value when it is read. If it is registered twice,
    /// the later source counts.
    ///
    /// # Errors
    /// See [`RegisterError`].
    fn gauge_from(
        &self,
        desc: &MetricDesc,
        read: Box<dyn Fn() -> f64 + Send + Sync>,
    ) -> Result<(), RegisterError>;

    /// Sets a gauge, from any thread. An id that was never given out is ignored.
    fn set(&self, gauge: GaugeId, value: f64);

    /// A new lane, for one thread.
    fn lane(&self) -> Box<dyn MetricLane>;

    /// A counter's sum over all lanes, ended ones included; 0 for an id that was never given out.
    fn counter_value(&self, counter: CounterId) -> u64;

    /// A histogram merged over all lanes, ended ones included.
    fn histogram_value(&self, histogram: HistogramId) -> HistogramSnapshot;

    /// Everything in the Prometheus text format, version 0.0.4.
    fn render(&self, out: &mut String);

    /// Everything in the OpenMetrics text format, version 1.0.0, `# EOF` included; `false`, and
    /// nothing is written, if the sink has none.
    fn render_open_metrics(&self, out: &mut String) -> bool {
        let _ = out;
        false
    }

    /// Whether anything is kept. The contract suite asks a no-op for nothing but silence.
    fn is_enabled(&self) -> bool {
        true
    }
}

/// One thread's side of metrics. Ids that were never given out are ignored.
pub trait MetricLane: Send {
    /// Adds to a counter.
    fn add(&mut self, counter: CounterId, n: u64);

    /// Adds a value to a histogram, `times` over (a sampled value stands for those that were
    /// skipped).
    fn observe(&mut self, histogram: HistogramId, value: u64, times: u64);

    /// Says which span a value was about; the latest in each bucket is kept, or none at all.
    fn exemplar(&mut self, histogram: HistogramId, exemplar: &Exemplar) {
        let _ = (histogram, exemplar);
    }
}

impl<L: MetricLane + ?Sized> MetricLane for Box<L> {
    #[inline]
    fn add(&mut self, counter: CounterId, n: u64) {
        (**self).add(counter, n);
    }

    #[inline]
    fn observe(&mut self, histogram: HistogramId, value: u64, times: u64) {
        (**self).observe(histogram, value, times);
    }

    #[inline]
    fn exemplar(&mut self, histogram: HistogramId, exemplar: &Exemplar) {
        (**self).exemplar(histogram, exemplar);
    }
}

/// The metrics that are switched off: accept every registration and keep nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoMetrics;

impl MetricSink for NoMetrics {
    fn counter(&self, _desc: &MetricDesc) -> Result<CounterId, RegisterError> {
        Ok(CounterId(0))
    }

    fn histogram(&self, _desc: &MetricDesc) -> Result<HistogramId, RegisterError> {
        Ok(HistogramId(0))
    }

    fn gauge(&self, _desc: &MetricDesc) -> Result<GaugeId, RegisterError> {
        Ok(GaugeId(0))
    }

    fn counter_from(
        &self,
        _desc: &MetricDesc,
        _read: Box<dyn Fn() -> u64 + Send + Sync>,
    ) -> Result<(), RegisterError> {
        Ok(())
    }

    fn gauge_from(
        &self,
        _desc: &MetricDesc,
        _read: Box<dyn Fn() -> f64 + Send + Sync>,
    ) -> Result<(), RegisterError> {
        Ok(())
    }

    fn set(&self, _gauge: GaugeId, _value: f64) {}

    fn lane(&self) -> Box<dyn MetricLane> {
        Box::new(Self)
    }

    fn counter_value(&self, _counter: CounterId) -> u64 {
        0
    }

    fn histogram_value(&self, _histogram: HistogramId) -> HistogramSnapshot {
        HistogramSnapshot::default()
    }

    fn render(&self, _out: &mut String) {}

    fn is_enabled(&self) -> bool {
        false
    }
}

impl MetricLane for NoMetrics {
    #[inline(always)]
    fn add(&mut self, _counter: CounterId, _n: u64) {}

    #[inline(always)]
    fn observe(&mut self, _histogram: HistogramId, _value: u64, _times: u64) {}
}
