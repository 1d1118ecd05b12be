//! What the export thread waits for: the time to collect, a ring that fills up, a flush, the end;
//! and what reaches it without a lane: rings of ended lanes, and spans that came one by one.
//!
//! All of it is bounded. The lock is held for a few instructions; a lane takes it when its ring is
//! half full and when it ends, never for a span.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{lane::Shelf, record::SpanRecord};

/// What the export thread is to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Job {
    /// Collect the spans of all lanes.
    Collect,
    /// Collect all, then say that flush `ticket` is done.
    Flush {
        /// Its number.
        ticket: u64,
    },
    /// Nothing is left to be done: end.
    Stop,
}

/// The most rings of ended lanes that wait: threads may come and go faster than an exporter that is
/// stuck.
const ENDED_LANES: usize = 64;

/// The depot.
#[derive(Debug)]
pub(super) struct Depot {
    state: Mutex<State>,
    /// The thread has something to do.
    wake: Condvar,
    /// A flush is done, or the thread has ended.
    done: Condvar,
    /// The most single spans.
    room: usize,
}

#[derive(Debug)]
struct State {
    singles: VecDeque<Box<SpanRecord>>,
    ended_lanes: Vec<Arc<Shelf>>,
    urgent: bool,
    flush_asked: u64,
    flush_done: u64,
    stop: bool,
    ended: bool,
}

impl Depot {
    /// A depot for at most so many single spans.
    pub(super) fn new(room: usize) -> Self {
        Self {
            state: Mutex::new(State {
                singles: VecDeque::new(),
                ended_lanes: Vec::new(),
                urgent: false,
                flush_asked: 0,
                flush_done: 0,
                stop: false,
                ended: false,
            }),
            wake: Condvar::new(),
            done: Condvar::new(),
            room,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A lane's side: there is much to collect.
    pub(super) fn wake(&self) {
        self.hurry(self.lock());
    }

    fn hurry(&self, mut state: MutexGuard<'_, State>) {
        // Notifying is a system call even if nobody waits; once is enough.
        if !std::mem::replace(&mut state.urgent, true) {
            drop(state);
            self.wake.notify_one();
        }
    }

    /// A span without a lane. The span back if there is no room or the thread has ended.
    pub(super) fn submit(&self, span: Box<SpanRecord>) -> Result<(), Box<SpanRecord>> {
        let mut state = self.lock();
        if state.ended || state.singles.len() >= self.room {
            return Err(span);
        }
        state.singles.push_back(span);
        if state.singles.len() == self.room / 2 {
            self.hurry(state);
        }
        Ok(())
    }

    /// An ended lane's side: leaves its ring; `false` if too many wait already, or nobody will take
    /// it.
    pub(super) fn give(&self, shelf: &Arc<Shelf>) -> bool {
        let mut state = self.lock();
        let fits = !state.ended && state.ended_lanes.len() < ENDED_LANES;
        if fits {
            state.ended_lanes.push(Arc::clone(shelf));
        }
        fits
    }

    /// The thread's side: waits until there is something to do, until `collect_at` at most.
    pub(super) fn next(&self, collect_at: Instant) -> Job {
        let mut state = self.lock();
        loop {
            if state.flush_asked > state.flush_done {
                return Job::Flush { ticket: state.flush_asked };
            }
            if state.stop {
                return Job::Stop;
            }
            let left = collect_at.saturating_duration_since(Instant::now());
            if std::mem::take(&mut state.urgent) || left.is_zero() {
                return Job::Collect;
            }
            state = self.wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The thread's side: what came without a lane, and the rings of lanes that ended.
    pub(super) fn take(&self) -> (VecDeque<Box<SpanRecord>>, Vec<Arc<Shelf>>) {
        let mut state = self.lock();
        state.urgent = false;
        (std::mem::take(&mut state.singles), std::mem::take(&mut state.ended_lanes))
    }

    /// How many single spans wait.
    pub(super) fn waiting(&self) -> usize {
        self.lock().singles.len()
    }

    /// The thread's side: flush `ticket` and those before it are done.
    pub(super) fn flushed(&self, ticket: u64) {
        self.lock().flush_done = ticket;
        self.done.notify_all();
    }

    /// The thread's side: it ends, unless something came in at the last moment.
    pub(super) fn end(&self) -> bool {
        let mut state = self.lock();
        if !state.singles.is_empty() || !state.ended_lanes.is_empty() {
            return false;
        }
        state.ended = true;
        self.done.notify_all();
        true
    }

    /// Whether the thread has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.lock().ended
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
