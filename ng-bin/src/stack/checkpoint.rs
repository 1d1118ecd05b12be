//! Checkpoints of the store, on a thread of their own, whenever the log says that one is due.
//!
//! A checkpoint that fails changes nothing: it is told, and tried again later, ever more rarely.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use ng_core::TokenStore;
use ng_wal::Log;
use ng_wal::checkpoint::CheckpointError;

use super::choice::WalChoice;

/// How long each step may wait for the disk or a lane.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks whether the stack ends.
const LOOK: Duration = Duration::from_millis(200);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
struct Stop {
    stopped: AtomicBool,
    lock: Mutex<()>,
    changed: Condvar,
}

/// The thread. Dropping it waits until a checkpoint under way is through.
#[derive(Debug)]
pub(super) struct Checkpointer {
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    /// None where the log is off or a user's own.
    pub(super) fn start(wal: &WalChoice, store: &Arc<TokenStore>) -> std::io::Result<Option<Self>> {
        let WalChoice::Built(log) = wal else { return Ok(None) };
        let options = log.options();
        let by_limit = options.max_log_bytes > 0 && options.at_limit == ng_wal::AtLimit::Checkpoint;
        if options.checkpoint_bytes == 0 && !by_limit {
            return Ok(None);
        }
        let stop = Arc::new(Stop::default());
        let (log, store, stopping) = (Arc::clone(log), Arc::clone(store), Arc::clone(&stop));
        let thread = Builder::new().name("ng-checkpoint".to_owned()).spawn(move || {
            run(&log, &store, &stopping);
        })?;
        Ok(Some(Self { stop, thread: Some(thread) }))
    }
}

fn run(log: &Log, store: &TokenStore, stop: &Stop) {
    let mut pause = FIRST_PAUSE;
    while !stop.stopped.load(Ordering::Acquire) {
        if !log.wait_checkpoint_due(LOOK) {
            // A log that has ended answers at once.
            stop.wait(Duration::from_millis(1));
            continue;
        }
        match log.checkpoint(store, PATIENCE) {
            Ok(made) => {
                tracing::info!(lsn = made.lsn, records = made.records, bytes = made.bytes, "checkpoint");
                pause = FIRST_PAUSE;
            }
            Err(error @ CheckpointError::Foreign { .. }) => {
                tracing::warn!(%error, "no checkpoints are written");
                // Else lanes would wait at `wal.max_log_mib` for one that never comes.
                log.refuse_at_limit();
                return;
            }
            Err(error) => {
                tracing::warn!(%error, again_in = ?pause, "the log goes on without it");
                stop.wait(pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

impl Stop {
    fn wait(&self, time: Duration) {
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.stopped.load(Ordering::Acquire) {
            drop(self.changed.wait_timeout(guard, time).unwrap_or_else(PoisonError::into_inner));
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        {
            let _guard = self.stop.lock.lock().unwrap_or_else(PoisonError::into_inner);
            self.stop.stopped.store(true, Ordering::Release);
        }
        self.stop.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic there was reported by its own hook; there is nothing to add.
            let _ = thread.join();
        }
    }
}
