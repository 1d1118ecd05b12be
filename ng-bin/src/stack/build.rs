//! From configuration, and a user's own sinks, to a running stack.
//!
//! Paths are looked at before anything is made, and the log is opened first, since it is what most
//! often can't be: where this fails, nothing was started.

use std::sync::Arc;
use std::time::Duration;

use ng_core::TokenStore;
use ng_core::admission::{Admission, NoAdmission};
use ng_core::clock::TickClock;
use ng_core::events::{Event, EventKind, EventRecorder, EventSchema, NoRecorder};
use ng_core::lane::{LaneMetrics, LaneOptions, OnLogFailure};
use ng_core::metrics::{MetricSink, NoMetrics};
use ng_core::sampling::{NoSampler, SpanSampler};
use ng_core::spans::{NoSpans, SpanSink};
use ng_core::wal::{NoWal, WalSink};

#[cfg(feature = "blackbox")]
use super::blackbox;
use super::choice::{AdmissionChoice, EventChoice, MetricChoice, SamplerChoice, SpanChoice, WalChoice};
use super::decree::Decrees;
use super::error::preflight;
use super::reclaim::Cleaner;
use super::recover::Recovered;
use super::{Stack, StackError, announce, promotion, watch};
use crate::config::{
    BlackboxKind, GuardianKind, Loaded, MetricsKind, OnFailure, SpanExporter, StackConfig, TracingKind,
    WalKind,
};

/// A stack to be: a configuration, and a user's own sink for each layer that shall have one.
#[derive(Default)]
pub struct Builder {
    config: StackConfig,
    wal: Option<Arc<dyn WalSink>>,
    admission: Option<Arc<dyn Admission>>,
    metrics: Option<Arc<dyn MetricSink>>,
    sampler: Option<Arc<dyn SpanSampler>>,
    spans: Option<Arc<dyn SpanSink>>,
    events: Option<Arc<dyn EventRecorder>>,
    schemas: Vec<EventSchema>,
    store: Option<Arc<TokenStore>>,
    tick_period: Option<Duration>,
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Builder {
    /// The configuration; the defaults otherwise.
    #[must_use]
    pub fn config(mut self, config: StackConfig) -> Self {
        self.config = config;
        self
    }

    /// A configuration that was read already.
    #[must_use]
    pub fn loaded(self, loaded: Loaded) -> Self {
        self.config(loaded.config)
    }

    /// A log of the user's own, in place of the configured one. It is not replayed.
    #[must_use]
    pub fn wal(mut self, sink: Arc<dyn WalSink>) -> Self {
        self.wal = Some(sink);
        self
    }

    /// An admission of the user's own, in place of the configured one.
    #[must_use]
    pub fn admission(mut self, admission: Arc<dyn Admission>) -> Self {
        self.admission = Some(admission);
        self
    }

    /// Metrics of the user's own, in place of the configured ones.
    #[must_use]
    pub fn metrics(mut self, sink: Arc<dyn MetricSink>) -> Self {
        self.metrics = Some(sink);
        self
    }

    /// A sampler of the user's own, in place of the configured one.
    #[must_use]
    pub fn sampler(mut self, sampler: Arc<dyn SpanSampler>) -> Self {
        self.sampler = Some(sampler);
        self
    }

    /// A span sink of the user's own, in place of the configured one.
    #[must_use]
    pub fn spans(mut self, sink: Arc<dyn SpanSink>) -> Self {
        self.spans = Some(sink);
        self
    }

    /// A flight recorder of the user's own, in place of the configured one.
    #[must_use]
    pub fn events(mut self, recorder: Arc<dyn EventRecorder>) -> Self {
        self.events = Some(recorder);
        self
    }

    /// Kinds of events of the user's own, for the rings' header; see [`ng_core::event`]. A recorder
    /// of the user's own knows them by itself.
    #[must_use]
    pub fn event_schemas(mut self, schemas: impl IntoIterator<Item = EventSchema>) -> Self {
        self.schemas.extend(schemas);
        self
    }

    /// A store that exists already, with its memory; a new one otherwise. A log that is found is
    /// put back into it.
    #[must_use]
    pub fn store(mut self, store: Arc<TokenStore>) -> Self {
        self.store = Some(store);
        self
    }

    /// How often the lanes' clock is refreshed, [`TickClock::PERIOD`] otherwise: what mostly waits
    /// for callers wakes up less often with a longer one, and a token's time (in whole seconds) may be
    /// that much too early.
    #[must_use]
    pub const fn tick_period(mut self, period: Duration) -> Self {
        self.tick_period = Some(period);
        self
    }

    /// Starts the stack.
    ///
    /// # Errors
    /// See [`StackError`]; what was started is stopped again then.
    pub fn build(mut self) -> Result<Stack, StackError> {
        self.look_at_paths()?;
        let config = self.config.clone();
        let store = self.store.take().unwrap_or_default();
        let (wal, recovered) = self.open_wal(&store)?;
        #[cfg(feature = "blackbox")]
        let (events, dead) = self.open_events(recovered.as_ref())?;
        #[cfg(not(feature = "blackbox"))]
        let events = self.open_events()?;
        #[cfg(feature = "blackbox")]
        let crash_path = blackbox::crash_path(&events, &config)?;
        let metrics = self.open_metrics();
        #[cfg(not(feature = "otlp"))]
        if !config.metrics.otlp_endpoint.is_empty() {
            return Err(missing("otlp"));
        }
        let sampler = self.open_sampler()?;
        let feed = promotion::Feed::of(&config);
        let decrees = Decrees::new(&config, sampler.clone());
        let admission = self.open_admission(&events, &feed, &decrees, &store)?;
        let spans = self.open_spans()?;
        #[cfg(feature = "telemetry")]
        let promoter = promotion::start(&config, feed.as_ref(), &spans, metrics.shared())?;
        let alarm = announce::Alarm::start(&wal, &spans).map_err(StackError::Clock)?;
        let clock =
            TickClock::start(self.tick_period.unwrap_or(TickClock::PERIOD)).map_err(StackError::Clock)?;
        if config.engine.populate_tokens > 0 {
            let tokens = u32::try_from(config.engine.populate_tokens).unwrap_or(u32::MAX);
            store.populate(config.engine.domain, tokens)?;
        }
        let lane_metrics =
            if metrics.is_off() { None } else { Some(LaneMetrics::register(metrics.shared())?) };
        watch::register(metrics.shared(), &store, &wal, &admission, &sampler, &spans, &events)?;
        #[cfg(feature = "blackbox")]
        blackbox::register(metrics.shared(), &events, &dead)?;
        let on_log_failure = match config.wal.on_failure {
            OnFailure::Stop => OnLogFailure::Stop,
            OnFailure::Continue => OnLogFailure::Continue,
        };
        let started = Event::rare(EventKind::STARTED, u64::from(std::process::id()), config.fingerprint());
        #[cfg(feature = "blackbox")]
        let note = blackbox::started_note(&config);
        #[cfg(not(feature = "blackbox"))]
        let note = String::new();
        events.shared().record_rare(started, &note);
        #[cfg(feature = "blackbox")]
        let durable_mark = {
            let base = recovered.as_ref().map_or(0, |recovered| recovered.next_lsn);
            blackbox::DurableMark::start(&wal, &events, base).map_err(StackError::Clock)?
        };
        if let Some(recovered) = &recovered {
            let event = Event::rare(EventKind::REPLAYED, recovered.records, store.len());
            events.shared().record_rare(event, recovered.torn.as_deref().unwrap_or_default());
        }
        #[cfg(feature = "otlp")]
        let metric_pusher = open_pusher(&config, &metrics)?;
        #[cfg(feature = "wal")]
        let checkpointer = super::checkpoint::Checkpointer::start(&wal, &store).map_err(StackError::Clock)?;
        let mut stack = Stack {
            #[cfg(feature = "otlp")]
            metric_pusher,
            store,
            clock,
            domain: config.engine.domain,
            lane_options: LaneOptions {
                log_every: config.wal.every,
                on_log_failure,
                metrics: lane_metrics,
                slow_ns: promotion::slow_ns(&config),
            },
            recovered,
            admission,
            decrees,
            wal,
            metrics,
            sampler,
            spans,
            events,
            feed,
            #[cfg(feature = "telemetry")]
            promoter,
            alarm,
            cleaner: None,
            #[cfg(feature = "wal")]
            checkpointer,
            #[cfg(feature = "blackbox")]
            dead,
            #[cfg(feature = "blackbox")]
            durable_mark,
            #[cfg(feature = "blackbox")]
            crash_path,
        };
        if config.guardian.cleanup && !stack.admission.is_off() {
            let policy = config.guardian.cleanup_policy;
            let cleaner = Cleaner::new(stack.lane("cleanup")?, Arc::clone(&stack.store), policy);
            let admission = stack.admission.clone();
            let cleaner = Arc::new(cleaner.resting(move || {
                let stats = admission.shared().stats();
                Some((stats.used, stats.limit))
            }));
            let weak: std::sync::Weak<dyn ng_core::admission::Reclaim> = Arc::downgrade(&cleaner) as _;
            stack.admission.shared().set_reclaim(weak);
            stack.cleaner = Some(cleaner);
        }
        Ok(stack)
    }

    fn look_at_paths(&self) -> Result<(), StackError> {
        let config = &self.config;
        if self.wal.is_none() && config.wal.kind == WalKind::Log {
            preflight("wal.dir", &config.wal.dir)?;
        }
        if self.events.is_none() && config.blackbox.kind == BlackboxKind::Rings {
            preflight("blackbox.dir", &config.blackbox.dir)?;
        }
        if self.spans.is_none()
            && config.tracing.kind == TracingKind::Sampled
            && config.tracing.exporter != SpanExporter::Otlp
            && let Some(parent) = config.tracing.output.as_deref().and_then(std::path::Path::parent)
        {
            preflight("tracing.output", parent)?;
        }
        Ok(())
    }

    fn open_wal(&mut self, store: &TokenStore) -> Result<(WalChoice, Option<Recovered>), StackError> {
        if let Some(custom) = self.wal.take() {
            return Ok((WalChoice::Custom(custom), None));
        }
        match self.config.wal.kind {
            WalKind::Off => Ok((WalChoice::Off(NoWal), None)),
            WalKind::Log => open_log(&self.config, store),
        }
    }

    #[cfg(feature = "blackbox")]
    fn open_events(
        &mut self,
        recovered: Option<&Recovered>,
    ) -> Result<(EventChoice, Vec<blackbox::Died>), StackError> {
        if let Some(custom) = self.events.take() {
            return Ok((EventChoice::Custom(custom), Vec::new()));
        }
        match self.config.blackbox.kind {
            BlackboxKind::Off => Ok((EventChoice::Off(NoRecorder), Vec::new())),
            BlackboxKind::Rings => blackbox::open(&self.config, std::mem::take(&mut self.schemas), recovered),
        }
    }

    #[cfg(not(feature = "blackbox"))]
    fn open_events(&mut self) -> Result<EventChoice, StackError> {
        if let Some(custom) = self.events.take() {
            return Ok(EventChoice::Custom(custom));
        }
        match self.config.blackbox.kind {
            BlackboxKind::Off => Ok(EventChoice::Off(NoRecorder)),
            BlackboxKind::Rings => Err(missing("blackbox")),
        }
    }

    fn open_admission(
        &mut self,
        events: &EventChoice,
        feed: &Option<Arc<promotion::Feed>>,
        decrees: &Arc<Decrees>,
        store: &TokenStore,
    ) -> Result<AdmissionChoice, StackError> {
        if let Some(custom) = self.admission.take() {
            return Ok(AdmissionChoice::Custom(custom));
        }
        match self.config.guardian.kind {
            GuardianKind::Off => Ok(AdmissionChoice::Off(NoAdmission)),
            GuardianKind::Leases => {
                let events = announce::announced(events, feed.clone());
                super::guardian::open(&self.config, events, decrees, store)
            }
        }
    }

    fn open_metrics(&mut self) -> MetricChoice {
        if let Some(custom) = self.metrics.take() {
            return MetricChoice::Custom(custom);
        }
        match self.config.metrics.kind {
            MetricsKind::Off => MetricChoice::Off(NoMetrics),
            MetricsKind::Sharded => open_registry(&self.config),
        }
    }

    fn open_sampler(&mut self) -> Result<SamplerChoice, StackError> {
        if let Some(custom) = self.sampler.take() {
            return Ok(SamplerChoice::Custom(custom));
        }
        match self.config.tracing.kind {
            TracingKind::Off => Ok(SamplerChoice::Off(NoSampler)),
            TracingKind::Sampled => open_gate(&self.config),
        }
    }

    fn open_spans(&mut self) -> Result<SpanChoice, StackError> {
        if let Some(custom) = self.spans.take() {
            return Ok(SpanChoice::Custom(custom));
        }
        match self.config.tracing.kind {
            TracingKind::Off => Ok(SpanChoice::Off(NoSpans)),
            TracingKind::Sampled => open_writer(&self.config),
        }
    }
}

/// A size of the configuration as this machine counts; its ranges keep it far below the limit.
#[cfg(any(feature = "wal", feature = "telemetry", feature = "blackbox"))]
pub(super) fn size(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

#[cfg(feature = "wal")]
fn open_log(config: &StackConfig, store: &TokenStore) -> Result<(WalChoice, Option<Recovered>), StackError> {
    use crate::config::{OnFull, OnMaxLog, WalBackend, WalMode};
    let recovered = super::replay(&config.wal.dir, store)?;
    let mut options = ng_wal::LogOptions::new(&config.wal.dir);
    options.backend = match config.wal.backend {
        WalBackend::Auto => ng_wal::BackendKind::Auto,
        WalBackend::Uring => ng_wal::BackendKind::Uring,
        WalBackend::Mmap => ng_wal::BackendKind::Mmap,
        WalBackend::Std => ng_wal::BackendKind::Std,
    };
    options.mode = match config.wal.mode {
        WalMode::Group => ng_wal::Mode::Group,
        WalMode::Each => ng_wal::Mode::Each,
        WalMode::Os => ng_wal::Mode::Os,
    };
    options.interval = Duration::from_millis(config.wal.interval_ms);
    options.batch_records = config.wal.batch_records;
    options.block_bytes = size(config.wal.block_kib << 10);
    options.buffers = size(config.wal.buffers);
    options.segment_bytes = config.wal.segment_mib << 20;
    options.spare_segments = size(config.wal.spare_segments);
    options.prewrite_bytes_s = config.wal.prewrite_mib_s << 20;
    options.on_full = match config.wal.on_full {
        OnFull::Block => ng_wal::OnFull::Block,
        OnFull::BlockFor => ng_wal::OnFull::BlockFor(Duration::from_millis(config.wal.on_full_wait_ms)),
        OnFull::Drop => ng_wal::OnFull::Drop,
        OnFull::Fail => ng_wal::OnFull::Fail,
    };
    options.checkpoint_bytes = config.wal.checkpoint_mib << 20;
    options.max_log_bytes = config.wal.max_log_mib << 20;
    options.at_limit = match config.wal.on_max_log {
        OnMaxLog::Checkpoint => ng_wal::AtLimit::Checkpoint,
        OnMaxLog::Block => ng_wal::AtLimit::Wait,
        OnMaxLog::Fail => ng_wal::AtLimit::Fail,
    };
    options.recycled_segments = size(config.wal.recycled_segments);
    let log = ng_wal::Log::open(options).map_err(|error| StackError::layer("wal")(error.into()))?;
    let chosen = log.backend();
    tracing::debug!(backend = chosen.kind.label(), why = chosen.why, "the log's way of output");
    if let Some(kind) = recovered.as_ref().and_then(|found| found.foreign_kind) {
        log.note_foreign(ng_core::wal::RecordKind(kind));
    }
    Ok((WalChoice::Built(Arc::new(log)), recovered))
}

#[cfg(not(feature = "wal"))]
fn open_log(
    _config: &StackConfig,
    _store: &TokenStore,
) -> Result<(WalChoice, Option<Recovered>), StackError> {
    Err(missing("wal"))
}

#[cfg(feature = "telemetry")]
fn open_registry(config: &StackConfig) -> MetricChoice {
    let options = ng_telemetry::RegistryOptions { max_series: size(config.metrics.max_series) };
    MetricChoice::Built(Arc::new(ng_telemetry::Registry::new(&options)))
}

#[cfg(not(feature = "telemetry"))]
fn open_registry(_config: &StackConfig) -> MetricChoice {
    MetricChoice::Off(NoMetrics)
}

#[cfg(feature = "telemetry")]
#[expect(clippy::cast_precision_loss, reason = "at most ten million")]
fn open_gate(config: &StackConfig) -> Result<SamplerChoice, StackError> {
    use ng_telemetry::sampling::{Adaptive, Rule};
    let failed = StackError::layer("tracing");
    let section = &config.tracing;
    let some = |n: u64| (n > 0).then_some(n as f64);
    let adaptive = some(section.target_per_second)
        .map(|target_per_second| Adaptive { target_per_second, ..Adaptive::default() });
    let sampler = ng_telemetry::Sampler::start(ng_telemetry::SamplerOptions {
        rate: section.rate,
        adaptive,
        rules: Rule::parse_list(&section.rules).map_err(|error| failed(error.into()))?,
        limit_per_second: some(section.limit_per_second),
        seed: None,
    })
    .map_err(|error| failed(error.into()))?;
    Ok(SamplerChoice::Built(Arc::new(sampler)))
}

#[cfg(not(feature = "telemetry"))]
fn open_gate(_config: &StackConfig) -> Result<SamplerChoice, StackError> {
    Err(missing("telemetry"))
}

#[cfg(feature = "telemetry")]
fn open_writer(config: &StackConfig) -> Result<SpanChoice, StackError> {
    let section = &config.tracing;
    let failed = StackError::layer("tracing");
    let mut options = ng_telemetry::SpanOptions::new(ng_telemetry::spans::Discard);
    options.exporter = exporter(config)?;
    options.lane_spans = size(section.lane_spans);
    options.queue_spans = size(section.queue_spans);
    options.batch_spans = size(section.batch_spans);
    options.shutdown = Duration::from_millis(section.shutdown_ms);
    let writer = ng_telemetry::SpanWriter::start(options).map_err(|error| failed(error.into()))?;
    Ok(SpanChoice::Built(Arc::new(writer)))
}

#[cfg(feature = "telemetry")]
fn exporter(config: &StackConfig) -> Result<Box<dyn ng_telemetry::spans::Exporter>, StackError> {
    use ng_telemetry::spans::{ChromeTrace, Discard, JsonLines, OtlpFile};
    let section = &config.tracing;
    let failed = StackError::layer("tracing");
    if section.exporter == SpanExporter::Otlp {
        return otlp_exporter(config);
    }
    let Some(path) = &section.output else { return Ok(Box::new(Discard)) };
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(|error| StackError::Path {
            key: "tracing.output",
            path: path.clone(),
            why: error.to_string(),
        })?;
    }
    let made: Result<Box<dyn ng_telemetry::spans::Exporter>, _> = match section.exporter {
        SpanExporter::OtlpFile => OtlpFile::open(path, &section.service).map(|made| Box::new(made) as _),
        SpanExporter::Chrome => ChromeTrace::create(path).map(|made| Box::new(made) as _),
        SpanExporter::File | SpanExporter::Otlp => JsonLines::open(path).map(|made| Box::new(made) as _),
    };
    made.map_err(|error| failed(error.into()))
}

#[cfg(feature = "otlp")]
fn otlp_options(
    config: &StackConfig,
    endpoint: &str,
    protocol: crate::config::OtlpProtocol,
) -> ng_telemetry::otlp::OtlpOptions {
    use ng_telemetry::otlp::Protocol;
    let protocol = match protocol {
        crate::config::OtlpProtocol::Http => Protocol::Http,
        crate::config::OtlpProtocol::Grpc => Protocol::Grpc,
    };
    let mut options = ng_telemetry::otlp::OtlpOptions::new(endpoint, protocol);
    options.gzip = config.tracing.gzip;
    options.timeout = Duration::from_millis(config.tracing.timeout_ms);
    options.service.clone_from(&config.tracing.service);
    options
}

#[cfg(feature = "otlp")]
fn otlp_exporter(config: &StackConfig) -> Result<Box<dyn ng_telemetry::spans::Exporter>, StackError> {
    let options = otlp_options(config, &config.tracing.endpoint, config.tracing.protocol);
    let made = ng_telemetry::otlp::OtlpSpans::new(&options);
    Ok(Box::new(made.map_err(|error| StackError::layer("tracing")(error.into()))?))
}

#[cfg(all(feature = "telemetry", not(feature = "otlp")))]
fn otlp_exporter(_config: &StackConfig) -> Result<Box<dyn ng_telemetry::spans::Exporter>, StackError> {
    Err(missing("otlp"))
}

/// The thread that sends metrics, if they are to be sent.
#[cfg(feature = "otlp")]
fn open_pusher(
    config: &StackConfig,
    metrics: &MetricChoice,
) -> Result<Option<ng_telemetry::otlp::MetricPusher>, StackError> {
    let section = &config.metrics;
    let MetricChoice::Built(registry) = metrics else { return Ok(None) };
    if section.otlp_endpoint.is_empty() {
        return Ok(None);
    }
    let options = otlp_options(config, &section.otlp_endpoint, section.otlp_protocol);
    let interval = Duration::from_millis(section.otlp_interval_ms);
    ng_telemetry::otlp::MetricPusher::start(Arc::clone(registry), options, interval)
        .map(Some)
        .map_err(|error| StackError::layer("metrics")(error.into()))
}

#[cfg(not(feature = "telemetry"))]
fn open_writer(_config: &StackConfig) -> Result<SpanChoice, StackError> {
    Err(missing("telemetry"))
}

/// A configuration that was put together in code asks for a layer that isn't there; one that was
/// read from a file was refused before.
#[cfg(not(all(
    feature = "wal",
    feature = "guardian",
    feature = "telemetry",
    feature = "otlp",
    feature = "blackbox"
)))]
pub(super) fn missing(feature: &'static str) -> StackError {
    StackError::Layer {
        layer: feature,
        source: format!(
            "not compiled in: build ng-stack with the feature \"{feature}\" or switch the layer off"
        )
        .into(),
    }
}
