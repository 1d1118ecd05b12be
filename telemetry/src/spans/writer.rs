//! The shared side of spans, and the thread that writes them out.
//!
//! The thread outlives a failed or panicking exporter: the spans of that call are dropped and
//! counted, the error is kept, and the next call is made as if nothing had happened.

use std::{
    any::Any,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use ng_core::spans::{SpanLane, SpanSink, SpanStats};

use super::{
    depot::{Depot, Job, Slab},
    exporter::{ExportError, Exporter},
    slab::{Shelf, SpanSlab},
};
use crate::roster::Roster;

/// How a [`SpanWriter`] is made.
pub struct SpanOptions {
    /// Spans in a slab, at least 1; 256 by default (96 KiB). Each lane has one slab.
    pub slab_spans: usize,
    /// Slabs besides those of the lanes, at least 1; 32 by default (3 MiB). When all of them wait
    /// for the exporter, spans are dropped.
    pub max_slabs: usize,
    /// How often partial slabs are collected, 1 ms to 1 hour (what lies outside is taken as the
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
            slab_spans: 256,
            max_slabs: 32,
            interval: Duration::from_millis(200),
            shutdown: Duration::from_secs(5),
            exporter: Box::new(exporter),
        }
    }
}

impl std::fmt::Debug for SpanOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SpanOptions")
            .field("slab_spans", &self.slab_spans)
            .field("max_slabs", &self.max_slabs)
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
    exported: AtomicU64,
    /// Spans whose export failed.
    failed: AtomicU64,
    last_error: Mutex<Option<Arc<ExportError>>>,
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
    slab_spans: usize,
    shutdown: Duration,
    thread: Option<JoinHandle<()>>,
}

impl SpanWriter {
    /// Starts the thread, `ng-spans`.
    ///
    /// # Errors
    /// [`StartError`] if an option is 0 or there is no thread.
    pub fn start(options: SpanOptions) -> Result<Self, StartError> {
        let SpanOptions { slab_spans, max_slabs, interval, shutdown, exporter } = options;
        for (option, value) in [("slab_spans", slab_spans), ("max_slabs", max_slabs)] {
            if value == 0 {
                return Err(StartError::Zero { option });
            }
        }
        let shared = Arc::new(Shared {
            depot: Depot::new(max_slabs, slab_spans),
            lanes: Roster::new(),
            exported: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            last_error: Mutex::new(None),
        });
        let interval = interval.clamp(Duration::from_millis(1), Duration::from_secs(3_600));
        let export = Export { shared: Arc::clone(&shared), exporter, spare: Slab::with_capacity(slab_spans) };
        let thread = std::thread::Builder::new()
            .name("ng-spans".to_owned())
            .spawn(move || export.run(interval))
            .map_err(StartError::Thread)?;
        Ok(Self { shared, slab_spans, shutdown, thread: Some(thread) })
    }

    /// A new lane, as its own type, so that its calls can be inlined.
    #[must_use]
    pub fn open_lane(&self) -> SpanSlab {
        let shelf = self.shared.lanes.enter(Shelf::new(self.slab_spans));
        SpanSlab::new(shelf, Arc::clone(&self.shared))
    }

    /// Why spans could not be exported, the last time that it happened; `None` if it never did.
    #[must_use]
    pub fn last_error(&self) -> Option<Arc<ExportError>> {
        self.shared.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
        // Exported and failed first: what they count was recorded before, so at no moment does
        // more seem to have come out than went in.
        let exported = self.shared.exported.load(Ordering::Acquire);
        let failed = self.shared.failed.load(Ordering::Acquire);
        let counted = self.shared.lanes.totals();
        SpanStats { recorded: counted.recorded, exported, dropped: counted.dropped + failed }
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

/// The thread.
struct Export {
    shared: Arc<Shared>,
    exporter: Box<dyn Exporter>,
    /// An empty slab to exchange for a lane's partial one.
    spare: Slab,
}

impl Export {
    fn run(mut self, interval: Duration) {
        let mut collect_at = Instant::now() + interval;
        loop {
            match self.shared.depot.next(collect_at) {
                Job::Full(slab) => self.recycle(slab),
                Job::Collect => {
                    self.collect();
                    collect_at = Instant::now() + interval;
                }
                Job::Flush { ticket } => {
                    self.collect();
                    self.drain();
                    self.keep_error(|exporter| exporter.flush());
                    self.shared.depot.flushed(ticket);
                }
                Job::Stop => break,
            }
        }
        self.close();
    }

    /// Writes out the partial slab of each lane.
    fn collect(&mut self) {
        for shelf in self.shared.lanes.read(|_, live| live.to_vec()) {
            if shelf.collect(&mut self.spare) {
                let slab = std::mem::take(&mut self.spare);
                self.spare = self.write(slab);
            }
        }
    }

    /// Writes out the full slabs that wait now, and no later ones: a flush has an end under load.
    fn drain(&mut self) {
        for _ in 0..self.shared.depot.waiting() {
            let Some(slab) = self.shared.depot.take_full() else { break };
            self.recycle(slab);
        }
    }

    /// Writes out what is left in lanes that outlive the writer.
    fn close(mut self) {
        for shelf in self.shared.lanes.read(|_, live| live.to_vec()) {
            self.write(shelf.close());
        }
        self.keep_error(|exporter| exporter.flush());
        while let Err(slab) = self.shared.depot.end() {
            self.write(slab);
        }
    }

    fn recycle(&mut self, slab: Slab) {
        let empty = self.write(slab);
        self.shared.depot.put_empty(empty);
    }

    fn write(&mut self, mut slab: Slab) -> Slab {
        if !slab.is_empty() {
            let exported = self.keep_error(|exporter| exporter.export(&slab));
            let count = if exported { &self.shared.exported } else { &self.shared.failed };
            count.fetch_add(slab.len() as u64, Ordering::Release);
            slab.clear();
        }
        slab
    }

    /// Calls the exporter, and keeps its error; whether there was none.
    fn keep_error(&mut self, call: impl FnOnce(&mut dyn Exporter) -> Result<(), ExportError>) -> bool {
        let called = catch_unwind(AssertUnwindSafe(|| call(&mut *self.exporter)));
        let error = match called {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => error,
            Err(panic) => ExportError::Panicked(message(&*panic)),
        };
        *self.shared.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(error));
        false
    }
}

/// What a panic said.
fn message(panic: &(dyn Any + Send)) -> String {
    let fixed = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    fixed.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
