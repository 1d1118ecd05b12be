//! Several writes under way at once, each durable by itself: what is in flight, what became of it,
//! and how far everything is durable without a hole.
//!
//! A [`Device`] does the writing; it may finish writes in any order, in part, or with an error. A
//! mark is published once every write before it is whole. A failed write is final: it poisons the
//! log, and nothing is written again that the device may have taken.

use super::{Backend, Waker};
use crate::buffer::Buffer;
use crate::format::ALIGNMENT;
use crate::hub::{Hub, Mark, add};
use crate::options::Mode;
use crate::segments::SegmentFile;
use ng_core::wal::Poison;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// How many writes are under way at most. On the machine of docs/stress.md four reach the disk's
/// sequential bandwidth, and more only lengthen the wait of each.
pub(crate) const DEPTH: usize = 4;

/// So often is a write begun again that made no progress and had no error.
const PATIENCE: u32 = 16;

/// A write to begin.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    /// Comes back with the completion; below [`DEPTH`].
    pub(crate) slot: usize,
    pub(crate) segment: &'a SegmentFile,
    /// Where the bytes lie among the registered buffers, if they do.
    pub(crate) registered: Option<u16>,
    /// Aligned, and so is their number.
    pub(crate) bytes: &'a [u8],
    /// Aligned.
    pub(crate) offset: u64,
    /// Whether it is complete only when the device acknowledged a flush of it.
    pub(crate) durable: bool,
}

/// A write that ended: as `pwrite(2)` answers, an error as its negative code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Completion {
    pub(crate) slot: usize,
    pub(crate) result: i32,
}

/// Something that writes and says later how it went.
pub(crate) trait Device: Send {
    /// What ends a [`Self::wait`] from another thread.
    fn waker(&self) -> Waker;

    /// Begins a write.
    ///
    /// # Errors
    /// What the system says if the write was not begun and never will be. The device may have
    /// kept the request, so the bytes must stay where they are as after a success.
    ///
    /// # Safety
    /// The bytes stay in place and unchanged until the completion with this slot was handed out, or
    /// for good.
    #[expect(unsafe_code, reason = "the caller's obligation")]
    unsafe fn submit(&mut self, request: &Request<'_>) -> io::Result<()>;

    /// Adds what has ended to `done`. Without anything it sleeps, at most `rest`, until something
    /// ends or it is woken; it may return early with nothing.
    ///
    /// # Errors
    /// What the system says if nobody will ever hear of the writes under way.
    fn wait(&mut self, rest: Option<Duration>, done: &mut Vec<Completion>) -> io::Result<()>;
}

/// A block on its way.
#[derive(Debug)]
struct InFlight {
    block: Buffer,
    segment: SegmentFile,
    offset: u64,
    length: usize,
    /// So much of it is written.
    written: usize,
    /// Its place among all writes.
    number: u64,
    fruitless: u32,
}

/// See the [module](self).
pub(crate) struct DirectBackend<D: Device> {
    hub: Arc<Hub>,
    device: D,
    segment: Option<SegmentFile>,
    in_flight: [Option<InFlight>; DEPTH],
    next_number: u64,
    /// Marks, each with the number of the first write behind it.
    marks: VecDeque<(u64, Mark)>,
    done: Vec<Completion>,
    poison: Option<Poison>,
    /// Nobody will hear of what is in flight.
    deaf: bool,
}

impl<D: Device> DirectBackend<D> {
    pub(crate) fn new(hub: Arc<Hub>, device: D) -> Self {
        Self {
            hub,
            device,
            segment: None,
            in_flight: std::array::from_fn(|_| None),
            next_number: 0,
            marks: VecDeque::new(),
            done: Vec::with_capacity(DEPTH),
            poison: None,
            deaf: false,
        }
    }

    fn is_idle(&self) -> bool {
        self.in_flight.iter().all(Option::is_none)
    }

    fn fail(&mut self, poison: Poison) {
        self.hub.poison(poison.clone());
        self.poison.get_or_insert(poison);
    }

    fn begin(&mut self, slot: usize) {
        let durable = self.hub.options.mode != Mode::Os;
        let Some(Some(flight)) = self.in_flight.get_mut(slot) else { return };
        let registered = flight.block.registered();
        let bytes = &flight.block.bytes_mut()[flight.written..flight.length];
        let offset = flight.offset + flight.written as u64;
        let request = Request { slot, segment: &flight.segment, registered, bytes, offset, durable };
        #[expect(unsafe_code, reason = "the device reads the block until it says that it is through")]
        // SAFETY: the block stays in `in_flight`, where nobody changes it, until its completion was
        // handed out; if that never comes, `drop` leaks it.
        let begun = unsafe { self.device.submit(&request) };
        if let Err(cause) = begun {
            let poison = flight.segment.poison("write", offset, &cause);
            self.deaf = true;
            self.fail(poison);
        }
    }

    /// Takes what the device has finished, after a sleep of at most `rest` if that is nothing yet.
    fn take_completions(&mut self, rest: Option<Duration>) {
        let mut done = std::mem::take(&mut self.done);
        if let Err(cause) = self.device.wait(rest, &mut done) {
            self.deaf = true;
            let operation = "wait for the device";
            let oldest = self.in_flight.iter().flatten().min_by_key(|flight| flight.number);
            let poison = match (oldest, &self.segment) {
                (Some(flight), _) => flight.segment.poison(operation, flight.offset, &cause),
                (None, Some(segment)) => segment.poison(operation, 0, &cause),
                // No file was begun yet; the log must stand still all the same.
                (None, None) => {
                    let path = self.hub.options.dir.clone();
                    Poison { operation, path, offset: 0, cause: cause.to_string() }
                }
            };
            self.fail(poison);
        }
        let any = !done.is_empty();
        for completion in done.drain(..) {
            self.complete(completion);
        }
        self.done = done;
        if any {
            self.publish();
        }
    }

    fn complete(&mut self, Completion { slot, result }: Completion) {
        let Some(place) = self.in_flight.get_mut(slot) else { return };
        let Some(flight) = place else { return };
        let left = flight.length - flight.written;
        let at = flight.offset + flight.written as u64;
        let cause = match usize::try_from(result) {
            Ok(written) if written >= left => {
                let Some(flight) = place.take() else { return };
                add(&self.hub.counters.written_bytes, flight.length as u64);
                add(&self.hub.counters.syncs, u64::from(self.hub.options.mode != Mode::Os));
                self.hub.give_back(flight.block);
                return;
            }
            // The remainder must begin at a whole page again; what of it was written is written
            // once more with the same bytes.
            Ok(written) => {
                let whole = written / ALIGNMENT * ALIGNMENT;
                flight.written += whole;
                flight.fruitless = if whole > 0 { 0 } else { flight.fruitless + 1 };
                if flight.fruitless < PATIENCE { None } else { Some(io::ErrorKind::WriteZero.into()) }
            }
            Err(_) => {
                let cause = io::Error::from_raw_os_error(result.saturating_neg());
                // Nothing was begun, so this is a first attempt still, not a retry.
                let never_begun = matches!(cause.raw_os_error(), Some(libc::EINTR | libc::EAGAIN));
                flight.fruitless += 1;
                if never_begun && flight.fruitless < PATIENCE { None } else { Some(cause) }
            }
        };
        match cause {
            None if self.poison.is_none() => self.begin(slot),
            cause => {
                // The device is through with it, one way or the other.
                let Some(flight) = place.take() else { return };
                if let Some(cause) = cause {
                    let poison = flight.segment.poison("write", at, &cause);
                    self.fail(poison);
                }
            }
        }
    }

    /// Publishes the last mark before which everything is written.
    fn publish(&mut self) {
        if self.poison.is_some() {
            return;
        }
        let first_open = self.in_flight.iter().flatten().map(|flight| flight.number).min();
        let whole_before = first_open.unwrap_or(self.next_number);
        let mut last = None;
        while let Some((behind, mark)) = self.marks.front() {
            if *behind > whole_before {
                break;
            }
            last = Some(*mark);
            self.marks.pop_front();
        }
        if let Some(mark) = last {
            self.hub.publish(mark);
        }
    }

    fn check(&self) -> Result<(), Poison> {
        self.poison.clone().map_or(Ok(()), Err)
    }
}

impl<D: Device> Backend for DirectBackend<D> {
    fn waker(&self) -> Waker {
        self.device.waker()
    }

    fn begin_segment(&mut self, segment: SegmentFile) -> Result<(), Poison> {
        self.segment = Some(segment);
        self.check()
    }

    fn write(&mut self, block: Buffer, length: usize, offset: u64) -> Result<(), Poison> {
        let slot = loop {
            self.check()?;
            match self.in_flight.iter().position(Option::is_none) {
                Some(slot) => break slot,
                None => self.take_completions(None),
            }
        };
        let Some(segment) = self.segment.clone() else { return self.check() };
        let number = self.next_number;
        self.next_number += 1;
        let flight = InFlight { block, segment, offset, length, written: 0, number, fruitless: 0 };
        if let Some(place) = self.in_flight.get_mut(slot) {
            *place = Some(flight);
        }
        self.begin(slot);
        self.check()
    }

    fn commit(&mut self, mark: Mark) {
        self.marks.push_back((self.next_number, mark));
        self.publish();
    }

    fn wait(&mut self, rest: Option<Duration>) {
        if self.deaf {
            // The log is poisoned; the writer finds that out by itself.
            return;
        }
        self.take_completions(rest);
    }

    fn drain(&mut self) {
        while !self.is_idle() && !self.deaf {
            self.take_completions(None);
        }
    }
}

impl<D: Device> Drop for DirectBackend<D> {
    fn drop(&mut self) {
        self.drain();
        for flight in self.in_flight.iter_mut().filter_map(Option::take) {
            // The device may read the block at any time from now on.
            std::mem::forget(flight);
        }
    }
}
