//! What the guardian's thread takes of a core, in millionths: while memory stands still, and while it
//! moves so much that it is read as often as ever.
//!
//! `cargo run --release -p ng-guardian --example watch_bench`
#![allow(clippy::print_stdout, reason = "it reports to the terminal")]

use ng_core::admission::AdmissionLane;
use ng_guardian::{Guardian, GuardianError, GuardianOptions};
use std::time::{Duration, Instant};

const ROUND: Duration = Duration::from_secs(5);

fn main() -> Result<(), GuardianError> {
    for (name, moves) in [("still", false), ("moving", true)] {
        let guardian = Guardian::start(GuardianOptions::default())?;
        let mut lane = guardian.open_lane("maker");
        // What starts up is no part of it.
        std::thread::sleep(Duration::from_millis(300));
        let reads = || guardian.memory().map_or(0, |memory| memory.reads);
        let (before, read, begun) = (processor_time(), reads(), Instant::now());
        let mut held = Vec::new();
        while begun.elapsed() < ROUND {
            if lane.admit(64).is_ok() {
                lane.release(64);
            }
            std::thread::sleep(Duration::from_millis(5));
            if moves {
                held.push(vec![1_u8; 1 << 20]);
                if held.len() == 200 {
                    held.clear();
                }
            }
        }
        let (Some(before), Some(after)) = (before, processor_time()) else {
            println!("the kernel counts no time for each thread");
            return Ok(());
        };
        let millionths = u128::from(after - before) * 1_000_000 / begun.elapsed().as_nanos();
        println!("memory {name}: {millionths} millionths of a core, {} readings", reads() - read);
    }
    Ok(())
}

/// Of the guardian's thread, in nanoseconds: the first number of `schedstat`.
fn processor_time() -> Option<u64> {
    let tasks = std::fs::read_dir("/proc/self/task").ok()?;
    tasks.filter_map(Result::ok).map(|task| task.path()).find_map(|task| {
        let name = std::fs::read_to_string(task.join("comm")).ok()?;
        (name.trim() == "ng-guardian").then_some(())?;
        std::fs::read_to_string(task.join("schedstat")).ok()?.split_ascii_whitespace().next()?.parse().ok()
    })
}
