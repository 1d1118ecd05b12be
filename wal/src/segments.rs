//! Segment files before their use: made, filled with zeros and synced, one or more ahead, on a
//! thread of their own, so that a full disk shows before an append is accepted.
//!
//! A writer that finds none ready gets one whose space is reserved but not pre-written: slower to
//! sync, but there at once. Segments that a checkpoint made superfluous come back here: renamed, so
//! that no reader takes them for the log's, and before their next use without a header, with a new
//! number. Nothing here touches a segment in use.

use crate::buffer::Buffer;
use crate::error::IoError;
use crate::format::ALIGNMENT;
use crate::format::segment::{file_name, free_name, free_number_of};
use crate::hub::Hub;
use crate::options::LogOptions;
use crate::recover::Recovered;
use crate::space::{Held, Space, SpaceReport};
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
    space: Space,
    /// Counts the changes of [`Space::full`], so that the hub never goes back to an older one.
    changes: u64,
}

impl State {
    fn ready_bytes(&self, segment_bytes: u64) -> u64 {
        self.ready.len() as u64 * segment_bytes
    }
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
    /// So many files wait to be used again at most.
    recycled: usize,
    state: Mutex<State>,
    changed: Condvar,
}

impl Supply {
    /// A supply that goes on with the files that were found.
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        options: &LogOptions,
        found: &Recovered,
    ) -> io::Result<Self> {
        let (dir, segment_bytes) = (&options.dir, options.segment_bytes);
        let mut ready = VecDeque::new();
        let mut space = Space::new(options, found.held.clone(), found.junk.clone(), found.checkpoint_lsn);
        for &number in &found.spares {
            let path = dir.join(file_name(number));
            let file = storage.open_write(&path)?;
            let mut head = [0; 2 * ALIGNMENT];
            let whole = file.length()? == segment_bytes && read_full(&*file, &mut head, 0)? == head.len();
            // Another size, or blocks that a lost header left behind: not worth saving.
            if whole && head.iter().all(|byte| *byte == 0) {
                // Whoever made it may have been killed before its syncs.
                file.sync()?;
                ready.push_back(SegmentFile { number, path, file });
            } else {
                space.add_junk(number, file.length()?);
            }
        }
        for name in storage.list(dir)? {
            let Some(number) = free_number_of(&name) else { continue };
            let path = dir.join(name);
            if space.pool.len() < options.recycled_segments && storage.open(&path)?.length()? == segment_bytes
            {
                space.pool.push((number, segment_bytes));
            } else {
                storage.remove(&path)?;
            }
        }
        if !ready.is_empty() {
            storage.sync_dir(dir)?;
        }
        let state = Mutex::new(State { ready, next_number: found.next_number, space, ..State::default() });
        Ok(Self {
            storage,
            dir: dir.clone(),
            segment_bytes,
            wanted: options.spare_segments,
            prewrite_bytes_s: options.prewrite_bytes_s,
            recycled: options.recycled_segments,
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
            while !state.stopped && (state.failed.is_some() || !self.is_wanting(&state)) {
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

    fn is_wanting(&self, state: &State) -> bool {
        let ready = state.ready_bytes(self.segment_bytes);
        // What was accepted comes before the limit.
        let may =
            state.urgent || !state.space.pool.is_empty() || !state.space.crowded(ready, self.segment_bytes);
        state.ready.len() < self.wanted && may
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
        let (number, free) = {
            let mut state = lock(&self.state);
            let number = state.next_number;
            state.next_number += 1;
            (number, state.space.pool.pop())
        };
        if let Some((old, _)) = free {
            return self.reuse(old, number);
        }
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

    /// Makes the file of an old segment one that was never used, as far as its header and the page
    /// behind it say; the rest is told from new blocks by its salt and its number.
    fn reuse(&self, old: u32, number: u32) -> Result<SegmentFile, Poison> {
        let path = self.dir.join(free_name(old));
        let fail = |operation: &'static str| {
            let path = path.clone();
            move |cause: io::Error| Poison { operation, path, offset: 0, cause: cause.to_string() }
        };
        let file = self.storage.open_write(&path).map_err(fail("open"))?;
        let mut zeros = Buffer::new(2 * ALIGNMENT);
        write_all(&*file, zeros.bytes_mut(), 0).map_err(|(_, cause)| fail("clear")(cause))?;
        file.sync().map_err(fail("sync"))?;
        drop(file);
        let new = self.dir.join(file_name(number));
        self.storage.rename(&path, &new).map_err(fail("rename"))?;
        self.storage.sync_dir(&self.dir).map_err(fail("sync of the directory"))?;
        let file = self.storage.open_write(&new).map_err(fail("open"))?;
        lock(&self.state).space.report.reused += 1;
        Ok(SegmentFile { number, path: new, file })
    }

    /// Lets go of the segments that hold only records below `lsn`, for which a checkpoint stands in
    /// that began when `begun` bytes were. One after the other, each durably, so that a crash
    /// leaves no hole in the history.
    pub(crate) fn release(&self, lsn: u64, begun: u64, hub: &Hub) -> Result<(), IoError> {
        let durable = hub.mark().lsn;
        let gone = {
            let mut state = lock(&self.state);
            state.space.checkpointed(lsn, begun);
            state.space.release(lsn, durable)
        };
        for (number, bytes) in gone {
            let path = self.dir.join(file_name(number));
            let free = lock(&self.state).space.pool.len() < self.recycled && bytes == self.segment_bytes;
            if free {
                let aside = self.dir.join(free_name(number));
                self.storage.rename(&path, &aside).map_err(IoError::at("rename", &path, 0))?;
            } else {
                self.storage.remove(&path).map_err(IoError::at("remove", &path, 0))?;
            }
            self.storage.sync_dir(&self.dir).map_err(IoError::at("sync", &self.dir, 0))?;
            let mut state = lock(&self.state);
            if free {
                state.space.pool.push((number, bytes));
            } else {
                state.space.report.removed += 1;
            }
        }
        self.tell(hub);
        self.changed.notify_all();
        Ok(())
    }

    /// Tells lanes whether the limit holds them back.
    pub(crate) fn tell(&self, hub: &Hub) {
        let mut state = lock(&self.state);
        let full = state.space.full(state.ready_bytes(self.segment_bytes));
        state.changes += 1;
        hub.set_space(state.changes, full);
    }

    /// Waits until a checkpoint is due, at most `timeout`; whether one is.
    pub(crate) fn wait_due(&self, timeout: Duration) -> bool {
        let since = Instant::now();
        let mut state = lock(&self.state);
        loop {
            if state.space.is_due(state.ready_bytes(self.segment_bytes)) {
                return true;
            }
            let Some(rest) = timeout.checked_sub(since.elapsed()).filter(|rest| !rest.is_zero()) else {
                return false;
            };
            if state.stopped {
                return false;
            }
            state = self.changed.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// What a checkpoint that begins now will have behind it.
    pub(crate) fn begun(&self) -> u64 {
        lock(&self.state).space.begun()
    }

    pub(crate) fn space(&self) -> SpaceReport {
        let state = lock(&self.state);
        state.space.report(state.ready_bytes(self.segment_bytes))
    }

    /// Whether the limit holds lanes back.
    pub(crate) fn is_full(&self) -> bool {
        self.space().full
    }

    pub(crate) const fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// Waits until the device has the segments from the one on in which `lsn` is.
    pub(crate) fn sync_from(&self, lsn: u64) -> Result<(), IoError> {
        let numbers = lock(&self.state).space.numbers_from(lsn);
        for number in numbers {
            let path = self.dir.join(file_name(number));
            let file = self.storage.open_write(&path).map_err(IoError::at("open", &path, 0))?;
            file.sync().map_err(IoError::at("sync", &path, 0))?;
        }
        Ok(())
    }

    fn is_urgent(&self) -> bool {
        let state = lock(&self.state);
        state.urgent || state.stopped
    }

    /// The next segment, for records from `first_lsn` on; waits until it is there.
    pub(crate) fn take(&self, first_lsn: u64) -> Result<SegmentFile, Poison> {
        let mut state = lock(&self.state);
        loop {
            if let Some(ready) = state.ready.pop_front() {
                state.urgent = false;
                state.taken = true;
                let (number, bytes) = (ready.number, self.segment_bytes);
                state.space.begin(Held { number, first_lsn, bytes });
                self.changed.notify_all();
                return Ok(ready);
            }
            if let Some(poison) = &state.failed {
                return Err(poison.clone());
            }
            state.urgent = true;
            self.changed.notify_all();
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until all wanted spares are ready, at most `timeout`; whether they are.
    pub(crate) fn wait_ready(&self, timeout: Duration) -> bool {
        let since = Instant::now();
        let mut state = lock(&self.state);
        while self.is_wanting(&state) && state.failed.is_none() && !state.stopped {
            let Some(rest) = timeout.checked_sub(since.elapsed()).filter(|rest| !rest.is_zero()) else {
                break;
            };
            state = self.changed.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
        !self.is_wanting(&state)
    }

    pub(crate) fn stop(&self) {
        lock(&self.state).stopped = true;
        self.changed.notify_all();
    }
}
