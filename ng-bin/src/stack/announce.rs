//! What an operator must hear of: events that layers report, and counts that must not rise, as
//! `tracing` events. Whoever installed a subscriber reads them; nobody else pays for them.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use ng_core::events::{Event, EventKind, EventLane, EventRecorder, NoRecorder, RecorderStats};

use super::choice::{EventChoice, SpanChoice, WalChoice};
use super::promotion::Feed;

/// How often counts are looked at.
const PERIOD: Duration = Duration::from_millis(250);

/// A recorder that says aloud what it is told, and hands it on.
struct Announced {
    inner: Arc<dyn EventRecorder>,
    feed: Option<Arc<Feed>>,
}

/// The stack's recorder, or none, for layers whose events an operator must hear of.
pub(super) fn announced(events: &EventChoice, feed: Option<Arc<Feed>>) -> Arc<dyn EventRecorder> {
    let inner = events.injected().unwrap_or_else(|| Arc::new(NoRecorder));
    Arc::new(Announced { inner, feed })
}

impl EventRecorder for Announced {
    fn lane(&self, name: &str) -> Box<dyn EventLane> {
        self.inner.lane(name)
    }

    fn record_rare(&self, event: Event, note: &str) {
        self.inner.record_rare(event, note);
        say(&event, note);
        if let Some(feed) = &self.feed {
            feed.tell(&event);
        }
    }

    fn stats(&self) -> RecorderStats {
        self.inner.stats()
    }
}

fn say(event: &Event, note: &str) {
    let (a, b) = (event.a, event.b);
    match event.kind {
        EventKind::MARK_CROSSED => tracing::warn!(used = a, limit = b, note, "a mark of a quota was crossed"),
        EventKind::MEMORY_DRIFT => {
            tracing::warn!(
                drift_bytes = a,
                resident_bytes = b,
                note,
                "real memory left the counted one behind"
            );
        }
        EventKind::QUOTA_EXCEEDED => tracing::warn!(asked = a, limit = b, note, "a quota refused tokens"),
        EventKind::CLEANUP_BEGUN => tracing::info!(used = a, target = b, note, "a cleanup began"),
        EventKind::CLEANUP_ENDED => tracing::info!(freed = a, micros = b, note, "a cleanup ended"),
        EventKind::CONSTITUTION => {
            tracing::info!(version = a, previous = b, note, "the constitution changed")
        }
        _ => {}
    }
}

/// The thread that looks at counts which must not rise; it looks once more and ends when this is
/// dropped.
#[derive(Debug)]
pub(super) struct Alarm {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

/// What was seen the last time.
#[derive(Default)]
struct Seen {
    poisoned: bool,
    records_dropped: u64,
    spans_dropped: u64,
    span_warning: Option<String>,
}

impl Alarm {
    /// `None` where there is nothing to look at.
    pub(super) fn start(wal: &WalChoice, spans: &SpanChoice) -> std::io::Result<Option<Self>> {
        if wal.is_off() && spans.is_off() {
            return Ok(None);
        }
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let (wal, spans, told) = (wal.clone(), spans.clone(), Arc::clone(&stop));
        let thread = std::thread::Builder::new().name("ng-alarm".to_owned()).spawn(move || {
            let mut seen = Seen::default();
            let mut ends = false;
            while !ends {
                let stopped = told.0.lock().unwrap_or_else(PoisonError::into_inner);
                let waited = told.1.wait_timeout_while(stopped, PERIOD, |stop| !*stop);
                ends = *waited.unwrap_or_else(PoisonError::into_inner).0;
                seen.look(&wal, &spans);
            }
        })?;
        Ok(Some(Self { stop, thread: Some(thread) }))
    }
}

impl Seen {
    fn look(&mut self, wal: &WalChoice, spans: &SpanChoice) {
        let log = wal.shared().stats();
        if log.poisoned && !self.poisoned {
            self.poisoned = true;
            tracing::error!(
                durable_records = log.durable_records,
                "the log failed for good: nothing more becomes durable until the disk is in order and the program \
                 is started again"
            );
        }
        let dropped = log.dropped.saturating_sub(self.records_dropped);
        if dropped > 0 {
            self.records_dropped = log.dropped;
            tracing::warn!(dropped, "the log let records go: every block was full");
        }
        let written = spans.shared().stats();
        let dropped = written.dropped.saturating_sub(self.spans_dropped);
        if dropped > 0 {
            self.spans_dropped = written.dropped;
            tracing::warn!(dropped, why = why(spans), "spans were dropped");
        }
        let warning = warning(spans);
        // A receiver may say the same of each request.
        if warning.is_some() && warning != self.span_warning {
            tracing::warn!(why = warning, "the receiver of spans has something to say");
            self.span_warning = warning;
        }
    }
}

/// What a receiver that took all spans said of them the last time.
fn warning(spans: &SpanChoice) -> Option<String> {
    #[cfg(feature = "telemetry")]
    if let SpanChoice::Built(writer) = spans {
        return writer.last_warning().map(|warning| warning.to_string());
    }
    let _ = spans;
    None
}

/// What the exporter said the last time that it failed.
fn why(spans: &SpanChoice) -> String {
    #[cfg(feature = "telemetry")]
    if let SpanChoice::Built(writer) = spans
        && let Some(error) = writer.last_error()
    {
        return error.to_string();
    }
    let _ = spans;
    "more were finished than the rings hold".to_owned()
}

impl Drop for Alarm {
    fn drop(&mut self) {
        *self.stop.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.1.notify_all();
        if let Some(thread) = self.thread.take() {
            // The thread has no way to panic, and a drop has no one to tell.
            drop(thread.join());
        }
    }
}
