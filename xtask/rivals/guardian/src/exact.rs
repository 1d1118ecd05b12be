//! Whether a quota keeps its word: never more than the limit, and nobody refused while there is room.
//! It measures no time.
//!
//! `admit` and `admit_batch`: all threads take until they are refused (by ones, or by batches and
//! then by ones), and hold what they took, beside one more that took a single unit and sleeps; together
//! they must have exactly the limit. What is missing was refused to somebody wrongly.
//!
//! `admit_release`: each thread takes one and gives it back, over and over, with room for all of them,
//! while the first one asks in between for more than the limit, which is refused rightly. Any other
//! refusal is wrong.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::systems::{BATCH, Handle, System, Work};

/// How often it was broken, over all rounds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Broken {
    /// Units refused although there was room.
    pub(crate) false_refusals: u64,
    /// Units admitted beyond the limit.
    pub(crate) overshoot: u64,
}

/// Units that a thread takes and gives back in a round of `admit_release`.
const SWAPS: u64 = 20_000;

/// `None` if the system can't do that work at all.
pub(crate) fn look(
    system: &System,
    work: Work,
    threads: usize,
    rounds: u64,
) -> Result<Option<Broken>, String> {
    if work == Work::AdmitRelease && !system.gives_back {
        return Ok(None);
    }
    let mut broken = Broken::default();
    for round in 0..rounds {
        // Any number, some tens of leases for each thread.
        let limit = 20_000 + (round * 7_919) % 50_000;
        let quota = (system.open)(limit)?;
        let mut sleeper = quota.open();
        let asleep = u64::from(work != Work::AdmitRelease && sleeper.admit(1));
        let gate = Gate { waiting: AtomicUsize::new(threads) };
        let done = Barrier::new(threads);
        let (admitted, refused) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let (quota, gate, done, admitted, refused) = (&quota, &gate, &done, &admitted, &refused);
                scope.spawn(move || {
                    let mut handle = quota.open();
                    gate.wait();
                    if work == Work::AdmitRelease {
                        refused.fetch_add(swap(&mut *handle, thread == 0, limit), Ordering::Relaxed);
                    } else {
                        let mut taken = 0;
                        while work == Work::AdmitBatch && handle.admit(BATCH) {
                            taken += BATCH;
                        }
                        while handle.admit(1) {
                            taken += 1;
                        }
                        admitted.fetch_add(taken, Ordering::Relaxed);
                        // Nobody leaves, and so gives up a lease, before all have been refused.
                        done.wait();
                        handle.release(taken);
                    }
                });
            }
        });
        broken.false_refusals += refused.into_inner();
        if work != Work::AdmitRelease {
            let admitted = admitted.into_inner() + asleep;
            broken.false_refusals += limit.saturating_sub(admitted);
            broken.overshoot += admitted.saturating_sub(limit);
        }
    }
    Ok(Some(broken))
}

/// Lets all through at once: a thread that sleeps at a barrier wakes up when the others are done.
struct Gate {
    waiting: AtomicUsize,
}

impl Gate {
    fn wait(&self) {
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        while self.waiting.load(Ordering::Acquire) > 0 {
            std::thread::yield_now();
        }
    }
}

/// Returns how many units were refused wrongly.
fn swap(handle: &mut dyn Handle, greedy: bool, limit: u64) -> u64 {
    let mut refused = 0;
    for turn in 0..SWAPS {
        if greedy && turn % 16 == 0 && handle.admit(limit + 1) {
            handle.release(limit + 1);
        }
        if handle.admit(1) {
            handle.release(1);
        } else {
            refused += 1;
        }
    }
    refused
}
