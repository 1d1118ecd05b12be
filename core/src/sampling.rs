//! The contract of head sampling: which operations are looked at, decided before they begin.
//!
//! The lane pays a countdown for an operation that nobody samples. A sampler never times
//! anything itself; it is told of outcomes, so that it can adapt.

use crate::spans::{SpanId, TraceId};

/// What is known of an operation before it begins.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SpanContext {
    /// The caller's trace, if the operation came with one.
    pub parent: Option<Parent>,
    /// The caller insists.
    pub forced: bool,
    /// The caller's wish.
    pub priority: Priority,
    /// A rate of the caller's own, 0–1, instead of the configured one.
    pub rate: Option<f64>,
}

/// A span in another thread, process or machine that this operation belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    /// Its trace.
    pub trace: TraceId,
    /// The span itself.
    pub span: SpanId,
    /// Whether it is sampled.
    pub sampled: bool,
}

/// How much more or less often than usual an operation is sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Priority {
    /// A tenth of the rate.
    Low,
    /// The rate.
    #[default]
    Normal,
    /// Ten times the rate, at most always.
    High,
}

/// Why a decision fell as it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The configured rate, by the countdown or by lot.
    Rate,
    /// The caller insisted.
    Forced,
    /// The parent's decision was followed.
    Parent,
    /// A priority changed the rate.
    Priority,
    /// The caller's own rate.
    Custom,
    /// Sampling is switched off.
    Off,
    /// A rule for operations of this name.
    Rule,
    /// It failed, and was made a span after the fact.
    Error,
    /// It was slow, and was made a span after the fact.
    Slow,
}

impl Reason {
    /// All reasons, in the order of [`SamplerStats::by_reason`].
    pub const ALL: [Self; 9] = [
        Self::Rate,
        Self::Forced,
        Self::Parent,
        Self::Priority,
        Self::Custom,
        Self::Off,
        Self::Rule,
        Self::Error,
        Self::Slow,
    ];

    /// In words, for `sampling.reason`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        ["rate", "forced", "parent", "priority", "custom", "off", "rule", "error", "slow"][self as usize]
    }
}

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decision {
    /// Whether the operation is recorded.
    pub sampled: bool,
    /// Why.
    pub reason: Reason,
    /// How likely it was to be sampled, 0–1: a sampled operation stands for 1/`probability`.
    pub probability: f64,
}

/// How a sampled operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// How long it took, in nanoseconds.
    pub duration_ns: u64,
    /// Whether it failed.
    pub failed: bool,
}

/// What a sampler counts. Counts never go backwards.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SamplerStats {
    /// The rate in force, 0–1.
    pub rate: f64,
    /// Sampled operations, in the order of [`Reason::ALL`].
    pub by_reason: [u64; Reason::ALL.len()],
    /// Operations decided on, as far as lanes have told: a lane tells with each sampled one.
    pub operations: u64,
    /// Operations that the limit on sampled ones a second left unsampled.
    pub limited: u64,
    /// Outcomes reported as failed.
    pub failed: u64,
}

/// The shared side of sampling: one per stack.
pub trait SpanSampler: Send + Sync {
    /// A new lane, for one thread.
    fn lane(&self) -> Box<dyn SamplerLane>;

    /// The rate in force, 0–1.
    fn rate(&self) -> f64;

    /// Changes the rate; lanes follow within a second if they make operations at all. A rate
    /// outside 0–1 or NaN is refused: `false`, and nothing changes.
    fn set_rate(&self, rate: f64) -> bool;

    /// What it counts.
    fn stats(&self) -> SamplerStats;
}

/// One thread's side of sampling.
pub trait SamplerLane: Send {
    /// Passes over `operations` root operations that come with no context. `None` if none of
    /// them is sampled. `Some(i)` if the `i`-th (from 0) is the first that is: it is counted, and
    /// those after it are not passed over yet, so call again with the rest.
    fn gate(&mut self, operations: u64) -> Option<u64>;

    /// Decides on one operation that comes with a context.
    fn decide(&mut self, context: &SpanContext) -> Decision;

    /// The probability with which [`Self::gate`] samples now.
    fn probability(&self) -> f64;

    /// Tells how a sampled operation ended.
    fn outcome(&mut self, outcome: Outcome);
}

impl<L: SamplerLane + ?Sized> SamplerLane for Box<L> {
    #[inline]
    fn gate(&mut self, operations: u64) -> Option<u64> {
        (**self).gate(operations)
    }

    #[inline]
    fn decide(&mut self, context: &SpanContext) -> Decision {
        (**self).decide(context)
    }

    #[inline]
    fn probability(&self) -> f64 {
        (**self).probability()
    }

    #[inline]
    fn outcome(&mut self, outcome: Outcome) {
        (**self).outcome(outcome);
    }
}

/// The sampler that is switched off: samples nothing, forced or not.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSampler;

impl SpanSampler for NoSampler {
    fn lane(&self) -> Box<dyn SamplerLane> {
        Box::new(Self)
    }

    fn rate(&self) -> f64 {
        0.0
    }

    fn set_rate(&self, _rate: f64) -> bool {
        false
    }

    fn stats(&self) -> SamplerStats {
        SamplerStats::default()
    }
}

impl SamplerLane for NoSampler {
    #[inline(always)]
    fn gate(&mut self, _operations: u64) -> Option<u64> {
        None
    }

    #[inline(always)]
    fn decide(&mut self, _context: &SpanContext) -> Decision {
        Decision { sampled: false, reason: Reason::Off, probability: 0.0 }
    }

    #[inline(always)]
    fn probability(&self) -> f64 {
        0.0
    }

    #[inline(always)]
    fn outcome(&mut self, _outcome: Outcome) {}
}
