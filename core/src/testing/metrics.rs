//! The suite of [`crate::metrics`].

use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use crate::metrics::{
    CounterId, GaugeId, HistogramId, HistogramSnapshot, MetricDesc, MetricLane, MetricSink, RegisterError,
};

/// What each metric sink must do; one that [is switched off](MetricSink::is_enabled) must accept
/// everything and keep nothing.
///
/// `make` gives a fresh sink with room for a few hundred series.
pub fn suite<S: MetricSink>(make: impl Fn() -> S) {
    if !make().is_enabled() {
        keeps_nothing(&make());
        return;
    }
    the_same_description_gives_the_same_id(&make());
    wrong_descriptions_are_refused_and_change_nothing(&make());
    counts_of_all_lanes_are_summed_and_outlive_them(&make());
    a_count_never_goes_backwards_when_lanes_end(&make());
    a_histogram_counts_each_value_as_often_as_it_stands_for(&make());
    ids_that_were_never_given_out_are_ignored(&make());
    what_is_asked_for_is_asked_at_each_scrape(&make());
    a_scrape_shows_everything_once(&make());
}

fn keeps_nothing<S: MetricSink>(sink: &S) {
    let counter = sink.counter(&MetricDesc::new("off_total", "Off.")).unwrap();
    let histogram = sink.histogram(&MetricDesc::new("off_ns", "Off.")).unwrap();
    let gauge = sink.gauge(&MetricDesc::new("off", "Off.")).unwrap();
    let counter_from = MetricDesc::new("off_from_total", "Off.");
    sink.counter_from(&counter_from, Box::new(|| panic!("a sink that is switched off asks nobody"))).unwrap();
    let gauge_from = MetricDesc::new("off_from", "Off.");
    sink.gauge_from(&gauge_from, Box::new(|| panic!("a sink that is switched off asks nobody"))).unwrap();
    let mut lane = sink.lane();
    lane.add(counter, 1);
    lane.observe(histogram, 1, 1);
    sink.set(gauge, 1.0);
    assert_eq!(sink.counter_value(counter), 0);
    assert_eq!(sink.histogram_value(histogram), HistogramSnapshot::default());
    assert_eq!(rendered(sink), "");
}

fn the_same_description_gives_the_same_id<S: MetricSink>(sink: &S) {
    let desc = |path: &str| MetricDesc::new("calls_total", "Calls.").label("path", path);
    let first = sink.counter(&desc("a")).unwrap();
    let second = sink.counter(&desc("b")).unwrap();
    assert_ne!(first, second, "another label is another series");
    assert_eq!(sink.counter(&desc("a")).unwrap(), first);
    let histogram = MetricDesc::new("calls_ns", "Time.");
    assert_eq!(sink.histogram(&histogram).unwrap(), sink.histogram(&histogram).unwrap());
    let gauge = MetricDesc::new("calls", "Calls now.");
    assert_eq!(sink.gauge(&gauge).unwrap(), sink.gauge(&gauge).unwrap());
}

fn wrong_descriptions_are_refused_and_change_nothing<S: MetricSink>(sink: &S) {
    let before = rendered(sink);
    for name in ["", "1a", "a-b", "a b", "é"] {
        let error = sink.counter(&MetricDesc::new(name, "")).unwrap_err();
        assert_eq!(error, RegisterError::BadName(name.to_owned()));
    }
    for label in ["", "1a", "a-b", "a:b", "__a"] {
        let error = sink.counter(&MetricDesc::new("a_total", "").label(label, "")).unwrap_err();
        assert!(matches!(&error, RegisterError::BadLabel { label: named, .. } if named == label), "{error}");
    }
    let twice = MetricDesc::new("a_total", "").label("a", "1").label("a", "2");
    assert!(matches!(sink.counter(&twice), Err(RegisterError::BadLabel { .. })));
    let le = MetricDesc::new("a_ns", "").label("le", "1");
    assert!(matches!(sink.histogram(&le), Err(RegisterError::BadLabel { .. })), "le is a histogram's own");
    assert_eq!(rendered(sink), before, "a refused metric leaves nothing behind");

    sink.counter(&MetricDesc::new("taken", "")).unwrap();
    let error = sink.gauge(&MetricDesc::new("taken", "").label("a", "1")).unwrap_err();
    let expected = RegisterError::OtherType { name: "taken".to_owned(), existing: "counter", asked: "gauge" };
    assert_eq!(error, expected);
}

fn counts_of_all_lanes_are_summed_and_outlive_them<S: MetricSink>(sink: &S) {
    let early = sink.counter(&MetricDesc::new("early_total", "")).unwrap();
    std::thread::scope(|scope| {
        for n in 1..=4 {
            scope.spawn(move || {
                let mut lane = sink.lane();
                for _ in 0..1_000 {
                    lane.add(early, n);
                }
            });
        }
    });
    assert_eq!(sink.counter_value(early), 10_000, "the lanes have ended");

    let mut lane = sink.lane();
    let late = sink.counter(&MetricDesc::new("late_total", "")).unwrap();
    lane.add(late, 2);
    lane.add(early, 1);
    assert_eq!(sink.counter_value(late), 2, "registered after the lane was opened");
    std::mem::forget(lane);
    assert_eq!(sink.counter_value(early), 10_001, "a leaked lane still counts");
}

fn a_count_never_goes_backwards_when_lanes_end<S: MetricSink>(sink: &S) {
    let counter = sink.counter(&MetricDesc::new("steps_total", "")).unwrap();
    let stop = AtomicBool::new(false);
    let added = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..300 {
                    let mut lane = sink.lane();
                    for _ in 0..20 {
                        lane.add(counter, 1);
                    }
                    drop(lane);
                    added.fetch_add(20, Ordering::Release);
                }
                stop.store(true, Ordering::Relaxed);
            });
        }
        let mut last = 0;
        while !stop.load(Ordering::Relaxed) {
            let done = added.load(Ordering::Acquire);
            let seen = sink.counter_value(counter);
            assert!(seen >= last, "{seen} after {last}");
            assert!(seen >= done, "{seen}, but lanes that ended had added {done}");
            last = seen;
        }
    });
    assert_eq!(sink.counter_value(counter), 12_000);
}

fn a_histogram_counts_each_value_as_often_as_it_stands_for<S: MetricSink>(sink: &S) {
    let histogram = sink.histogram(&MetricDesc::new("took_ns", "")).unwrap();
    let mut ended = sink.lane();
    ended.observe(histogram, 0, 1);
    ended.observe(histogram, 1_000, 98);
    drop(ended);
    let mut lane = sink.lane();
    lane.observe(histogram, u64::MAX, 1);
    let read = sink.histogram_value(histogram);
    assert_eq!(read.count, 100);
    assert_eq!(read.sum, 98_000_u64.wrapping_add(u64::MAX));
    assert!(read.buckets.windows(2).all(|pair| pair[0].0 < pair[1].0), "bounds ascend");
    assert_eq!(read.buckets.iter().map(|bucket| bucket.1).sum::<u64>(), 100);
    assert_eq!(read.quantile(0.0), Some(0));
    assert_eq!(read.quantile(1.0), Some(u64::MAX));
    let median = read.quantile(0.5).unwrap();
    assert!((1_000..2_000).contains(&median), "{median} is not within a factor of 2");
}

fn ids_that_were_never_given_out_are_ignored<S: MetricSink>(sink: &S) {
    let mut lane = sink.lane();
    for id in [0, 1, 300, u32::MAX] {
        lane.add(CounterId(id), 1);
        lane.observe(HistogramId(id), 1, 1);
        sink.set(GaugeId(id), 1.0);
        assert_eq!(sink.counter_value(CounterId(id)), 0);
        assert_eq!(sink.histogram_value(HistogramId(id)).count, 0);
    }
    let counter = sink.counter(&MetricDesc::new("new_total", "")).unwrap();
    assert_eq!(sink.counter_value(counter), 0, "what was added before it was registered is not its own");
    sink.gauge(&MetricDesc::new("new", "")).unwrap();
    assert!(rendered(sink).contains("new 0\n"));
}

fn what_is_asked_for_is_asked_at_each_scrape<S: MetricSink>(sink: &S) {
    let count = std::sync::Arc::new(AtomicU64::new(0));
    let counting = std::sync::Arc::clone(&count);
    let asked = MetricDesc::new("asked_total", "");
    sink.counter_from(&asked, Box::new(|| 999)).unwrap();
    sink.counter_from(&asked, Box::new(move || counting.fetch_add(1, Ordering::Relaxed))).unwrap();
    sink.gauge_from(&MetricDesc::new("asked", ""), Box::new(|| 0.5)).unwrap();
    for scrape in 0..3 {
        let text = rendered(sink);
        assert!(text.contains(&format!("asked_total {scrape}\n")), "{text}");
        assert!(text.contains("asked 0.5\n"), "{text}");
    }
    assert_eq!(count.load(Ordering::Relaxed), 3, "once in a scrape, and only the later source");
    let error = sink.gauge_from(&asked, Box::new(|| 0.0)).unwrap_err();
    assert!(matches!(error, RegisterError::OtherType { .. }));
}

fn a_scrape_shows_everything_once<S: MetricSink>(sink: &S) {
    let b = sink.counter(&MetricDesc::new("shown_total", "Shown.").label("of", "b")).unwrap();
    let gauge = sink.gauge(&MetricDesc::new("level", "Level.")).unwrap();
    sink.counter(&MetricDesc::new("shown_total", "Shown.").label("of", "a\"\\\n")).unwrap();
    sink.histogram(&MetricDesc::new("took_ns", "Took.")).unwrap();
    sink.lane().add(b, 7);
    sink.set(gauge, -1.25);
    let text = rendered(sink);
    for line in [
        "# HELP shown_total Shown.\n# TYPE shown_total counter\n",
        "shown_total{of=\"a\\\"\\\\\\n\"} 0\nshown_total{of=\"b\"} 7\n",
        "# TYPE level gauge\nlevel -1.25\n",
        "# TYPE took_ns histogram\n",
        "took_ns_bucket{le=\"+Inf\"} 0\ntook_ns_sum 0\ntook_ns_count 0\n",
    ] {
        assert!(text.contains(line), "{line:?} is missing in:\n{text}");
    }
    let series: Vec<&str> = text.lines().filter_map(|line| Some(line.rsplit_once(' ')?.0)).collect();
    let distinct: HashSet<&str> = series.iter().copied().collect();
    assert_eq!(series.len(), distinct.len(), "a series or a head stands twice in:\n{text}");
    assert_eq!(text, rendered(sink), "the order is always the same");
}

fn rendered<S: MetricSink>(sink: &S) -> String {
    let mut text = String::new();
    sink.render(&mut text);
    text
}
