//! The thread that sends the registry to a receiver at an interval.

use std::{
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use ng_core::{clock::precise_unix_ns, metrics::MetricDesc};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse, metrics_service_client::MetricsServiceClient,
};
use tonic::{Response, Status, codec::CompressionEncoding, transport::Channel};

use super::{
    client::{Client, Signal, Verdict, runtime},
    metrics::{Window, request},
    options::{OtlpError, OtlpOptions},
    resource::describe,
};
use crate::Registry;

/// What a pusher counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PushStats {
    /// Requests that the receiver took.
    pub pushed: u64,
    /// Requests given up after all retries; the next one carries the same counts and more.
    pub failed: u64,
    /// Data points that the receiver rejected in requests that it took.
    pub rejected_points: u64,
}

/// The thread. It sends once more when it is dropped, and is given the options' timeout for that.
#[derive(Debug)]
pub struct MetricPusher {
    shared: Arc<Shared>,
    timeout: Duration,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    ended: Condvar,
    pushed: AtomicU64,
    failed: AtomicU64,
    rejected_points: AtomicU64,
    last_error: Mutex<Option<String>>,
    last_warning: Mutex<Option<String>>,
}

#[derive(Debug, Default)]
struct State {
    stop: bool,
    ended: bool,
}

/// Metrics, as the client sends them.
struct Metrics;

impl Signal for Metrics {
    type Request = ExportMetricsServiceRequest;
    type Response = ExportMetricsServiceResponse;
    type Stub = MetricsServiceClient<Channel>;
    const PATH: &'static str = "/v1/metrics";
    const VARIABLES: &'static str = "METRICS";

    fn stub(channel: Channel, gzip: bool) -> Self::Stub {
        let stub = MetricsServiceClient::new(channel).accept_compressed(CompressionEncoding::Gzip);
        if gzip { stub.send_compressed(CompressionEncoding::Gzip) } else { stub }
    }

    async fn call(
        mut stub: Self::Stub,
        request: tonic::Request<Self::Request>,
    ) -> Result<Response<Self::Response>, Status> {
        stub.export(request).await
    }

    fn partial(response: Self::Response) -> (i64, String) {
        response
            .partial_success
            .map(|said| (said.rejected_data_points, said.error_message))
            .unwrap_or_default()
    }
}

impl MetricPusher {
    /// Starts the thread, `ng-otlp-metrics`; `interval` is at least 100 ms.
    ///
    /// # Errors
    /// See [`OtlpError`]. A receiver that is not there yet is no error.
    pub fn start(
        registry: Arc<Registry>,
        options: OtlpOptions,
        interval: Duration,
    ) -> Result<Self, OtlpError> {
        let runtime = runtime()?;
        let client = {
            let _within = runtime.enter();
            Client::<Metrics>::new(&options)?
        };
        let shared = Arc::new(Shared::default());
        shared.show(&registry);
        let (telling, timeout) = (Arc::clone(&shared), options.timeout);
        let interval = interval.max(Duration::from_millis(100));
        let resource = describe(&options.service);
        let start_ns = precise_unix_ns();
        let thread = std::thread::Builder::new().name("ng-otlp-metrics".to_owned()).spawn(move || {
            let mut stop = false;
            while !stop {
                stop = telling.wait(interval);
                let window = Window { start_ns, now_ns: precise_unix_ns() };
                let request = request(&registry.snapshot(), &resource, window);
                let sent = runtime.block_on(client.send(&request, options.timeout));
                telling.tell(sent, &options.shown());
            }
            telling.state.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
            telling.ended.notify_all();
        });
        Ok(Self { shared, timeout, thread: Some(thread.map_err(OtlpError::Runtime)?) })
    }

    /// What it counts.
    #[must_use]
    pub fn stats(&self) -> PushStats {
        PushStats {
            pushed: self.shared.pushed.load(Ordering::Relaxed),
            failed: self.shared.failed.load(Ordering::Relaxed),
            rejected_points: self.shared.rejected_points.load(Ordering::Relaxed),
        }
    }

    /// Why the last request failed, or points of it were rejected; `None` if that never happened.
    #[must_use]
    pub fn last_error(&self) -> Option<String> {
        self.shared.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What a receiver that took everything said of it all the same, the last time.
    #[must_use]
    pub fn last_warning(&self) -> Option<String> {
        self.shared.last_warning.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for MetricPusher {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.stop = true;
        self.shared.wake.notify_all();
        // The last push may take one timeout, and the one under way the rest of another.
        let waited = self.shared.ended.wait_timeout_while(state, 2 * self.timeout, |state| !state.ended);
        let ended = waited.unwrap_or_else(PoisonError::into_inner).0.ended;
        if ended && let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Shared {
    /// Waits for the next time to push; whether it is the last.
    fn wait(&self, interval: Duration) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.wake.wait_timeout_while(state, interval, |state| !state.stop);
        waited.unwrap_or_else(PoisonError::into_inner).0.stop
    }

    fn tell(&self, sent: Result<Verdict, String>, receiver: &str) {
        let keep = |place: &Mutex<Option<String>>, text| {
            *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
        };
        match sent {
            Ok(Verdict { rejected, message }) => {
                if rejected > 0 {
                    let why = format!("{receiver} rejected {rejected} data points: {message}");
                    keep(&self.last_error, why);
                    self.rejected_points.fetch_add(rejected, Ordering::Relaxed);
                } else if !message.is_empty() {
                    keep(&self.last_warning, format!("{receiver} took all data points and warns: {message}"));
                }
                self.pushed.fetch_add(1, Ordering::Relaxed);
            }
            Err(why) => {
                keep(&self.last_error, format!("OTLP to {receiver}: {why}"));
                self.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Shows its counts in the registry that it sends.
    fn show(self: &Arc<Self>, registry: &Registry) {
        type Read = fn(&Shared) -> &AtomicU64;
        let counters: [(&str, &str, Read); 3] = [
            ("neurograph_otlp_pushes_total", "Requests with metrics that the receiver took.", |s| &s.pushed),
            ("neurograph_otlp_push_failures_total", "Requests with metrics that were given up.", |s| {
                &s.failed
            }),
            (
                "neurograph_otlp_rejected_points_total",
                "Data points that the receiver rejected in requests that it took.",
                |s| &s.rejected_points,
            ),
        ];
        for (name, help, read) in counters {
            let shared = Arc::clone(self);
            let read = move || read(&shared).load(Ordering::Relaxed);
            registry.count_of_own(&MetricDesc::new(name, help), Arc::new(read));
        }
    }
}
