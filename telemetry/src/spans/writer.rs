//! The shared side of spans, and the thread that writes them out.
//!
//! The thread empties the lanes' rings at an interval, each millisecond while much is sampled, and
//! when a ring is half full; it hands spans to the exporter in batches.
//!
//! The thread outlives a failed or panicking exporter: the spans of that call are dropped and
//! counted, the error is kept, and the next call is made as if nothing had happened.

use std::{
    any::Any,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use ng_core::spans::{SpanLane, SpanSink, SpanStats};

use super::{
    depot::{Depot, Job},
    exporter::{ExportError, Exporter},
    lane::{Shelf, SpanRing},
    record::SpanRecord,
};
use crate::roster::Roster;

/// How a [`SpanWriter`] is made.
pub struct SpanOptions {
    /// Spans that a lane's ring holds, at least 1; 2,048 by default (256 KiB for spans with two
    /// attributes). When it is full, spans are dropped. A thread that samples spans of `tracing` macros
    /// has a ring for a quarter of them; what finds no room there waits with those without a lane.
    pub lane_spans: usize,
    /// Spans without a lane (those of `tracing` macros that have texts, events or links, promoted ones)
    /// that may wait for the exporter, at least 1; 8,192 by default.
    pub queue_spans: usize,
    /// Spans that the exporter gets at a time at most, at least 1; 512 by default.
    pub batch_spans: usize,
    /// How often rings are emptied, 1 ms to 1 hour (what lies outside is taken as the
    /// nearer of the two); 200 ms by default.
    pub interval: Duration,
    /// How long dropping the writer may take at most; 5 s by default. What the exporter has not
    /// taken by then is lost.
    pub shutdown: Duration,
    /// Where spans go.
    pub exporter: Box<dyn Exporter>,
}

impl SpanOptions {
    /// The defaults, with an exporter.
    #[must_use]
    pub fn new(exporter: impl Exporter + 'static) -> Self {
        Self {
            lane_spans: 2_048,
            queue_spans: 8_192,
            batch_spans: 512,
            interval: Duration::from_millis(200),
            shutdown: Duration::from_secs(5),
            exporter: Box::new(exporter),
        }
    }
}

impl std::fmt::Debug for SpanOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SpanOptions")
            .field("lane_spans", &self.lane_spans)
            .field("queue_spans", &self.queue_spans)
            .field("batch_spans", &self.batch_spans)
            .field("interval", &self.interval)
            .field("shutdown", &self.shutdown)
            .finish_non_exhaustive()
    }
}

/// Why a [`SpanWriter`] could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An option that must be at least 1 is 0.
    #[error("spans: {option} is 0, but must be at least 1")]
    Zero {
        /// Which.
        option: &'static str,
    },
    /// No thread was to be had.
    #[error("the operating system gives no thread for the span exporter: check its thread limit")]
    Thread(#[source] io::Error),
}

/// What lanes, the thread and the writer share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) depot: Depot,
    pub(super) lanes: Roster<Shelf>,
    /// The thread takes no more.
    pub(super) closed: AtomicBool,
    /// Spans that came without a lane, and those of them that found no room.
    submitted: AtomicU64,
    refused: AtomicU64,
    exported: AtomicU64,
    /// Spans whose export failed.
    failed: AtomicU64,
    /// Spans that the receiver rejected though it took the request.
    rejected: AtomicU64,
    last_error: Mutex<Option<Arc<ExportError>>>,
    last_warning: Mutex<Option<Arc<ExportError>>>,
}

/// Why spans were dropped. Counts never go backwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SpanDrops {
    /// A ring or the queue had no room for them, or nobody took them any more.
    pub full: u64,
    /// The exporter failed: nothing of the batch is known to have arrived.
    pub failed: u64,
    /// The receiver took the request and rejected them.
    pub rejected: u64,
}

impl SpanDrops {
    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.full + self.failed + self.rejected
    }
}

/// The spans of a stack, written out by a thread of its own.
///
/// Every span that a lane was given is counted as recorded, and sooner or later as exported or as
/// dropped.
///
/// ```
/// use ng_core::spans::SpanSink;
/// use ng_telemetry::{SpanOptions, SpanWriter, spans::Memory};
///
/// let kept = Memory::default();
/// let writer = SpanWriter::start(SpanOptions::new(kept.clone()))?;
/// let lane = writer.open_lane();
/// assert!(writer.flush(std::time::Duration::from_secs(1)));
/// # Ok::<(), ng_telemetry::spans::StartError>(())
/// ```
#[derive(Debug)]
pub struct SpanWriter {
    shared: Arc<Shared>,
    lane_spans: usize,
    shutdown: Duration,
    thread: Option<JoinHandle<()>>,
}

impl SpanWriter {
    /// Starts the thread, `ng-spans`.
    ///
    /// # Errors
    /// [`StartError`] if an option is 0 or there is no thread.
    pub fn start(options: SpanOptions) -> Result<Self, StartError> {
        let SpanOptions { lane_spans, queue_spans, batch_spans, interval, shutdown, exporter } = options;
        let sizes = [("lane_spans", lane_spans), ("queue_spans", queue_spans), ("batch_spans", batch_spans)];
        for (option, value) in sizes {
            if value == 0 {
                return Err(StartError::Zero { option });
            }
        }
        let shared = Arc::new(Shared {
            depot: Depot::new(queue_spans),
            lanes: Roster::new(),
            closed: AtomicBool::new(false),
            submitted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            exported: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            last_error: Mutex::new(None),
            last_warning: Mutex::new(None),
        });
        let interval = interval.clamp(Duration::from_millis(1), Duration::from_secs(3_600));
        let export = Export {
            shared: Arc::clone(&shared),
            exporter,
            batch: Vec::with_capacity(batch_spans.min(4_096)),
            batch_spans,
        };
        let thread = std::thread::Builder::new()
            .name("ng-spans".to_owned())
            .spawn(move || export.run(interval))
            .map_err(StartError::Thread)?;
        Ok(Self { shared, lane_spans, shutdown, thread: Some(thread) })
    }

    /// A new lane, as its own type, so that its calls can be inlined.
    #[must_use]
    pub fn open_lane(&self) -> SpanRing {
        let shelf = self.shared.lanes.enter(Shelf::new(self.lane_spans));
        SpanRing::new(shelf, Arc::clone(&self.shared))
    }

    /// A way for spans that have no lane.
    #[must_use]
    pub fn intake(&self) -> SpanIntake {
        SpanIntake { shared: Arc::clone(&self.shared), lane_spans: self.lane_spans }
    }

    /// Spans without a lane that wait for the exporter.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.depot.waiting()
    }

    /// Why spans could not be exported, the last time that it happened; `None` if it never did.
    #[must_use]
    pub fn last_error(&self) -> Option<Arc<ExportError>> {
        self.shared.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What a receiver that took all spans said of them all the same, the last time.
    #[must_use]
    pub fn last_warning(&self) -> Option<Arc<ExportError>> {
        self.shared.last_warning.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why spans were dropped; the sum is what [`SpanSink::stats`] tells.
    #[must_use]
    pub fn drops(&self) -> SpanDrops {
        self.counts().1
    }

    /// All counts, as of one moment.
    fn counts(&self) -> (SpanStats, SpanDrops) {
        // Exported and failed first: what they count was recorded before, so at no moment does
        // more seem to have come out than went in.
        let exported = self.shared.exported.load(Ordering::Acquire);
        let failed = self.shared.failed.load(Ordering::Acquire);
        let rejected = self.shared.rejected.load(Ordering::Acquire);
        let refused = self.shared.refused.load(Ordering::Acquire);
        let ended = self.shared.depot.has_ended();
        let counted = self.shared.lanes.totals();
        let submitted = self.shared.submitted.load(Ordering::Acquire);
        // Once the thread has ended, nobody takes what is still in a ring.
        let left = if ended { counted.recorded - counted.dropped - counted.taken } else { 0 };
        let drops = SpanDrops { full: counted.dropped + refused + left, failed, rejected };
        let recorded = counted.recorded + submitted;
        (SpanStats { recorded, exported, dropped: drops.total() }, drops)
    }
}

impl SpanSink for SpanWriter {
    fn lane(&self) -> Box<dyn SpanLane> {
        Box::new(self.open_lane())
    }

    fn flush(&self, timeout: Duration) -> bool {
        self.shared.depot.flush(timeout)
    }

    fn stats(&self) -> SpanStats {
        self.counts().0
    }
}

impl Drop for SpanWriter {
    fn drop(&mut self) {
        if self.shared.depot.stop(self.shutdown)
            && let Some(thread) = self.thread.take()
        {
            // It has said that it ended; a panic in it would have been the exporter's, and is kept.
            drop(thread.join());
        }
    }
}

/// A way for spans that have no lane: those of `tracing` macros, which begin and end on different
/// threads, and those that were promoted. Clones lead to the same writer.
#[derive(Debug, Clone)]
pub struct SpanIntake {
    shared: Arc<Shared>,
    lane_spans: usize,
}

impl SpanIntake {
    /// A lane for a thread that has no lane of its own, with a ring of a quarter of the usual size:
    /// what finds no room in it goes by [`Self::submit`].
    pub(crate) fn open_lane(&self) -> SpanRing {
        let shelf = self.shared.lanes.enter(Shelf::new((self.lane_spans / 4).max(1)));
        SpanRing::new(shelf, Arc::clone(&self.shared))
    }

    /// Hands a span over; `false` if it was dropped, which is counted.
    pub fn submit(&self, span: Box<SpanRecord>) -> bool {
        self.shared.submitted.fetch_add(1, Ordering::Release);
        let taken = self.shared.depot.submit(span).is_ok();
        if !taken {
            self.shared.refused.fetch_add(1, Ordering::Release);
        }
        taken
    }
}

/// The thread.
struct Export {
    shared: Arc<Shared>,
    exporter: Box<dyn Exporter>,
    batch: Vec<SpanRecord>,
    batch_spans: usize,
}

/// How soon rings are looked at again while lanes sample much.
const BUSY_INTERVAL: Duration = Duration::from_millis(1);
/// How many spans in one collection are much.
const BUSY_SPANS: u64 = 64;

impl Export {
    fn run(mut self, interval: Duration) {
        let mut collect_at = Instant::now() + interval;
        loop {
            match self.shared.depot.next(collect_at) {
                Job::Collect => {
                    let busy = self.collect() >= BUSY_SPANS;
                    collect_at = Instant::now() + if busy { interval.min(BUSY_INTERVAL) } else { interval };
                }
                Job::Flush { ticket } => {
                    self.collect();
                    self.keep_error(|exporter| exporter.flush());
                    self.shared.depot.flushed(ticket);
                }
                Job::Stop => break,
            }
        }
        self.close();
    }

    /// Writes out everything that was finished before this call, and gives how many spans it was.
    fn collect(&mut self) -> u64 {
        let (singles, mut shelves) = self.shared.depot.take();
        let mut count = singles.len() as u64;
        for span in singles {
            self.add(*span);
        }
        shelves.extend(self.shared.lanes.read(|_, live| live.to_vec()));
        for shelf in shelves {
            count += shelf.drain(|span| self.add(span));
        }
        self.write();
        count
    }

    /// Writes out what is left, that of lanes that outlive the writer too.
    fn close(mut self) {
        self.shared.closed.store(true, Ordering::Release);
        self.collect();
        self.keep_error(|exporter| exporter.flush());
        while !self.shared.depot.end() {
            self.collect();
        }
        self.keep_error(|exporter| exporter.close());
    }

    fn add(&mut self, span: SpanRecord) {
        self.batch.push(span);
        if self.batch.len() >= self.batch_spans {
            self.write();
        }
    }

    fn write(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let batch = std::mem::take(&mut self.batch);
        let sent = batch.len() as u64;
        let (exported, rejected, failed) = match self.keep_error(|exporter| exporter.export(&batch)) {
            None => (sent, 0, 0),
            Some(error) => match &*error {
                ExportError::Partial { rejected, .. } => {
                    // A receiver that rejects more than it was sent does not say how many it took.
                    let rejected = (*rejected).min(sent);
                    (sent - rejected, rejected, 0)
                }
                _ => (0, 0, sent),
            },
        };
        self.shared.exported.fetch_add(exported, Ordering::Release);
        self.shared.rejected.fetch_add(rejected, Ordering::Release);
        self.shared.failed.fetch_add(failed, Ordering::Release);
        self.batch = batch;
        self.batch.clear();
    }

    /// Calls the exporter; gives and keeps its error or warning, if there was one.
    fn keep_error(
        &mut self,
        call: impl FnOnce(&mut dyn Exporter) -> Result<(), ExportError>,
    ) -> Option<Arc<ExportError>> {
        let called = catch_unwind(AssertUnwindSafe(|| call(&mut *self.exporter)));
        let error = match called {
            Ok(Ok(())) => return None,
            Ok(Err(error)) => Arc::new(error),
            Err(panic) => Arc::new(ExportError::Panicked(message(&*panic))),
        };
        let is_warning = matches!(&*error, ExportError::Partial { rejected: 0, .. });
        let place = if is_warning { &self.shared.last_warning } else { &self.shared.last_error };
        *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&error));
        Some(error)
    }
}

/// What a panic said.
fn message(panic: &(dyn Any + Send)) -> String {
    let fixed = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    fixed.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
