//! What telemetry costs a lane: nanoseconds per operation, the median of interleaved rounds and
//! the least.
//!
//! Each loop keeps several independent operations in flight (counters in turn, values from an
//! array), so it measures throughput and not the latency of one chain. An empty loop of the same
//! shape is shown, and not subtracted. A word after the program's name chooses the rows that have it
//! in their name.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark reports to the terminal")]

use std::{hint::black_box, sync::Barrier, time::Instant};

use ng_core::{
    metrics::{CounterId, HistogramId, MetricDesc, MetricLane, MetricSink},
    sampling::{Reason, SamplerLane},
    spans::{FinishedSpan, SpanLane, SpanSink, Value},
};
use ng_telemetry::{
    Registry, RegistryOptions, Sampler, SpanOptions, SpanWriter, op,
    spans::{Discard, JsonLines},
    tracing_layer::{Ops, SamplingLayer},
};
use tracing_subscriber::layer::SubscriberExt as _;

const ROUNDS: usize = 61;
/// A round is shorter than a time slice, so that most rounds are not interrupted on a busy machine.
const OPERATIONS: u64 = 400_000;
/// Few enough for the ring to hold them: a lane's cost, not the exporter's.
const SPANS: u64 = 8_000;

/// Runs `lane`'s loop on so many threads at once, and gives the slowest one's ns per operation.
fn run<L>(
    threads: usize,
    operations: u64,
    open: impl Fn() -> L + Sync,
    work: impl Fn(&mut L, u64) + Sync,
) -> f64 {
    let start = Barrier::new(threads);
    let one = || {
        let mut lane = open();
        start.wait();
        let began = Instant::now();
        work(&mut lane, operations);
        began.elapsed()
    };
    let slowest = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).max().unwrap()
    });
    #[expect(clippy::cast_precision_loss, reason = "a few millions")]
    let ns = slowest.as_nanos() as f64 / operations as f64;
    ns
}

fn span() -> FinishedSpan {
    let mut attributes = [None; 6];
    attributes[0] = Some(("token.id", Value::U64(7)));
    attributes[1] = Some(("token.kind", Value::Str("mass")));
    FinishedSpan {
        trace: None,
        parent: None,
        name: "token.create",
        start_ns: 1_700_000_000_000_000_000,
        end_ns: 1_700_000_000_000_000_040,
        failed: false,
        reason: Reason::Rate,
        probability: 0.01,
        attributes,
    }
}

fn main() {
    let registry = Registry::new(&RegistryOptions::default());
    let counters: [CounterId; 8] = std::array::from_fn(|n| {
        registry.counter(&MetricDesc::new("bench_total", "").label("n", &n.to_string())).unwrap()
    });
    let histogram: HistogramId = registry.histogram(&MetricDesc::new("bench_ns", "")).unwrap();
    let sampler = Sampler::new(0.01, None).unwrap();
    let values: [u64; 64] = std::array::from_fn(|n| 37 * (n as u64 + 1) * (n as u64 + 1));
    let finished = span();
    let dir = std::env::temp_dir().join(format!("telemetry_bench.{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();

    println!("{:<34}{:>20}{:>20}", "ns per operation: median (least)", "1 thread", "2 threads");
    let writer = SpanWriter::start(SpanOptions::new(Discard)).unwrap();
    let shared = std::sync::Arc::new(Sampler::new(0.01, None).unwrap());
    let rated = |rate: f64| {
        let sampler = std::sync::Arc::new(Sampler::new(rate, None).unwrap());
        let layer = SamplingLayer::new(sampler, &writer);
        tracing::Dispatch::new(tracing_subscriber::registry().with(layer))
    };
    let (off, all) = (rated(0.0), rated(1.0));
    let macros = |threads: usize, dispatch: &tracing::Dispatch, operations: u64| {
        run(
            threads,
            operations,
            || {
                // The first one of a callsite is a probe.
                let guard = tracing::dispatcher::set_default(dispatch);
                tracing::info_span!("warm").in_scope(|| ());
                guard
            },
            |_, n| {
                for i in 0..n {
                    let _span = tracing::info_span!("bench", i).entered();
                    black_box(i);
                }
            },
        )
    };
    let table: [(&str, &dyn Fn(usize) -> f64); 11] = [
        ("op! unsampled (at 1 %, all in)", &|threads| {
            run(
                threads,
                OPERATIONS,
                || Ops::new(std::sync::Arc::clone(&shared), &writer),
                |ops, n| {
                    for i in 0..n {
                        let _span = op!(ops, "bench.percent");
                        black_box(i);
                    }
                },
            )
        }),
        ("op! sampled, with both clocks", &|threads| {
            let sampler = std::sync::Arc::new(Sampler::new(1.0, None).unwrap());
            run(
                threads,
                SPANS / 8,
                || Ops::new(std::sync::Arc::clone(&sampler), &writer),
                |ops, n| {
                    for i in 0..n {
                        let mut span = op!(ops, "bench.all");
                        span.set("n", || i.into());
                        black_box(i);
                    }
                },
            )
        }),
        ("tracing macro, unsampled", &|threads| macros(threads, &off, OPERATIONS)),
        ("tracing macro, sampled", &|threads| macros(threads, &all, SPANS / 8)),
        ("empty loop", &|threads| {
            run(
                threads,
                OPERATIONS,
                || (),
                |(), n| {
                    for i in 0..n {
                        black_box(i);
                    }
                },
            )
        }),
        ("counter, one of 8 in turn", &|threads| {
            run(
                threads,
                OPERATIONS,
                || registry.open_lane(),
                |lane, n| {
                    for i in 0..n {
                        lane.add(counters[(black_box(i) & 7) as usize], 1);
                    }
                },
            )
        }),
        ("histogram", &|threads| {
            run(
                threads,
                OPERATIONS,
                || registry.open_lane(),
                |lane, n| {
                    for i in 0..n {
                        lane.observe(histogram, values[(black_box(i) & 63) as usize], 1);
                    }
                },
            )
        }),
        ("gate(1) at 1 %", &|threads| {
            run(
                threads,
                OPERATIONS,
                || sampler.open_lane(),
                |lane, n| {
                    for i in 0..n {
                        black_box(i);
                        black_box(lane.gate(1).is_some());
                    }
                },
            )
        }),
        ("gate(64) at 1 %, per operation", &|threads| {
            run(
                threads,
                OPERATIONS,
                || sampler.open_lane(),
                |lane, n| {
                    for _ in 0..n / 64 {
                        let mut left = 64;
                        while let Some(index) = lane.gate(left) {
                            left -= index + 1;
                            black_box(index);
                        }
                    }
                },
            )
        }),
        ("sampled span, into the ring", &|threads| {
            let options = SpanOptions { lane_spans: 16_384, ..SpanOptions::new(Discard) };
            let writer = SpanWriter::start(options).unwrap();
            // The first pass touches the ring' pages.
            let pass = || {
                run(
                    threads,
                    SPANS,
                    || writer.open_lane(),
                    |lane, n| {
                        for _ in 0..n {
                            black_box(lane.finish(black_box(&finished)));
                        }
                    },
                )
            };
            pass();
            assert!(writer.flush(std::time::Duration::from_secs(10)));
            let ns = pass();
            assert!(writer.flush(std::time::Duration::from_secs(10)));
            assert_eq!(writer.stats().dropped, 0);
            ns
        }),
        ("span to a file, on its thread", &|_| {
            let writer = SpanWriter::start(SpanOptions {
                lane_spans: 16_384,
                interval: std::time::Duration::from_secs(60),
                ..SpanOptions::new(JsonLines::open(&dir.join("spans.jsonl")).unwrap())
            })
            .unwrap();
            let mut lane = writer.open_lane();
            let began = Instant::now();
            for _ in 0..SPANS {
                lane.finish(&finished);
            }
            assert!(writer.flush(std::time::Duration::from_secs(10)));
            #[expect(clippy::cast_precision_loss, reason = "a few thousands")]
            let ns = began.elapsed().as_nanos() as f64 / writer.stats().exported as f64;
            ns
        }),
    ];
    let mut figures = vec![[Vec::new(), Vec::new()]; table.len()];
    let part = std::env::args().nth(1).unwrap_or_default();
    for _ in 0..ROUNDS {
        for (row, (_, measure)) in table.iter().enumerate().filter(|(_, row)| row.0.contains(&part)) {
            for threads in [1, 2] {
                figures[row][threads - 1].push(measure(threads));
            }
        }
    }
    for ((name, _), mut figures) in table.iter().zip(figures).filter(|((name, _), _)| name.contains(&part)) {
        let [one, two] = figures.each_mut().map(|rounds| {
            rounds.sort_by(f64::total_cmp);
            format!("{:.2} ({:.2})", rounds[ROUNDS / 2], rounds[0])
        });
        println!("{name:<34}{one:>20}{two:>20}");
    }
    std::fs::remove_dir_all(&dir).unwrap();
}
