//! Spans of `tracing` macros from the outside: who is sampled, who belongs to whom, and what a span
//! carries.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test reports by panicking")]

use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use ng_core::{
    sampling::{Reason, SpanContext, SpanSampler},
    spans::{SpanId, SpanSink, TraceId, Value},
};
use ng_telemetry::{
    Sampler, SamplerOptions, SpanOptions, SpanWriter,
    context::{Propagator, TraceState},
    op,
    sampling::Rule,
    spans::{Memory, SpanKind, SpanRecord, Text},
    tracing_layer::{Ops, SamplingLayer, SpanLimits, TraceHandle},
};
use tracing::{Dispatch, Instrument, Level, dispatcher, field, info_span};
use tracing_subscriber::prelude::*;

const PATIENCE: Duration = Duration::from_secs(30);

struct Rig {
    kept: Memory,
    writer: SpanWriter,
    sampler: Arc<Sampler>,
    dispatch: Dispatch,
}

fn rig_of(options: SamplerOptions, limits: SpanLimits) -> Rig {
    let kept = Memory::default();
    let options_of_spans =
        SpanOptions { lane_spans: 65_536, queue_spans: 1_000_000, ..SpanOptions::new(kept.clone()) };
    let writer = SpanWriter::start(options_of_spans).unwrap();
    let sampler = Arc::new(Sampler::start(options).unwrap());
    let layer = SamplingLayer::new(Arc::clone(&sampler), &writer).with_limits(limits);
    let dispatch = Dispatch::new(tracing_subscriber::registry().with(layer));
    Rig { kept, writer, sampler, dispatch }
}

fn rig(rate: f64) -> Rig {
    rig_of(SamplerOptions { rate, seed: Some(7), ..SamplerOptions::default() }, SpanLimits::default())
}

impl Rig {
    fn run<R>(&self, body: impl FnOnce() -> R) -> R {
        dispatcher::with_default(&self.dispatch, body)
    }

    fn spans(&self) -> Vec<SpanRecord> {
        assert!(self.writer.flush(PATIENCE));
        assert_eq!(self.writer.stats().dropped, 0);
        self.kept.spans()
    }
}

/// Each span with a parent has it in the export, in its own trace; each trace has one root.
fn assert_no_orphans(spans: &[SpanRecord]) -> Vec<&SpanRecord> {
    let by_id: HashMap<SpanId, TraceId> = spans.iter().map(|span| (span.id, span.trace)).collect();
    assert_eq!(by_id.len(), spans.len(), "an id was given twice");
    let mut roots: HashMap<TraceId, &SpanRecord> = HashMap::new();
    for span in spans {
        match span.span.parent {
            Some(parent) => {
                let trace = by_id.get(&parent);
                assert_eq!(trace, Some(&span.trace), "{} is an orphan", span.name());
            }
            None => assert!(roots.insert(span.trace, span).is_none(), "two roots in a trace"),
        }
    }
    roots.into_values().collect()
}

#[track_caller]
fn assert_share(count: u64, total: u64, rate: f64, what: &str) {
    let (n, k) = (total as f64, count as f64);
    let deviation = (n * rate * (1.0 - rate)).sqrt();
    assert!((k - n * rate).abs() <= 6.0 * deviation, "{what}: {count} of {total} at {rate}");
}

/// Gives way once.
async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(
        move |_| {
            if std::mem::replace(&mut yielded, true) { Poll::Ready(()) } else { Poll::Pending }
        },
    )
    .await;
}

async fn tree() {
    async {
        yield_now().await;
        {
            let _left = info_span!("left").entered();
            let _leaf = info_span!("leaf").entered();
        }
        async {
            yield_now().await;
            info_span!("leaf").in_scope(|| ());
        }
        .instrument(info_span!("right"))
        .await;
    }
    .instrument(info_span!("root"))
    .await;
}

/// Polls futures on so many threads, each wherever it happens to be next.
fn execute(
    dispatch: &Dispatch,
    threads: usize,
    total: usize,
    make: impl Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Sync,
) {
    type Task = Pin<Box<dyn Future<Output = ()> + Send>>;
    let queue: Mutex<VecDeque<Task>> = Mutex::default();
    let left = AtomicU64::new(total as u64);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                dispatcher::with_default(dispatch, || {
                    let mut context = Context::from_waker(Waker::noop());
                    let mut running: Vec<Task> = Vec::new();
                    loop {
                        // A few at once on each thread, so that their polls interleave; some change threads.
                        while running.len() < 4 {
                            let taken = queue.lock().unwrap().pop_front();
                            let started = || {
                                let one = |left: u64| left.checked_sub(1);
                                left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one)
                                    .ok()
                                    .map(|_| make())
                            };
                            match taken.or_else(started) {
                                Some(task) => running.push(task),
                                None => break,
                            }
                        }
                        if running.is_empty() {
                            return;
                        }
                        let mut task = running.remove(0);
                        if task.as_mut().poll(&mut context).is_pending() {
                            let mut queue = queue.lock().unwrap();
                            if queue.len() < 8 { queue.push_back(task) } else { running.push(task) }
                        }
                    }
                });
            });
        }
    });
}

#[test]
fn a_million_trees_over_threads_and_awaits_have_no_orphans_and_the_rate_is_exact() {
    const TREES: usize = 1_000_000;
    let rig = rig(0.01);
    // The first tree shows which spans are roots.
    execute(&rig.dispatch, 1, 1, || Box::pin(tree()));
    execute(&rig.dispatch, 4, TREES, || Box::pin(tree()));
    let spans = rig.spans();
    let roots = assert_no_orphans(&spans);
    assert!(roots.iter().all(|root| root.name() == "root"), "a child began a trace");
    assert_share(roots.len() as u64, TREES as u64, 0.01, "trees");
    assert_eq!(spans.len(), 5 * roots.len(), "each sampled tree is whole");
    let leaves = spans.iter().filter(|span| span.name() == "leaf").count();
    assert_eq!(leaves, 2 * roots.len());
    assert_eq!(rig.sampler.stats().by_reason[Reason::Rate as usize], roots.len() as u64);
}

#[test]
fn a_span_that_is_not_sampled_is_never_made_and_its_fields_are_not_evaluated() {
    let rig = rig(0.0);
    let evaluated = AtomicU64::new(0);
    rig.run(|| {
        for _ in 0..1_000 {
            let span = info_span!("root", n = evaluated.fetch_add(1, Ordering::Relaxed));
            let _entered = span.entered();
            let child = info_span!("child", n = evaluated.fetch_add(1, Ordering::Relaxed));
            assert!(child.is_none());
        }
    });
    assert_eq!(evaluated.load(Ordering::Relaxed), 1, "the probe's, and no more");
    assert_eq!(rig.spans(), []);
}

#[test]
fn operations_of_macros_and_ops_are_counted_to_the_last_at_any_time() {
    let rig = rig(0.01);
    let counted = || rig.sampler.stats().operations;
    let mut ops = Ops::new(Arc::clone(&rig.sampler), &rig.writer);
    rig.run(|| {
        let macros = || {
            info_span!("one").in_scope(|| drop(info_span!("child")));
            info_span!("two").in_scope(|| ());
        };
        let within = || drop(info_span!("only.within"));
        // The first round shows which are roots, and is not counted.
        macros();
        for n in 1..=2_000 {
            macros();
            // A child's callsite begins nothing outside of a span either.
            within();
            TraceHandle::unsampled().in_scope(within);
            drop(op!(ops, "three"));
            let expected = 3 * n;
            assert_eq!(counted(), expected, "in round {n}");
            if n == 1_000 {
                assert!(rig.sampler.set_rate(0.3));
                assert_eq!(counted(), expected, "a countdown that is thrown away takes nothing with it");
            }
        }
    });
    let before = counted();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| rig.run(|| (0..500).for_each(|_| info_span!("one").in_scope(|| ()))));
        }
    });
    assert_eq!(counted(), before + 1_499, "threads that ended, all but their callsite's probe");
    drop(ops);
    assert_eq!(counted(), before + 1_499);
}

#[test]
fn a_pattern_of_root_child_child_samples_whole_trees() {
    let rig = rig(0.05);
    let trees = 100_000;
    rig.run(|| {
        for _ in 0..trees {
            let _root = info_span!("root").entered();
            info_span!("child").in_scope(|| ());
            info_span!("child").in_scope(|| ());
        }
    });
    let spans = rig.spans();
    let roots = assert_no_orphans(&spans);
    assert_share(roots.len() as u64, trees, 0.05, "roots");
    assert_eq!(spans.len(), 3 * roots.len());
}

#[test]
fn each_operation_has_the_rate_of_its_rule() {
    let rules = vec![Rule::rate("always", 1.0), Rule::rate("never*", 0.0)];
    let options = SamplerOptions { rate: 0.1, rules, seed: Some(3), ..SamplerOptions::default() };
    let rig = rig_of(options, SpanLimits::default());
    rig.run(|| {
        for _ in 0..20_000 {
            info_span!("always").in_scope(|| ());
            info_span!("never.mind").in_scope(|| ());
            info_span!("some").in_scope(|| ());
        }
    });
    let spans = rig.spans();
    let of = |name| spans.iter().filter(move |span| span.name() == name);
    assert_eq!(of("always").count(), 19_999, "all but the probe");
    assert!(of("always").all(|span| span.span.reason == Reason::Rule));
    assert_eq!(of("never.mind").count(), 0);
    assert_share(of("some").count() as u64, 20_000, 0.1, "those without a rule");
}

#[test]
fn a_change_of_the_rate_takes_effect_at_once() {
    let rig = rig(0.0);
    rig.run(|| {
        let root = || info_span!("root").in_scope(|| ());
        (0..100).for_each(|_| root());
        assert!(rig.sampler.set_rate(1.0));
        (0..10).for_each(|_| root());
        rig.sampler.set_enabled(false);
        (0..100).for_each(|_| root());
    });
    assert_eq!(rig.spans().len(), 10);
}

#[test]
fn a_span_carries_its_fields_events_links_and_error() {
    let rig = rig(1.0);
    rig.run(|| {
        for probe in [true, false] {
            let other = info_span!("other");
            let span = info_span!(
                "all",
                whole = 7_u64,
                minus = -7_i64,
                real = 0.5,
                truth = true,
                text = "abc",
                shown = ?Some(1),
                later = field::Empty,
                otel.kind = "server",
                otel.name = "GET /"
            );
            if !probe {
                span.follows_from(&other);
                span.record("later", "now");
            }
            let _entered = span.entered();
            tracing::info!(n = 3, "one thing");
            tracing::error!("it broke");
        }
    });
    let spans = rig.spans();
    let span = spans.iter().find(|span| span.name() == "GET /").expect("the second one is sampled");
    let other = spans.iter().find(|span| span.name() == "other").unwrap();
    let fixed: Vec<_> = span.span.attributes.iter().flatten().copied().collect();
    let expected = [("whole", Value::U64(7)), ("real", Value::F64(0.5)), ("truth", Value::Bool(true))];
    assert_eq!(fixed, expected);
    let details = span.details.as_ref().unwrap();
    let texts: Vec<_> = details.attributes.iter().map(|(key, value)| (&**key, value.clone())).collect();
    let owned = |text: &str| Text::Owned(text.into());
    assert_eq!(
        texts,
        [
            ("minus", Text::I64(-7)),
            ("text", owned("abc")),
            ("shown", owned("Some(1)")),
            ("later", owned("now"))
        ]
    );
    assert_eq!((details.kind, &*details.links), (SpanKind::Server, &[(other.trace, other.id)][..]));
    let names: Vec<&str> = details.events.iter().map(|event| &*event.name).collect();
    assert_eq!(names, ["one thing", "it broke"]);
    assert!(details.events[0].attributes.contains(&("n".into(), Text::I64(3))));
    assert!(span.span.failed && details.status_message.as_deref() == Some("it broke"));
    assert!(span.span.start_ns <= details.events[0].unix_ns && details.events[1].unix_ns <= span.span.end_ns);
    assert_eq!(rig.sampler.stats().failed, 1);
}

#[test]
fn what_goes_over_a_limit_is_dropped_and_counted_on_the_span() {
    let limits = SpanLimits { attributes: 2, events: 1, links: 0, text_bytes: 10 };
    let rig = rig_of(SamplerOptions { rate: 1.0, ..SamplerOptions::default() }, limits);
    rig.run(|| {
        let mut others = Vec::new();
        for _ in 0..2 {
            let other = info_span!("other");
            let span = info_span!("over", a = 1, b = ?"\u{4e16}".repeat(1_000), c = 2.0, d = "x");
            span.follows_from(&other);
            others.push(other);
            let _entered = span.entered();
            tracing::info!(x = 1, y = 2, "first, and long");
            tracing::info!("second");
        }
    });
    let spans = rig.spans();
    let details = spans.iter().find(|s| s.name() == "over").unwrap().details.clone().unwrap();
    assert_eq!((details.dropped_attributes, details.dropped_events, details.dropped_links), (1, 1, 1));
    assert!(details.attributes.iter().all(|(_, value)| matches!(value, Text::Owned(t) if t.len() <= 10)));
    assert_eq!(details.events[0].name, "first, and");
    assert_eq!(details.events[0].dropped_attributes, 1);
}

#[test]
fn a_handle_carries_the_decision_to_another_thread_and_into_a_future() {
    let rig = rig(0.5);
    let dispatch = &rig.dispatch;
    let trees = 2_000;
    rig.run(|| {
        for n in 0..=trees {
            let root = info_span!("root");
            let _entered = root.clone().entered();
            let handle = TraceHandle::current();
            if n > 0 {
                assert_eq!(handle.is_sampled(), (!root.is_none()).then_some(true));
            }
            // What `root` is to whoever has only its id: an unsampled one has none.
            let handle = if root.is_none() { TraceHandle::unsampled() } else { handle };
            let future = handle.clone().instrument(async {
                yield_now().await;
                info_span!("async").in_scope(|| ());
            });
            let mut future = Box::pin(future);
            let mut context = Context::from_waker(Waker::noop());
            std::thread::scope(|scope| {
                if n % 100 == 0 {
                    scope.spawn(|| {
                        dispatcher::with_default(dispatch, || {
                            handle.in_scope(|| info_span!("thread").in_scope(|| ()));
                            assert_eq!(TraceHandle::current().is_sampled(), None, "the scope has ended");
                        });
                    });
                }
            });
            while future.as_mut().poll(&mut context).is_pending() {}
        }
    });
    let spans = rig.spans();
    let roots = assert_no_orphans(&spans);
    assert!(roots.iter().all(|root| root.name() == "root"));
    assert_share(roots.len() as u64, trees, 0.5, "roots");
    assert_eq!(spans.iter().filter(|span| span.name() == "async").count(), roots.len());
    assert!(spans.iter().any(|span| span.name() == "thread"));
}

#[test]
fn more_spans_under_way_than_there_are_slots_are_whole_all_the_same() {
    let rig = rig(1.0);
    rig.run(|| {
        let first = info_span!("first", sampling.root = true, n = 0_u64, text = "x");
        let mut many = vec![first.clone()];
        // Each within the last, so that each is looked for from its child; closed on another thread.
        first.in_scope(|| {
            for n in 1..1_000_u64 {
                let parent = many.last().and_then(tracing::Span::id);
                many.push(info_span!(parent: parent, "many", n, text = "x"));
            }
        });
        drop(first);
        let dispatch = rig.dispatch.clone();
        std::thread::spawn(move || {
            dispatcher::with_default(&dispatch, || {
                for span in many.iter().rev() {
                    span.in_scope(|| tracing::info!("seen"));
                }
                drop(many);
            });
        })
        .join()
        .unwrap();
    });
    let spans = rig.spans();
    let whole = |span: &&SpanRecord| {
        let details = span.details.as_ref().unwrap();
        details.events.len() == 1 && span.span.attributes[0].is_some_and(|(key, _)| key == "n")
    };
    assert_eq!(spans.iter().filter(whole).count(), spans.len());
    assert_eq!((assert_no_orphans(&spans).len(), spans.len()), (1, 1_000));
}

#[test]
fn an_explicit_parent_is_the_parent_and_an_explicit_root_draws_its_own_lot() {
    let rig = rig(1.0);
    rig.run(|| {
        for _ in 0..2 {
            let root = info_span!("root");
            let _root = root.clone().entered();
            let _inside = info_span!("inside").entered();
            info_span!(parent: &root, "explicit").in_scope(|| ());
            info_span!(parent: None, "apart").in_scope(|| ());
        }
    });
    let spans = rig.spans();
    let of = |name| spans.iter().filter(move |span| span.name() == name).collect::<Vec<_>>();
    let root = of("root")[0];
    assert!(of("explicit").iter().any(|span| span.span.parent == Some(root.id)));
    assert!(of("apart").iter().all(|span| span.span.parent.is_none() && span.trace != root.trace));
}

#[test]
fn a_marked_callsite_begins_traces_though_it_is_also_a_child() {
    let rig = rig(1.0);
    rig.run(|| {
        for _ in 0..10 {
            let _root = info_span!("root").entered();
            let job = || info_span!("job", sampling.root = true).in_scope(|| ());
            job();
            TraceHandle::unsampled().in_scope(job);
        }
        for _ in 0..10 {
            info_span!("job", sampling.root = true).in_scope(|| ());
        }
    });
    let spans = rig.spans();
    let jobs = spans.iter().filter(|span| span.name() == "job");
    let (children, roots): (Vec<_>, Vec<_>) = jobs.partition(|span| span.span.parent.is_some());
    assert_eq!(children.len(), 9, "those within a sampled root");
    assert!(roots.len() >= 9, "{}", roots.len());
}

#[test]
fn a_callers_sampled_trace_goes_on_and_an_unsampled_one_stays_off() {
    let rig = rig(0.0);
    let propagator = Propagator::new(true);
    let request = |flags: &str| {
        let parent = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
        propagator.extract(|name| match name {
            "traceparent" => {
                Some(parent.as_str()).map(|text| Box::leak(text.to_owned().into_boxed_str()) as &str)
            }
            "tracestate" => Some("ot=th:c,x=1"),
            _ => None,
        })
    };
    let mut lane = rig.sampler.open_lane();
    let mut decide = |extracted: &ng_telemetry::context::Extracted| {
        TraceHandle::decided(
            &ng_core::sampling::SamplerLane::decide(&mut lane, &extracted.context),
            extracted,
        )
    };
    let mut headers = Vec::new();
    rig.run(|| {
        for flags in ["01", "00"] {
            let _request = decide(&request(flags)).enter();
            let _span = info_span!("request").entered();
            TraceHandle::current().inject(|name, value| headers.push((name, value)));
        }
        let forced = SpanContext { forced: true, ..SpanContext::default() };
        let extracted = ng_telemetry::context::Extracted { context: forced, state: None };
        let _request = decide(&extracted).enter();
        info_span!("request").in_scope(|| ());
    });
    let spans = rig.spans();
    assert_eq!(spans.len(), 2);
    assert_eq!(spans[0].span.parent, Some(SpanId(0x00f0_67aa_0ba9_02b7)));
    assert_eq!(spans[0].trace, TraceId(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736));
    assert!(spans[0].details.as_ref().unwrap().remote_parent);
    assert_eq!(headers[0].1, format!("00-{}-{}-01", spans[0].trace, spans[0].id));
    assert_eq!(TraceState::parse(&headers[1].1), TraceState::parse("ot=th:c,x=1"));
    assert_eq!((spans[1].span.parent, spans[1].span.reason), (None, Reason::Forced));
}

#[test]
fn macros_within_an_op_follow_its_decision() {
    let rig = rig(0.1);
    let mut ops = Ops::new(Arc::clone(&rig.sampler), &rig.writer);
    let trees = 20_000;
    rig.run(|| {
        for n in 0..trees {
            let mut order = op!(ops, "order");
            order.set("n", || n.into());
            let sampled = order.is_sampled();
            assert_eq!(!info_span!("inner").is_none(), sampled);
            let mut book = op!(order, "book");
            assert_eq!(book.is_sampled(), sampled);
            book.fail();
        }
        assert_eq!(TraceHandle::current().is_sampled(), None);
    });
    drop(ops);
    let spans = rig.spans();
    let roots = assert_no_orphans(&spans);
    assert_share(roots.len() as u64, trees, 0.1, "orders");
    assert_eq!(spans.len(), 3 * roots.len());
    assert!(spans.iter().filter(|span| span.name() == "book").all(|span| span.span.failed));
    assert!(roots.iter().all(|root| root.span.attributes[0].is_some_and(|(key, _)| key == "n")));
    assert_eq!(rig.sampler.stats().operations, trees);
}

#[test]
fn other_layers_of_the_subscriber_go_on_and_see_what_is_sampled() {
    #[derive(Clone, Default)]
    struct Shown(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Shown {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let shown = Shown::default();
    let out = shown.clone();
    let writer = SpanWriter::start(SpanOptions::new(Memory::default())).unwrap();
    let sampler = Arc::new(Sampler::new(0.0, None).unwrap());
    let fmt = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || out.clone());
    let layer = SamplingLayer::new(Arc::clone(&sampler), &writer);
    let dispatch = Dispatch::new(tracing_subscriber::registry().with(fmt).with(layer));
    dispatcher::with_default(&dispatch, || {
        for rate in [0.0, 0.0, 1.0] {
            sampler.set_rate(rate);
            let _root = info_span!("root", rate).entered();
            tracing::event!(Level::INFO, "within {rate}");
        }
    });
    let text = String::from_utf8(shown.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "events are never turned down: {text}");
    assert!(lines[2].contains("root{rate=1.0}") && !lines[1].contains("root{"), "{text}");
}

#[test]
fn a_rate_that_changes_is_followed_by_a_busy_thread_from_its_next_operation_on() {
    let rig = rig(0.0);
    let (made, changed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let (telling, told, dispatch) = (Arc::clone(&made), Arc::clone(&changed), rig.dispatch.clone());
    let busy = std::thread::spawn(move || {
        let is_sampled = || !info_span!("root").is_none();
        dispatcher::with_default(&dispatch, || {
            assert!(is_sampled(), "the first one is a probe");
            while !told.load(Ordering::Acquire) {
                is_sampled();
                telling.fetch_add(1, Ordering::Relaxed);
            }
            (0..1_000).filter(|_| is_sampled()).count()
        })
    });
    // It is at work, with a countdown that does not end.
    while made.load(Ordering::Relaxed) < 1_000 {
        std::thread::yield_now();
    }
    assert!(rig.sampler.set_rate(1.0));
    changed.store(true, Ordering::Release);
    assert_eq!(busy.join().unwrap(), 1_000);
}
