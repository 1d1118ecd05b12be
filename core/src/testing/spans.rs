//! The suite of [`crate::spans`].

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use crate::{
    sampling::Reason,
    spans::{FinishedSpan, MAX_ATTRIBUTES, SpanId, SpanLane, SpanSink, SpanStats, TraceId, Value},
};

/// How long a flush may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A span with something in each field.
#[must_use]
pub fn sample_span(name: &'static str) -> FinishedSpan {
    let mut attributes = [None; MAX_ATTRIBUTES];
    attributes[0] = Some(("id", Value::U64(42)));
    attributes[1] = Some(("kind", Value::Str("a \"quoted\"\nline")));
    FinishedSpan {
        trace: Some(TraceId(0xfeed)),
        parent: Some(SpanId(0xbee)),
        name,
        start_ns: 1_700_000_000_000_000_001,
        end_ns: 1_700_000_000_000_000_999,
        failed: true,
        reason: Reason::Forced,
        probability: 1.0,
        attributes,
    }
}

/// What each span sink must do. `make` gives a fresh one that has room for 100 spans.
pub fn suite<S: SpanSink>(make: impl Fn() -> S) {
    ids_are_given_and_a_trace_is_kept(&make());
    each_span_is_recorded_and_then_exported_or_dropped(&make());
    a_flush_writes_out_what_lanes_still_hold(&make());
    spans_of_ended_and_leaked_lanes_are_written_out(&make());
    counts_never_go_backwards(&make());
    a_lane_outlives_its_sink(make());
}

/// What a span sink that is switched off must do: take nothing, and be done at once.
pub fn off_suite<S: SpanSink>(sink: &S) {
    assert_eq!(sink.lane().finish(&sample_span("off")), None);
    assert!(sink.flush(Duration::ZERO));
    assert_eq!(sink.stats(), SpanStats::default());
}

fn ids_are_given_and_a_trace_is_kept<S: SpanSink>(sink: &S) {
    let (mut one, mut other) = (sink.lane(), sink.lane());
    let (trace, _) = one.finish(&sample_span("kept")).expect("there is room");
    assert_eq!(trace, TraceId(0xfeed));
    let root = FinishedSpan { trace: None, parent: None, ..sample_span("root") };
    let (mut traces, mut spans) = (HashSet::new(), HashSet::new());
    for _ in 0..20 {
        for lane in [&mut one, &mut other] {
            let (trace, span) = lane.finish(&root).expect("there is room");
            assert!(trace.0 != 0 && span.0 != 0, "0 is no id");
            assert!(traces.insert(trace) && spans.insert(span), "an id was given twice");
        }
    }
}

fn each_span_is_recorded_and_then_exported_or_dropped<S: SpanSink>(sink: &S) {
    let taken: u64 = std::thread::scope(|scope| {
        let finish = || {
            let mut lane = sink.lane();
            (0..5_000).filter(|_| lane.finish(&sample_span("many")).is_some()).count() as u64
        };
        let threads = [scope.spawn(finish), scope.spawn(finish)];
        threads.map(|thread| thread.join().expect("a lane does not panic")).iter().sum()
    });
    assert!(sink.flush(PATIENCE));
    let stats = sink.stats();
    assert_eq!(stats.recorded, 10_000);
    assert_eq!(stats.exported + stats.dropped, stats.recorded, "{stats:?}");
    assert_eq!(stats.exported, taken, "what has ids is exported, what has none is dropped: {stats:?}");
}

fn a_flush_writes_out_what_lanes_still_hold<S: SpanSink>(sink: &S) {
    let mut lane = sink.lane();
    for n in 1..=10 {
        lane.finish(&sample_span("held")).expect("there is room");
        assert!(sink.flush(PATIENCE));
        assert_eq!(sink.stats(), SpanStats { recorded: n, exported: n, dropped: 0 });
    }
}

fn spans_of_ended_and_leaked_lanes_are_written_out<S: SpanSink>(sink: &S) {
    let (mut ended, mut leaked) = (sink.lane(), sink.lane());
    ended.finish(&sample_span("ended")).expect("there is room");
    leaked.finish(&sample_span("leaked")).expect("there is room");
    drop(ended);
    std::mem::forget(leaked);
    assert!(sink.flush(PATIENCE));
    assert_eq!(sink.stats(), SpanStats { recorded: 2, exported: 2, dropped: 0 });
}

fn counts_never_go_backwards<S: SpanSink>(sink: &S) {
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for _ in 0..200 {
                let mut lane = sink.lane();
                for _ in 0..20 {
                    lane.finish(&sample_span("step"));
                }
            }
        });
        let began = Instant::now();
        let mut last = SpanStats::default();
        while !writer.is_finished() && began.elapsed() < PATIENCE {
            let now = sink.stats();
            assert!(now.recorded >= last.recorded, "{now:?} after {last:?}");
            assert!(now.exported >= last.exported, "{now:?} after {last:?}");
            assert!(now.dropped >= last.dropped, "{now:?} after {last:?}");
            assert!(now.exported + now.dropped <= now.recorded, "more came out than went in: {now:?}");
            last = now;
        }
    });
}

fn a_lane_outlives_its_sink<S: SpanSink>(sink: S) {
    let mut lane = sink.lane();
    drop(sink);
    for _ in 0..1_000 {
        lane.finish(&sample_span("late"));
    }
    assert_eq!(lane.finish(&sample_span("late")), None, "nobody will write it out");
}
