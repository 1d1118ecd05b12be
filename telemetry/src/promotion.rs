//! Errors and slow operations become spans after the fact, though nobody sampled them: from the
//! history of operations that another layer keeps (a trait of ng-core, injected).
//!
//! A thread looks at the history a few times a second. A promoted span says so
//! (`sampling.reason` = `error` or `slow`), has the tick's resolution in its times, begins a trace of
//! its own, and carries no threshold: how likely it was to be found says nothing about others.

use std::{
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use ng_core::{
    events::{OperationHistory, PastOperation},
    sampling::Reason,
    spans::{FinishedSpan, MAX_ATTRIBUTES, Value},
};

use crate::{
    sampling::Limiter,
    spans::{Ids, SpanIntake, SpanRecord},
};

/// What is promoted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PromotionOptions {
    /// Whether failed operations are.
    pub errors: bool,
    /// Operations that took at least this long are, to the tick's resolution; `None` promotes none.
    pub slow: Option<Duration>,
    /// The most a second; counts as at least 1.
    pub limit_per_second: f64,
    /// How often the history is looked at; at least 1 ms.
    pub interval: Duration,
}

impl Default for PromotionOptions {
    fn default() -> Self {
        Self {
            errors: true,
            slow: Some(Duration::from_millis(100)),
            limit_per_second: 100.0,
            interval: Duration::from_millis(100),
        }
    }
}

/// What a promoter counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PromotionStats {
    /// Failed operations that became spans.
    pub errors: u64,
    /// Slow ones that did.
    pub slow: u64,
    /// Those that the limit, or a full queue, kept from it.
    pub dropped: u64,
}

#[derive(Debug, Default)]
struct Shared {
    stop: Mutex<bool>,
    wake: Condvar,
    errors: AtomicU64,
    slow: AtomicU64,
    dropped: AtomicU64,
}

impl Shared {
    fn stats(&self) -> PromotionStats {
        PromotionStats {
            errors: self.errors.load(Ordering::Relaxed),
            slow: self.slow.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
        }
    }
}

/// The thread, `ng-promote`; it looks once more and ends when this is dropped.
#[derive(Debug)]
pub struct Promoter {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Promoter {
    /// Starts the thread.
    ///
    /// # Errors
    /// What the operating system says if it gives no thread.
    pub fn start(
        history: Arc<dyn OperationHistory>,
        intake: SpanIntake,
        options: PromotionOptions,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let telling = Arc::clone(&shared);
        let interval = options.interval.max(Duration::from_millis(1));
        let mut look = Look {
            limiter: Limiter::new(Some(options.limit_per_second)),
            ids: Ids::new(),
            shared: Arc::clone(&shared),
            options,
            intake,
        };
        let thread = std::thread::Builder::new().name("ng-promote".to_owned()).spawn(move || {
            let mut stop = false;
            while !stop {
                let stopped = telling.stop.lock().unwrap_or_else(PoisonError::into_inner);
                let waited = telling.wake.wait_timeout_while(stopped, interval, |stop| !*stop);
                stop = *waited.unwrap_or_else(PoisonError::into_inner).0;
                history.since_last(&mut |operation| look.at(operation));
            }
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// What it counts.
    #[must_use]
    pub fn stats(&self) -> PromotionStats {
        self.shared.stats()
    }

    /// A way to ask what it counts that outlives it.
    pub fn watch(&self) -> impl Fn() -> PromotionStats + Clone + Send + Sync + 'static {
        let shared = Arc::clone(&self.shared);
        move || shared.stats()
    }
}

impl Drop for Promoter {
    fn drop(&mut self) {
        *self.shared.stop.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.shared.wake.notify_all();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

struct Look {
    limiter: Limiter,
    ids: Ids,
    shared: Arc<Shared>,
    options: PromotionOptions,
    intake: SpanIntake,
}

impl Look {
    fn at(&mut self, operation: &PastOperation) {
        let took = operation.end_ns.saturating_sub(operation.start_ns);
        let is_slow = self.options.slow.is_some_and(|slow| u128::from(took) >= slow.as_nanos());
        let shared = Arc::clone(&self.shared);
        let (reason, count) = if operation.failed && self.options.errors {
            (Reason::Error, &shared.errors)
        } else if is_slow {
            (Reason::Slow, &shared.slow)
        } else {
            return;
        };
        let promoted = self.limiter.admit(operation.end_ns) && {
            let span = self.span(operation, reason);
            self.intake.submit(Box::new(span))
        };
        let count = if promoted { count } else { &shared.dropped };
        count.fetch_add(1, Ordering::Relaxed);
    }

    fn span(&mut self, operation: &PastOperation, reason: Reason) -> SpanRecord {
        let event = operation.event;
        let known = ng_core::events::EventKind::SCHEMA.iter().find(|row| row.0 == event.kind);
        let (name, a, b) = known.map_or(("operation", "a", "b"), |row| (row.1, row.2, row.3));
        let mut attributes = [None; MAX_ATTRIBUTES];
        attributes[0] = Some((a, Value::U64(event.a)));
        attributes[1] = Some((b, Value::U64(event.b)));
        attributes[2] = Some(("time.resolution", Value::Str("tick")));
        let span = FinishedSpan {
            trace: None,
            parent: None,
            name,
            start_ns: operation.start_ns.min(operation.end_ns),
            end_ns: operation.end_ns,
            failed: operation.failed,
            reason,
            probability: 1.0,
            attributes,
        };
        SpanRecord { trace: self.ids.trace(1.0), id: self.ids.span(), span, details: None }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use ng_core::{
        events::{Event, EventKind},
        spans::SpanSink,
    };

    use super::*;
    use crate::{SpanOptions, SpanWriter, spans::Memory};

    #[derive(Default)]
    struct History(Mutex<Vec<PastOperation>>);

    impl OperationHistory for History {
        fn since_last(&self, each: &mut dyn FnMut(&PastOperation)) {
            for operation in self.0.lock().unwrap().drain(..) {
                each(&operation);
            }
        }
    }

    fn past(number: u64, took_ns: u64, failed: bool) -> PastOperation {
        let event = Event::operation(EventKind::TOKENS_CREATED, number, 1);
        let end_ns = 1_700_000_000_000_000_000 + number;
        PastOperation { event, start_ns: end_ns - took_ns, end_ns, failed }
    }

    fn promoted(history: Vec<PastOperation>, options: PromotionOptions) -> (Vec<SpanRecord>, PromotionStats) {
        let kept = Memory::default();
        let writer = SpanWriter::start(SpanOptions::new(kept.clone())).unwrap();
        let history = Arc::new(History(Mutex::new(history)));
        let promoter = Promoter::start(history, writer.intake(), options).unwrap();
        let shared = Arc::clone(&promoter.shared);
        drop(promoter);
        assert!(writer.flush(Duration::from_secs(20)));
        let stats = Promoter { shared, thread: None }.stats();
        (kept.spans(), stats)
    }

    #[test]
    fn failed_and_slow_operations_become_spans_without_a_threshold() {
        let slow = Duration::from_millis(5);
        let options = PromotionOptions { slow: Some(slow), ..PromotionOptions::default() };
        let history =
            vec![past(1, 10, false), past(2, 10, true), past(3, 5_000_000, false), past(4, 4_999_999, false)];
        let (spans, stats) = promoted(history, options);
        assert_eq!(stats, PromotionStats { errors: 1, slow: 1, dropped: 0 });
        let reasons: Vec<_> = spans.iter().map(|span| (span.span.reason, span.span.failed)).collect();
        assert_eq!(reasons, [(Reason::Error, true), (Reason::Slow, false)]);
        assert_eq!(spans[0].name(), "tokens_created");
        assert_eq!(spans[0].span.attributes[0], Some(("first_id", Value::U64(2))));
        assert!(spans.iter().all(|span| crate::context::threshold::trace_state(span).is_none()));
    }

    #[test]
    fn a_storm_of_errors_is_limited_and_counted() {
        let options = PromotionOptions { limit_per_second: 10.0, ..PromotionOptions::default() };
        let (spans, stats) = promoted((1..=1_000).map(|n| past(n, 10, true)).collect(), options);
        assert_eq!((spans.len(), stats.errors, stats.dropped), (10, 10, 990));
    }

    #[test]
    fn what_is_switched_off_is_not_promoted() {
        let options = PromotionOptions { errors: false, slow: None, ..PromotionOptions::default() };
        let (spans, stats) = promoted(vec![past(1, u64::from(u32::MAX), true)], options);
        assert_eq!((spans.len(), stats), (0, PromotionStats::default()));
    }
}
