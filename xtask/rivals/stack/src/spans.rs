//! Spans of the rivals: `tracing` to OpenTelemetry's SDK, batches to an exporter that only counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, SpanData, SpanExporter,
};
use tracing_subscriber::layer::SubscriberExt;

#[derive(Debug, Clone, Default)]
struct Counting(Arc<AtomicU64>);

impl SpanExporter for Counting {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.fetch_add(batch.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}

pub(crate) struct Spans {
    provider: SdkTracerProvider,
    exported: Arc<AtomicU64>,
}

impl Spans {
    /// Installs the subscriber of this process. What a span carries beside its name and its fields
    /// (location, thread, idle time) is switched off, which is the fastest that the layer can be set to;
    /// the queue is as long as no span is lost.
    pub(crate) fn install(sampler: Sampler) -> Result<Self, String> {
        let exporter = Counting::default();
        let exported = Arc::clone(&exporter.0);
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(1 << 17)
            .with_max_export_batch_size(4_096)
            .build();
        let processor = BatchSpanProcessor::builder(exporter).with_batch_config(config).build();
        let provider =
            SdkTracerProvider::builder().with_sampler(sampler).with_span_processor(processor).build();
        let layer = tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("glue"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_level(false)
            .with_target(false);
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::set_global_default(subscriber).map_err(|error| error.to_string())?;
        Ok(Self { provider, exported })
    }

    /// Sends what is left and says how many were exported.
    pub(crate) fn finish(self) -> Result<u64, String> {
        self.provider.shutdown().map_err(|error| error.to_string())?;
        Ok(self.exported.load(Ordering::Relaxed))
    }
}
