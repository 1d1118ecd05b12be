//! What the service counts about itself, and the metrics of that.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ng_core::metrics::{MetricDesc, MetricSink, RegisterError};

/// One for the service; every field is a plain count or level.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) connections: AtomicU64,
    pub(super) connections_total: AtomicU64,
    pub(super) requests: AtomicU64,
    pub(super) in_flight: AtomicU64,
    /// Requests and connections turned away for want of room.
    pub(super) rejected: AtomicU64,
    pub(super) unauthorized: AtomicU64,
    pub(super) body_bytes: AtomicU64,
    /// Answers by the first digit of their status, from 1 on.
    pub(super) answers: [AtomicU64; 5],
    /// Rows that could not become tokens.
    pub(super) malformed: AtomicU64,
    /// Sampled requests whose spans no lane had time to write.
    pub(super) spans_lost: AtomicU64,
}

pub(super) fn up(count: &AtomicU64, n: u64) {
    count.fetch_add(n, Ordering::Relaxed);
}

pub(super) fn get(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

/// A level that is one higher for as long as this lives.
#[derive(Debug)]
pub(super) struct Level<F: Fn(&Counters) -> &AtomicU64>(Arc<Counters>, F);

impl<F: Fn(&Counters) -> &AtomicU64> Level<F> {
    pub(super) fn of(counters: &Arc<Counters>, field: F) -> Self {
        field(counters).fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(counters), field)
    }
}

impl<F: Fn(&Counters) -> &AtomicU64> Drop for Level<F> {
    fn drop(&mut self) {
        (self.1)(&self.0).fetch_sub(1, Ordering::AcqRel);
    }
}

impl Counters {
    pub(super) fn answered(&self, status: hyper::StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        up(&self.answers[class], 1);
    }

    pub(super) fn register(self: &Arc<Self>, sink: &dyn MetricSink) -> Result<(), RegisterError> {
        type Read = fn(&Counters) -> u64;
        let counters: [(&str, &str, Read); 7] = [
            ("neurograph_http_connections_total", "Connections accepted.", |c| get(&c.connections_total)),
            ("neurograph_http_requests_total", "Requests read, of gateway and administration.", |c| {
                get(&c.requests)
            }),
            (
                "neurograph_http_rejected_total",
                "Requests and connections turned away for want of room.",
                |c| get(&c.rejected),
            ),
            ("neurograph_http_unauthorized_total", "Requests without the right token.", |c| {
                get(&c.unauthorized)
            }),
            ("neurograph_http_body_bytes_total", "Bytes of bodies read, as they came.", |c| {
                get(&c.body_bytes)
            }),
            ("neurograph_http_malformed_rows_total", "Rows of bodies that can't become tokens.", |c| {
                get(&c.malformed)
            }),
            (
                "neurograph_http_spans_lost_total",
                "Sampled requests whose spans no lane had time to write.",
                |c| get(&c.spans_lost),
            ),
        ];
        for (name, help, read) in counters {
            let watched = Arc::clone(self);
            sink.counter_from(&MetricDesc::new(name, help), Box::new(move || read(&watched)))?;
        }
        for (i, class) in ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().enumerate() {
            let watched = Arc::clone(self);
            let desc = MetricDesc::new("neurograph_http_answers_total", "Answers, by class of status.");
            sink.counter_from(&desc.label("class", class), Box::new(move || get(&watched.answers[i])))?;
        }
        let gauges: [(&str, &str, Read); 2] = [
            ("neurograph_http_connections", "Connections that are open.", |c| get(&c.connections)),
            ("neurograph_http_in_flight", "Requests under way.", |c| get(&c.in_flight)),
        ];
        for (name, help, read) in gauges {
            let watched = Arc::clone(self);
            #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
            sink.gauge_from(&MetricDesc::new(name, help), Box::new(move || read(&watched) as f64))?;
        }
        Ok(())
    }
}
