//! A scrape as HTTP answers it: the format that the scraper asks for, gzip if it takes it, and how
//! long it took. It speaks no HTTP itself.

use std::io::Write as _;
use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};
use std::time::Instant;

use flate2::{Compression, write::GzEncoder};
use ng_core::metrics::{MetricDesc, MetricSink, Scale};

use super::registry::Registry;

/// The type of the text format.
pub const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// The type of OpenMetrics.
pub const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What a scrape is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposition {
    /// For `Content-Type`.
    pub content_type: &'static str,
    /// For `Content-Encoding`, if the body is compressed.
    pub content_encoding: Option<&'static str>,
    /// The body.
    pub body: Vec<u8>,
}

/// How scrapes went; counted from the first on.
#[derive(Debug, Default)]
pub(super) struct Scrapes {
    count: AtomicU64,
    total_ns: AtomicU64,
    last_ns: AtomicU64,
    /// Bytes of the last one as text: about what the next one takes.
    last_bytes: AtomicUsize,
}

impl Registry {
    /// Answers a scrape that came with these headers: OpenMetrics if `accept` prefers it to text
    /// (RFC 9110, 12.5.1), gzip if `accept_encoding` takes it. Lanes go on meanwhile.
    #[must_use]
    pub fn expose(&self, accept: Option<&str>, accept_encoding: Option<&str>) -> Exposition {
        let began = Instant::now();
        if self.scrapes().count.load(Ordering::Relaxed) == 0 {
            self.describe_scrapes();
        }
        // Grown as it is written, it would take twice its size for a moment.
        let expected = self.scrapes().last_bytes.load(Ordering::Relaxed);
        let (mut text, mut content_type) = (String::with_capacity(expected + expected / 16), TEXT);
        if prefers_open_metrics(accept.unwrap_or_default()) && self.render_open_metrics(&mut text) {
            content_type = OPEN_METRICS;
        } else {
            self.render(&mut text);
        }
        self.scrapes().last_bytes.store(text.len(), Ordering::Relaxed);
        let packed = takes_gzip(accept_encoding.unwrap_or_default()).then(|| gzip(text.as_bytes())).flatten();
        let content_encoding = packed.is_some().then_some("gzip");
        let body = packed.unwrap_or_else(|| text.into_bytes());
        let took = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let scrapes = self.scrapes();
        scrapes.last_ns.store(took, Ordering::Relaxed);
        scrapes.total_ns.fetch_add(took, Ordering::Relaxed);
        scrapes.count.fetch_add(1, Ordering::Relaxed);
        Exposition { content_type, content_encoding, body }
    }

    fn describe_scrapes(&self) {
        let scrapes = Arc::clone(self.scrapes());
        self.count_of_own(
            &MetricDesc::new("neurograph_scrapes_total", "Scrapes answered before this one."),
            Arc::new(move || scrapes.count.load(Ordering::Relaxed)),
        );
        let scrapes = Arc::clone(self.scrapes());
        self.count_of_own(
            &MetricDesc::new("neurograph_scrape_duration_seconds_total", "Time spent in scrapes.")
                .unit("seconds", Scale::Nano),
            Arc::new(move || scrapes.total_ns.load(Ordering::Relaxed)),
        );
        let scrapes = Arc::clone(self.scrapes());
        #[expect(clippy::cast_precision_loss, reason = "a duration as a gauge")]
        let last = move || scrapes.last_ns.load(Ordering::Relaxed) as f64 / 1e9;
        let desc = MetricDesc::new(
            "neurograph_scrape_last_duration_seconds",
            "How long the scrape before this one took.",
        );
        self.level_of_own(&desc.unit("seconds", Scale::One), Arc::new(last));
    }
}

/// The weight (`q`) that a header gives to the first of `names` that it lists; 1 if it gives none.
fn weight(header: &str, names: &[&str]) -> Option<f64> {
    names.iter().find_map(|name| {
        header.split(',').find_map(|part| {
            let mut pieces = part.split(';').map(str::trim);
            if !pieces.next()?.eq_ignore_ascii_case(name) {
                return None;
            }
            let q = pieces.find_map(|piece| piece.strip_prefix("q=").or_else(|| piece.strip_prefix("Q=")));
            Some(q.map_or(1.0, |q| q.parse().unwrap_or(0.0)))
        })
    })
}

fn prefers_open_metrics(accept: &str) -> bool {
    let asked = weight(accept, &["application/openmetrics-text"]).unwrap_or(0.0);
    let text = weight(accept, &["text/plain", "text/*", "*/*"]).unwrap_or(0.0);
    asked > 0.0 && asked >= text
}

fn takes_gzip(accept_encoding: &str) -> bool {
    weight(accept_encoding, &["gzip", "x-gzip", "*"]).is_some_and(|q| q > 0.0)
}

fn gzip(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut packer = GzEncoder::new(Vec::with_capacity(bytes.len() / 8), Compression::fast());
    packer.write_all(bytes).ok()?;
    packer.finish().ok()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::io::Read as _;

    use super::*;
    use crate::RegistryOptions;

    /// What Prometheus 2.42 sends.
    const PROMETHEUS: &str = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

    #[test]
    fn the_format_is_what_the_scraper_prefers() {
        for (accept, open_metrics) in [
            (PROMETHEUS, true),
            ("", false),
            ("*/*", false),
            ("text/plain", false),
            ("text/plain, application/openmetrics-text;q=0.4", false),
            ("text/plain;q=0.3, application/openmetrics-text;q=0.4", true),
            ("application/openmetrics-text;q=0", false),
            ("application/openmetrics-text;q=x", false),
        ] {
            assert_eq!(prefers_open_metrics(accept), open_metrics, "{accept}");
        }
    }

    #[test]
    fn gzip_is_sent_to_whoever_takes_it_and_unpacks_to_the_same() {
        let registry = Registry::new(&RegistryOptions::default());
        for (accepts, packed) in
            [("gzip", true), ("br, gzip;q=0.5", true), ("gzip;q=0", false), ("br", false)]
        {
            assert_eq!(
                registry.expose(None, Some(accepts)).content_encoding,
                packed.then_some("gzip"),
                "{accepts}"
            );
        }
        let packed = registry.expose(Some(PROMETHEUS), Some("gzip"));
        assert_eq!(packed.content_type, OPEN_METRICS);
        let mut text = String::new();
        flate2::read::GzDecoder::new(&*packed.body).read_to_string(&mut text).unwrap();
        assert!(text.ends_with("# EOF\n"));
        assert!(text.contains("neurograph_scrapes_total 4\n"), "{text}");
        assert!(text.contains("neurograph_scrape_last_duration_seconds "), "{text}");
    }
}
