//! Metrics from the outside: sums over threads, the cap, and a scrape read back by a parser that
//! shares no code with the writer.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test reports by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;

use ng_core::metrics::{MetricDesc, MetricLane, MetricSink, RegisterError};
use ng_telemetry::{Registry, RegistryOptions, metrics::HISTOGRAM_SERIES};
use proptest::prelude::*;

/// A sample's name, labels and value, as another reader of the format understands a line.
type Sample = (String, BTreeMap<String, String>, f64);

/// Reads the text format 0.0.4, strictly.
fn parse(text: &str) -> (BTreeMap<String, String>, Vec<Sample>) {
    let (mut types, mut samples) = (BTreeMap::new(), Vec::new());
    assert!(text.is_empty() || text.ends_with('\n'), "the last line must end");
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} has two types");
        } else if !line.starts_with("# HELP ") {
            samples.push(parse_sample(line));
        }
    }
    (types, samples)
}

fn parse_sample(line: &str) -> Sample {
    let end = line.find(['{', ' ']).expect("a value");
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (label, quoted) = rest.split_once("=\"").expect("a label");
            let mut value = String::new();
            let mut chars = quoted.char_indices();
            let close = loop {
                match chars.next().expect("a closing quote") {
                    (at, '"') => break at,
                    (_, '\\') => value.push(match chars.next().expect("an escape").1 {
                        'n' => '\n',
                        c @ ('\\' | '"') => c,
                        c => panic!("escape {c:?}"),
                    }),
                    (_, c) => value.push(c),
                }
            };
            assert!(labels.insert(label.to_owned(), value).is_none(), "{label} stands twice in {line}");
            rest = &quoted[close + 1..];
            rest = rest.strip_prefix(',').unwrap_or(rest);
        }
        rest = &rest[1..];
    }
    let value = match rest.trim() {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        number => number.parse().expect("a number"),
    };
    (name.to_owned(), labels, value)
}

fn scrape(registry: &Registry) -> String {
    let mut text = String::new();
    registry.render(&mut text);
    text
}

/// A model of what lanes do.
#[derive(Debug, Clone)]
enum Step {
    Open,
    Register,
    Add { lane: usize, counter: usize, n: u64 },
    Observe { lane: usize, value: u64, times: u64 },
    End { lane: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        1 => Just(Step::Open),
        1 => Just(Step::Register),
        6 => (0..8_usize, 0..300_usize, 0..1_000_u64)
            .prop_map(|(lane, counter, n)| Step::Add { lane, counter, n }),
        3 => (0..8_usize, any::<u64>(), 0..3_u64)
            .prop_map(|(lane, value, times)| Step::Observe { lane, value, times }),
        1 => (0..8_usize).prop_map(|lane| Step::End { lane }),
    ];
    prop::collection::vec(step, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn merged_counts_are_the_sum_of_what_lanes_added(steps in steps()) {
        let registry = Registry::new(&RegistryOptions::default());
        let register = |n: usize| {
            registry.counter(&MetricDesc::new("c_total", "").label("n", &n.to_string())).unwrap()
        };
        // Enough for some of them to lie beyond a shard's first cells.
        let mut counters: Vec<_> = (0..250).map(register).collect();
        let histogram = registry.histogram(&MetricDesc::new("h", "")).unwrap();
        let mut lanes = vec![registry.open_lane()];
        let mut sums = vec![0; 250];
        let (mut count, mut sum) = (0, 0_u64);
        for step in steps {
            match step {
                Step::Open => lanes.push(registry.open_lane()),
                Step::Register => {
                    counters.push(register(counters.len()));
                    sums.push(0);
                }
                Step::Add { lane, counter, n } if !lanes.is_empty() => {
                    let (lane, counter) = (lane % lanes.len(), counter % counters.len());
                    lanes[lane].add(counters[counter], n);
                    sums[counter] += n;
                }
                Step::Observe { lane, value, times } if !lanes.is_empty() => {
                    let lane = lane % lanes.len();
                    lanes[lane].observe(histogram, value, times);
                    count += times;
                    sum = sum.wrapping_add(value.wrapping_mul(times));
                }
                Step::End { lane } if !lanes.is_empty() => drop(lanes.remove(lane % lanes.len())),
                _ => {}
            }
        }
        for (counter, sum) in counters.iter().zip(&sums) {
            prop_assert_eq!(registry.counter_value(*counter), *sum);
        }
        let read = registry.histogram_value(histogram);
        prop_assert_eq!((read.count, read.sum), (count, sum));
    }

    #[test]
    fn a_scrape_is_read_back_with_each_name_label_and_value(
        values in prop::collection::btree_map("[ -~\n\u{e9}\u{4e16}]{0,12}", (any::<u32>(), any::<f64>()), 1..12),
        observed in prop::collection::vec(any::<u64>(), 0..50),
    ) {
        let registry = Registry::new(&RegistryOptions::default());
        let mut lane = registry.open_lane();
        for (value, (count, level)) in &values {
            let counter = MetricDesc::new("c_total", "A \\ help\nof lines.").label("l", value).label("b", "");
            lane.add(registry.counter(&counter).unwrap(), u64::from(*count));
            registry.set(registry.gauge(&MetricDesc::new("g", "").label("l", value)).unwrap(), *level);
        }
        let histogram = registry.histogram(&MetricDesc::new("h_ns", "H.").label("l", "x")).unwrap();
        for value in &observed {
            lane.observe(histogram, *value, 1);
        }
        let (types, samples) = parse(&scrape(&registry));
        prop_assert_eq!(types.get("c_total").map(String::as_str), Some("counter"));
        prop_assert_eq!(types.get("g").map(String::as_str), Some("gauge"));
        prop_assert_eq!(types.get("h_ns").map(String::as_str), Some("histogram"));

        let of = |name: &str, value: &str| {
            let mut found = samples.iter().filter(|s| s.0 == name && s.1.get("l").is_some_and(|l| l == value));
            let first = found.next().map(|sample| sample.2);
            assert!(found.next().is_none(), "{name} of {value:?} stands twice");
            first
        };
        for (value, (count, level)) in &values {
            prop_assert_eq!(of("c_total", value), Some(f64::from(*count)));
            let read = of("g", value).unwrap();
            prop_assert!(read.to_bits() == level.to_bits() || (read.is_nan() && level.is_nan()));
        }

        let buckets: Vec<_> = samples.iter().filter(|sample| sample.0 == "h_ns_bucket").collect();
        for sample in &buckets {
            let below = match sample.1["le"].as_str() {
                "+Inf" => observed.len(),
                bound => observed.iter().filter(|v| **v <= bound.parse::<u64>().unwrap()).count(),
            };
            #[expect(clippy::cast_precision_loss, reason = "50 at most")]
            let below = below as f64;
            prop_assert!((sample.2 - below).abs() < 0.5, "{:?}", sample);
        }
        prop_assert_eq!(buckets.len() + 2, HISTOGRAM_SERIES);
        prop_assert_eq!(of("h_ns_count", "x"), buckets.last().map(|sample| sample.2));
    }
}

#[test]
fn one_series_too_many_is_refused_and_the_refusal_is_counted() {
    let registry = Registry::new(&RegistryOptions { max_series: 2 });
    let desc = |n: &str| MetricDesc::new("c_total", "").label("n", n);
    registry.counter(&desc("1")).unwrap();
    registry.gauge_from(&MetricDesc::new("g", ""), Box::new(|| 1.0)).unwrap();
    let error = registry.counter(&desc("2")).unwrap_err();
    assert_eq!(error, RegisterError::TooMany { name: "c_total".into(), limit: 2 });
    registry.counter(&desc("1")).expect("it is there already");
    registry.histogram(&MetricDesc::new("h", "")).unwrap_err();
    let text = scrape(&registry);
    assert!(text.contains("neurograph_telemetry_series_refused_total 2\n"), "{text}");
    assert!(!text.contains("n=\"2\"") && !text.contains("h_bucket"), "{text}");
}

#[test]
fn a_callback_may_use_the_registry_that_asks_it() {
    let registry = Arc::new(Registry::new(&RegistryOptions::default()));
    let counter = registry.counter(&MetricDesc::new("c_total", "")).unwrap();
    let asking = Arc::downgrade(&registry);
    let read = move || {
        let registry = asking.upgrade().unwrap();
        registry.open_lane().add(counter, 1);
        registry.counter(&MetricDesc::new("d_total", "")).unwrap();
        registry.counter_value(counter)
    };
    registry.counter_from(&MetricDesc::new("e_total", ""), Box::new(read)).unwrap();
    assert!(scrape(&registry).contains("e_total 1\n"));
}

#[test]
fn families_stand_in_the_alphabets_order_with_their_series_together() {
    let registry = Registry::new(&RegistryOptions::default());
    for (name, label) in [("b_total", "y"), ("a_total", "z"), ("b_total", "x"), ("a_total", "a")] {
        registry.counter(&MetricDesc::new(name, "Help.").label("l", label)).unwrap();
    }
    let text = scrape(&registry);
    let series: Vec<&str> = text.lines().filter(|line| line.starts_with(['a', 'b'])).collect();
    let expected = ["a_total{l=\"a\"} 0", "a_total{l=\"z\"} 0", "b_total{l=\"x\"} 0", "b_total{l=\"y\"} 0"];
    assert_eq!(series, expected);
}
