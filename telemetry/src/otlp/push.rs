//! The thread that sends the registry to a receiver at an interval.

use std::{
    io::Write as _,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use flate2::{Compression, write::GzEncoder};
use ng_core::clock::precise_unix_ns;
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, metrics_service_client::MetricsServiceClient,
};
use prost::Message as _;
use tonic::{codec::CompressionEncoding, metadata::MetadataMap, transport::Channel};

use super::{
    metrics::{Window, request},
    options::{OtlpError, OtlpOptions, Protocol},
    spans::{metadata, runtime},
};
use crate::Registry;

/// What a pusher counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PushStats {
    /// Requests that the receiver took.
    pub pushed: u64,
    /// Requests given up after all retries; the next one carries the same counts and more.
    pub failed: u64,
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
    last_error: Mutex<Option<String>>,
}

#[derive(Debug, Default)]
struct State {
    stop: bool,
    ended: bool,
}

/// How requests are sent.
enum Client {
    Grpc(Box<MetricsServiceClient<Channel>>, MetadataMap),
    Http(reqwest::Client, String, OtlpOptions),
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
            client(&options)?
        };
        let shared = Arc::new(Shared::default());
        let (telling, timeout) = (Arc::clone(&shared), options.timeout);
        let interval = interval.max(Duration::from_millis(100));
        let start_ns = precise_unix_ns();
        let thread = std::thread::Builder::new().name("ng-otlp-metrics".to_owned()).spawn(move || {
            let mut stop = false;
            while !stop {
                stop = telling.wait(interval);
                let window = Window { start_ns, now_ns: precise_unix_ns() };
                let request = request(&registry.snapshot(), &options.service, window);
                let deadline = Instant::now() + options.timeout;
                let sent = runtime.block_on(client.send(&request, deadline, options.retries));
                telling.tell(sent);
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
        }
    }

    /// Why the last request that failed did; `None` if none ever did.
    #[must_use]
    pub fn last_error(&self) -> Option<String> {
        self.shared.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
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

    fn tell(&self, sent: Result<(), String>) {
        match sent {
            Ok(()) => self.pushed.fetch_add(1, Ordering::Relaxed),
            Err(why) => {
                *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
                self.failed.fetch_add(1, Ordering::Relaxed)
            }
        };
    }
}

fn client(options: &OtlpOptions) -> Result<Client, OtlpError> {
    let address = options.address("/v1/metrics")?;
    let failed =
        |why: &dyn std::fmt::Display| OtlpError::Client { endpoint: options.shown(), why: why.to_string() };
    let headers = metadata(options)?;
    Ok(match options.protocol {
        Protocol::Grpc => {
            let channel = Channel::from_shared(address).map_err(|error| failed(&error))?;
            let mut client = MetricsServiceClient::new(channel.timeout(options.timeout).connect_lazy());
            if options.gzip {
                client = client.send_compressed(CompressionEncoding::Gzip);
            }
            Client::Grpc(Box::new(client), headers)
        }
        Protocol::Http => {
            let client = reqwest::Client::builder().timeout(options.timeout).build();
            Client::Http(client.map_err(|error| failed(&error))?, address, options.clone())
        }
    })
}

impl Client {
    /// Sends until the receiver takes it, the retries are used up, or the deadline has come.
    async fn send(
        &self,
        request: &ExportMetricsServiceRequest,
        deadline: Instant,
        retries: usize,
    ) -> Result<(), String> {
        let mut pause = Duration::from_millis(100);
        let mut attempt = 0;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let once = tokio::time::timeout(left, self.send_once(request)).await;
            let why = match once {
                Ok(Ok(())) => return Ok(()),
                Ok(Err((why, false))) => return Err(why),
                Ok(Err((why, true))) => why,
                Err(_) => return Err("no answer in time".to_owned()),
            };
            attempt += 1;
            if attempt > retries || Instant::now() + pause >= deadline {
                return Err(why);
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    /// Sends once; an error, and whether it may pass.
    async fn send_once(&self, request: &ExportMetricsServiceRequest) -> Result<(), (String, bool)> {
        match self {
            Self::Grpc(client, headers) => {
                let mut outgoing = tonic::Request::new(request.clone());
                *outgoing.metadata_mut() = headers.clone();
                let answer = client.as_ref().clone().export(outgoing).await;
                answer.map(drop).map_err(|status| {
                    // What OTLP's specification calls retryable.
                    use tonic::Code;
                    let retry = matches!(
                        status.code(),
                        Code::Cancelled
                            | Code::DeadlineExceeded
                            | Code::Aborted
                            | Code::OutOfRange
                            | Code::Unavailable
                            | Code::DataLoss
                    );
                    (status.to_string(), retry)
                })
            }
            Self::Http(client, address, options) => {
                let mut body = request.encode_to_vec();
                let mut outgoing = client.post(address).header("content-type", "application/x-protobuf");
                if options.gzip {
                    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
                    let packed = packer.write_all(&body).and_then(|()| packer.finish());
                    body = packed.map_err(|error| (error.to_string(), false))?;
                    outgoing = outgoing.header("content-encoding", "gzip");
                }
                for (name, value) in &options.headers {
                    outgoing = outgoing.header(name, value);
                }
                let answer = outgoing.body(body).send().await.map_err(|error| (error.to_string(), true))?;
                let status = answer.status();
                if status.is_success() {
                    return Ok(());
                }
                Err((format!("HTTP {status}"), matches!(status.as_u16(), 429 | 502 | 503 | 504)))
            }
        }
    }
}
