//! The operation, and how what a system adds to it is measured.

use std::hint::black_box;
use std::sync::Barrier;

use crate::served::Served;

/// Runs its argument, which does so many operations; the second call may be without the system.
pub(crate) type Timed<'a> = &'a mut dyn FnMut(&mut dyn FnMut(u64));

/// A system at a case.
pub(crate) struct Subject {
    pub(crate) case: &'static str,
    pub(crate) system: &'static str,
    /// Operations between two calls of `settle`: few where each leaves something behind.
    pub(crate) operations: u64,
    /// Sets up a thread and hands the loop to its argument.
    pub(crate) on_a_thread: Box<dyn Fn(Timed<'_>) + Sync>,
    /// Empties what the loop filled; not measured.
    pub(crate) settle: Box<dyn Fn() + Sync>,
    /// Where it is measured instead, if not here.
    pub(crate) served: Option<Served>,
}

/// Operations where nothing is left behind; about 2 ms, so that most turns are not interrupted.
pub(crate) const MANY: u64 = 80_000;
/// Operations that leave a span behind: what every system's queue holds.
pub(crate) const FEW: u64 = 1_500;

/// Words of a token.
const WORDS: usize = 8;
/// Tokens in a thread's buffer: 16 KiB, which stay in the first-level cache.
const TOKENS: usize = 256;

/// What each operation fills.
pub(crate) type Buffer = Box<[[u64; WORDS]; TOKENS]>;

pub(crate) fn buffer() -> Buffer {
    Box::new([[0; WORDS]; TOKENS])
}

/// Makes a token of 64 bytes of eight independent chains, each step of which is one multiplication
/// among five cheaper instructions: what bounds it is how many instructions the processor issues,
/// and no single unit that others could work beside.
#[inline(always)]
pub(crate) fn operate(buffer: &mut Buffer, n: u64) {
    let token = &mut buffer[n as usize % TOKENS];
    for (k, word) in token.iter_mut().enumerate() {
        let mut x = n.wrapping_add(k as u64);
        for _ in 0..4 {
            x = x.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            x ^= x.rotate_left(23);
            x = x.wrapping_add(n).rotate_left(11) ^ k as u64;
        }
        *word = x;
    }
    black_box(token);
}

/// A loop of operations, each with `more` after it.
#[inline(always)]
pub(crate) fn operations(buffer: &mut Buffer, count: u64, mut more: impl FnMut(u64)) {
    for n in 0..count {
        operate(buffer, n);
        more(black_box(n));
    }
}

#[inline(never)]
fn bare(buffer: &mut Buffer, count: u64) {
    operations(buffer, count, |_| ());
}

fn timed(count: u64, work: impl FnOnce()) -> f64 {
    rivals_common::per_operation(count, work)
}

/// What the operation takes by itself.
pub(crate) fn alone() -> f64 {
    let mut buffer = buffer();
    median((0..51).map(|_| timed(MANY, || bare(&mut buffer, MANY))).collect())
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of.get(of.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Nanoseconds that the system adds to an operation: the median of many turns, the slower thread's
/// where there are two.
pub(crate) fn added(subject: &Subject, threads: usize, quick: bool) -> Result<f64, String> {
    if let Some(served) = &subject.served {
        return served.ask(threads, quick);
    }
    let turns = if quick { 3 } else { 31 };
    let gate = Barrier::new(threads);
    let medians: Vec<Option<f64>> = std::thread::scope(|scope| {
        let gate = &gate;
        let runs: Vec<_> = (0..threads)
            .map(|first| {
                scope.spawn(move || {
                    let mut buffer = buffer();
                    let mut differences = Vec::with_capacity(turns);
                    (subject.on_a_thread)(&mut |work| {
                        // What is touched for the first time is not an operation's cost.
                        work(subject.operations);
                        for turn in 0..=turns {
                            gate.wait();
                            if first == 0 {
                                (subject.settle)();
                            }
                            gate.wait();
                            let with = timed(subject.operations, || work(subject.operations));
                            gate.wait();
                            let without = timed(subject.operations, || bare(&mut buffer, subject.operations));
                            if turn > 0 {
                                differences.push(with - without);
                            }
                        }
                    });
                    median(differences)
                })
            })
            .collect();
        runs.into_iter().map(|run| run.join().ok()).collect()
    });
    medians
        .into_iter()
        .try_fold(f64::NEG_INFINITY, |most, one| Some(most.max(one?)))
        .ok_or_else(|| "a thread panicked".to_owned())
}
