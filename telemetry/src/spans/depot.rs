//! Where slabs change hands: full ones wait for the export thread, empty ones for a lane.
//!
//! The number of slabs is bounded (the spare ones, and one to each lane), and so are both queues.
//! The lock is held for a few instructions, and touched once in a slab: no lane waits for an
//! exporter at work.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::exporter::SpanRecord;

/// Spans on their way.
pub(super) type Slab = Vec<SpanRecord>;

/// What the export thread is to do next.
#[derive(Debug)]
pub(super) enum Job {
    /// Write this one out.
    Full(Slab),
    /// Collect the partial slabs of all lanes.
    Collect,
    /// Collect all, then say that flush `ticket` is done.
    Flush {
        /// Its number.
        ticket: u64,
    },
    /// Nothing is left to be done: end.
    Stop,
}

/// The depot.
#[derive(Debug)]
pub(super) struct Depot {
    state: Mutex<State>,
    /// The thread has something to do.
    wake: Condvar,
    /// A flush is done, or the thread has ended.
    done: Condvar,
    spare_slabs: usize,
}

#[derive(Debug)]
struct State {
    full: VecDeque<Slab>,
    empty: Vec<Slab>,
    sleeping: bool,
    flush_asked: u64,
    flush_done: u64,
    stop: bool,
    ended: bool,
}

impl Depot {
    /// A depot with `spare_slabs` empty slabs of `slab_spans` each.
    pub(super) fn new(spare_slabs: usize, slab_spans: usize) -> Self {
        Self {
            state: Mutex::new(State {
                full: VecDeque::with_capacity(spare_slabs),
                empty: (0..spare_slabs).map(|_| Slab::with_capacity(slab_spans)).collect(),
                sleeping: false,
                flush_asked: 0,
                flush_done: 0,
                stop: false,
                ended: false,
            }),
            wake: Condvar::new(),
            done: Condvar::new(),
            spare_slabs,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put_full(&self, state: &mut State, slab: Slab) {
        state.full.push_back(slab);
        // Notifying is a system call even if nobody waits.
        if std::mem::take(&mut state.sleeping) {
            self.wake.notify_one();
        }
    }

    /// A lane's side: gives the full slab away for an empty one. `false`, and nothing changes, if
    /// there is none.
    pub(super) fn exchange(&self, full: &mut Slab) -> bool {
        let mut state = self.lock();
        let Some(empty) = state.empty.pop() else { return false };
        let full = std::mem::replace(full, empty);
        self.put_full(&mut state, full);
        true
    }

    /// An ended lane's side: gives its slab away, whatever is in it. The slab back, if the thread
    /// has ended and can't take it.
    pub(super) fn give(&self, slab: Slab) -> Result<(), Slab> {
        let mut state = self.lock();
        if state.ended {
            return Err(slab);
        }
        self.put_full(&mut state, slab);
        Ok(())
    }

    /// The thread's side: waits until there is something to do, until `collect_at` at most.
    pub(super) fn next(&self, collect_at: Instant) -> Job {
        let mut state = self.lock();
        loop {
            let left = collect_at.saturating_duration_since(Instant::now());
            // Flushes and collections come before full slabs: under load there is always a full one.
            if state.flush_asked > state.flush_done {
                return Job::Flush { ticket: state.flush_asked };
            }
            if state.stop && state.full.is_empty() {
                return Job::Stop;
            }
            if left.is_zero() {
                return Job::Collect;
            }
            if let Some(slab) = state.full.pop_front() {
                return Job::Full(slab);
            }
            state.sleeping = true;
            state = self.wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            state.sleeping = false;
        }
    }

    /// The thread's side: how many full slabs wait.
    pub(super) fn waiting(&self) -> usize {
        self.lock().full.len()
    }

    /// The thread's side: the next full slab, without waiting.
    pub(super) fn take_full(&self) -> Option<Slab> {
        self.lock().full.pop_front()
    }

    /// The thread's side: an emptied slab, for a lane. Those of ended lanes are too many.
    pub(super) fn put_empty(&self, slab: Slab) {
        let mut state = self.lock();
        if state.empty.len() < self.spare_slabs {
            state.empty.push(slab);
        }
    }

    /// The thread's side: flush `ticket` and those before it are done.
    pub(super) fn flushed(&self, ticket: u64) {
        self.lock().flush_done = ticket;
        self.done.notify_all();
    }

    /// The thread's side: it ends, unless a slab came in at the last moment.
    pub(super) fn end(&self) -> Result<(), Slab> {
        let mut state = self.lock();
        if let Some(slab) = state.full.pop_front() {
            return Err(slab);
        }
        state.ended = true;
        // No lane is to find an empty slab that nobody will ever write out.
        state.empty.clear();
        self.done.notify_all();
        Ok(())
    }

    /// The shared side: has everything written out that was accepted before; `false` if the time
    /// ran out or the thread has ended.
    pub(super) fn flush(&self, timeout: Duration) -> bool {
        let mut state = self.lock();
        state.flush_asked += 1;
        let ticket = state.flush_asked;
        self.wake.notify_one();
        self.wait_done(state, timeout, |state| state.flush_done >= ticket || state.ended).flush_done >= ticket
    }

    /// The shared side: has the thread end once everything is written out; `false` if the time ran
    /// out before.
    pub(super) fn stop(&self, timeout: Duration) -> bool {
        let mut state = self.lock();
        state.stop = true;
        self.wake.notify_one();
        self.wait_done(state, timeout, |state| state.ended).ended
    }

    fn wait_done<'a>(
        &self,
        state: MutexGuard<'a, State>,
        timeout: Duration,
        done: impl Fn(&State) -> bool,
    ) -> MutexGuard<'a, State> {
        let waited = self.done.wait_timeout_while(state, timeout, |state| !done(state));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}
