//! What lanes, writer and waiters share: the pool and the queue, the durable mark, the counts.
//!
//! Only slow paths come here. A lane never waits here with a lock of its own in hand.

use crate::backend::Waker as WriterWaker;
use crate::buffer::{Buffer, Window};
use crate::handover::Epochs;
use crate::lag::Lags;
use crate::lane::LaneShared;
use crate::options::{AtLimit, LogOptions, Mode, OnFull};
use crate::space::Full;
use crate::sync::lock;
use ng_core::wal::{AppendError, Poison, RecordKind, Ticket, WaitError, WalStats};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// A block that a lane has filled, on its way to the writer.
#[derive(Debug)]
pub(crate) struct Filled {
    pub(crate) buffer: Buffer,
    pub(crate) epoch: u64,
    /// Bytes used, the block's header included.
    pub(crate) used: usize,
    /// Where the last run begins; its count isn't written yet.
    pub(crate) last_run: usize,
    /// Records in the runs before the last one.
    pub(crate) records_before: u32,
}

/// The pool and the queue, under one lock.
#[derive(Debug, Default)]
pub(crate) struct Exchange {
    pub(crate) free: Vec<Buffer>,
    pub(crate) full: VecDeque<Filled>,
    /// A lane has a block of the running epoch.
    pub(crate) armed: bool,
    /// A lane found no free buffer: open blocks of idle lanes are wanted back.
    pub(crate) starving: bool,
    /// Someone waits for this epoch: it is to end at once.
    pub(crate) wanted_epoch: u64,
    pub(crate) closing: bool,
    /// The limit on the log's files, if it is reached, and the number of that news.
    full_space: (u64, Option<Full>),
    /// How often lanes that it holds back were let through.
    rounds: u64,
    /// Nobody makes room there: lanes are refused instead of waiting for ever.
    hopeless: bool,
    writer: WriterRests,
    poison: Option<Box<Poison>>,
}

/// What the writer waits for. Waking it is a system call, made only where it sleeps.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum WriterRests {
    /// It is at work, and looks at the exchange before it sleeps.
    #[default]
    No,
    /// Until the end of an epoch.
    UntilDue,
    /// For as long as nobody appends anything.
    Idle,
}

/// How far the log is durable.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mark {
    pub(crate) epoch: u64,
    pub(crate) lsn: u64,
    /// Users' records since the log was opened.
    pub(crate) records: u64,
    pub(crate) oldest: Option<Instant>,
}

#[derive(Debug, Default)]
struct Progress {
    mark: Mark,
    poison: Option<Box<Poison>>,
    /// The writer has ended, after all was durable or the log was poisoned.
    ended: bool,
    /// Tasks to be woken when any of this changes.
    tasks: Vec<Waker>,
}

impl Progress {
    /// How the wait for `ticket` has ended, if it has.
    fn outcome(&self, ticket: Ticket) -> Option<Result<(), WaitError>> {
        if self.mark.epoch >= ticket.0 {
            return Some(Ok(()));
        }
        if let Some(poison) = &self.poison {
            return Some(Err(WaitError::Poisoned(poison.clone())));
        }
        self.ended.then_some(Err(WaitError::Closed))
    }
}

/// Counts of [`WalStats`], each written by whoever it happens to.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) records: AtomicU64,
    pub(crate) payload_bytes: AtomicU64,
    pub(crate) written_bytes: AtomicU64,
    pub(crate) blocks: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) segments: AtomicU64,
    /// Bytes of the running segment that are used; a level.
    pub(crate) segment_used: AtomicU64,
    pub(crate) stalls: AtomicU64,
    pub(crate) stalled_ns: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) lag_ns: AtomicU64,
}

#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) options: LogOptions,
    pub(crate) epochs: Epochs,
    pub(crate) counters: Counters,
    pub(crate) lanes: Mutex<Vec<Arc<LaneShared>>>,
    exchange: Mutex<Exchange>,
    waker: OnceLock<WriterWaker>,
    for_lanes: Condvar,
    progress: Mutex<Progress>,
    moved: Condvar,
    pub(crate) lags: Lags,
    durable_epoch: AtomicU64,
    durable_lsn: AtomicU64,
    opened_lsn: u64,
    /// A kind of records that are not the store's; 0 if there are none.
    foreign: AtomicU32,
}

pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Hub {
    /// A log that has `epoch` and `lsn` behind it.
    pub(crate) fn new(options: LogOptions, epoch: u64, lsn: u64) -> Self {
        let free = Buffer::pool(options.buffers, options.block_bytes);
        let mark = Mark { epoch, lsn, ..Mark::default() };
        Self {
            epochs: Epochs::starting_at(epoch + 1),
            counters: Counters::default(),
            lanes: Mutex::default(),
            exchange: Mutex::new(Exchange { free, ..Exchange::default() }),
            waker: OnceLock::new(),
            for_lanes: Condvar::new(),
            progress: Mutex::new(Progress { mark, ..Progress::default() }),
            moved: Condvar::new(),
            lags: Lags::default(),
            durable_epoch: AtomicU64::new(epoch),
            durable_lsn: AtomicU64::new(lsn),
            opened_lsn: lsn,
            foreign: AtomicU32::new(0),
            options,
        }
    }

    /// Says how the writer is woken. Before it first looks at the exchange.
    pub(crate) fn set_waker(&self, waker: WriterWaker) {
        // One writer, one waker: a second one would be a second writer's.
        let _ = self.waker.set(waker);
    }

    /// Gives each free buffer a number, for a ring to know it by.
    pub(crate) fn number_buffers(&self) -> Vec<Window> {
        let mut exchange = lock(&self.exchange);
        (0..)
            .zip(&mut exchange.free)
            .map(|(index, buffer)| {
                buffer.register(index);
                buffer.window()
            })
            .collect()
    }

    /// Changes the exchange and lets the writer look at it, if it sleeps.
    fn tell<R>(&self, change: impl FnOnce(&mut Exchange) -> R) -> R {
        let mut exchange = lock(&self.exchange);
        let answer = change(&mut exchange);
        let sleeps = std::mem::take(&mut exchange.writer) != WriterRests::No;
        drop(exchange);
        if sleeps {
            self.wake();
        }
        answer
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake();
        }
    }

    // ---- the lane's side

    /// Puts a filled block into the queue.
    pub(crate) fn hand_over(&self, filled: Filled) {
        self.tell(|exchange| exchange.full.push_back(filled));
    }

    /// Why no lane may append any more, if so.
    fn refusal(exchange: &Exchange) -> Option<AppendError> {
        match &exchange.poison {
            Some(poison) => Some(AppendError::Poisoned(poison.clone())),
            None => exchange.closing.then_some(AppendError::Closed),
        }
    }

    /// Whether a lane may append; the writer is told that one is about to.
    pub(crate) fn arm(&self) -> Result<(), AppendError> {
        let mut exchange = lock(&self.exchange);
        if let Some(refusal) = Self::refusal(&exchange) {
            return Err(refusal);
        }
        exchange.armed = true;
        if exchange.writer == WriterRests::Idle {
            exchange.writer = WriterRests::No;
            drop(exchange);
            self.wake();
        }
        Ok(())
    }

    /// A free buffer, or what the policy says instead.
    pub(crate) fn obtain(&self) -> Result<Buffer, AppendError> {
        let mut exchange = lock(&self.exchange);
        let mut since = None;
        let mut waits_since = None;
        let outcome = loop {
            if let Some(refusal) = Self::refusal(&exchange) {
                break Err(refusal);
            }
            let through = waits_since.is_some_and(|round| exchange.rounds > round);
            let full = exchange.full_space.1.filter(|_| !through);
            if full.is_none()
                && let Some(buffer) = exchange.free.pop()
            {
                break Ok(buffer);
            }
            if full.is_some() {
                waits_since.get_or_insert(exchange.rounds);
            } else {
                exchange.starving = true;
                if std::mem::take(&mut exchange.writer) != WriterRests::No {
                    self.wake();
                }
            }
            let since = *since.get_or_insert_with(Instant::now);
            let buffers = self.options.buffers;
            let refused = || match full {
                Some(Full { used, limit }) => AppendError::NoRoom { used_bytes: used, limit_bytes: limit },
                None => AppendError::Full { buffers },
            };
            if full.is_some() && (self.options.at_limit == AtLimit::Fail || exchange.hopeless) {
                break Err(refused());
            }
            exchange = match self.options.on_full {
                OnFull::Fail => break Err(refused()),
                OnFull::Drop => break Err(AppendError::Dropped { buffers }),
                OnFull::Block => self.for_lanes.wait(exchange).unwrap_or_else(PoisonError::into_inner),
                OnFull::BlockFor(patience) => {
                    let Some(rest) = patience.checked_sub(since.elapsed()).filter(|rest| !rest.is_zero())
                    else {
                        break Err(refused());
                    };
                    let waited = self.for_lanes.wait_timeout(exchange, rest);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        };
        drop(exchange);
        if let Some(since) = since {
            add(&self.counters.stalls, 1);
            add(&self.counters.stalled_ns, nanoseconds(since.elapsed()));
        }
        outcome
    }

    /// Whether the limit on the log's files holds lanes back. `change` numbers the news.
    pub(crate) fn set_space(&self, change: u64, full: Option<Full>) {
        let mut exchange = lock(&self.exchange);
        if change > exchange.full_space.0 {
            exchange.full_space = (change, full);
            drop(exchange);
            if full.is_none() {
                self.for_lanes.notify_all();
            }
        }
    }

    /// From now on lanes that the limit holds back are refused, those that wait there too.
    pub(crate) fn refuse_at_limit(&self) {
        lock(&self.exchange).hopeless = true;
        self.for_lanes.notify_all();
    }

    /// Lets each lane that the limit holds back now have one block, and no other lane.
    pub(crate) fn let_through(&self) {
        lock(&self.exchange).rounds += 1;
        self.for_lanes.notify_all();
    }

    /// Whether a lane may go on with the block that it has.
    pub(crate) fn has_space(&self) -> bool {
        lock(&self.exchange).full_space.1.is_none()
    }

    /// How far the log is durable.
    pub(crate) fn mark(&self) -> Mark {
        lock(&self.progress).mark
    }

    /// A record of this kind is in the log.
    pub(crate) fn note_kind(&self, kind: RecordKind) {
        if kind.0 > ng_core::records::TOKEN_DELETED.0 {
            self.foreign.store(u32::from(kind.0), Ordering::Relaxed);
        }
    }

    /// A kind in the log that is not the store's, if there is one.
    pub(crate) fn foreign(&self) -> Option<RecordKind> {
        let kind = self.foreign.load(Ordering::Relaxed);
        (kind > 0).then_some(RecordKind(kind as u16))
    }

    /// A buffer goes back to the pool; one that isn't the pool's is freed.
    pub(crate) fn give_back(&self, mut buffer: Buffer) {
        if buffer.bytes_mut().len() != self.options.block_bytes {
            return;
        }
        lock(&self.exchange).free.push(buffer);
        self.for_lanes.notify_one();
    }

    // ---- the writer's side

    /// Looks whether there is something to do: a full block, or the end of the epoch. `look` sees
    /// the exchange and answers what, or how long the writer may sleep at most; whatever happens
    /// after that look wakes it.
    pub(crate) fn look_for_work<R>(
        &self,
        look: impl FnOnce(&mut Exchange) -> Result<R, Option<Duration>>,
    ) -> Result<R, Option<Duration>> {
        let mut exchange = lock(&self.exchange);
        let work = look(&mut exchange);
        exchange.writer = match &work {
            Ok(_) => WriterRests::No,
            Err(Some(_)) => WriterRests::UntilDue,
            Err(None) => WriterRests::Idle,
        };
        work
    }

    pub(crate) fn with_exchange<R>(&self, change: impl FnOnce(&mut Exchange) -> R) -> R {
        change(&mut lock(&self.exchange))
    }

    /// Moves the durable mark on and wakes who waits for it.
    pub(crate) fn publish(&self, mark: Mark) {
        let lag = mark.oldest.map_or(0, |oldest| nanoseconds(oldest.elapsed()));
        self.counters.lag_ns.store(lag, Ordering::Relaxed);
        let mut progress = lock(&self.progress);
        if progress.poison.is_none() && mark.epoch >= progress.mark.epoch {
            progress.mark = mark;
            self.durable_epoch.store(mark.epoch, Ordering::Release);
            self.durable_lsn.store(mark.lsn, Ordering::Release);
            self.lags.note(lag);
        }
        self.tell_waiters(progress);
    }

    /// Wakes threads and tasks that wait for what has just changed.
    fn tell_waiters(&self, mut progress: MutexGuard<'_, Progress>) {
        let tasks = std::mem::take(&mut progress.tasks);
        drop(progress);
        self.moved.notify_all();
        tasks.into_iter().for_each(Waker::wake);
    }

    /// The log stands still from here on. The first reason counts.
    pub(crate) fn poison(&self, poison: Poison) {
        let poison = Box::new(poison);
        lock(&self.exchange).poison.get_or_insert_with(|| poison.clone());
        let mut progress = lock(&self.progress);
        progress.poison.get_or_insert(poison);
        // Each lane's next append finds another epoch, goes the slow way and hears of it.
        self.epochs.close();
        self.wake();
        self.for_lanes.notify_all();
        self.tell_waiters(progress);
    }

    pub(crate) fn poisoned(&self) -> Option<Box<Poison>> {
        lock(&self.progress).poison.clone()
    }

    /// The writer has ended.
    pub(crate) fn end(&self) {
        let mut progress = lock(&self.progress);
        progress.ended = true;
        self.tell_waiters(progress);
    }

    // ---- the waiters' side

    pub(crate) fn durable(&self) -> Ticket {
        Ticket(self.durable_epoch.load(Ordering::Acquire))
    }

    /// Records below this number are on the device, for a reader to hold the log to. In mode `os`
    /// only those that were there when the log was opened: nothing else was synced.
    pub(crate) fn synced_lsn(&self) -> u64 {
        match self.options.mode {
            Mode::Os => self.opened_lsn,
            Mode::Group | Mode::Each => self.durable_lsn.load(Ordering::Acquire),
        }
    }

    /// Ends the epoch of `ticket` early, if it runs still.
    pub(crate) fn want(&self, ticket: Ticket) {
        self.tell(|exchange| exchange.wanted_epoch = exchange.wanted_epoch.max(ticket.0));
    }

    /// Takes no more records.
    pub(crate) fn begin_close(&self) {
        self.tell(|exchange| exchange.closing = true);
        self.for_lanes.notify_all();
    }

    /// Waits until `ticket` is durable. Without a timeout as long as it takes.
    pub(crate) fn wait_durable(&self, ticket: Ticket, timeout: Option<Duration>) -> Result<(), WaitError> {
        if self.durable() >= ticket {
            return Ok(());
        }
        self.want(ticket);
        self.wait(timeout, ticket, |progress| progress.outcome(ticket))
    }

    /// As [`Self::wait_durable`] for a task, which is woken when to ask again.
    pub(crate) fn poll_durable(&self, ticket: Ticket, task: &mut Context<'_>) -> Poll<Result<(), WaitError>> {
        if self.durable() >= ticket {
            return Poll::Ready(Ok(()));
        }
        let mut progress = lock(&self.progress);
        if let Some(outcome) = progress.outcome(ticket) {
            return Poll::Ready(outcome);
        }
        if !progress.tasks.iter().any(|other| other.will_wake(task.waker())) {
            progress.tasks.push(task.waker().clone());
        }
        drop(progress);
        self.want(ticket);
        Poll::Pending
    }

    /// Waits until the writer has ended.
    pub(crate) fn wait_end(&self, timeout: Duration) -> Result<(), WaitError> {
        let ticket = Ticket(self.epochs.current());
        self.wait(Some(timeout), ticket, |progress| {
            let sound = progress.poison.is_none();
            (progress.ended && sound).then_some(Ok(()))
        })
    }

    fn wait(
        &self,
        timeout: Option<Duration>,
        ticket: Ticket,
        done: impl Fn(&Progress) -> Option<Result<(), WaitError>>,
    ) -> Result<(), WaitError> {
        let since = Instant::now();
        let mut progress = lock(&self.progress);
        loop {
            if let Some(outcome) = done(&progress) {
                return outcome;
            }
            if let Some(poison) = &progress.poison {
                return Err(WaitError::Poisoned(poison.clone()));
            }
            progress = match timeout {
                None => self.moved.wait(progress).unwrap_or_else(PoisonError::into_inner),
                Some(timeout) => {
                    let waited = since.elapsed();
                    let Some(rest) = timeout.checked_sub(waited).filter(|rest| !rest.is_zero()) else {
                        let durable = Ticket(progress.mark.epoch);
                        return Err(WaitError::TimedOut { waited, ticket, durable });
                    };
                    let waited = self.moved.wait_timeout(progress, rest);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    pub(crate) fn stats(&self) -> WalStats {
        let progress = lock(&self.progress);
        let durable_records = progress.mark.records;
        let poisoned = progress.poison.is_some();
        drop(progress);
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        let records = read(&counters.records);
        WalStats {
            records,
            durable_records,
            payload_bytes: read(&counters.payload_bytes),
            written_bytes: read(&counters.written_bytes),
            blocks: read(&counters.blocks),
            syncs: read(&counters.syncs),
            segments: read(&counters.segments),
            stalls: read(&counters.stalls),
            stalled_ns: read(&counters.stalled_ns),
            dropped: read(&counters.dropped),
            lag_ns: if records == durable_records { 0 } else { read(&counters.lag_ns) },
            poisoned,
        }
    }
}
