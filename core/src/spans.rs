//! The contract for spans that were sampled: where a finished one goes.
//!
//! Everything here is cold: it happens for sampled operations only. A lane never waits for the
//! exporter; what doesn't fit is dropped and counted.

use crate::sampling::Reason;

/// A trace's id, never 0 (W3C Trace Context, `trace-id`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId(pub u128);

/// A span's id, never 0 (W3C Trace Context, `parent-id`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId(pub u64);

impl std::fmt::Display for TraceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl std::fmt::Display for SpanId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// An attribute's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// A whole number.
    U64(u64),
    /// A number.
    F64(f64),
    /// A fixed text.
    Str(&'static str),
    /// Yes or no.
    Bool(bool),
}

/// How many attributes a span of the lane carries at most.
pub const MAX_ATTRIBUTES: usize = 6;

/// A span that has ended. Fixed in size, so that a lane keeps a slab of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FinishedSpan {
    /// Its trace; `None` lets the sink begin one.
    pub trace: Option<TraceId>,
    /// The span that it belongs to.
    pub parent: Option<SpanId>,
    /// What was done.
    pub name: &'static str,
    /// When it began, in nanoseconds since 1970.
    pub start_ns: u64,
    /// When it ended, in nanoseconds since 1970.
    pub end_ns: u64,
    /// Whether it failed.
    pub failed: bool,
    /// Why it was sampled.
    pub reason: Reason,
    /// How likely it was to be sampled, 0–1.
    pub probability: f64,
    /// Attributes; the first `None` ends them.
    pub attributes: [Option<(&'static str, Value)>; MAX_ATTRIBUTES],
}

/// What a span sink counts. Counts never go backwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SpanStats {
    /// Spans accepted from lanes.
    pub recorded: u64,
    /// Spans written out.
    pub exported: u64,
    /// Spans dropped because a slab or the queue was full, or the writing failed.
    pub dropped: u64,
}

/// The shared side: one per stack.
pub trait SpanSink: Send + Sync {
    /// A new lane, for one thread.
    fn lane(&self) -> Box<dyn SpanLane>;

    /// Writes out what was accepted before this call; `false` if the time ran out.
    fn flush(&self, timeout: std::time::Duration) -> bool;

    /// What it counts.
    fn stats(&self) -> SpanStats;
}

/// One thread's side.
pub trait SpanLane: Send {
    /// Takes a finished span and returns the ids that it has in the export. A span that is
    /// dropped is counted.
    fn finish(&mut self, span: &FinishedSpan) -> Option<(TraceId, SpanId)>;
}

impl<L: SpanLane + ?Sized> SpanLane for Box<L> {
    fn finish(&mut self, span: &FinishedSpan) -> Option<(TraceId, SpanId)> {
        (**self).finish(span)
    }
}

/// The span sink that is switched off.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSpans;

impl SpanSink for NoSpans {
    fn lane(&self) -> Box<dyn SpanLane> {
        Box::new(Self)
    }

    fn flush(&self, _timeout: std::time::Duration) -> bool {
        true
    }

    fn stats(&self) -> SpanStats {
        SpanStats::default()
    }
}

impl SpanLane for NoSpans {
    #[inline(always)]
    fn finish(&mut self, _span: &FinishedSpan) -> Option<(TraceId, SpanId)> {
        None
    }
}
