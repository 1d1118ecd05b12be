//! The suite of [`crate::sampling`].

use std::time::{Duration, Instant};

use crate::{
    sampling::{
        Decision, NoSampler, Outcome, Parent, Priority, Reason, SamplerLane, SamplerStats, SpanContext,
        SpanSampler,
    },
    spans::{SpanId, TraceId},
};

/// What each sampler must do. `make` gives a fresh one at a rate.
pub fn suite<S: SpanSampler>(make: impl Fn(f64) -> S) {
    at_0_nothing_and_at_1_everything_is_sampled(&make);
    who_insists_is_sampled_and_a_parent_is_followed(&make);
    the_callers_wishes_have_their_reason_and_probability(&make);
    the_share_of_sampled_operations_is_the_rate(&make);
    a_rate_that_is_none_is_refused(&make(0.25));
    lanes_follow_a_change_of_the_rate(&make);
    each_sampled_operation_is_counted_by_its_reason(&make);
}

/// What the sampler that is switched off must do: sample nothing, forced or not.
pub fn off_suite() {
    let mut lane = NoSampler.lane();
    let forced = SpanContext { forced: true, ..SpanContext::default() };
    assert_eq!(lane.decide(&forced), Decision { sampled: false, reason: Reason::Off, probability: 0.0 });
    assert_eq!(lane.gate(u64::MAX), None);
    assert!(!NoSampler.set_rate(1.0));
    assert_eq!(NoSampler.stats(), SamplerStats::default());
}

fn at_0_nothing_and_at_1_everything_is_sampled<S: SpanSampler>(make: impl Fn(f64) -> S) {
    let mut never = make(0.0).lane();
    assert!((0..1_000).all(|_| never.gate(1_000_000).is_none()));
    assert!(!never.decide(&SpanContext::default()).sampled);
    let mut always = make(1.0).lane();
    assert!((1..1_000).all(|n| always.gate(n) == Some(0)));
    assert!(always.decide(&SpanContext::default()).sampled);
    assert_eq!(always.gate(0), None, "of no operations none is sampled");
}

fn who_insists_is_sampled_and_a_parent_is_followed<S: SpanSampler>(make: impl Fn(f64) -> S) {
    let parent = |sampled| Some(Parent { trace: TraceId(1), span: SpanId(2), sampled });
    for rate in [0.0, 0.5, 1.0] {
        let mut lane = make(rate).lane();
        for sampled in [true, false] {
            let context = SpanContext { parent: parent(sampled), rate: Some(0.5), ..SpanContext::default() };
            let decision = lane.decide(&context);
            assert_eq!((decision.sampled, decision.reason), (sampled, Reason::Parent), "at {rate}");
        }
        let context = SpanContext { parent: parent(false), forced: true, ..SpanContext::default() };
        let decision = lane.decide(&context);
        assert_eq!(decision, Decision { sampled: true, reason: Reason::Forced, probability: 1.0 });
    }
}

fn the_callers_wishes_have_their_reason_and_probability<S: SpanSampler>(make: impl Fn(f64) -> S) {
    let cases = [
        (0.02, Priority::Normal, None, Reason::Rate, 0.02),
        (0.02, Priority::High, None, Reason::Priority, 0.2),
        (0.5, Priority::High, None, Reason::Priority, 1.0),
        (0.02, Priority::Low, None, Reason::Priority, 0.002),
        (0.02, Priority::Low, Some(0.75), Reason::Custom, 0.75),
    ];
    for (configured, priority, rate, reason, probability) in cases {
        let context = SpanContext { priority, rate, ..SpanContext::default() };
        let decision = make(configured).lane().decide(&context);
        assert_eq!(decision.reason, reason, "{context:?}");
        assert!((decision.probability - probability).abs() < 1e-12, "{context:?}: {decision:?}");
    }
}

/// Six standard deviations: a right sampler fails once in 500 million runs.
fn the_share_of_sampled_operations_is_the_rate<S: SpanSampler>(make: impl Fn(f64) -> S) {
    for rate in [0.01, 0.3, 0.9] {
        for size in [1, 7, 1_000] {
            let mut lane = make(rate).lane();
            let calls = 100_000 / size;
            let total = calls * size;
            let mut sampled = 0_u32;
            for _ in 0..calls {
                let mut left = size;
                while let Some(index) = lane.gate(left) {
                    assert!(index < left, "the {index}-th of {left} operations");
                    left -= index + 1;
                    sampled += 1;
                }
            }
            #[expect(clippy::cast_precision_loss, reason = "100,000 at most")]
            let n = total as f64;
            let deviation = (n * rate * (1.0 - rate)).sqrt();
            let off = (f64::from(sampled) - n * rate).abs() / deviation;
            assert!(off < 6.0, "{sampled} of {total} at {rate} in calls of {size}: {off} deviations off");
        }
    }
}

fn a_rate_that_is_none_is_refused<S: SpanSampler>(sampler: &S) {
    for rate in [-0.01, 1.01, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert!(!sampler.set_rate(rate), "{rate} was accepted");
        assert!((sampler.rate() - 0.25).abs() < 1e-12, "and the old one stays");
    }
    assert!(sampler.set_rate(0.0) && sampler.set_rate(1.0) && sampler.set_rate(0.125));
    assert!((sampler.rate() - 0.125).abs() < 1e-12);
    assert!((sampler.stats().rate - 0.125).abs() < 1e-12);
}

fn lanes_follow_a_change_of_the_rate<S: SpanSampler>(make: impl Fn(f64) -> S) {
    let sampler = make(0.0);
    let mut lane = sampler.lane();
    assert_eq!(lane.gate(1_000), None);
    assert!(sampler.set_rate(1.0));
    let changed = Instant::now();
    while lane.gate(1).is_none() {
        // A loaded machine may take longer than the second that the contract gives.
        assert!(changed.elapsed() < Duration::from_secs(10), "the lane does not follow");
    }
    assert!((lane.probability() - 1.0).abs() < 1e-12);
}

fn each_sampled_operation_is_counted_by_its_reason<S: SpanSampler>(make: impl Fn(f64) -> S) {
    let sampler = make(1.0);
    let parent = Parent { trace: TraceId(1), span: SpanId(2), sampled: true };
    let contexts = [
        SpanContext::default(),
        SpanContext { forced: true, ..SpanContext::default() },
        SpanContext { parent: Some(parent), ..SpanContext::default() },
        SpanContext { priority: Priority::High, ..SpanContext::default() },
        SpanContext { rate: Some(1.0), ..SpanContext::default() },
        SpanContext { rate: Some(0.0), ..SpanContext::default() },
    ];
    let mut leaked = sampler.lane();
    for _ in 0..2 {
        let mut ended = sampler.lane();
        for context in &contexts {
            ended.decide(context);
        }
        assert_eq!(ended.gate(1), Some(0));
        ended.outcome(Outcome { duration_ns: 5, failed: true });
        ended.outcome(Outcome { duration_ns: 5, failed: false });
    }
    leaked.decide(&contexts[1]);
    std::mem::forget(leaked);
    let stats = sampler.stats();
    let expected = |reason| match reason {
        Reason::Rate => 4,
        Reason::Forced => 3,
        Reason::Parent | Reason::Priority | Reason::Custom => 2,
        Reason::Off | Reason::Rule | Reason::Error | Reason::Slow => 0,
    };
    assert_eq!(stats.by_reason, Reason::ALL.map(expected));
    assert_eq!(stats.failed, 2);
}
