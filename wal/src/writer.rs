//! The writer thread: seals blocks, gives them numbers and places, and ends epochs.
//!
//! It is the only one that writes to segments in use. It stops at the first error.

use crate::backend::Backend;
use crate::buffer::Buffer;
use crate::format::ALIGNMENT;
use crate::format::block::{self, BLOCK_HEADER_BYTES, CLOSED, END_OF_EPOCH, Place, Seal};
use crate::format::run::{GAP, RUN_HEADER_BYTES, RunHeader};
use crate::format::segment::SegmentHeader;
use crate::hub::{Filled, Hub, Mark, add};
use crate::segments::Supply;
use crate::sync::lock;
use ng_core::wal::Poison;
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U32, U64};

/// Where a log ends: what the next segment says of the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) log_id: u64,
    pub(crate) next_lsn: u64,
    pub(crate) epoch: u64,
    /// 0 if there is no segment yet.
    pub(crate) segment: u32,
    pub(crate) blocks: u32,
    pub(crate) crc: u32,
}

/// A random number: the seeds of the standard hasher come from the operating system.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(SystemTime::now())
}

pub(crate) fn unix_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, crate::hub::nanoseconds)
}

pub(crate) struct Writer {
    hub: Arc<Hub>,
    supply: Arc<Supply>,
    backend: Box<dyn Backend>,
    end: End,
    /// The running segment's salt and how many bytes of it are used; none before the first block.
    segment: Option<(u64, u64)>,
    /// Blocks of an epoch that runs still.
    later: VecDeque<Filled>,
    /// When the first record of the running epoch may have come.
    began: Option<Instant>,
    /// Blocks were written since the last end of an epoch.
    open_blocks: bool,
    records: u64,
    largest_batch: u64,
    gaps_told: u64,
}

impl Writer {
    pub(crate) fn new(hub: Arc<Hub>, supply: Arc<Supply>, backend: Box<dyn Backend>, end: End) -> Self {
        Self {
            hub,
            supply,
            backend,
            end,
            segment: None,
            later: VecDeque::new(),
            began: None,
            open_blocks: false,
            records: 0,
            largest_batch: 0,
            gaps_told: 0,
        }
    }

    /// Works until the log is closed or poisoned.
    pub(crate) fn run(mut self) {
        self.hub.set_waker(self.backend.waker());
        if let Err(poison) = self.work() {
            self.hub.poison(poison);
        }
        self.backend.drain();
        self.supply.stop();
        self.hub.end();
    }

    fn work(&mut self) -> Result<(), Poison> {
        let hub = Arc::clone(&self.hub);
        loop {
            let work = hub.look_for_work(|exchange| {
                let now = Instant::now();
                if exchange.armed {
                    self.began.get_or_insert(now);
                }
                let rest = self.began.map(|began| hub.options.interval.saturating_sub(now - began));
                let due = rest.is_some_and(|rest| rest.is_zero());
                let wanted = exchange.wanted_epoch >= hub.epochs.current();
                let urgent = due || wanted || exchange.starving || exchange.closing;
                if urgent || !exchange.full.is_empty() || hub.poisoned().is_some() {
                    Ok((std::mem::take(&mut exchange.full), exchange.closing, urgent))
                } else {
                    Err(rest)
                }
            });
            let (full, closing, urgent) = match work {
                Ok(work) => work,
                Err(rest) => {
                    self.backend.wait(rest);
                    continue;
                }
            };
            if hub.poisoned().is_some() {
                return Ok(());
            }
            let running = hub.epochs.current();
            for filled in self.later.drain(..).chain(full).collect::<Vec<_>>() {
                debug_assert!(filled.epoch <= running);
                self.write_filled(filled, 0)?;
            }
            let batch = hub.options.batch_records;
            if urgent || (batch > 0 && self.largest_batch >= batch) {
                self.end_epoch()?;
            }
            if closing {
                return self.close();
            }
        }
    }

    /// Ends the running epoch: takes what is open, writes it, and asks for the sync.
    fn end_epoch(&mut self) -> Result<(), Poison> {
        // Before the epoch moves: a lane that arms from now on does so for the next one.
        self.hub.with_exchange(|exchange| {
            exchange.armed = false;
            exchange.starving = false;
        });
        let oldest = self.began.take();
        self.largest_batch = 0;
        let closed = self.hub.epochs.close();
        let lanes = lock(&self.hub.lanes).clone();
        let open: Vec<_> = lanes.iter().filter_map(|lane| lane.take_closed(closed)).collect();
        // After the lanes: what a lane handed over by itself is in the queue by now, and comes
        // before what was open in it.
        let queued = self.hub.with_exchange(|exchange| std::mem::take(&mut exchange.full));
        let (mut last, later): (VecDeque<_>, VecDeque<_>) =
            queued.into_iter().partition(|filled| filled.epoch <= closed);
        self.later = later;
        last.extend(open);
        let dropped = self.hub.counters.dropped.load(Ordering::Relaxed);
        let gap = dropped - self.gaps_told;
        while let Some(filled) = last.pop_front() {
            let flags = if last.is_empty() && gap == 0 { END_OF_EPOCH } else { 0 };
            self.write_filled(filled, flags)?;
        }
        if self.open_blocks || gap > 0 {
            self.gaps_told = dropped;
            self.write_own(closed, END_OF_EPOCH, gap)?;
        }
        self.end.epoch = closed;
        self.backend.commit(Mark { epoch: closed, lsn: self.end.next_lsn, records: self.records, oldest });
        Ok(())
    }

    /// Says at the log's end that all of it is durable, so that later damage can't pass for a torn
    /// tail.
    fn close(&mut self) -> Result<(), Poison> {
        self.backend.drain();
        if self.segment.is_none() || self.hub.poisoned().is_some() {
            return Ok(());
        }
        let epoch = self.hub.epochs.close();
        self.write_own(epoch, END_OF_EPOCH | CLOSED, 0)?;
        self.end.epoch = epoch;
        self.backend.commit(Mark { epoch, lsn: self.end.next_lsn, records: self.records, oldest: None });
        Ok(())
    }

    fn write_filled(&mut self, mut filled: Filled, flags: u32) -> Result<(), Poison> {
        let used = &mut filled.buffer.bytes_mut()[..filled.used];
        let records = filled.records_before + block::finish_run(used, filled.last_run);
        let payload_len = filled.used - BLOCK_HEADER_BYTES;
        self.largest_batch = self.largest_batch.max(u64::from(records));
        self.records += u64::from(records);
        add(&self.hub.counters.records, u64::from(records));
        add(&self.hub.counters.payload_bytes, payload_len as u64);
        self.write_block(filled.buffer, payload_len, records, filled.epoch, flags)
    }

    /// A block of the writer's own: with a gap record, or with nothing but its header.
    fn write_own(&mut self, epoch: u64, flags: u32, gap: u64) -> Result<(), Poison> {
        let mut buffer = Buffer::new(ALIGNMENT);
        let (mut payload_len, mut records) = (0, 0);
        if gap > 0 {
            let payload = &mut buffer.bytes_mut()[BLOCK_HEADER_BYTES..];
            payload[..RUN_HEADER_BYTES].copy_from_slice(RunHeader::new(GAP, 8, 1).as_bytes());
            payload[RUN_HEADER_BYTES..RUN_HEADER_BYTES + 8].copy_from_slice(&gap.to_le_bytes());
            (payload_len, records) = (RUN_HEADER_BYTES + 8, 1);
        }
        self.write_block(buffer, payload_len, records, epoch, flags)
    }

    fn write_block(
        &mut self,
        mut buffer: Buffer,
        payload_len: usize,
        records: u32,
        epoch: u64,
        flags: u32,
    ) -> Result<(), Poison> {
        let length = crate::format::padded(BLOCK_HEADER_BYTES + payload_len);
        let (salt, offset) = self.place_for(length as u64)?;
        let seal = Seal {
            place: Place {
                segment: self.end.segment,
                salt,
                index: self.end.blocks,
                first_lsn: self.end.next_lsn,
                previous_crc: self.end.crc,
            },
            epoch,
            durable_lsn: self.hub.synced_lsn(),
            flags,
            sealed_unix_ns: unix_ns(),
        };
        let (crc, length) = block::seal(buffer.bytes_mut(), payload_len, records, &seal);
        self.backend.write(buffer, length, offset)?;
        add(&self.hub.counters.blocks, 1);
        self.segment = Some((salt, offset + length as u64));
        self.hub.counters.segment_used.store(offset + length as u64, Ordering::Relaxed);
        self.end.blocks += 1;
        self.end.crc = crc;
        self.end.next_lsn += u64::from(records);
        self.open_blocks = flags & END_OF_EPOCH == 0;
        Ok(())
    }

    /// Room for a block in the running segment, or in the next one.
    fn place_for(&mut self, length: u64) -> Result<(u64, u64), Poison> {
        if let Some((salt, used)) = self.segment
            && used + length <= self.hub.options.segment_bytes
        {
            return Ok((salt, used));
        }
        let file = self.supply.take(self.end.next_lsn)?;
        self.supply.tell(&self.hub);
        let number = file.number;
        let salt = random();
        let mut header = SegmentHeader::blank();
        header.log_id = U64::new(self.end.log_id);
        header.salt = U64::new(salt);
        header.number = U32::new(number);
        header.block_bytes = U32::new(self.hub.options.block_bytes as u32);
        header.first_lsn = U64::new(self.end.next_lsn);
        header.first_epoch = U64::new(self.hub.epochs.current());
        header.durable_lsn = U64::new(self.hub.synced_lsn());
        header.previous_number = U32::new(self.end.segment);
        header.previous_blocks = U32::new(self.end.blocks);
        header.previous_crc = U32::new(self.end.crc);
        header.created_unix_ns = U64::new(unix_ns());
        let crc = header.seal();
        let mut buffer = Buffer::new(ALIGNMENT);
        buffer.bytes_mut().copy_from_slice(header.as_bytes());
        self.backend.begin_segment(file)?;
        self.backend.write(buffer, ALIGNMENT, 0)?;
        add(&self.hub.counters.segments, 1);
        self.end.segment = number;
        self.end.blocks = 0;
        self.end.crc = crc;
        self.segment = Some((salt, ALIGNMENT as u64));
        self.hub.counters.segment_used.store(ALIGNMENT as u64, Ordering::Relaxed);
        Ok((salt, ALIGNMENT as u64))
    }
}
