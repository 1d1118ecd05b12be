//! Which implementation of a layer is in use: none, the one of this workspace, or a user's own.
//!
//! A lane that is composed from configuration dispatches by a match on these, which a branch
//! predictor learns at once; only a user's own implementation is called through a pointer.

use std::sync::Arc;

use ng_core::admission::{Admission, AdmissionLane, NoAdmission, Refusal, Violation};
use ng_core::events::{Event, EventLane, EventRecorder, NoRecorder, RecentEvent};
use ng_core::metrics::{CounterId, Exemplar, HistogramId, MetricLane, MetricSink, NoMetrics};
use ng_core::sampling::{Decision, NoSampler, Outcome, SamplerLane, SpanContext, SpanSampler};
use ng_core::spans::{FinishedSpan, NoSpans, SpanId, SpanLane, SpanSink, TraceId};
use ng_core::token::Token;
use ng_core::wal::{AppendError, NoWal, RecordKind, RunError, Ticket, WalLane, WalSink};

/// Calls one expression on whichever variant it is.
macro_rules! each {
    ($feature:literal, $self:expr, $lane:ident => $body:expr) => {
        match $self {
            Self::Off($lane) => $body,
            #[cfg(feature = $feature)]
            Self::Built($lane) => $body,
            Self::Custom($lane) => $body,
        }
    };
}

/// The two enums of a layer: shared side and lane side.
macro_rules! layer {
    (
        $feature:literal, $shared:ident, $lane:ident, $trait:ident, $lane_trait:ident, $off:ident,
        $built:ty, $built_lane:ty
    ) => {
        #[doc = concat!("The shared side of [`", stringify!($trait), "`] in use.")]
        #[derive(Clone)]
        pub enum $shared {
            /// Switched off.
            Off($off),
            /// This workspace's own.
            #[cfg(feature = $feature)]
            Built(Arc<$built>),
            /// A user's own.
            Custom(Arc<dyn $trait>),
        }

        #[doc = concat!("The lane side of [`", stringify!($trait), "`] in use.")]
        #[allow(clippy::large_enum_variant, reason = "one a thread, and a box would cost each token")]
        pub enum $lane {
            /// Switched off.
            Off($off),
            /// This workspace's own.
            #[cfg(feature = $feature)]
            Built($built_lane),
            /// A user's own.
            Custom(Box<dyn $lane_trait>),
        }

        impl $shared {
            /// The layer as its contract.
            #[must_use]
            pub fn shared(&self) -> &dyn $trait {
                match self {
                    Self::Off(off) => off,
                    #[cfg(feature = $feature)]
                    Self::Built(built) => built.as_ref(),
                    Self::Custom(custom) => custom.as_ref(),
                }
            }

            /// Whether the layer is switched off.
            #[must_use]
            pub const fn is_off(&self) -> bool {
                matches!(self, Self::Off(_))
            }
        }

        impl std::fmt::Debug for $shared {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self {
                    Self::Off(_) => "Off",
                    #[cfg(feature = $feature)]
                    Self::Built(_) => "Built",
                    Self::Custom(_) => "Custom",
                })
            }
        }

        impl std::fmt::Debug for $lane {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self {
                    Self::Off(_) => "Off",
                    #[cfg(feature = $feature)]
                    Self::Built(_) => "Built",
                    Self::Custom(_) => "Custom",
                })
            }
        }
    };
}

layer!(
    "guardian",
    AdmissionChoice,
    AdmissionLaneChoice,
    Admission,
    AdmissionLane,
    NoAdmission,
    ng_guardian::Guardian,
    ng_guardian::GuardianLane
);
layer!("wal", WalChoice, WalLaneChoice, WalSink, WalLane, NoWal, ng_wal::Log, ng_wal::LogLane);
layer!(
    "telemetry",
    MetricChoice,
    MetricLaneChoice,
    MetricSink,
    MetricLane,
    NoMetrics,
    ng_telemetry::Registry,
    ng_telemetry::MetricShard
);
layer!(
    "telemetry",
    SamplerChoice,
    SamplerLaneChoice,
    SpanSampler,
    SamplerLane,
    NoSampler,
    ng_telemetry::Sampler,
    ng_telemetry::Gate
);
layer!(
    "telemetry",
    SpanChoice,
    SpanLaneChoice,
    SpanSink,
    SpanLane,
    NoSpans,
    ng_telemetry::SpanWriter,
    ng_telemetry::SpanRing
);
layer!(
    "blackbox",
    EventChoice,
    EventLaneChoice,
    EventRecorder,
    EventLane,
    NoRecorder,
    ng_blackbox::Recorder,
    ng_blackbox::RecorderLane
);

impl AdmissionChoice {
    /// A new lane, for one thread that makes tokens of `domain`.
    #[must_use]
    pub fn lane(&self, domain: u8, name: &str) -> AdmissionLaneChoice {
        match self {
            Self::Off(off) => AdmissionLaneChoice::Off(*off),
            #[cfg(feature = "guardian")]
            Self::Built(guardian) => AdmissionLaneChoice::Built(guardian.open_lane_of(domain, name)),
            Self::Custom(custom) => AdmissionLaneChoice::Custom(custom.lane_in(domain, name)),
        }
    }
}

impl WalChoice {
    /// A new lane, for one thread.
    ///
    /// # Errors
    /// [`AppendError::Poisoned`] or [`AppendError::Closed`].
    pub fn lane(&self) -> Result<WalLaneChoice, AppendError> {
        Ok(match self {
            Self::Off(off) => WalLaneChoice::Off(*off),
            #[cfg(feature = "wal")]
            Self::Built(log) => WalLaneChoice::Built(log.open_lane()?),
            Self::Custom(custom) => WalLaneChoice::Custom(custom.lane()?),
        })
    }
}

impl MetricChoice {
    /// A new lane, for one thread.
    #[must_use]
    pub fn lane(&self) -> MetricLaneChoice {
        match self {
            Self::Off(off) => MetricLaneChoice::Off(*off),
            #[cfg(feature = "telemetry")]
            Self::Built(registry) => MetricLaneChoice::Built(registry.open_lane()),
            Self::Custom(custom) => MetricLaneChoice::Custom(custom.lane()),
        }
    }
}

impl SamplerChoice {
    /// A new lane, for one thread.
    #[must_use]
    pub fn lane(&self) -> SamplerLaneChoice {
        match self {
            Self::Off(off) => SamplerLaneChoice::Off(*off),
            #[cfg(feature = "telemetry")]
            Self::Built(sampler) => SamplerLaneChoice::Built(sampler.open_lane()),
            Self::Custom(custom) => SamplerLaneChoice::Custom(custom.lane()),
        }
    }
}

impl SpanChoice {
    /// A new lane, for one thread.
    #[must_use]
    pub fn lane(&self) -> SpanLaneChoice {
        match self {
            Self::Off(off) => SpanLaneChoice::Off(*off),
            #[cfg(feature = "telemetry")]
            Self::Built(writer) => SpanLaneChoice::Built(writer.open_lane()),
            Self::Custom(custom) => SpanLaneChoice::Custom(custom.lane()),
        }
    }
}

impl EventChoice {
    /// A new lane, for one thread, shown as `name`.
    #[must_use]
    pub fn lane(&self, name: &str) -> EventLaneChoice {
        match self {
            Self::Off(off) => EventLaneChoice::Off(*off),
            #[cfg(feature = "blackbox")]
            Self::Built(recorder) => EventLaneChoice::Built(recorder.open_lane(name)),
            Self::Custom(custom) => EventLaneChoice::Custom(custom.lane(name)),
        }
    }

    /// The recorder for other layers to speak to; `None` if it is off.
    #[must_use]
    pub fn injected(&self) -> Option<Arc<dyn EventRecorder>> {
        match self {
            Self::Off(_) => None,
            #[cfg(feature = "blackbox")]
            Self::Built(recorder) => Some(Arc::clone(recorder) as Arc<dyn EventRecorder>),
            Self::Custom(custom) => Some(Arc::clone(custom)),
        }
    }
}

impl AdmissionLane for AdmissionLaneChoice {
    #[inline(always)]
    fn admit(&mut self, n: u64) -> Result<(), Refusal> {
        each!("guardian", self, lane => lane.admit(n))
    }

    #[inline(always)]
    fn release(&mut self, n: u64) {
        each!("guardian", self, lane => lane.release(n));
    }

    fn admit_in(&mut self, domain: u8, n: u64) -> Result<(), Refusal> {
        each!("guardian", self, lane => lane.admit_in(domain, n))
    }

    #[inline]
    fn release_in(&mut self, domain: u8, n: u64) {
        each!("guardian", self, lane => lane.release_in(domain, n));
    }

    #[inline(always)]
    fn refresh(&mut self) {
        each!("guardian", self, lane => lane.refresh());
    }

    #[inline(always)]
    fn check(&mut self, token: &Token) -> Result<(), Violation> {
        each!("guardian", self, lane => lane.check(token))
    }

    fn may_delete(&mut self) -> Result<(), Violation> {
        each!("guardian", self, lane => lane.may_delete())
    }
}

impl WalLane for WalLaneChoice {
    #[inline(always)]
    fn is_off(&self) -> bool {
        each!("wal", self, lane => lane.is_off())
    }

    #[inline(always)]
    fn append(&mut self, kind: RecordKind, payload: &[u8]) -> Result<Ticket, AppendError> {
        each!("wal", self, lane => lane.append(kind, payload))
    }

    #[inline(always)]
    fn append_run(
        &mut self,
        kind: RecordKind,
        record_len: usize,
        payload: &[u8],
    ) -> Result<Ticket, RunError> {
        each!("wal", self, lane => lane.append_run(kind, record_len, payload))
    }
}

impl MetricLane for MetricLaneChoice {
    #[inline(always)]
    fn add(&mut self, counter: CounterId, n: u64) {
        each!("telemetry", self, lane => lane.add(counter, n));
    }

    #[inline(always)]
    fn observe(&mut self, histogram: HistogramId, value: u64, times: u64) {
        each!("telemetry", self, lane => lane.observe(histogram, value, times));
    }

    fn exemplar(&mut self, histogram: HistogramId, exemplar: &Exemplar) {
        each!("telemetry", self, lane => lane.exemplar(histogram, exemplar));
    }
}

impl SamplerLane for SamplerLaneChoice {
    #[inline(always)]
    fn gate(&mut self, operations: u64) -> Option<u64> {
        each!("telemetry", self, lane => lane.gate(operations))
    }

    fn decide(&mut self, context: &SpanContext) -> Decision {
        each!("telemetry", self, lane => lane.decide(context))
    }

    fn probability(&self) -> f64 {
        each!("telemetry", self, lane => lane.probability())
    }

    fn outcome(&mut self, outcome: Outcome) {
        each!("telemetry", self, lane => lane.outcome(outcome));
    }
}

impl SpanLane for SpanLaneChoice {
    fn finish(&mut self, span: &FinishedSpan) -> Option<(TraceId, SpanId)> {
        each!("telemetry", self, lane => lane.finish(span))
    }
}

impl EventLane for EventLaneChoice {
    #[inline(always)]
    fn record(&mut self, event: Event) {
        each!("blackbox", self, lane => lane.record(event));
    }

    fn recent(&self, most: usize, see: &mut dyn FnMut(RecentEvent)) -> usize {
        each!("blackbox", self, lane => lane.recent(most, see))
    }
}
