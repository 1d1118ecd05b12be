//! A thread's side of the log: copies records into its open block, and nothing else.
//!
//! The fast path has no lock, no system call, no checksum, no allocation and no atomic
//! read-modify-write. Everything that may wait is in the slow path, which is never busy.

use crate::buffer::{Buffer, Window};
use crate::format::block::BLOCK_HEADER_BYTES;
use crate::format::run::{RUN_HEADER_BYTES, RunHeader};
use crate::handover::{Handover, Open};
use crate::hub::{Filled, Hub, add};
use crate::options::Mode;
use crate::sync::lock;
use ng_core::wal::{AppendError, RecordKind, RunError, Ticket, WaitError, WalLane};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use zerocopy::IntoBytes;

/// What a lane and the writer share.
#[derive(Debug)]
pub(crate) struct LaneShared {
    handover: Handover<Buffer>,
    // Written by the lane while it is busy, read by whoever then owns the block: the hand-over
    // orders them.
    last_run: AtomicU32,
    records_before: AtomicU32,
}

impl LaneShared {
    fn filled(&self, open: Open<Buffer>, used: usize) -> Filled {
        Filled {
            buffer: open.block,
            epoch: open.epoch,
            used,
            last_run: self.last_run.load(Ordering::Relaxed) as usize,
            records_before: self.records_before.load(Ordering::Relaxed),
        }
    }

    /// The writer takes the block of a closed epoch, if there is a record in it.
    pub(crate) fn take_closed(&self, closed: u64) -> Option<Filled> {
        self.handover.take_closed(closed, BLOCK_HEADER_BYTES).map(|(open, used)| self.filled(open, used))
    }
}

/// A lane of a [`crate::Log`]; made by [`crate::Log::open_lane`].
#[derive(Debug)]
pub struct LogLane {
    hub: Arc<Hub>,
    shared: Arc<LaneShared>,
    window: Window,
    epoch: u64,
    /// Bytes used, the header included.
    offset: usize,
    run_kind: RecordKind,
    run_len: usize,
    /// Records of the run end here at the latest. 0 while there is no run.
    run_limit: usize,
    /// Where the run's first record is.
    run_start: usize,
    records_before: u32,
    each: bool,
}

/// Why the fast path gave up.
enum Obstacle {
    /// The block is full, or another epoch's, or there is none.
    Block,
    /// The block has room, but its run is of other records.
    Run,
}

impl LogLane {
    pub(crate) fn new(hub: Arc<Hub>) -> Result<Self, AppendError> {
        hub.arm()?;
        let shared = Arc::new(LaneShared {
            handover: Handover::new(),
            last_run: AtomicU32::new(0),
            records_before: AtomicU32::new(0),
        });
        lock(&hub.lanes).push(Arc::clone(&shared));
        Ok(Self {
            each: hub.options.mode == Mode::Each,
            hub,
            shared,
            window: Window::EMPTY,
            // No epoch has this number, so that the first append asks for a block.
            epoch: 0,
            offset: 0,
            run_kind: RecordKind(0),
            run_len: 0,
            run_limit: 0,
            run_start: 0,
            records_before: 0,
        })
    }

    /// Copies as many whole records of `payload` as the open run takes, and says how many bytes.
    #[inline(always)]
    fn copy_in(&mut self, kind: RecordKind, record_len: usize, payload: &[u8]) -> Option<usize> {
        let shared = &self.shared.handover;
        let entered = shared.enter(self.offset, &self.hub.epochs, self.epoch);
        let room = self.run_limit.wrapping_sub(self.offset);
        let fits = self.run_limit >= self.offset && room >= record_len;
        if !(entered && kind == self.run_kind && record_len == self.run_len && fits) {
            shared.leave(self.offset);
            return None;
        }
        // One record needs no division.
        let taken = if payload.len() <= room { payload.len() } else { room - room % record_len };
        #[expect(unsafe_code, reason = "the copy into the open block")]
        // SAFETY: the hand-over was entered with the epoch of the window's block, so the block is
        // in the slot, alive and ours until `leave`; `taken <= room` and `run_limit` is at most
        // the window's length.
        unsafe {
            self.window.copy(self.offset, &payload[..taken]);
        }
        self.offset += taken;
        shared.leave(self.offset);
        Some(taken)
    }

    fn count_in_run(&self) -> u32 {
        let bytes = self.offset - self.run_start;
        match bytes.checked_div(self.run_len) {
            Some(count) => count as u32,
            // A run of records without bytes holds one.
            None => 1,
        }
    }

    fn records_in_block(&self) -> u64 {
        let in_run = if self.run_start == 0 { 0 } else { self.count_in_run() };
        u64::from(self.records_before) + u64::from(in_run)
    }

    /// Begins a run and puts its first record in. Needs room for both.
    fn begin_run(&mut self, kind: RecordKind, record: &[u8]) -> Result<(), Obstacle> {
        let batch = self.hub.options.batch_records;
        let in_block = self.records_in_block();
        let end = self.offset + RUN_HEADER_BYTES + record.len();
        if end > self.window.length() || (batch > 0 && in_block >= batch) {
            return Err(Obstacle::Block);
        }
        if !self.shared.handover.enter(self.offset, &self.hub.epochs, self.epoch) {
            self.shared.handover.leave(self.offset);
            return Err(Obstacle::Block);
        }
        let (count, started) = (self.count_in_run(), self.run_start);
        let header = RunHeader::new(kind, record.len(), 0);
        #[expect(unsafe_code, reason = "the copy into the open block")]
        // SAFETY: entered with the epoch of the window's block, so it is ours until `leave`; `end`
        // is within the window, and an earlier run's header lies before `offset`.
        unsafe {
            if started > 0 {
                let old = RunHeader::new(self.run_kind, self.run_len, count);
                self.window.copy(started - RUN_HEADER_BYTES, old.as_bytes());
                self.records_before += count;
            }
            self.window.copy(self.offset, header.as_bytes());
            self.window.copy(self.offset + RUN_HEADER_BYTES, record);
        }
        self.shared.last_run.store(self.offset as u32, Ordering::Relaxed);
        self.shared.records_before.store(self.records_before, Ordering::Relaxed);
        if kind != self.run_kind {
            self.hub.note_kind(kind);
        }
        self.run_kind = kind;
        self.run_len = record.len();
        self.run_start = self.offset + RUN_HEADER_BYTES;
        self.offset = end;
        self.shared.handover.leave(end);
        self.run_limit = self.limit(batch, in_block);
        Ok(())
    }

    /// Where a run that has just begun must end.
    fn limit(&self, batch: u64, in_block: u64) -> usize {
        if self.run_len == 0 {
            return 0;
        }
        let whole = self.window.length();
        if batch == 0 {
            return whole;
        }
        let room = (batch - in_block).saturating_mul(self.run_len as u64);
        usize::try_from(room).map_or(whole, |room| whole.min(self.run_start.saturating_add(room)))
    }

    /// Hands over what is there and takes a fresh block of the running epoch.
    fn renew(&mut self) -> Result<(), AppendError> {
        let (hub, shared) = (Arc::clone(&self.hub), Arc::clone(&self.shared));
        let kept = shared.handover.change(|slot| {
            let open = slot.take()?;
            if self.offset > BLOCK_HEADER_BYTES {
                hub.hand_over(shared.filled(open, self.offset));
                return None;
            }
            Some(open.block)
        });
        self.forget_block();
        // Here the slot is empty and the lane neither busy nor locked: it may wait.
        let buffer = match kept {
            Some(buffer) if hub.has_space() => buffer,
            kept => {
                if let Some(buffer) = kept {
                    hub.give_back(buffer);
                }
                hub.obtain()?
            }
        };
        let window = buffer.window();
        let armed = shared.handover.change(|slot| {
            // Within the slot's lock, so that the close of the log either sees the block or
            // refuses it.
            if let Err(refusal) = hub.arm() {
                return Err((refusal, buffer));
            }
            let epoch = hub.epochs.current();
            shared.handover.leave(BLOCK_HEADER_BYTES);
            *slot = Some(Open { epoch, block: buffer });
            Ok(epoch)
        });
        match armed {
            Ok(epoch) => {
                self.window = window;
                self.epoch = epoch;
                self.offset = BLOCK_HEADER_BYTES;
                Ok(())
            }
            Err((refusal, buffer)) => {
                hub.give_back(buffer);
                Err(refusal)
            }
        }
    }

    fn forget_block(&mut self) {
        self.window = Window::EMPTY;
        self.epoch = 0;
        self.offset = 0;
        self.run_limit = 0;
        self.run_start = 0;
        self.records_before = 0;
        self.shared.handover.leave(0);
    }

    #[cold]
    #[inline(never)]
    fn append_slow(&mut self, kind: RecordKind, record: &[u8]) -> Result<(), AppendError> {
        let limit = self.hub.options.largest_payload();
        if record.len() > limit {
            return Err(AppendError::TooLarge { bytes: record.len(), limit });
        }
        let mut obstacle = if self.epoch == 0 { Obstacle::Block } else { Obstacle::Run };
        loop {
            obstacle = match obstacle {
                Obstacle::Block => match self.renew() {
                    Ok(()) => Obstacle::Run,
                    Err(error) => {
                        if matches!(error, AppendError::Dropped { .. }) {
                            add(&self.hub.counters.dropped, 1);
                        }
                        return Err(error);
                    }
                },
                Obstacle::Run => match self.begin_run(kind, record) {
                    Ok(()) => return Ok(()),
                    Err(obstacle) => obstacle,
                },
            };
        }
    }

    /// In mode `each`, waits for the record that was just appended.
    #[inline(always)]
    fn settle(&self, ticket: Ticket) -> Result<Ticket, AppendError> {
        if self.each { self.settle_each(ticket) } else { Ok(ticket) }
    }

    #[cold]
    fn settle_each(&self, ticket: Ticket) -> Result<Ticket, AppendError> {
        match self.hub.wait_durable(ticket, None) {
            Ok(()) => Ok(ticket),
            Err(WaitError::Poisoned(poison)) => Err(AppendError::Poisoned(poison)),
            Err(_) => Err(AppendError::Closed),
        }
    }
}

impl WalLane for LogLane {
    #[inline]
    fn append(&mut self, kind: RecordKind, payload: &[u8]) -> Result<Ticket, AppendError> {
        if payload.is_empty() || self.copy_in(kind, payload.len(), payload).is_none() {
            self.append_slow(kind, payload)?;
        }
        self.settle(Ticket(self.epoch))
    }

    fn append_run(
        &mut self,
        kind: RecordKind,
        record_len: usize,
        payload: &[u8],
    ) -> Result<Ticket, RunError> {
        assert!(record_len > 0 && payload.len().is_multiple_of(record_len), "a run of whole records");
        if payload.is_empty() {
            return Ok(Ticket::default());
        }
        let mut rest = payload;
        let mut ticket = None;
        while !rest.is_empty() {
            let taken = match self.copy_in(kind, record_len, rest) {
                Some(taken) => taken,
                None => match self.append_slow(kind, &rest[..record_len]) {
                    Ok(()) => record_len,
                    Err(source) => {
                        let appended = (payload.len() - rest.len()) / record_len;
                        return Err(RunError { appended, ticket, source });
                    }
                },
            };
            rest = &rest[taken..];
            ticket = Some(Ticket(self.epoch));
        }
        let last = ticket.unwrap_or_default();
        self.settle(last).map_err(|source| RunError { appended: payload.len() / record_len, ticket, source })
    }
}

impl Drop for LogLane {
    fn drop(&mut self) {
        let (hub, shared) = (&self.hub, &self.shared);
        shared.handover.change(|slot| {
            let Some(open) = slot.take() else { return };
            if self.offset > BLOCK_HEADER_BYTES {
                hub.hand_over(shared.filled(open, self.offset));
            } else {
                hub.give_back(open.block);
            }
        });
        lock(&hub.lanes).retain(|other| !Arc::ptr_eq(other, shared));
    }
}
