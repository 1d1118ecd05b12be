//! Writes on the writer's thread and a sync on another, so that writing goes on meanwhile: `std`
//! through the page cache, `mmap` through a mapping. Which of the two is the storage's business.

use super::{Backend, Waker};
use crate::buffer::Buffer;
use crate::hub::{Hub, Mark, add};
use crate::options::Mode;
use crate::segments::SegmentFile;
use crate::storage::write_all;
use crate::sync::lock;
use ng_core::wal::Poison;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

#[derive(Debug, Default)]
struct SyncState {
    dirty: Vec<SegmentFile>,
    mark: Option<Mark>,
    running: bool,
    stopped: bool,
}

#[derive(Debug)]
struct Syncer {
    hub: Arc<Hub>,
    state: Mutex<SyncState>,
    changed: Condvar,
}

impl Syncer {
    /// One sync covers all epochs that ended while the one before ran.
    fn run(&self) {
        let mut state = lock(&self.state);
        loop {
            let Some(mark) = state.mark.take() else {
                if state.stopped {
                    return;
                }
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let dirty = std::mem::take(&mut state.dirty);
            state.running = true;
            drop(state);
            for segment in dirty {
                if let Err(cause) = segment.file.sync() {
                    self.hub.poison(segment.poison("sync", 0, &cause));
                    break;
                }
                add(&self.hub.counters.syncs, 1);
            }
            self.hub.publish(mark);
            state = lock(&self.state);
            state.running = false;
            self.changed.notify_all();
        }
    }
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct StdBackend {
    syncer: Arc<Syncer>,
    thread: Option<JoinHandle<()>>,
    segment: Option<SegmentFile>,
    /// Whether the segment was written to since it was last given to the syncer.
    written: bool,
}

impl StdBackend {
    pub(crate) fn start(hub: Arc<Hub>) -> io::Result<Self> {
        let state = Mutex::new(SyncState::default());
        let syncer = Arc::new(Syncer { hub, state, changed: Condvar::new() });
        let thread = std::thread::Builder::new().name("ng-wal-sync".to_owned()).spawn({
            let syncer = Arc::clone(&syncer);
            move || syncer.run()
        })?;
        Ok(Self { syncer, thread: Some(thread), segment: None, written: false })
    }

    fn hand_to_sync(&mut self, mark: Option<Mark>) {
        let mut state = lock(&self.syncer.state);
        if let Some(segment) = self.segment.as_ref().filter(|_| self.written)
            && state.dirty.iter().all(|dirty| dirty.number != segment.number)
        {
            state.dirty.push(segment.clone());
        }
        self.written = false;
        if mark.is_some() {
            state.mark = mark;
            self.syncer.changed.notify_all();
        }
    }
}

impl Backend for StdBackend {
    fn waker(&self) -> Waker {
        Waker::Thread(std::thread::current())
    }

    fn begin_segment(&mut self, segment: SegmentFile) -> Result<(), Poison> {
        self.hand_to_sync(None);
        segment.file.begin().map_err(|cause| segment.poison("map", 0, &cause))?;
        self.segment = Some(segment);
        Ok(())
    }

    fn write(&mut self, mut block: Buffer, length: usize, offset: u64) -> Result<(), Poison> {
        let hub = &self.syncer.hub;
        if let Some(segment) = &self.segment {
            self.written = true;
            write_all(&*segment.file, &block.bytes_mut()[..length], offset)
                .map_err(|(offset, cause)| segment.poison("write", offset, &cause))?;
        }
        add(&hub.counters.written_bytes, length as u64);
        hub.give_back(block);
        Ok(())
    }

    fn commit(&mut self, mark: Mark) {
        if self.syncer.hub.options.mode == Mode::Os {
            self.syncer.hub.publish(mark);
        } else {
            self.hand_to_sync(Some(mark));
        }
    }

    fn wait(&mut self, rest: Option<Duration>) {
        match rest {
            Some(rest) => std::thread::park_timeout(rest),
            None => std::thread::park(),
        }
    }

    fn drain(&mut self) {
        let mut state = lock(&self.syncer.state);
        while state.mark.is_some() || state.running {
            state = self.syncer.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for StdBackend {
    fn drop(&mut self) {
        lock(&self.syncer.state).stopped = true;
        self.syncer.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic there was reported by its own hook; there is nothing to add.
            let _ = thread.join();
        }
    }
}
