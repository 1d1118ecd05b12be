//! What an event costs: nanoseconds, median and quartiles over rounds, on one and two threads.
//!
//! `cargo run --release -p ng-blackbox --example record_bench [rounds]`
#![allow(clippy::print_stdout, reason = "a program that reports on the terminal")]

use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;

use ng_blackbox::{Recorder, RecorderLane, RecorderOptions};
use ng_core::events::{Event, EventKind, EventRecorder, Tier};

/// Events of a round: some hundred microseconds, so that most rounds are not interrupted, and
/// several laps of the ring.
const OPERATIONS: u64 = 200_000;
const RARE: u64 = 10_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rounds = std::env::args().nth(1).map_or(Ok(301), |rounds| rounds.parse())?;
    let dir = tempfile::tempdir_in("/dev/shm")?;
    let recorder = Recorder::create(RecorderOptions::new(dir.path()))?;
    let operation = |lane: &mut RecorderLane, n| {
        lane.record(Event::operation(EventKind::TOKENS_CREATED, black_box(n), n));
    };
    for threads in [1, 2] {
        report("operation", &recorder, rounds, threads, OPERATIONS, operation);
    }
    for threads in [1, 2] {
        in_other_work(&recorder, rounds, threads);
    }
    let sampled = |lane: &mut RecorderLane, n| {
        lane.record(Event { tier: Tier::Sampled, ..Event::operation(EventKind::OPERATION, n, n) });
    };
    report("sampled", &recorder, rounds, 1, RARE, sampled);
    let rare = |lane: &mut RecorderLane, n| lane.record(Event::rare(EventKind::STORE_FULL, n, n));
    for threads in [1, 2] {
        report("rare", &recorder, rounds, threads, RARE, rare);
    }
    let note = "quota of pool lane-7 is used up";
    report("rare, note of 31 bytes", &recorder, rounds, 1, RARE, |lane, n| {
        lane.record_with_note(Event::rare(EventKind::QUOTA_EXCEEDED, n, n), note);
    });
    report("record_rare, same note", &recorder, rounds, 1, RARE, |_, n| {
        recorder.record_rare(Event::rare(EventKind::QUOTA_EXCEEDED, n, n), note);
    });
    Ok(())
}

fn report(
    name: &str,
    recorder: &Recorder,
    rounds: usize,
    threads: usize,
    events: u64,
    work: impl Fn(&mut RecorderLane, u64) + Sync,
) {
    let gate = Barrier::new(threads);
    let mut taken: Vec<f64> = std::thread::scope(|scope| {
        let (gate, work) = (&gate, &work);
        let makers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(move || {
                    let mut lane = recorder.open_lane(name);
                    let round = || {
                        gate.wait();
                        let began = Instant::now();
                        (0..events).for_each(|n| work(&mut lane, n));
                        began.elapsed().as_secs_f64() * 1e9 / events as f64
                    };
                    std::iter::repeat_with(round).take(rounds + 1).skip(1).collect::<Vec<_>>()
                })
            })
            .collect();
        makers.into_iter().filter_map(|maker| maker.join().ok()).flatten().collect()
    });
    print(name, threads, &mut taken);
}

fn print(name: &str, threads: usize, taken: &mut [f64]) {
    taken.sort_by(f64::total_cmp);
    let at = |share: usize| taken.get(taken.len() * share / 4).copied().unwrap_or(f64::NAN);
    println!("{name:<24} {threads} threads  median {:6.2} ns  quartiles {:6.2} {:6.2}", at(2), at(1), at(3));
}

/// What an event adds to an operation that keeps the processor's units busy, as an engine's does: a
/// loop of nothing but events waits for one event's number before it has the next one's, and hides
/// behind that whatever else they cost.
fn in_other_work(recorder: &Recorder, rounds: usize, threads: usize) {
    let gate = Barrier::new(threads);
    let mut added: Vec<f64> = std::thread::scope(|scope| {
        let gate = &gate;
        let makers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(move || {
                    let mut lane = recorder.open_lane("in other work");
                    let mut token = [0; 8];
                    let mut round = || {
                        gate.wait();
                        let with = time(&mut token, |n| {
                            lane.record(Event::operation(EventKind::TOKENS_CREATED, black_box(n), n));
                        });
                        gate.wait();
                        with - time(&mut token, |n| {
                            black_box(n);
                        })
                    };
                    round();
                    (0..rounds).map(|_| round()).collect::<Vec<_>>()
                })
            })
            .collect();
        makers.into_iter().filter_map(|maker| maker.join().ok()).flatten().collect()
    });
    print("operation, in other work", threads, &mut added);
}

/// Nanoseconds of an operation of eight independent chains, some 25 ns, with `more` after it.
#[inline(always)]
fn time(token: &mut [u64; 8], mut more: impl FnMut(u64)) -> f64 {
    const TIMES: u64 = OPERATIONS / 10;
    let began = Instant::now();
    for n in 0..TIMES {
        for (k, word) in token.iter_mut().enumerate() {
            let mut x = n.wrapping_add(k as u64);
            for _ in 0..4 {
                x = x.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                x ^= x.rotate_left(23);
                x = x.wrapping_add(n).rotate_left(11) ^ k as u64;
            }
            *word = x;
        }
        black_box(&mut *token);
        more(n);
    }
    began.elapsed().as_secs_f64() * 1e9 / TIMES as f64
}
