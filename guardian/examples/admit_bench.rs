//! What an admission costs, in nanoseconds of a processor: the median of several rounds, on one, two and
//! eight threads.
//!
//! `cargo run --release -p ng-guardian --example admit_bench [MAX_LEASE]`
#![allow(clippy::print_stdout, reason = "it reports to the terminal")]

use ng_core::admission::AdmissionLane;
use ng_core::token::Token;
use ng_guardian::{Guardian, GuardianError, GuardianLane, GuardianOptions, Limits};
use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;

const ROUNDS: usize = 9;
const CALLS: u64 = 8_000_000;

/// One round on each of `threads` lanes at once; nanoseconds of a processor per call, by the slowest.
fn round(guardian: &Guardian, threads: usize, body: fn(&mut GuardianLane, u64)) -> f64 {
    let gate = Barrier::new(threads);
    let processors = threads.min(std::thread::available_parallelism().map_or(1, usize::from));
    #[expect(clippy::cast_precision_loss, reason = "a few")]
    let share = processors as f64 / threads as f64;
    let slowest: f64 = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut lane = guardian.open_lane("bench");
                    gate.wait();
                    let begun = Instant::now();
                    body(&mut lane, CALLS);
                    #[expect(clippy::cast_precision_loss, reason = "a few million")]
                    let ns = begun.elapsed().as_secs_f64() * 1e9 / CALLS as f64;
                    ns
                })
            })
            .collect();
        lanes.into_iter().filter_map(|lane| lane.join().ok()).fold(0.0, f64::max)
    });
    slowest * share
}

/// A caller branches on the answer. To put it into memory, as `black_box` does, costs a store, of which
/// an admission itself has but one.
#[inline(always)]
fn looked_at(admitted: bool) {
    #[cold]
    #[inline(never)]
    fn refused() {
        black_box(());
    }
    if !admitted {
        refused();
    }
}

fn admit(lane: &mut GuardianLane, calls: u64) {
    for _ in 0..calls {
        looked_at(lane.admit(1).is_ok());
    }
    lane.release(calls);
}

fn admit_and_release(lane: &mut GuardianLane, calls: u64) {
    for _ in 0..calls {
        looked_at(lane.admit(1).is_ok());
        lane.release(1);
    }
}

fn admit_batches(lane: &mut GuardianLane, calls: u64) {
    for _ in 0..calls / 64 {
        looked_at(lane.admit(64).is_ok());
    }
    lane.release(calls / 64 * 64);
}

fn check(lane: &mut GuardianLane, calls: u64) {
    let tokens = [Token::default(); 64];
    for _ in 0..calls / 64 {
        lane.refresh();
        for token in black_box(&tokens) {
            black_box(lane.check(token).is_ok());
        }
    }
}

/// What is measured: so many operations on a lane.
type Work = fn(&mut GuardianLane, u64);

fn main() -> Result<(), GuardianError> {
    let limits = Limits { max_tokens: u64::MAX, max_memory_bytes: u64::MAX };
    let usual = GuardianOptions::default();
    let max_lease = std::env::args().nth(1).and_then(|given| given.parse().ok()).unwrap_or(usual.max_lease);
    let guardian = Guardian::start(GuardianOptions { limits, max_lease, ..usual })?;
    println!("fence: {:?}; leases of up to {max_lease}", ng_core::fence::strategy());
    println!("{:<28} {:>8} {:>8} {:>8} {:>8}", "ns per token", "threads", "least", "median", "most");
    let cases: [(&str, Work); 4] = [
        ("admit(1)", admit),
        ("admit(1), release(1)", admit_and_release),
        ("admit(64)", admit_batches),
        ("check", check),
    ];
    for (name, body) in cases {
        for threads in [1, 2, 8] {
            let mut rounds: Vec<_> = (0..ROUNDS).map(|_| round(&guardian, threads, body)).collect();
            rounds.sort_by(f64::total_cmp);
            let [least, .., most] = rounds[..] else { continue };
            let median = rounds[ROUNDS / 2];
            println!("{name:<28} {threads:>8} {least:>8.3} {median:>8.3} {most:>8.3}");
        }
    }
    Ok(())
}
