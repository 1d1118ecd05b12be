//! Both W3C headers, and the caller's wishes, out of and into the headers of a request.
//!
//! What is malformed is ignored, as W3C says, and counted. It knows no HTTP library: headers come
//! by name.

use std::sync::atomic::{AtomicU64, Ordering};

use ng_core::{
    sampling::{Priority, SpanContext},
    spans::{SpanId, TraceId},
};

use super::{traceparent::TraceParent, tracestate::TraceState};

/// What came with a request.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Extracted {
    /// What a sampler decides on.
    pub context: SpanContext,
    /// What goes on beside it; only with a parent.
    pub state: Option<TraceState>,
}

/// A header that was ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HeaderFault {
    /// `traceparent` is not of W3C's form.
    TraceParent,
    /// `tracestate` is not.
    TraceState,
    /// `X-Force-Trace` is neither true nor false.
    Force,
    /// `X-Sampling-Priority` is not high, normal or low.
    Priority,
    /// `X-Sampling-Rate` is not a number from 0 to 1.
    Rate,
}

impl HeaderFault {
    /// All of them, in the order of [`PropagatorStats::faults`].
    pub const ALL: [Self; 5] = [Self::TraceParent, Self::TraceState, Self::Force, Self::Priority, Self::Rate];

    /// The header, in lower case.
    #[must_use]
    pub const fn header(self) -> &'static str {
        ["traceparent", "tracestate", "x-force-trace", "x-sampling-priority", "x-sampling-rate"]
            [self as usize]
    }
}

/// What a propagator counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PropagatorStats {
    /// Requests looked at.
    pub requests: u64,
    /// Of these, with a parent.
    pub with_parent: u64,
    /// Headers ignored, in the order of [`HeaderFault::ALL`].
    pub faults: [u64; 5],
}

/// Reads the context of requests, and counts what it had to ignore.
///
/// ```
/// use ng_telemetry::context::Propagator;
///
/// let propagator = Propagator::new(true);
/// let headers = [("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")];
/// let find = |name: &str| headers.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
/// assert!(propagator.extract(find).context.parent.is_some_and(|parent| parent.sampled));
/// ```
#[derive(Debug, Default)]
pub struct Propagator {
    wishes: bool,
    requests: AtomicU64,
    with_parent: AtomicU64,
    faults: [AtomicU64; 5],
}

impl Propagator {
    /// With `wishes`, the caller may force a trace, give a priority and a rate; do not take wishes
    /// from whoever may not spend your storage.
    #[must_use]
    pub fn new(wishes: bool) -> Self {
        Self { wishes, ..Self::default() }
    }

    /// Reads the context from headers by their lower-case names. Where a header comes more than
    /// once, give `traceparent`'s as `None`-worthy text (it must be alone), and join `tracestate`'s
    /// with commas.
    pub fn extract<'a>(&self, header: impl Fn(&str) -> Option<&'a str>) -> Extracted {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let mut extracted = Extracted::default();
        if let Some(text) = header("traceparent") {
            match text.trim_matches([' ', '\t']).parse::<TraceParent>() {
                Ok(parent) => {
                    self.with_parent.fetch_add(1, Ordering::Relaxed);
                    extracted.context.parent = Some(parent.parent());
                    if let Some(text) = header("tracestate") {
                        extracted.state = self.or_fault(TraceState::parse(text), HeaderFault::TraceState);
                    }
                }
                Err(_) => self.fault(HeaderFault::TraceParent),
            }
        }
        if self.wishes {
            self.read_wishes(&mut extracted.context, header);
        }
        extracted
    }

    fn read_wishes<'a>(&self, context: &mut SpanContext, header: impl Fn(&str) -> Option<&'a str>) {
        let lower = |name| header(name).map(|text| text.trim().to_ascii_lowercase());
        if let Some(text) = lower("x-force-trace") {
            let forced = match &*text {
                "true" | "1" => Some(true),
                "false" | "0" => Some(false),
                _ => None,
            };
            context.forced = self.or_fault(forced, HeaderFault::Force).unwrap_or(false);
        }
        if let Some(text) = lower("x-sampling-priority") {
            let priority = match &*text {
                "high" => Some(Priority::High),
                "normal" => Some(Priority::Normal),
                "low" => Some(Priority::Low),
                _ => None,
            };
            context.priority = self.or_fault(priority, HeaderFault::Priority).unwrap_or_default();
        }
        if let Some(text) = lower("x-sampling-rate") {
            let rate = text.parse().ok().filter(|rate| (0.0..=1.0).contains(rate));
            context.rate = self.or_fault(rate, HeaderFault::Rate);
        }
    }

    fn or_fault<T>(&self, read: Option<T>, fault: HeaderFault) -> Option<T> {
        if read.is_none() {
            self.fault(fault);
        }
        read
    }

    fn fault(&self, fault: HeaderFault) {
        self.faults[fault as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// What it counts.
    #[must_use]
    pub fn stats(&self) -> PropagatorStats {
        PropagatorStats {
            requests: self.requests.load(Ordering::Relaxed),
            with_parent: self.with_parent.load(Ordering::Relaxed),
            faults: std::array::from_fn(|i| self.faults[i].load(Ordering::Relaxed)),
        }
    }
}

/// Writes the headers with which a request goes on from `span`: `set` gets name and value.
pub fn inject(
    trace: TraceId,
    span: SpanId,
    sampled: bool,
    state: Option<&TraceState>,
    mut set: impl FnMut(&'static str, String),
) {
    // Our ids are random, and so are those that carry a parent's trace on; the flag says so only
    // for the former, which the caller of this knows by there being no state.
    let flags = if sampled { TraceParent::SAMPLED } else { 0 };
    set("traceparent", TraceParent { trace, span, flags }.to_string());
    if let Some(state) = state.filter(|state| !state.is_empty()) {
        set("tracestate", state.to_string());
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn extract(propagator: &Propagator, headers: &[(&str, &str)]) -> Extracted {
        propagator.extract(|name| headers.iter().find(|(key, _)| *key == name).map(|(_, value)| *value))
    }

    const PARENT: (&str, &str) = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00");

    #[test]
    fn a_malformed_header_is_ignored_and_counted_and_the_others_count() {
        let propagator = Propagator::new(true);
        let bad = [
            ("traceparent", "00-x"),
            ("tracestate", "A=b"),
            ("x-force-trace", "yes"),
            ("x-sampling-priority", "urgent"),
            ("x-sampling-rate", "1.5"),
        ];
        assert_eq!(extract(&propagator, &bad), Extracted::default());
        assert_eq!(propagator.stats().faults, [1, 0, 1, 1, 1], "a state without a parent is not read");
        let mut mixed = bad;
        mixed[0] = PARENT;
        assert!(extract(&propagator, &mixed).context.parent.is_some_and(|parent| !parent.sampled));
        let expected = PropagatorStats { requests: 2, with_parent: 1, faults: [1, 1, 2, 2, 2] };
        assert_eq!(propagator.stats(), expected);
    }

    #[test]
    fn wishes_are_read_unless_they_are_not_wanted() {
        let wishes =
            [("x-force-trace", "TRUE"), ("x-sampling-priority", "High"), ("x-sampling-rate", " 0.25 ")];
        let context = extract(&Propagator::new(true), &wishes).context;
        assert_eq!((context.forced, context.priority, context.rate), (true, Priority::High, Some(0.25)));
        assert_eq!(extract(&Propagator::new(false), &wishes), Extracted::default());
        assert_eq!(extract(&Propagator::new(true), &[("x-sampling-rate", "nan")]).context.rate, None);
    }

    proptest! {
        #[test]
        fn what_is_injected_is_extracted(trace in 1..=u128::MAX, span in 1..=u64::MAX, sampled: bool) {
            let state = TraceState::parse("ot=th:c,x=1").unwrap();
            let mut headers = Vec::new();
            inject(TraceId(trace), SpanId(span), sampled, Some(&state), |name, value| headers.push((name, value)));
            let read = Propagator::new(false)
                .extract(|name| headers.iter().find(|(key, _)| *key == name).map(|(_, value)| &**value));
            let parent = read.context.parent.unwrap();
            prop_assert_eq!((parent.trace.0, parent.span.0, parent.sampled), (trace, span, sampled));
            prop_assert_eq!(read.state, Some(state));
        }
    }
}
