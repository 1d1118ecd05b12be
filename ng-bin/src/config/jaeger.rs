//! `JAEGER_ENDPOINT`, the seed's address for traces.
//!
//! Jaeger's own Thrift ports are gone from Jaeger 2, which takes OTLP. An address for Thrift would
//! lose every span without a word, so it is refused; an address for OTLP sets the exporter, its
//! endpoint and its protocol.

use std::borrow::Cow;

use super::finding::{Finding, Findings};
use super::place::{Place, quote};

pub(super) const VARIABLE: &str = "JAEGER_ENDPOINT";

/// Ports of the Jaeger collector that speak Thrift over HTTP, and Jaeger's own gRPC.
const COLLECTOR_PORTS: [&str; 2] = ["14268", "14250"];

/// UDP ports of the Jaeger agent: compact and binary Thrift.
const AGENT_PORTS: [&str; 2] = ["6831", "6832"];

/// What is said of an address.
#[derive(Debug, PartialEq, Eq)]
enum Verdict<'a> {
    Otlp,
    Collector(&'a str),
    Agent(&'a str),
    NoUrl,
}

fn judge(value: &str) -> Verdict<'_> {
    let value = value.trim();
    let (scheme, rest) = value.split_once("://").unwrap_or(("", value));
    let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    let address = authority.rsplit_once('@').map_or(authority, |(_, address)| address);
    let (host, port) = match address.rsplit_once(':') {
        // The last colon of a bare IPv6 address in brackets is no port's.
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (address, ""),
    };
    let web = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    let plain = !host.is_empty() && !host.contains(char::is_whitespace);
    let port_fits =
        port.is_empty() && !address.ends_with(':') || port.parse::<u16>().is_ok_and(|port| port > 0);
    if plain && (AGENT_PORTS.contains(&port) || scheme.eq_ignore_ascii_case("udp")) {
        Verdict::Agent(host)
    } else if plain && (COLLECTOR_PORTS.contains(&port) || web && path.starts_with("/api/traces")) {
        Verdict::Collector(host)
    } else if web && plain && port_fits {
        Verdict::Otlp
    } else {
        Verdict::NoUrl
    }
}

/// The keys that an address for OTLP sets, with their values. Refuses an address that no OTLP exporter
/// could use, and warns where this program has none.
pub(super) fn read<'a>(value: &'a str, findings: &mut Findings) -> Vec<(&'static str, &'a str)> {
    let place = Place::variable(VARIABLE, &without_secret(value));
    let refuse = |message: &str, host: &str| {
        Finding::error(place.clone(), message).help(format!(
            "Jaeger takes OTLP since 1.35: write http://{}:4318/v1/traces, or unset it",
            quote(host)
        ))
    };
    match judge(value) {
        Verdict::Otlp if cfg!(feature = "otlp") => {
            let grpc = port(value) == GRPC_PORT;
            return vec![
                ("tracing.exporter", "otlp"),
                ("tracing.endpoint", value.trim()),
                ("tracing.protocol", if grpc { "grpc" } else { "http" }),
            ];
        }
        Verdict::Otlp => findings.warn(
            Finding::warning(place, "no spans are sent there: this program has no OTLP exporter").help(
                "build ng-stack with the Cargo feature `otlp`, or unset JAEGER_ENDPOINT to silence this",
            ),
        ),
        Verdict::Collector(host) => {
            findings.error(|| {
                refuse("this is an address of the Jaeger collector's own protocol, not of OTLP", host)
            });
        }
        Verdict::Agent(host) => {
            findings.error(|| {
                refuse("this is an address of the Jaeger agent, which speaks Thrift over UDP", host)
            });
        }
        Verdict::NoUrl => findings.error(|| refuse("this is no http or https URL", "HOST")),
    }
    Vec::new()
}

/// The port on which receivers take OTLP over gRPC.
const GRPC_PORT: &str = "4317";

fn port(value: &str) -> &str {
    let rest = value.trim().split_once("://").map_or(value, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    authority.rsplit_once(':').map_or("", |(_, port)| port)
}

/// The address as it may be shown: without the name and password before its `@`.
pub(super) fn without_secret(value: &str) -> Cow<'_, str> {
    let Some((before, address)) = value.rsplit_once('@') else { return value.into() };
    let scheme = before.find("://").map_or("", |at| before.get(..at + 3).unwrap_or_default());
    format!("{scheme}…@{address}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        assert_eq!(without_secret("http://me:secret@host:4318/"), "http://…@host:4318/");
        assert_eq!(without_secret("me:secret@host"), "…@host");
        assert_eq!(without_secret("http://host:4318/"), "http://host:4318/");
    }

    #[test]
    fn an_otlp_address_is_told_from_thrift_and_from_nonsense() {
        for (value, verdict) in [
            ("http://localhost:4318", Verdict::Otlp),
            ("https://collector.example/v1/traces", Verdict::Otlp),
            ("http://[::1]:4317", Verdict::Otlp),
            ("http://[::1]", Verdict::Otlp),
            ("http://user:secret@host:4318/", Verdict::Otlp),
            ("http://jaeger:14268/api/traces", Verdict::Collector("jaeger")),
            ("http://jaeger/api/traces", Verdict::Collector("jaeger")),
            ("jaeger:14250", Verdict::Collector("jaeger")),
            ("localhost:6831", Verdict::Agent("localhost")),
            ("udp://agent:9999", Verdict::Agent("agent")),
            ("localhost:4318", Verdict::NoUrl),
            ("http://", Verdict::NoUrl),
            ("http://host:99999", Verdict::NoUrl),
            ("http://host:", Verdict::NoUrl),
            ("ftp://host", Verdict::NoUrl),
            ("http://a b", Verdict::NoUrl),
        ] {
            assert_eq!(judge(value), verdict, "{value}");
        }
    }
}
