//! The log as a whole: opened, shared by its lanes, closed.

use crate::backend::choose::{self, Chosen, Prepared};
use crate::checkpoint::draft::Stand;
use crate::checkpoint::{Checkpoint, CheckpointError, Checkpointing};
use crate::durable::WhenDurable;
use crate::error::{IoError, LogError};
use crate::hub::Hub;
use crate::lag::LagReport;
use crate::lane::LogLane;
use crate::options::LogOptions;
use crate::recover::{self, Recovered};
use crate::segments::Supply;
use crate::space::SpaceReport;
use crate::sync::lock;
use crate::writer::Writer;
use ng_core::TokenStore;
use ng_core::wal::{AppendError, RecordKind, Ticket, WaitError, WalLane, WalSink, WalStats};
use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// How long a log that is dropped without [`WalSink::close`] waits for the disk.
pub const DROP_PATIENCE: Duration = Duration::from_secs(30);

/// A write-ahead log. Shared by reference; each thread opens a lane of its own.
///
/// Dropping it closes it, and waits at most [`DROP_PATIENCE`].
#[derive(Debug)]
pub struct Log {
    hub: Arc<Hub>,
    supply: Arc<Supply>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    recovered: Recovered,
    backend: Chosen,
    /// One checkpoint at a time.
    checkpointing: Mutex<()>,
    // Held for as long as the log is.
    _lock: Option<File>,
}

impl Log {
    /// Opens the log in `options.dir`, makes it if it isn't there, and continues after the end of
    /// what can be recovered. Blocks behind that end are left alone and never come back.
    ///
    /// # Errors
    /// See [`LogError`]. With a bad option nothing was made; with any error no log file was
    /// changed.
    pub fn open(options: LogOptions) -> Result<Self, LogError> {
        options.validate()?;
        let dir = &options.dir;
        std::fs::create_dir_all(dir).map_err(IoError::at("create", dir, 0))?;
        let lock = lock_dir(dir)?;
        let prepared = choose::prepare(&options)?;
        Self::open_with(options, prepared, Some(lock))
    }

    pub(crate) fn open_with(
        options: LogOptions,
        prepared: Prepared,
        lock: Option<File>,
    ) -> Result<Self, LogError> {
        let Prepared { storage, start, mut chosen } = prepared;
        let dir = options.dir.clone();
        let recovered = recover::find_end(&dir, &*storage)?;
        let end = recovered.end;
        let supply = Supply::new(storage, &options, &recovered).map_err(IoError::at("open", &dir, 0))?;
        let supply = Arc::new(supply);
        supply.prime().map_err(|poison| IoError {
            operation: poison.operation,
            path: poison.path,
            offset: poison.offset,
            source: io::Error::other(poison.cause),
        })?;
        let hub = Arc::new(Hub::new(options, end.epoch, end.next_lsn));
        supply.tell(&hub);
        let spawning = |error| LogError::from(IoError::at("start of the threads", &dir, 0)(error));
        let backend = start(&hub, &mut chosen).map_err(choose::not_started(&dir))?;
        let maker = Builder::new().name("ng-wal-prealloc".to_owned()).spawn({
            let supply = Arc::clone(&supply);
            move || supply.run()
        });
        let writer = Writer::new(Arc::clone(&hub), Arc::clone(&supply), backend, end);
        let writer = Builder::new().name("ng-wal-writer".to_owned()).spawn(move || writer.run());
        let (maker, writer) = match (maker, writer) {
            (Ok(maker), Ok(writer)) => (maker, writer),
            (maker, writer) => {
                supply.stop();
                hub.begin_close();
                return Err(spawning(
                    maker.err().or(writer.err()).unwrap_or_else(|| io::ErrorKind::Other.into()),
                ));
            }
        };
        let threads = Mutex::new(vec![writer, maker]);
        Ok(Self {
            hub,
            supply,
            threads,
            recovered,
            backend: chosen,
            checkpointing: Mutex::default(),
            _lock: lock,
        })
    }

    /// A new lane, for one thread.
    ///
    /// # Errors
    /// [`AppendError::Poisoned`] or [`AppendError::Closed`].
    pub fn open_lane(&self) -> Result<LogLane, AppendError> {
        LogLane::new(Arc::clone(&self.hub))
    }

    /// What the log was opened with.
    #[must_use]
    pub fn options(&self) -> &LogOptions {
        &self.hub.options
    }

    /// Waits until `ticket` is durable, as a future: for a task that must not block its thread.
    ///
    /// ```
    /// use ng_core::wal::{RecordKind, WalLane};
    /// use ng_wal::{Log, LogOptions};
    /// # use std::{future::Future, pin::pin, task::{Context, Poll, Waker}};
    /// # struct Unparker(std::thread::Thread);
    /// # impl std::task::Wake for Unparker {
    /// #     fn wake(self: std::sync::Arc<Self>) { self.0.unpark() }
    /// # }
    /// # fn block_on<F: Future>(future: F) -> F::Output {
    /// #     let waker = Waker::from(std::sync::Arc::new(Unparker(std::thread::current())));
    /// #     let mut future = pin!(future);
    /// #     loop {
    /// #         match future.as_mut().poll(&mut Context::from_waker(&waker)) {
    /// #             Poll::Ready(output) => return output,
    /// #             Poll::Pending => std::thread::park(),
    /// #         }
    /// #     }
    /// # }
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path();
    /// let log = Log::open(LogOptions { segment_bytes: 4 << 20, ..LogOptions::new(path) })?;
    /// let ticket = log.open_lane()?.append(RecordKind::USER, b"an order")?;
    /// // In any runtime: `log.when_durable(ticket).await?`.
    /// block_on(log.when_durable(ticket))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn when_durable(&self, ticket: Ticket) -> WhenDurable {
        WhenDurable::new(Arc::clone(&self.hub), ticket)
    }

    /// How long records took to become durable since the log was opened.
    #[must_use]
    pub fn lags(&self) -> LagReport {
        self.hub.lags.report()
    }

    /// How blocks reach the device, and why this way.
    #[must_use]
    pub fn backend(&self) -> &Chosen {
        &self.backend
    }

    /// The number of the first record that this log appends: how many were in it when it was
    /// opened, gap records included.
    #[must_use]
    pub fn first_lsn(&self) -> u64 {
        self.recovered.end.next_lsn
    }

    /// Waits until all spare segments are pre-written, at most `timeout`; whether they are. A
    /// burst that follows runs at the disk's full speed.
    pub fn wait_spares(&self, timeout: Duration) -> bool {
        self.supply.wait_ready(timeout)
    }
}

#[cfg(all(test, not(loom)))]
impl Log {
    /// A log on another storage than the operating system's.
    pub(crate) fn open_in(
        options: LogOptions,
        storage: Arc<dyn crate::storage::Storage>,
        lock: Option<File>,
    ) -> Result<Self, LogError> {
        let prepared = choose::through(storage, crate::BackendKind::Std, "a test's".to_owned());
        Self::open_with(options, prepared, lock)
    }

    /// Whether a lane waits for a buffer.
    pub(crate) fn is_starving(&self) -> bool {
        self.hub.with_exchange(|exchange| exchange.starving)
    }
}

/// Checkpoints.
impl Log {
    /// Makes a checkpoint of a store whose every change is in this log as token records, and lets go
    /// of the segments that it covers. Lanes go on meanwhile. `timeout` is for each wait: for the
    /// disk, and for lanes in the middle of an operation.
    ///
    /// A store some of whose changes are not in the log (each N-th logged, records dropped) is
    /// written as it is.
    ///
    /// # Errors
    /// See [`CheckpointError`]. The log goes on as if nothing had been tried.
    pub fn checkpoint(&self, store: &TokenStore, timeout: Duration) -> Result<Checkpoint, CheckpointError> {
        if let Some(kind) = self.hub.foreign() {
            return Err(CheckpointError::Foreign { kind });
        }
        let mut draft = self.begin_checkpoint(timeout)?;
        draft.wait_for_lanes(store, timeout)?;
        draft.tokens(store)?;
        if let Some(kind) = self.hub.foreign() {
            return Err(CheckpointError::Foreign { kind });
        }
        draft.commit(timeout)
    }

    /// Begins a checkpoint of whatever the log's records are about: see [`Checkpointing`]. Waits for
    /// one that is under way.
    ///
    /// # Errors
    /// See [`CheckpointError`].
    pub fn begin_checkpoint(&self, timeout: Duration) -> Result<Checkpointing<'_>, CheckpointError> {
        let turn = lock(&self.checkpointing);
        self.flush(timeout)?;
        let mark = self.hub.mark();
        let stand = Stand { log_id: self.recovered.end.log_id, lsn: mark.lsn, epoch: mark.epoch };
        Checkpointing::begin(&self.hub, &self.supply, turn, stand)
    }

    /// Waits until a checkpoint is due by [`LogOptions::checkpoint_bytes`] or
    /// [`crate::AtLimit::Checkpoint`], at most `timeout`; whether one is.
    pub fn wait_checkpoint_due(&self, timeout: Duration) -> bool {
        self.supply.wait_due(timeout)
    }

    /// Says that nobody will make a checkpoint any more, for whoever has made them and gives up: at
    /// [`LogOptions::max_log_bytes`] lanes are refused from now on, as under
    /// [`crate::AtLimit::Fail`], instead of waiting for ever. A checkpoint makes room all the same.
    pub fn refuse_at_limit(&self) {
        self.hub.refuse_at_limit();
    }

    /// What the log's files take.
    #[must_use]
    pub fn space(&self) -> SpaceReport {
        self.supply.space()
    }

    /// How much of the running segment is used, 0–1: at 1 the next block begins another one. 0 before the
    /// first block of this process.
    #[must_use]
    pub fn segment_fill(&self) -> f64 {
        let used = self.hub.counters.segment_used.load(Ordering::Relaxed);
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        let fill = used as f64 / self.hub.options.segment_bytes as f64;
        fill
    }

    /// Says that the log holds records of a kind that is no token's, as a replay found: then
    /// [`Self::checkpoint`] refuses.
    pub fn note_foreign(&self, kind: RecordKind) {
        self.hub.note_kind(kind);
    }
}

impl WalSink for Log {
    fn lane(&self) -> Result<Box<dyn WalLane>, AppendError> {
        Ok(Box::new(self.open_lane()?))
    }

    fn durable(&self) -> Ticket {
        self.hub.durable()
    }

    fn wait_durable(&self, ticket: Ticket, timeout: Duration) -> Result<(), WaitError> {
        self.hub.wait_durable(ticket, Some(timeout))
    }

    fn flush(&self, timeout: Duration) -> Result<Ticket, WaitError> {
        let ticket = Ticket(self.hub.epochs.current());
        match self.hub.wait_durable(ticket, Some(timeout)) {
            // A closed log is flushed: its epoch has moved on past the last record.
            Err(WaitError::Closed) => Ok(self.hub.durable()),
            other => other.map(|()| ticket),
        }
    }

    fn close(&self, timeout: Duration) -> Result<(), WaitError> {
        self.hub.begin_close();
        self.hub.wait_end(timeout)?;
        for thread in lock(&self.threads).drain(..) {
            // A panic there was reported by its own hook; there is nothing to add.
            let _ = thread.join();
        }
        Ok(())
    }

    fn stats(&self) -> WalStats {
        self.hub.stats()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // Nobody is left to hear of it; who wants to hear closes the log first.
        let _ = self.close(DROP_PATIENCE);
    }
}

/// Takes the directory for this process.
pub(crate) fn lock_dir(dir: &Path) -> Result<File, LogError> {
    let path = dir.join("LOCK");
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(IoError::at("open", &path, 0))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut owner = String::new();
            let known = file.read_to_string(&mut owner).is_ok() && !owner.trim().is_empty();
            let owner = if known { owner.trim().to_owned() } else { "unknown".to_owned() };
            return Err(LogError::Locked { dir: dir.to_owned(), owner });
        }
        Err(TryLockError::Error(error)) => return Err(IoError::at("lock", &path, 0)(error).into()),
    }
    let told =
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
    told.map_err(IoError::at("write", &path, 0))?;
    Ok(file)
}
