//! One receiver of one signal: a request is sent until the receiver takes it, the retries are used
//! up or the time has come. Headers, compression, TLS, and how long to wait between two attempts.
//!
//! What a receiver takes and then rejects (OTLP's partial success) is told, and never sent again:
//! <https://opentelemetry.io/docs/specs/otlp/#partial-success>.

use std::{
    error::Error as _,
    future::Future,
    io::Write as _,
    time::{Duration, Instant},
};

use flate2::{Compression, write::GzEncoder};
use prost::Message;
use reqwest::header::{
    CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT,
};
use tokio::runtime::Runtime;
use tonic::{
    Code, Status,
    metadata::MetadataMap,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;

use super::options::{OtlpError, OtlpOptions, Protocol};

/// The first pause before another attempt; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The most that is read of an answer; an honest one has some hundred bytes.
const MOST_ANSWER: usize = 64 << 10;
/// The most characters that are kept of a receiver's message.
const MOST_MESSAGE: usize = 512;

/// What is sent, and what differs between signals.
pub(super) trait Signal {
    type Request: Message + Clone + 'static;
    type Response: Message + Default;
    /// The generated gRPC client.
    type Stub: Clone;
    /// Where it goes over HTTP.
    const PATH: &'static str;
    /// What OpenTelemetry's variables call it: `OTEL_EXPORTER_OTLP_…_HEADERS`.
    const VARIABLES: &'static str;

    fn stub(channel: Channel, gzip: bool) -> Self::Stub;

    fn call(
        stub: Self::Stub,
        request: tonic::Request<Self::Request>,
    ) -> impl Future<Output = Result<tonic::Response<Self::Response>, Status>>;

    /// How many spans or points were rejected, and what is said of it.
    fn partial(response: Self::Response) -> (i64, String);
}

/// What a receiver says of a request that it took.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Verdict {
    /// How many spans or points it rejected.
    pub(super) rejected: u64,
    /// Why; a warning if none were rejected. Empty if it has nothing to say.
    pub(super) message: String,
}

/// The client.
pub(super) struct Client<S: Signal> {
    way: Way<S>,
    gzip: bool,
    retries: usize,
}

enum Way<S: Signal> {
    Grpc { stub: S::Stub, headers: MetadataMap },
    Http { client: reqwest::Client, address: String, headers: HeaderMap },
}

/// Why an attempt failed.
struct Failed {
    why: String,
    /// Whether it may pass, and how long the receiver wants to be left alone at least.
    again: Option<Duration>,
}

/// A runtime for one thread: it works only while that waits for a request.
pub(super) fn runtime() -> Result<Runtime, OtlpError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(OtlpError::Runtime)
}

impl<S: Signal> Client<S> {
    /// A client that connects with its first request; to be called within the runtime.
    pub(super) fn new(options: &OtlpOptions) -> Result<Self, OtlpError> {
        let address = options.address(S::PATH)?;
        let headers = headers(options, S::VARIABLES)?;
        let gzip = options.gzip || options.asks_for_gzip(S::VARIABLES);
        let failed = |why: String| OtlpError::Client { endpoint: options.shown(), why };
        let way = match options.protocol {
            Protocol::Grpc => {
                let endpoint = Channel::from_shared(address).map_err(|error| failed(error.to_string()))?;
                let endpoint = with_tls(endpoint).map_err(|error| failed(chain(&error)))?;
                let channel = endpoint.timeout(options.timeout).connect_lazy();
                Way::Grpc { stub: S::stub(channel, gzip), headers: MetadataMap::from_headers(headers) }
            }
            Protocol::Http => {
                let client = reqwest::Client::builder().timeout(options.timeout).build();
                let client = client.map_err(|error| failed(chain(&error)))?;
                Way::Http { client, address, headers }
            }
        };
        Ok(Self { way, gzip, retries: options.retries })
    }

    /// Sends within `timeout`, retries included.
    pub(super) async fn send(&self, request: &S::Request, timeout: Duration) -> Result<Verdict, String> {
        let deadline = Instant::now() + timeout;
        let body = match &self.way {
            Way::Grpc { .. } => Vec::new(),
            Way::Http { .. } => self.body(request).map_err(|error| error.to_string())?,
        };
        let (mut pause, mut attempt) = (FIRST_PAUSE, 0);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let once = tokio::time::timeout(left, self.send_once(request, &body)).await;
            let Failed { why, again } = match once {
                Ok(Ok(verdict)) => return Ok(verdict),
                Ok(Err(failed)) => failed,
                Err(_) => return Err(format!("no answer within {timeout:?}")),
            };
            let Some(at_least) = again else { return Err(why) };
            pause = pause.max(at_least);
            attempt += 1;
            // Compared as durations: what a receiver asks for may be beyond any moment.
            if attempt > self.retries || pause >= deadline.saturating_duration_since(Instant::now()) {
                return Err(why);
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    /// The body over HTTP.
    fn body(&self, request: &S::Request) -> std::io::Result<Vec<u8>> {
        let body = request.encode_to_vec();
        if !self.gzip {
            return Ok(body);
        }
        let mut packer = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
        packer.write_all(&body)?;
        packer.finish()
    }

    async fn send_once(&self, request: &S::Request, body: &[u8]) -> Result<Verdict, Failed> {
        match &self.way {
            Way::Grpc { stub, headers } => {
                let mut outgoing = tonic::Request::new(request.clone());
                *outgoing.metadata_mut() = headers.clone();
                match S::call(stub.clone(), outgoing).await {
                    Ok(answer) => Ok(Verdict::of::<S>(answer.into_inner())),
                    Err(status) => Err(Failed { again: grpc_again(&status), why: shown_status(&status) }),
                }
            }
            Way::Http { client, address, headers } => {
                let mut outgoing = client.post(address).headers(headers.clone());
                outgoing = outgoing.header(CONTENT_TYPE, "application/x-protobuf");
                if self.gzip {
                    outgoing = outgoing.header(CONTENT_ENCODING, "gzip");
                }
                let answer = outgoing.body(body.to_vec()).send().await;
                let answer = answer.map_err(|error| Failed {
                    why: chain(&error.without_url()),
                    again: Some(Duration::ZERO),
                })?;
                let status = answer.status();
                if !status.is_success() {
                    let again = http_again(status.as_u16(), answer.headers().get(RETRY_AFTER));
                    return Err(Failed { why: format!("HTTP {status}"), again });
                }
                Ok(read_answer::<S>(answer).await)
            }
        }
    }
}

impl<S: Signal> std::fmt::Debug for Client<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Headers may hold a key, and the address a password.
        f.debug_struct("Client").field("gzip", &self.gzip).finish_non_exhaustive()
    }
}

impl Verdict {
    fn of<S: Signal>(response: S::Response) -> Self {
        let (rejected, message) = S::partial(response);
        Self { rejected: u64::try_from(rejected).unwrap_or(0), message: shortened(message) }
    }

    fn warning(message: &str) -> Self {
        Self { rejected: 0, message: message.to_owned() }
    }
}

/// What a receiver that took a request over HTTP says of it. It took it, whatever its answer is like.
async fn read_answer<S: Signal>(mut answer: reqwest::Response) -> Verdict {
    let mut body = Vec::new();
    loop {
        match answer.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= MOST_ANSWER => body.extend_from_slice(&chunk),
            Ok(Some(_)) => return Verdict::warning("its answer is too long to be one of OTLP"),
            Ok(None) => break,
            Err(_) => return Verdict::warning("its answer broke off"),
        }
    }
    S::Response::decode(&*body).map_or_else(
        |_| Verdict::warning("its answer is none of OTLP: does this address belong to a receiver?"),
        Verdict::of::<S>,
    )
}

fn shortened(mut message: String) -> String {
    if let Some((at, _)) = message.char_indices().nth(MOST_MESSAGE) {
        message.truncate(at);
        message.push('…');
    }
    message
}

/// An error with what is behind it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text
}

fn shown_status(status: &Status) -> String {
    match status.source() {
        Some(source) => chain(source),
        None => format!("gRPC {:?}: {}", status.code(), shortened(status.message().to_owned())),
    }
}

/// What OTLP's specification calls retryable; `ResourceExhausted` only if the receiver says when.
fn grpc_again(status: &Status) -> Option<Duration> {
    let asked = status.get_details_retry_info().and_then(|info| info.retry_delay);
    match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => Some(asked.unwrap_or_default()),
        Code::ResourceExhausted => asked,
        _ => None,
    }
}

fn http_again(status: u16, retry_after: Option<&HeaderValue>) -> Option<Duration> {
    let asked = || retry_after?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs);
    matches!(status, 429 | 502 | 503 | 504).then(|| asked().unwrap_or_default())
}

/// `options` go before the environment's.
fn headers(options: &OtlpOptions, signal: &str) -> Result<HeaderMap, OtlpError> {
    let mut map = HeaderMap::new();
    map.insert(USER_AGENT, HeaderValue::from_static(concat!("neurograph-otlp/", env!("CARGO_PKG_VERSION"))));
    for (name, value) in options.headers_of_environment(signal) {
        // A variable that is meant for another program must not keep this one from starting.
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
            map.insert(name, value);
        }
    }
    for (name, value) in &options.headers {
        let bad = || OtlpError::Header(name.clone());
        map.insert(name.parse::<HeaderName>().map_err(|_| bad())?, value.parse().map_err(|_| bad())?);
    }
    Ok(map)
}

#[cfg(feature = "otlp-tls")]
fn with_tls(endpoint: Endpoint) -> Result<Endpoint, tonic::transport::Error> {
    if endpoint.uri().scheme_str() == Some("https") {
        return endpoint.tls_config(tonic::transport::ClientTlsConfig::new().with_enabled_roots());
    }
    Ok(endpoint)
}

#[cfg(not(feature = "otlp-tls"))]
#[expect(clippy::unnecessary_wraps, reason = "as with TLS; an address with https was refused before")]
const fn with_tls(endpoint: Endpoint) -> Result<Endpoint, tonic::transport::Error> {
    Ok(endpoint)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_tried_again_no_sooner_than_the_receiver_says() {
        let seconds = |n| Some(Duration::from_secs(n));
        let after = HeaderValue::from_static("7");
        assert_eq!(http_again(503, Some(&after)), seconds(7));
        assert_eq!(http_again(429, None), seconds(0));
        assert_eq!(http_again(400, Some(&after)), None);
        assert_eq!(http_again(503, Some(&HeaderValue::from_static("soon"))), seconds(0));
        let details = tonic_types::ErrorDetails::with_retry_info(seconds(3));
        let status = |code| Status::with_error_details(code, "", details.clone());
        assert_eq!(grpc_again(&status(Code::ResourceExhausted)), seconds(3));
        assert_eq!(grpc_again(&Status::new(Code::ResourceExhausted, "")), None);
        assert_eq!(grpc_again(&Status::new(Code::Unavailable, "")), seconds(0));
        assert_eq!(grpc_again(&status(Code::InvalidArgument)), None);
    }

    #[test]
    fn a_header_from_code_goes_before_one_of_the_environment_and_a_bad_one_is_refused() {
        let mut options = OtlpOptions::new("http://h", Protocol::Http);
        options.headers = vec![("X-Key".into(), "secret".into())];
        assert_eq!(headers(&options, "TRACES").unwrap().get("x-key").unwrap(), "secret");
        options.headers = vec![("x key".into(), "secret".into())];
        let error = headers(&options, "TRACES").unwrap_err().to_string();
        assert!(error.contains("x key") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn a_message_is_kept_up_to_a_bound() {
        assert_eq!(shortened("why".to_owned()), "why");
        assert_eq!(shortened("\u{e4}".repeat(10_000)).chars().count(), MOST_MESSAGE + 1);
    }
}
