//! Where OTLP goes, and how.

use std::time::Duration;

use percent_encoding::percent_decode_str;

/// How requests travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// gRPC; receivers listen on port 4317.
    Grpc,
    /// HTTP with protobuf bodies; receivers listen on port 4318.
    #[default]
    Http,
}

/// A receiver.
///
/// `OTEL_EXPORTER_OTLP_HEADERS` and `OTEL_EXPORTER_OTLP_COMPRESSION`, or those of one signal
/// (`OTEL_EXPORTER_OTLP_TRACES_HEADERS`), add what is not said here:
/// <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpOptions {
    /// `http://host:4318` or `https://…`. Over HTTP, `/v1/traces` and `/v1/metrics` are added where
    /// there is no path.
    pub endpoint: String,
    /// How.
    pub protocol: Protocol,
    /// Sent with each request, such as a key.
    pub headers: Vec<(String, String)>,
    /// Whether bodies are compressed with gzip.
    pub gzip: bool,
    /// How long a request may take with all of its retries; 10 s by default.
    pub timeout: Duration,
    /// How often a request is sent again; 3 by default.
    pub retries: usize,
    /// `service.name` of the resource.
    pub service: String,
}

impl OtlpOptions {
    /// The defaults, to a receiver.
    #[must_use]
    pub fn new(endpoint: &str, protocol: Protocol) -> Self {
        Self {
            endpoint: endpoint.to_owned(),
            protocol,
            headers: Vec::new(),
            gzip: false,
            timeout: Duration::from_secs(10),
            retries: 3,
            service: "neurograph".to_owned(),
        }
    }

    /// The whole address for one signal.
    pub(super) fn address(&self, path: &str) -> Result<String, OtlpError> {
        let endpoint = self.endpoint.trim();
        let bad = |why| OtlpError::Endpoint { endpoint: without_secret(endpoint), why };
        let Some((scheme, rest)) = endpoint.split_once("://") else {
            return Err(bad("it does not begin with http:// or https://"));
        };
        if scheme.eq_ignore_ascii_case("https") {
            if !cfg!(feature = "otlp-tls") {
                return Err(bad("https needs the Cargo feature `otlp-tls` of ng-telemetry"));
            }
        } else if !scheme.eq_ignore_ascii_case("http") {
            return Err(bad("it does not begin with http:// or https://"));
        }
        let (host, rest) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        if host.is_empty() || host.contains(char::is_whitespace) {
            return Err(bad("it names no host"));
        }
        Ok(match (self.protocol, rest) {
            (Protocol::Http, "" | "/") => format!("{scheme}://{host}{path}"),
            _ => endpoint.to_owned(),
        })
    }

    pub(super) fn shown(&self) -> String {
        without_secret(&self.endpoint)
    }

    /// Headers that the environment asks for.
    pub(super) fn headers_of_environment(&self, signal: &str) -> Vec<(String, String)> {
        variable(signal, "HEADERS").map(|text| parse_headers(&text)).unwrap_or_default()
    }

    /// Whether the environment asks for gzip.
    pub(super) fn asks_for_gzip(&self, signal: &str) -> bool {
        variable(signal, "COMPRESSION").is_some_and(|text| text.trim().eq_ignore_ascii_case("gzip"))
    }
}

/// A variable of OpenTelemetry's: the signal's own, or that of all signals.
fn variable(signal: &str, what: &str) -> Option<String> {
    let read = |name: String| std::env::var(name).ok().filter(|text| !text.trim().is_empty());
    read(format!("OTEL_EXPORTER_OTLP_{signal}_{what}")).or_else(|| read(format!("OTEL_EXPORTER_OTLP_{what}")))
}

/// `name=value,name=value`, values percent-encoded (W3C Baggage without properties).
fn parse_headers(text: &str) -> Vec<(String, String)> {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    let trimmed = pairs.map(|(name, value)| (name.trim(), value.trim()));
    trimmed
        .filter(|(name, value)| !name.is_empty() && !value.is_empty())
        .map(|(name, value)| (name.to_owned(), percent_decode_str(value).decode_utf8_lossy().into_owned()))
        .collect()
}

/// An address without the name and password before its `@`.
fn without_secret(endpoint: &str) -> String {
    match endpoint.split_once("://") {
        Some((scheme, rest)) => {
            let shown = rest.rsplit_once('@').map_or(rest, |(_, address)| address);
            format!("{scheme}://{shown}")
        }
        None => endpoint.to_owned(),
    }
}

/// Why nothing can be sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OtlpError {
    /// The endpoint can't be.
    #[error("OTLP endpoint {endpoint:?}: {why}; write one such as http://localhost:4318")]
    Endpoint {
        /// As it was given, without a password.
        endpoint: String,
        /// What is wrong.
        why: &'static str,
    },
    /// A header can't be.
    #[error(
        "OTLP header {0:?} is no header: a name of letters, digits and dashes, a value without control characters"
    )]
    Header(String),
    /// The client can't be made.
    #[error("no OTLP client for {endpoint}: {why}")]
    Client {
        /// As it was given, without a password.
        endpoint: String,
        /// What the library says.
        why: String,
    },
    /// No thread or runtime was to be had.
    #[error("the operating system gives no thread for OTLP: check its limits")]
    Runtime(#[source] std::io::Error),
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn headers_of_the_environment_are_read_as_opentelemetry_writes_them() {
        let read = parse_headers(" api-key = a%20b%3D , x=1,, empty=, broken=%zz ,no");
        let pairs: Vec<(&str, &str)> = read.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(pairs, [("api-key", "a b="), ("x", "1"), ("broken", "%zz")]);
    }

    #[test]
    fn an_address_gets_its_path_and_a_bad_one_is_refused_without_its_secret() {
        let address = |endpoint, protocol| OtlpOptions::new(endpoint, protocol).address("/v1/traces");
        assert_eq!(address("http://h:4318", Protocol::Http).unwrap(), "http://h:4318/v1/traces");
        assert_eq!(address("http://h:4318/", Protocol::Http).unwrap(), "http://h:4318/v1/traces");
        assert_eq!(address("http://h/x/v1/traces", Protocol::Http).unwrap(), "http://h/x/v1/traces");
        assert_eq!(address(" http://h:4317 ", Protocol::Grpc).unwrap(), "http://h:4317");
        for bad in ["h:4318", "ftp://h", "http://", "http:// h", "", "udp://me:secret@h"] {
            let error = address(bad, Protocol::Http).unwrap_err().to_string();
            assert!(error.contains("http://localhost:4318") && !error.contains("secret"), "{error}");
        }
    }
}
