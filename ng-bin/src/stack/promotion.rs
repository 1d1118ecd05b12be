//! Operations that failed or were slow, from the lanes' rare events to spans made after the fact. A
//! lane tells of them on its cold paths only; one that goes well passes here for nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use ng_core::clock::precise_unix_ns;
use ng_core::events::{Event, EventKind, EventLane, OperationHistory, PastOperation, RecentEvent, Tier};

use super::choice::EventLaneChoice;
use crate::config::{StackConfig, TracingKind};

/// What may wait to be looked at: more than a second's worth is limited anyway.
const WAITING: usize = 1_024;

/// Operations on their way to be looked at.
#[derive(Debug)]
pub(crate) struct Feed {
    sender: SyncSender<PastOperation>,
    receiver: Mutex<Receiver<PastOperation>>,
    waiting: AtomicUsize,
    lost: std::sync::atomic::AtomicU64,
}

impl Feed {
    /// `None` if nothing is to be promoted.
    pub(super) fn of(config: &StackConfig) -> Option<Arc<Self>> {
        let tracing = &config.tracing;
        let on = tracing.kind == TracingKind::Sampled && (tracing.promote_errors || tracing.slow_ms > 0);
        on.then(|| {
            let (sender, receiver) = sync_channel(WAITING);
            let (waiting, lost) = (AtomicUsize::new(0), 0.into());
            Arc::new(Self { sender, receiver: Mutex::new(receiver), waiting, lost })
        })
    }

    /// Takes what tells of a failed or a slow operation; other events are none of its business.
    #[cold]
    #[inline(never)]
    pub(super) fn tell(&self, event: &Event) {
        let slow = event.kind == EventKind::SLOW_OPERATION;
        let failed = matches!(
            event.kind,
            EventKind::VALIDATION_FAILED
                | EventKind::QUOTA_EXCEEDED
                | EventKind::STORE_FULL
                | EventKind::WAL_FAILED
        );
        if !slow && !failed {
            return;
        }
        // A storm of refusals costs each of them one load.
        if self.waiting.load(Ordering::Relaxed) >= WAITING {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let (start_ns, end_ns) = if slow {
            (event.a, event.b)
        } else {
            let now = precise_unix_ns();
            (now, now)
        };
        self.waiting.fetch_add(1, Ordering::Relaxed);
        if self.sender.try_send(PastOperation { event: *event, start_ns, end_ns, failed }).is_err() {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl OperationHistory for Feed {
    fn since_last(&self, each: &mut dyn FnMut(&PastOperation)) {
        let receiver = self.receiver.lock().unwrap_or_else(PoisonError::into_inner);
        while let Ok(operation) = receiver.try_recv() {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            each(&operation);
        }
    }
}

/// From which on an operation is slow to a lane; 0 for never.
pub(super) fn slow_ns(config: &StackConfig) -> u64 {
    if config.tracing.kind == TracingKind::Off { 0 } else { config.tracing.slow_ms * 1_000_000 }
}

/// Starts the thread that makes spans of them, with its metrics; `None` where there is no feed, or
/// spans go elsewhere.
#[cfg(feature = "telemetry")]
pub(super) fn start(
    config: &StackConfig,
    feed: Option<&Arc<Feed>>,
    spans: &super::choice::SpanChoice,
    metrics: &dyn ng_core::metrics::MetricSink,
) -> Result<Option<ng_telemetry::promotion::Promoter>, super::StackError> {
    use ng_core::metrics::MetricDesc;
    use ng_telemetry::promotion::{Promoter, PromotionOptions, PromotionStats};
    type Count = fn(&PromotionStats) -> u64;
    let (Some(feed), super::choice::SpanChoice::Built(writer)) = (feed, spans) else { return Ok(None) };
    let tracing = &config.tracing;
    #[expect(clippy::cast_precision_loss, reason = "at most a million")]
    let options = PromotionOptions {
        errors: tracing.promote_errors,
        slow: (tracing.slow_ms > 0).then(|| std::time::Duration::from_millis(tracing.slow_ms)),
        limit_per_second: tracing.promote_per_second as f64,
        ..PromotionOptions::default()
    };
    let history = Arc::clone(feed) as Arc<dyn OperationHistory>;
    let promoter = Promoter::start(history, writer.intake(), options).map_err(super::StackError::Clock)?;
    let counts: [(&str, Count); 2] = [("error", |stats| stats.errors), ("slow", |stats| stats.slow)];
    for (reason, count) in counts {
        let desc = MetricDesc::new(
            "neurograph_promoted_total",
            "Operations that became spans after the fact, by reason.",
        );
        let watch = promoter.watch();
        metrics.counter_from(&desc.label("reason", reason), Box::new(move || count(&watch())))?;
    }
    let (watch, feed) = (promoter.watch(), Arc::clone(feed));
    let desc = MetricDesc::new(
        "neurograph_promotions_dropped_total",
        "Failed or slow operations that became no span: above the limit, or a queue was full.",
    );
    metrics.counter_from(&desc, Box::new(move || watch().dropped + feed.lost.load(Ordering::Relaxed)))?;
    Ok(Some(promoter))
}

/// A lane of the flight recorder that also tells of what failed or was slow.
pub struct EventTap {
    lane: EventLaneChoice,
    feed: Option<Arc<Feed>>,
}

impl EventTap {
    pub(super) const fn new(lane: EventLaneChoice, feed: Option<Arc<Feed>>) -> Self {
        Self { lane, feed }
    }
}

impl std::fmt::Debug for EventTap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventTap").field("lane", &self.lane).finish_non_exhaustive()
    }
}

impl EventLane for EventTap {
    #[inline(always)]
    fn record(&mut self, event: Event) {
        // The tier is known where this is inlined, so an operation pays nothing.
        if event.tier == Tier::Rare
            && let Some(feed) = &self.feed
        {
            feed.tell(&event);
        }
        self.lane.record(event);
    }

    fn recent(&self, most: usize, see: &mut dyn FnMut(RecentEvent)) -> usize {
        self.lane.recent(most, see)
    }
}
