//! Segment files before their use: made, filled with zeros and synced, one or more ahead, on a
//! thread of their own, so that a full disk shows before an append is accepted.
//!
//! A writer that finds none ready gets one whose space is reserved but not pre-written: slower to
//! sync, but there at once. Nothing here touches a segment in use.

use crate::buffer::Buffer;
use crate::format::ALIGNMENT;
use crate::format::segment::file_name;
use crate::options::LogOptions;
use crate::storage::{File, Storage, read_full, write_all};
use crate::sync::lock;
use ng_core::wal::Poison;
use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
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
    /// The writer has taken one.
    taken: bool,
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
    /// 0 for as fast as the disk takes it.
    prewrite_bytes_s: u64,
    state: Mutex<State>,
    changed: Condvar,
}

impl Supply {
    /// A supply that goes on with the spare files `spares`, and with `next_number` after them.
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        options: &LogOptions,
        spares: &[u32],
        next_number: u32,
    ) -> io::Result<Self> {
        let (dir, segment_bytes) = (&options.dir, options.segment_bytes);
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
        Ok(Self {
            storage,
            dir: dir.clone(),
            segment_bytes,
            wanted: options.spare_segments,
            prewrite_bytes_s: options.prewrite_bytes_s,
            state,
            changed: Condvar::new(),
        })
    }

    /// Makes one segment now, if none is ready.
    pub(crate) fn prime(&self) -> Result<(), Poison> {
        if !lock(&self.state).ready.is_empty() {
            return Ok(());
        }
        let made = self.make(false)?;
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
            // Before the first segment is taken nobody is disturbed, and somebody may wait for all.
            let paced = state.taken;
            drop(state);
            let made = self.make(paced);
            let mut state = lock(&self.state);
            match made {
                Ok(made) => state.ready.push_back(made),
                Err(poison) => state.failed = Some(poison),
            }
            drop(state);
            self.changed.notify_all();
        }
    }

    /// Sleeps until `written` bytes are not too many for the time since `began`; not if the writer
    /// waits.
    fn pace(&self, began: Instant, written: u64, paced: bool) {
        if !paced || self.prewrite_bytes_s == 0 {
            return;
        }
        let due = Duration::from_nanos(
            u64::try_from(u128::from(written) * 1_000_000_000 / u128::from(self.prewrite_bytes_s))
                .unwrap_or(u64::MAX),
        );
        let mut state = lock(&self.state);
        while let Some(rest) = due.checked_sub(began.elapsed()).filter(|rest| !rest.is_zero()) {
            if state.urgent || state.stopped {
                return;
            }
            state = self.changed.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn make(&self, paced: bool) -> Result<SegmentFile, Poison> {
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
        // Aligned, so that it may go past the page cache: what lies there when the segment is in
        // use, each direct write would have to throw out.
        let mut zeros = Buffer::new(ZEROS);
        let zeros = zeros.bytes_mut();
        let mut offset = 0;
        let began = Instant::now();
        while offset < self.segment_bytes && !self.is_urgent() {
            self.pace(began, offset, paced);
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
                state.taken = true;
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
