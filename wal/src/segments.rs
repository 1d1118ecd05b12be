//! Segment files before their use: made, filled with zeros and synced, one or more ahead, on a
//! thread of their own, so that a full disk shows before an append is accepted.
//!
//! A writer that finds none ready gets one whose space is reserved but not pre-written: slower to
//! sync, but there at once. Nothing here touches a segment in use.

use crate::format::ALIGNMENT;
use crate::format::segment::file_name;
use crate::storage::{File, Storage, read_full, write_all};
use crate::sync::lock;
use ng_core::wal::Poison;
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

const ZEROS: usize = 1 << 20;

/// A segment file and what it takes to name it in an error.
#[derive(Debug, Clone)]
pub(crate) struct SegmentFile {
    pub(crate) number: u32,
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn File>,
}

impl SegmentFile {
    pub(crate) fn poison(&self, operation: &'static str, offset: u64, cause: &io::Error) -> Poison {
        Poison { operation, path: self.path.clone(), offset, cause: cause.to_string() }
    }
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<SegmentFile>,
    next_number: u32,
    /// The writer stands and waits.
    urgent: bool,
    stopped: bool,
    failed: Option<Poison>,
}

/// The supply of segments.
#[derive(Debug)]
pub(crate) struct Supply {
    storage: Arc<dyn Storage>,
    dir: PathBuf,
    segment_bytes: u64,
    wanted: usize,
    state: Mutex<State>,
    changed: Condvar,
}

impl Supply {
    /// A supply that goes on with the spare files `spares`, and with `next_number` after them.
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        dir: &Path,
        segment_bytes: u64,
        wanted: usize,
        spares: &[u32],
        next_number: u32,
    ) -> io::Result<Self> {
        let mut ready = VecDeque::new();
        for &number in spares {
            let path = dir.join(file_name(number));
            let file = storage.open_write(&path)?;
            let mut head = [0; 2 * ALIGNMENT];
            let whole = file.length()? == segment_bytes && read_full(&*file, &mut head, 0)? == head.len();
            // Another size, or blocks that a lost header left behind: not worth saving.
            if whole && head.iter().all(|byte| *byte == 0) {
                // Whoever made it may have been killed before its syncs.
                file.sync()?;
                ready.push_back(SegmentFile { number, path, file });
            }
        }
        if !ready.is_empty() {
            storage.sync_dir(dir)?;
        }
        let state = Mutex::new(State { ready, next_number, ..State::default() });
        Ok(Self { storage, dir: dir.to_owned(), segment_bytes, wanted, state, changed: Condvar::new() })
    }

    /// Makes one segment now, if none is ready.
    pub(crate) fn prime(&self) -> Result<(), Poison> {
        if !lock(&self.state).ready.is_empty() {
            return Ok(());
        }
        let made = self.make()?;
        lock(&self.state).ready.push_back(made);
        Ok(())
    }

    /// The supply's thread: makes segments until it is stopped.
    pub(crate) fn run(&self) {
        loop {
            let mut state = lock(&self.state);
            while !state.stopped && (state.ready.len() >= self.wanted || state.failed.is_some()) {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.stopped {
                return;
            }
            drop(state);
            let made = self.make();
            let mut state = lock(&self.state);
            match made {
                Ok(made) => state.ready.push_back(made),
                Err(poison) => state.failed = Some(poison),
            }
            drop(state);
            self.changed.notify_all();
        }
    }

    fn make(&self) -> Result<SegmentFile, Poison> {
        let number = {
            let mut state = lock(&self.state);
            let number = state.next_number;
            state.next_number += 1;
            number
        };
        let path = self.dir.join(file_name(number));
        let fail = |operation: &'static str, offset: u64| {
            let path = path.clone();
            move |cause: io::Error| Poison { operation, path, offset, cause: cause.to_string() }
        };
        let file = self.storage.open_write(&path).map_err(fail("create", 0))?;
        file.reserve(self.segment_bytes).map_err(fail("reserve", 0))?;
        let zeros = vec![0; ZEROS];
        let mut offset = 0;
        while offset < self.segment_bytes && !self.is_urgent() {
            let length = (self.segment_bytes - offset).min(ZEROS as u64);
            write_all(&*file, &zeros[..length as usize], offset)
                .map_err(|(offset, cause)| fail("pre-write", offset)(cause))?;
            offset += length;
        }
        file.sync().map_err(fail("sync", 0))?;
        self.storage.sync_dir(&self.dir).map_err(fail("sync of the directory", 0))?;
        Ok(SegmentFile { number, path, file })
    }

    fn is_urgent(&self) -> bool {
        let state = lock(&self.state);
        state.urgent || state.stopped
    }

    /// The next segment; waits until it is there.
    pub(crate) fn take(&self) -> Result<SegmentFile, Poison> {
        let mut state = lock(&self.state);
        loop {
            if let Some(ready) = state.ready.pop_front() {
                state.urgent = false;
                self.changed.notify_all();
                return Ok(ready);
            }
            if let Some(poison) = &state.failed {
                return Err(poison.clone());
            }
            state.urgent = true;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until all wanted spares are ready, at most `timeout`; whether they are.
    pub(crate) fn wait_ready(&self, timeout: Duration) -> bool {
        let since = Instant::now();
        let mut state = lock(&self.state);
        while state.ready.len() < self.wanted && state.failed.is_none() && !state.stopped {
            let Some(rest) = timeout.checked_sub(since.elapsed()).filter(|rest| !rest.is_zero()) else {
                break;
            };
            state = self.changed.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.ready.len() >= self.wanted
    }

    pub(crate) fn stop(&self) {
        lock(&self.state).stopped = true;
        self.changed.notify_all();
    }
}
