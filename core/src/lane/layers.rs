//! The layers of one thread, without an engine: what an order book or an ingester takes to be
//! observed with record kinds and names of its own. [`Lane`](super::Lane) is built on it.
//!
//! It adds no cost of its own: with no-ops it compiles to nothing.

use crate::admission::{AdmissionLane, NoAdmission};
use crate::clock::stamp_unix_ns;
use crate::events::{Event, EventKind, EventLane, NoRecorder, Tier};
use crate::metrics::{
    CounterId, Exemplar, HistogramId, MetricDesc, MetricLane, MetricSink, NoMetrics, RegisterError, Scale,
};
use crate::sampling::{NoSampler, Outcome, Reason, SamplerLane, SpanContext};
use crate::spans::{FinishedSpan, MAX_ATTRIBUTES, NoSpans, SpanId, SpanLane, TraceId, Value};
use crate::wal::{NoWal, WalLane};

/// One lane of each layer.
#[derive(Debug, Default)]
pub struct Layers<A = NoAdmission, W = NoWal, M = NoMetrics, S = NoSampler, X = NoSpans, E = NoRecorder> {
    /// Quotas and the constitution.
    pub admission: A,
    /// The log.
    pub wal: W,
    /// Counters and histograms.
    pub metrics: M,
    /// Which operations are looked at.
    pub sampler: S,
    /// Where sampled ones go.
    pub spans: X,
    /// The flight recorder.
    pub events: E,
}

/// The metrics that a lane writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneMetrics {
    /// Tokens made.
    pub created: CounterId,
    /// Tokens deleted.
    pub deleted: CounterId,
    /// Tokens refused by a quota.
    pub refused_quota: CounterId,
    /// Tokens refused by the constitution, or unsound in themselves.
    pub refused_invalid: CounterId,
    /// Tokens refused because the store had no place for them.
    pub refused_store: CounterId,
    /// Operations refused because the log did not take their record.
    pub refused_log: CounterId,
    /// Records given to the log.
    pub logged: CounterId,
    /// Records that the log did not take and the policy let pass.
    pub unlogged: CounterId,
    /// How long sampled operations took, in nanoseconds, weighted by what they stand for.
    pub operation_ns: HistogramId,
}

impl LaneMetrics {
    /// Registers them, or finds them registered.
    ///
    /// # Errors
    /// See [`RegisterError`].
    pub fn register(sink: &dyn MetricSink) -> Result<Self, RegisterError> {
        let counter = |name: &str, help: &str| sink.counter(&MetricDesc::new(name, help));
        let refused = |reason: &str| {
            let desc = MetricDesc::new(
                "neurograph_tokens_refused_total",
                "Tokens or operations refused, by reason.",
            );
            sink.counter(&desc.label("reason", reason))
        };
        Ok(Self {
            created: counter("neurograph_tokens_created_total", "Tokens made.")?,
            deleted: counter("neurograph_tokens_deleted_total", "Tokens deleted.")?,
            refused_quota: refused("quota")?,
            refused_invalid: refused("invalid")?,
            refused_store: refused("store")?,
            refused_log: refused("log")?,
            logged: counter("neurograph_wal_appended_total", "Records given to the log by lanes.")?,
            unlogged: counter(
                "neurograph_wal_unlogged_total",
                "Records that the log did not take and the policy let pass.",
            )?,
            operation_ns: sink.histogram(
                &MetricDesc::new(
                    "neurograph_operation_duration_seconds",
                    "Duration of sampled operations, each weighted by the operations that it stands for.",
                )
                .unit("seconds", Scale::Nano),
            )?,
        })
    }
}

/// A sampled operation under way.
#[derive(Debug, Clone, Copy)]
pub struct Sampled {
    name: &'static str,
    start_ns: u64,
    context: SpanContext,
    reason: Reason,
    probability: f64,
}

impl Sampled {
    /// What was done within it from `start_ns` to `end_ns` (nanoseconds since 1970), as a span of its
    /// own: a child of `ids`, which [`Layers::end`] gave, under the same decision.
    #[must_use]
    pub const fn step(
        &self,
        (trace, parent): (TraceId, SpanId),
        name: &'static str,
        start_ns: u64,
        end_ns: u64,
    ) -> FinishedSpan {
        FinishedSpan {
            trace: Some(trace),
            parent: Some(parent),
            name,
            start_ns,
            end_ns,
            failed: false,
            reason: self.reason,
            probability: self.probability,
            attributes: [None; MAX_ATTRIBUTES],
        }
    }
}

impl<A, W, M, S, X, E> Layers<A, W, M, S, X, E>
where
    A: AdmissionLane,
    W: WalLane,
    M: MetricLane,
    S: SamplerLane,
    X: SpanLane,
    E: EventLane,
{
    /// Begins an operation that comes with no context: `None` if it isn't sampled, which costs a
    /// countdown.
    #[inline(always)]
    pub fn begin(&mut self, name: &'static str) -> Option<Sampled> {
        self.sampler.gate(1).map(|_| self.sampled(name))
    }

    /// Begins an operation that comes with a context.
    #[cold]
    pub fn begin_in(&mut self, name: &'static str, context: &SpanContext) -> Option<Sampled> {
        let decision = self.sampler.decide(context);
        decision.sampled.then(|| Sampled {
            name,
            start_ns: stamp_unix_ns(),
            context: *context,
            reason: decision.reason,
            probability: decision.probability,
        })
    }

    /// An operation that the gate has chosen.
    #[cold]
    pub fn sampled(&mut self, name: &'static str) -> Sampled {
        Sampled {
            name,
            start_ns: stamp_unix_ns(),
            context: SpanContext::default(),
            reason: Reason::Rate,
            probability: self.sampler.probability(),
        }
    }

    /// Ends a sampled operation: its span, its duration, its event. Gives the span's ids, for those of
    /// what was done within it; `None` if the span was dropped.
    #[cold]
    pub fn end(
        &mut self,
        sampled: Sampled,
        failed: bool,
        duration: Option<HistogramId>,
        attributes: [Option<(&'static str, Value)>; MAX_ATTRIBUTES],
    ) -> Option<(TraceId, SpanId)> {
        self.end_at(sampled, stamp_unix_ns(), failed, duration, attributes)
    }

    /// Ends a sampled operation as of a moment, in nanoseconds since 1970: as [`Self::end`].
    #[cold]
    pub fn end_at(
        &mut self,
        sampled: Sampled,
        end_ns: u64,
        failed: bool,
        duration: Option<HistogramId>,
        attributes: [Option<(&'static str, Value)>; MAX_ATTRIBUTES],
    ) -> Option<(TraceId, SpanId)> {
        let end_ns = end_ns.max(sampled.start_ns);
        let duration_ns = end_ns - sampled.start_ns;
        self.sampler.outcome(Outcome { duration_ns, failed });
        if let Some(histogram) = duration {
            self.metrics.observe(histogram, duration_ns, weight(sampled.probability));
        }
        self.events.record(Event {
            kind: EventKind::OPERATION,
            tier: Tier::Sampled,
            a: u64::from(failed),
            b: duration_ns,
        });
        let kept = self.spans.finish(&FinishedSpan {
            trace: sampled.context.parent.map(|parent| parent.trace),
            parent: sampled.context.parent.map(|parent| parent.span),
            name: sampled.name,
            start_ns: sampled.start_ns,
            end_ns,
            failed,
            reason: sampled.reason,
            probability: sampled.probability,
            attributes,
        });
        // Only a span that will be found is worth pointing at.
        if let (Some(histogram), Some((trace, span))) = (duration, kept) {
            let exemplar = Exemplar { value: duration_ns, trace, span, unix_ns: end_ns };
            self.metrics.exemplar(histogram, &exemplar);
        }
        kept
    }

    /// Runs `body` as one operation called `name`: a span if it is sampled.
    #[inline]
    pub fn op<R>(&mut self, name: &'static str, body: impl FnOnce(&mut Self) -> R) -> R {
        match self.begin(name) {
            None => body(self),
            Some(sampled) => {
                let answer = body(self);
                self.end(sampled, false, None, [None; MAX_ATTRIBUTES]);
                answer
            }
        }
    }
}

/// How many operations one that was sampled with this probability stands for.
fn weight(probability: f64) -> u64 {
    if probability > 0.0 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a float's cast saturates"
        )]
        let weight = (1.0 / probability).round() as u64;
        weight.max(1)
    } else {
        1
    }
}
