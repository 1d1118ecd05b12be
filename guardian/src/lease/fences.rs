//! Both fence pairs as loom sees them. It exists in model builds alone.
//!
//! *Full*: both sides run a full fence. *Membarrier*: an owner runs none of its own; a visitor
//! that calls [`heavy`] asks for one, and each other thread runs it wherever it happens to be. Loom
//! can't stop a thread at just any instruction, so owners call [`point`] between any two accesses
//! to shared words, which is where an interrupt would show. A thread that waits for the pool's lock
//! or has ended runs nothing; the kernel's context switch is its fence, and here [`quiet`] is.
//!
//! What this can't show: an interrupt within one access, and what a compiler would move across the
//! compiler's fence.

use loom::sync::atomic::{AtomicUsize, Ordering, fence};
use std::cell::Cell;

/// Which pair a model runs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Full,
    Membarrier,
}

/// Threads in a model: the one that begins it, and one more.
const THREADS: usize = 2;

/// A seat's word while its thread runs nothing; otherwise the last request that it has served.
const QUIET: usize = usize::MAX;

struct Kernel {
    requests: AtomicUsize,
    seats: [AtomicUsize; THREADS],
}

std::thread_local! {
    // All threads of a model run on one thread of the system.
    static KIND: Cell<Kind> = const { Cell::new(Kind::Full) };
}

loom::lazy_static! {
    static ref KERNEL: Kernel = Kernel {
        requests: AtomicUsize::new(0),
        seats: [AtomicUsize::new(0), AtomicUsize::new(QUIET)],
    };
}

loom::thread_local! {
    static SEAT: Cell<usize> = Cell::new(0);
}

fn modelled() -> bool {
    KIND.get() == Kind::Membarrier
}

fn seat() -> usize {
    SEAT.with(Cell::get)
}

/// Says which pair the models that follow on this thread run with.
#[cfg(test)]
pub(crate) fn choose(kind: Kind) {
    KIND.set(kind);
}

/// Runs `work` as the model's second thread.
#[cfg(test)]
pub(crate) fn second<R>(work: impl FnOnce() -> R) -> R {
    SEAT.with(|seat| seat.set(1));
    wake();
    let answer = work();
    sleep();
    answer
}

fn sleep() {
    if modelled() {
        fence(Ordering::SeqCst);
        KERNEL.seats[seat()].store(QUIET, Ordering::Release);
    }
}

fn wake() {
    if modelled() {
        // Whatever was asked for before this store is served by the fence behind it.
        let served = KERNEL.requests.load(Ordering::Relaxed);
        KERNEL.seats[seat()].store(served, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }
}

/// Runs what may block, as a thread that does not run.
pub(crate) fn quiet<R>(block: impl FnOnce() -> R) -> R {
    sleep();
    let answer = block();
    wake();
    answer
}

/// A place at which an interrupt may show.
pub(crate) fn point() {
    if modelled() {
        let asked = KERNEL.requests.load(Ordering::Relaxed);
        let mine = &KERNEL.seats[seat()];
        if mine.load(Ordering::Relaxed) < asked {
            fence(Ordering::SeqCst);
            mine.store(asked, Ordering::Release);
        }
    }
}

/// An owner's side without a fence of its own.
pub(crate) fn light_quick() {
    point();
}

/// An owner's side with a full fence.
pub(crate) fn light_full() {
    fence(Ordering::SeqCst);
}

/// The visitor's side.
pub(crate) fn heavy() {
    fence(Ordering::SeqCst);
    if modelled() {
        let asked = KERNEL.requests.fetch_add(1, Ordering::AcqRel) + 1;
        for other in (0..THREADS).filter(|other| *other != seat()) {
            loop {
                let served = KERNEL.seats[other].load(Ordering::Acquire);
                if served >= asked {
                    break;
                }
                loom::thread::yield_now();
            }
        }
        fence(Ordering::SeqCst);
    }
}

/// Whether an owner's fence must be a full one.
pub(crate) fn needs_full_fence() -> bool {
    !modelled()
}
