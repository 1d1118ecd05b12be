//! Counters and histograms. Each system is given what its documentation says is fast: a handle that
//! was looked up before, and the buckets that its histograms are made with by default.

use std::sync::Arc;
use std::time::Duration;

use metrics::Recorder as _;
use ng_core::metrics::{MetricDesc, MetricLane, MetricSink};
use ng_telemetry::{Registry, RegistryOptions};
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Temporality};

use crate::operation::{MANY, Subject, Timed, buffer, operations};

/// Durations of many magnitudes, in nanoseconds.
fn values() -> [u64; 64] {
    std::array::from_fn(|n| 37 * (n as u64 + 1) * (n as u64 + 1))
}

/// What [`prometheus`] and [`prometheus_client`] show of durations, in seconds.
const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

fn seconds(value: u64) -> f64 {
    value as f64 * 1e-9
}

fn subject(
    case: &'static str,
    system: &'static str,
    settle: impl Fn() + Sync + 'static,
    on_a_thread: impl Fn(Timed<'_>) + Sync + 'static,
) -> Subject {
    Subject {
        case,
        system,
        operations: MANY,
        on_a_thread: Box::new(on_a_thread),
        settle: Box::new(settle),
        served: None,
    }
}

/// A loop with a handle that counts and one that observes.
macro_rules! looped {
    ($timed:ident, |$n:ident| $more:expr) => {{
        let mut buffer = buffer();
        $timed(&mut |count| operations(&mut buffer, count, |$n| $more));
    }};
}

/// Takes metrics and keeps none.
struct Discard;

impl PushMetricExporter for Discard {
    async fn export(&self, _: &ResourceMetrics) -> OTelSdkResult {
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

pub(crate) fn subjects() -> Result<Vec<Subject>, String> {
    let values = values();
    let value = move |n: u64| values[n as usize % values.len()];
    let wrong = |error: &dyn std::error::Error| error.to_string();

    let registry = Arc::new(Registry::new(&RegistryOptions::default()));
    let ours = registry.counter(&MetricDesc::new("rivals_total", "")).map_err(|e| wrong(&e))?;
    let ours_histogram = registry.histogram(&MetricDesc::new("rivals_ns", "")).map_err(|e| wrong(&e))?;
    let (registry_too, registry_again) = (Arc::clone(&registry), Arc::clone(&registry));

    let prometheus = prometheus::IntCounter::new("rivals_total", "-").map_err(|e| wrong(&e))?;
    let options = prometheus::HistogramOpts::new("rivals_seconds", "-").buckets(BUCKETS.to_vec());
    let prometheus_histogram = prometheus::Histogram::with_opts(options).map_err(|e| wrong(&e))?;

    let client: prometheus_client::metrics::counter::Counter = Default::default();
    let client_histogram = prometheus_client::metrics::histogram::Histogram::new(BUCKETS);

    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new()
        .set_buckets(&BUCKETS)
        .map_err(|e| wrong(&e))?
        .build_recorder();
    let upkeep = recorder.handle();
    let metadata = metrics::Metadata::new("rivals", metrics::Level::INFO, None);
    let counter = recorder.register_counter(&metrics::Key::from_name("rivals_total"), &metadata);
    let histogram = recorder.register_histogram(&metrics::Key::from_name("rivals_seconds"), &metadata);

    let reader = PeriodicReader::builder(Discard).with_interval(Duration::from_secs(3_600)).build();
    let provider = SdkMeterProvider::builder().with_reader(reader).build();
    let meter = provider.meter("rivals");
    let otel = meter.u64_counter("rivals").build();
    let otel_histogram = meter.f64_histogram("rivals").with_boundaries(BUCKETS.to_vec()).build();
    let provider_too = provider.clone();

    Ok(vec![
        subject(
            "counter",
            "ng-telemetry",
            || (),
            move |timed| {
                let mut counter = registry.bind(ours);
                looped!(timed, |_n| counter.add(1));
            },
        ),
        subject(
            "counter",
            "ng-telemetry (lane, by id)",
            || (),
            move |timed| {
                let mut lane = registry_again.open_lane();
                looped!(timed, |_n| lane.add(ours, 1));
            },
        ),
        subject("counter", "prometheus", || (), move |timed| looped!(timed, |_n| prometheus.inc())),
        subject(
            "counter",
            "prometheus-client",
            || (),
            move |timed| {
                looped!(timed, |_n| {
                    client.inc();
                });
            },
        ),
        subject("counter", "metrics", || (), move |timed| looped!(timed, |_n| counter.increment(1))),
        subject(
            "counter",
            "opentelemetry",
            // Held, or the instruments are no-ops from the first drop on.
            move || {
                let _ = &provider_too;
            },
            move |timed| looped!(timed, |_n| otel.add(1, &[])),
        ),
        subject(
            "histogram",
            "ng-telemetry",
            || (),
            move |timed| {
                let mut lane = registry_too.open_lane();
                looped!(timed, |n| lane.observe(ours_histogram, value(n), 1));
            },
        ),
        subject(
            "histogram",
            "prometheus",
            || (),
            move |timed| {
                looped!(timed, |n| prometheus_histogram.observe(seconds(value(n))));
            },
        ),
        subject(
            "histogram",
            "prometheus-client",
            || (),
            move |timed| {
                looped!(timed, |n| client_histogram.observe(seconds(value(n))));
            },
        ),
        subject(
            "histogram",
            "metrics",
            // What the exporter's own thread does each 5 s: samples pile up without it.
            move || upkeep.run_upkeep(),
            move |timed| looped!(timed, |n| histogram.record(seconds(value(n)))),
        ),
        subject(
            "histogram",
            "opentelemetry",
            move || {
                let _ = &provider;
            },
            move |timed| looped!(timed, |n| otel_histogram.record(seconds(value(n)), &[])),
        ),
    ])
}
