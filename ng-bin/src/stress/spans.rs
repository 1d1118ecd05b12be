//! What a span costs: not sampled, one in a hundred, all of them, over the empty loop.

use std::hint::black_box;
use std::time::Instant;

use super::bench::{On, config};
use super::spread::Spread;
use super::{Options, StressError};
use crate::stack::Stack;

/// Nanoseconds a span, the empty loop taken off: medians.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct Spans {
    /// At rate 0: what each operation pays.
    pub unsampled_ns: f64,
    /// At 1 %, over all operations.
    pub sampled_1pct_ns: f64,
    /// At 100 %, each.
    pub sampled_ns: f64,
    /// The empty loop itself.
    pub empty_loop_ns: f64,
    /// Spans dropped at 100 % because the writer was behind.
    pub dropped: u64,
}

pub(super) fn measure(options: &Options) -> Result<Spans, StressError> {
    let operations = options.tokens.min(2_000_000);
    let mut times: [Vec<f64>; 4] = Default::default();
    let mut dropped = 0;
    for _ in 0..options.rounds.max(3) {
        times[0].push(per_operation(operations, |i| {
            black_box(i);
        }));
        for (rate, times) in [0.0, 0.01, 1.0].into_iter().zip(&mut times[1..]) {
            let mut setup = config(options, On::only(&["tracing"]), 1, &options.dir);
            setup.tracing.rate = rate;
            setup.tracing.output = None;
            let stack = Stack::builder().config(setup).build()?;
            let mut lane = stack.lane("maker")?;
            let operations = if rate >= 1.0 { operations / 10 } else { operations };
            times.push(per_operation(operations, |i| {
                lane.layers().op("span", |_| black_box(i));
            }));
            dropped = stack.spans().stats().dropped;
        }
    }
    let [empty, unsampled, percent, all] = times.map(|times| Spread::of(times).median);
    Ok(Spans {
        unsampled_ns: (unsampled - empty).max(0.0),
        sampled_1pct_ns: (percent - empty).max(0.0),
        sampled_ns: (all - empty).max(0.0),
        empty_loop_ns: empty,
        dropped,
    })
}

fn per_operation(operations: u64, mut operation: impl FnMut(u64)) -> f64 {
    let began = Instant::now();
    (0..operations).for_each(&mut operation);
    super::bench::per(began.elapsed(), operations)
}
