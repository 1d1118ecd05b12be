//! The threads that make tokens: each owns a lane of the stack, and takes pieces of work from one
//! queue.
//!
//! A piece is small (at most a quarter of a MiB of a body), so that no slow caller ever holds a
//! lane. The queue needs no bound of its own: a piece holds one of `serve.max_in_flight` permits
//! until it is done.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use ng_core::TokenSpec;
use ng_core::lane::BatchReport;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::stack::{Stack, StackError, StackLane};

/// What a thread works with; its vectors are reused from piece to piece.
pub(super) struct Bench {
    pub(super) lane: StackLane,
    pub(super) specs: Vec<TokenSpec>,
    pub(super) places: Vec<u64>,
    pub(super) report: BatchReport,
}

impl Bench {
    fn new(stack: &Stack, name: &str) -> Result<Self, StackError> {
        let lane = stack.lane(name)?;
        Ok(Self { lane, specs: Vec::new(), places: Vec::new(), report: BatchReport::default() })
    }
}

type Job = Box<dyn FnOnce(&mut Bench) + Send>;

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    closed: bool,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // No job runs under this lock.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a piece of work was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotDone {
    /// `serve.max_in_flight` pieces are under way.
    NoRoom,
    /// The lanes have ended, or the work panicked.
    Gone,
}

/// See the [module](self).
pub(super) struct Lanes {
    shared: Arc<Shared>,
    permits: Arc<Semaphore>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Lanes {
    /// Starts `threads` of them.
    pub(super) fn start(
        stack: &Arc<Stack>,
        threads: usize,
        max_in_flight: usize,
    ) -> Result<Self, StackError> {
        let shared = Arc::new(Shared::default());
        let lanes = Self {
            shared: Arc::clone(&shared),
            permits: Arc::new(Semaphore::new(max_in_flight)),
            threads: Mutex::default(),
        };
        for number in 0..threads {
            let (shared, stack) = (Arc::clone(&shared), Arc::clone(stack));
            let thread = std::thread::Builder::new()
                .name(format!("ng-serve-{number}"))
                .spawn(move || work(&shared, &stack, &format!("serve-{number}")))
                .map_err(StackError::Clock)?;
            lanes.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        }
        Ok(lanes)
    }

    /// A permit at once, or none.
    pub(super) fn try_permit(&self) -> Result<OwnedSemaphorePermit, NotDone> {
        Arc::clone(&self.permits).try_acquire_owned().map_err(|_| NotDone::NoRoom)
    }

    /// A permit within `patience`.
    pub(super) async fn permit(&self, patience: Duration) -> Result<OwnedSemaphorePermit, NotDone> {
        let acquired = tokio::time::timeout(patience, Arc::clone(&self.permits).acquire_owned()).await;
        acquired.map_err(|_| NotDone::NoRoom)?.map_err(|_| NotDone::Gone)
    }

    /// Runs `work` on one of the lanes. It is done even if nobody waits for it any more.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        permit: OwnedSemaphorePermit,
        work: impl FnOnce(&mut Bench) -> T + Send + 'static,
    ) -> Result<T, NotDone> {
        let (tell, told) = oneshot::channel();
        let job: Job = Box::new(move |bench| {
            let done = work(bench);
            drop(permit);
            // Whoever asked may have gone.
            drop(tell.send(done));
        });
        {
            let mut queue = self.shared.lock();
            if queue.closed {
                return Err(NotDone::Gone);
            }
            queue.jobs.push_back(job);
        }
        self.shared.filled.notify_one();
        told.await.map_err(|_| NotDone::Gone)
    }

    /// Does what waits, then ends the threads.
    pub(super) fn close(&self) {
        self.shared.lock().closed = true;
        self.shared.filled.notify_all();
        for thread in self.threads.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // What panicked there was caught, or was told by the panic hook.
            drop(thread.join());
        }
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        self.close();
    }
}

fn work(shared: &Shared, stack: &Stack, name: &str) {
    // On this thread, whose id the flight recorder notes.
    let mut bench = Bench::new(stack, name).ok();
    loop {
        let job = {
            let mut queue = shared.lock();
            loop {
                if let Some(job) = queue.jobs.pop_front() {
                    break job;
                }
                if queue.closed {
                    return;
                }
                queue = shared.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
        };
        if bench.is_none() {
            // A log that is poisoned has no lane any more: then the job is dropped, and its caller
            // told.
            bench = Bench::new(stack, name).ok();
        }
        let Some(working) = bench.as_mut() else { continue };
        // A lane that a panic went through is not used again.
        if std::panic::catch_unwind(AssertUnwindSafe(|| job(working))).is_err() {
            bench = None;
        }
    }
}
