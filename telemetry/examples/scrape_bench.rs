//! What a scrape of 10,000 series takes, what it does to threads that count meanwhile, and the
//! memory of all of telemetry, as the operating system tells it.
//!
//! `cargo run --release -p ng-telemetry --example scrape_bench -- [COUNTERS]`, 9,000 by default; the
//! series of histograms come on top.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark reports to the terminal")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use ng_core::metrics::{CounterId, HistogramId, MetricDesc, MetricLane, MetricSink, Scale};
use ng_telemetry::{
    Registry, RegistryOptions, Sampler, SpanOptions, SpanWriter, metrics::HISTOGRAM_SERIES, op,
    spans::Discard, tracing_layer::Ops,
};

const COUNTERS: usize = 9_000;
/// With their buckets, which are series too, as many as there is room for.
const HISTOGRAMS: usize = (10_000 - COUNTERS - 50) / HISTOGRAM_SERIES;
const SCRAPES: usize = 101;

/// Resident memory, without what is mapped from files.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1_024
}

fn main() {
    let counters = std::env::args().nth(1).map_or(COUNTERS, |n| n.parse().unwrap()).clamp(1, COUNTERS);
    let before = resident_bytes();
    let registry = Arc::new(Registry::new(&RegistryOptions { max_series: 10_000 }));
    let counters: Vec<CounterId> = (0..counters)
        .map(|n| {
            let desc = MetricDesc::new("bench_requests_total", "Requests, by route and code.");
            let desc =
                desc.label("route", &format!("/v1/{}", n / 10)).label("code", &(200 + n % 10).to_string());
            registry.counter(&desc).unwrap()
        })
        .collect();
    let histograms: Vec<HistogramId> = (0..HISTOGRAMS)
        .map(|n| {
            let desc = MetricDesc::new("bench_took_seconds", "Durations.").unit("seconds", Scale::Nano);
            registry.histogram(&desc.label("route", &n.to_string())).unwrap()
        })
        .collect();
    let writer = SpanWriter::start(SpanOptions::new(Discard)).unwrap();
    let sampler = Arc::new(Sampler::new(0.01, None).unwrap());
    let (stop, counted) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut lane = registry.open_lane();
                let mut ops = Ops::new(Arc::clone(&sampler), &writer);
                for &id in &counters {
                    lane.add(id, 1);
                }
                let mut n = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    for _ in 0..1_000 {
                        let _op = op!(ops, "bench");
                        lane.add(counters[n as usize % counters.len()], 1);
                        lane.observe(
                            histograms[n as usize % HISTOGRAMS],
                            n.wrapping_mul(0x9e37_79b9) >> 8 & 0xff_ffff,
                            1,
                        );
                        n += 1;
                    }
                    counted.fetch_add(1_000, Ordering::Relaxed);
                }
            });
        }
        let settle = Instant::now();
        while settle.elapsed().as_millis() < 300 {
            std::thread::yield_now();
        }
        let rate = |counted_before: u64, began: Instant| {
            (counted.load(Ordering::Relaxed) - counted_before) as f64 / began.elapsed().as_secs_f64() / 1e6
        };
        for (what, accept, encoding) in [
            ("text", None, None),
            ("OpenMetrics", Some("application/openmetrics-text;version=1.0.0"), None),
            ("text, gzipped", None, Some("gzip")),
        ] {
            let (began, counted_before) = (Instant::now(), counted.load(Ordering::Relaxed));
            let mut took: Vec<(u128, usize, usize)> = (0..SCRAPES)
                .map(|_| {
                    let began = Instant::now();
                    let answer = registry.expose(accept, encoding);
                    let lines = answer.body.iter().filter(|byte| **byte == b'\n').count();
                    (began.elapsed().as_micros(), answer.body.len(), lines)
                })
                .collect();
            let during = rate(counted_before, began);
            took.sort_unstable();
            let (median, bytes, lines) = took[SCRAPES / 2];
            println!(
                "{what:<14} median {:.2} ms, longest {:.2} ms; {bytes} bytes, {lines} lines; writers {during:.1} M/s",
                median as f64 / 1e3,
                took[SCRAPES - 1].0 as f64 / 1e3,
            );
        }
        let (began, counted_before) = (Instant::now(), counted.load(Ordering::Relaxed));
        std::thread::sleep(std::time::Duration::from_millis(500));
        println!("no scrape      writers {:.1} M/s", rate(counted_before, began));
        println!("memory         {:.2} MiB", (resident_bytes() - before) as f64 / (1 << 20) as f64);
        stop.store(true, Ordering::Relaxed);
    });
}
