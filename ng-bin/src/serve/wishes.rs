//! What a request says about sampling: W3C's headers from everyone, wishes from whoever may have
//! them. What is malformed is ignored and counted, as W3C says.

use hyper::HeaderMap;
#[cfg(feature = "telemetry")]
use hyper::header::HeaderValue;
#[cfg(feature = "telemetry")]
use ng_core::sampling::Priority;
use ng_core::sampling::SpanContext;

use ng_core::metrics::{MetricSink, RegisterError};

/// The readers of requests' headers.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    #[cfg(feature = "telemetry")]
    readers: std::sync::Arc<Readers>,
}

#[cfg(feature = "telemetry")]
#[derive(Debug)]
struct Readers {
    plain: ng_telemetry::context::Propagator,
    wishful: ng_telemetry::context::Propagator,
}

#[cfg(feature = "telemetry")]
impl Default for Readers {
    fn default() -> Self {
        use ng_telemetry::context::Propagator;
        Self { plain: Propagator::new(false), wishful: Propagator::new(true) }
    }
}

impl Wishes {
    /// The context of a request, if it says anything that counts; `trusted` callers may wish.
    #[cfg(feature = "telemetry")]
    pub(super) fn context(&self, headers: &HeaderMap, trusted: bool) -> Option<SpanContext> {
        let reader = if trusted { &self.readers.wishful } else { &self.readers.plain };
        let state: Vec<&str> =
            headers.get_all("tracestate").iter().filter_map(|value| value.to_str().ok()).collect();
        let state = state.join(",");
        let one = |name: &str| {
            let mut values = headers.get_all(name).iter();
            // More than one, or bytes that are no text, are as malformed as any.
            match (values.next(), values.next()) {
                (None, _) => None,
                (Some(value), None) => Some(HeaderValue::to_str(value).unwrap_or("not text")),
                (Some(_), Some(_)) => Some("more than one"),
            }
        };
        let context = reader
            .extract(|name| match name {
                "tracestate" => (!state.is_empty()).then_some(&*state),
                name => one(name),
            })
            .context;
        let says = context.parent.is_some()
            || context.forced
            || context.priority != Priority::Normal
            || context.rate.is_some();
        says.then_some(context)
    }

    /// As with the feature `telemetry`.
    #[cfg(not(feature = "telemetry"))]
    #[expect(clippy::unused_self, reason = "as with the feature")]
    pub(super) const fn context(&self, _headers: &HeaderMap, _trusted: bool) -> Option<SpanContext> {
        None
    }

    /// Counts of headers that were ignored.
    #[cfg(feature = "telemetry")]
    pub(super) fn register(&self, sink: &dyn MetricSink) -> Result<(), RegisterError> {
        use ng_core::metrics::MetricDesc;
        use ng_telemetry::context::HeaderFault;
        for (i, fault) in HeaderFault::ALL.into_iter().enumerate() {
            let desc =
                MetricDesc::new("neurograph_http_headers_ignored_total", "Malformed headers, by header.");
            let readers = std::sync::Arc::clone(&self.readers);
            let read = move || readers.plain.stats().faults[i] + readers.wishful.stats().faults[i];
            sink.counter_from(&desc.label("header", fault.header()), Box::new(read))?;
        }
        Ok(())
    }

    /// As with the feature `telemetry`.
    #[cfg(not(feature = "telemetry"))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "as with the feature")]
    pub(super) const fn register(&self, _sink: &dyn MetricSink) -> Result<(), RegisterError> {
        Ok(())
    }
}
