//! Spans, each with one attribute: by the system's own call, and by `tracing` macros. What is sampled
//! goes to an exporter that drops it, on the system's own thread, which works between the turns.

use std::sync::Arc;
use std::time::Duration;

use ng_core::spans::SpanSink;
use ng_telemetry::spans::Discard;
use ng_telemetry::tracing_layer::{Ops, SamplingLayer};
use ng_telemetry::{Sampler, SpanOptions, SpanWriter, op};
use opentelemetry::KeyValue;
use opentelemetry::trace::{Span as _, Tracer as _, TracerProvider as _};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler as OtelSampler, SdkTracerProvider, SpanData, SpanExporter,
};
use tracing_subscriber::layer::SubscriberExt as _;

use crate::operation::{FEW, MANY, Subject, Timed, buffer, operations};
use crate::served::Served;

/// Takes spans and keeps none.
#[derive(Debug)]
struct Nowhere;

impl SpanExporter for Nowhere {
    async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
        Ok(())
    }
}

impl fastrace::collector::Reporter for Nowhere {
    fn report(&mut self, _: Vec<fastrace::collector::SpanRecord>) {}
}

fn otel(sampled: bool) -> SdkTracerProvider {
    let config = BatchConfigBuilder::default()
        .with_max_queue_size(16_384)
        .with_max_export_batch_size(16_384)
        .with_scheduled_delay(Duration::from_secs(60))
        .build();
    let sampler = OtelSampler::TraceIdRatioBased(if sampled { 1.0 } else { 0.0 });
    SdkTracerProvider::builder()
        .with_sampler(OtelSampler::ParentBased(Box::new(sampler)))
        .with_span_processor(BatchSpanProcessor::builder(Nowhere).with_batch_config(config).build())
        .build()
}

/// Which of the cases, and how many operations it is measured on.
fn case(sampled: bool, macros: bool) -> (&'static str, u64) {
    match (sampled, macros) {
        (false, false) => ("span_unsampled", MANY),
        (true, false) => ("span_sampled", FEW),
        (false, true) => ("span_unsampled_tracing_macros", MANY),
        (true, true) => ("span_sampled_tracing_macros", FEW),
    }
}

fn by_macros(timed: Timed<'_>) {
    let mut buffer = buffer();
    timed(&mut |count| {
        operations(&mut buffer, count, |n| drop(tracing::info_span!("token.create", n).entered()));
    });
}

/// Makes a layer the program's one subscriber.
fn install(
    layer: impl tracing_subscriber::Layer<tracing_subscriber::Registry> + Send + Sync,
) -> Result<(), String> {
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::set_global_default(subscriber).map_err(|error| error.to_string())
}

fn ours(sampled: bool, macros: bool) -> Result<Subject, String> {
    let options = SpanOptions { lane_spans: 16_384, queue_spans: 16_384, ..SpanOptions::new(Discard) };
    let options = SpanOptions { interval: Duration::from_secs(60), ..options };
    let writer = Arc::new(SpanWriter::start(options).map_err(|error| error.to_string())?);
    let rate = if sampled { 1.0 } else { 0.0 };
    let sampler = Arc::new(Sampler::new(rate, None).map_err(|error| error.to_string())?);
    let (case, operations_) = case(sampled, macros);
    let settled = Arc::clone(&writer);
    let on_a_thread: Box<dyn Fn(Timed<'_>) + Sync> = if macros {
        install(SamplingLayer::new(sampler, &writer))?;
        Box::new(by_macros)
    } else {
        Box::new(move |timed| {
            let mut ops = Ops::new(Arc::clone(&sampler), &writer);
            let mut buffer = buffer();
            timed(&mut |count| {
                operations(&mut buffer, count, |n| {
                    let mut span = op!(ops, "token.create");
                    span.set("n", || n.into());
                });
            });
        })
    };
    Ok(Subject {
        case,
        system: "ng-telemetry",
        operations: operations_,
        on_a_thread,
        settle: Box::new(move || {
            settled.flush(Duration::from_secs(10));
        }),
        served: None,
    })
}

fn opentelemetry(sampled: bool) -> Subject {
    let provider = otel(sampled);
    let settled = provider.clone();
    let (case, operations_) = case(sampled, false);
    Subject {
        case,
        system: "opentelemetry",
        operations: operations_,
        on_a_thread: Box::new(move |timed| {
            let tracer = provider.tracer("rivals");
            let mut buffer = buffer();
            timed(&mut |count| {
                operations(&mut buffer, count, |n| {
                    let mut span = tracer.start("token.create");
                    span.set_attribute(KeyValue::new("n", n as i64));
                    span.end();
                });
            });
        }),
        settle: Box::new(move || drop(settled.force_flush())),
        served: None,
    }
}

fn tracing_opentelemetry(sampled: bool) -> Result<Subject, String> {
    let provider = otel(sampled);
    install(tracing_opentelemetry::layer().with_tracer(provider.tracer("rivals")))?;
    let (case, operations) = case(sampled, true);
    Ok(Subject {
        case,
        system: "tracing-opentelemetry",
        operations,
        on_a_thread: Box::new(by_macros),
        settle: Box::new(move || drop(provider.force_flush())),
        served: None,
    })
}

fn fastrace(sampled: bool) -> Subject {
    let (case, operations_) = case(sampled, false);
    Subject {
        case,
        system: "fastrace",
        operations: operations_,
        on_a_thread: Box::new(move |timed| {
            let mut buffer = buffer();
            timed(&mut |count| {
                operations(&mut buffer, count, |n| {
                    let context = fastrace::prelude::SpanContext::random().sampled(sampled);
                    let root = fastrace::Span::root("token.create", context);
                    drop(root.with_property(|| ("n", n.to_string())));
                });
            });
        }),
        settle: Box::new(fastrace::flush),
        served: None,
    }
}

/// A system at macros, in a process of its own.
fn apart(system: &'static str, sampled: bool) -> Result<Subject, String> {
    let (case, operations) = case(sampled, true);
    let served = Served::start(&format!("{case}/{system}"))?;
    Ok(Subject {
        case,
        system,
        operations,
        on_a_thread: Box::new(|_| ()),
        settle: Box::new(|| ()),
        served: Some(served),
    })
}

/// What such a process measures.
pub(crate) fn served(which: &str) -> Result<Subject, String> {
    let (case, system) = which.split_once('/').unwrap_or_default();
    let sampled = case == "span_sampled_tracing_macros";
    match system {
        "ng-telemetry" => ours(sampled, true),
        "tracing-opentelemetry" => tracing_opentelemetry(sampled),
        _ => Err(format!("no system {which:?} is measured by itself")),
    }
}

pub(crate) fn subjects() -> Result<Vec<Subject>, String> {
    let config = fastrace::collector::Config::default().report_interval(Duration::from_secs(60));
    fastrace::set_reporter(Nowhere, config);
    Ok(vec![
        ours(false, false)?,
        opentelemetry(false),
        fastrace(false),
        ours(true, false)?,
        opentelemetry(true),
        fastrace(true),
        apart("ng-telemetry", false)?,
        apart("tracing-opentelemetry", false)?,
        apart("ng-telemetry", true)?,
        apart("tracing-opentelemetry", true)?,
    ])
}
