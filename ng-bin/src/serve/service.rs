//! What every handler sees: the configuration, the counters, and the engine once it runs.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use ng_core::TokenStore;
use ng_core::lane::LaneMetrics;
use ng_core::metrics::{HistogramId, MetricDesc, MetricLane as _, Scale};
use ng_core::wal::{Ticket, WaitError};
use std::sync::{Mutex, PoisonError};

use super::body::BodyLimits;
use super::counters::Counters;
use super::lanes::Lanes;
use super::live::Rate;
use super::phase::{Phase, State};
use super::recent::Recent;
use super::stress::LastStress;
use super::terms::{InForce, Terms};
use super::wishes::Wishes;
use crate::config::{Loaded, ServeConfig};
use crate::reload::Reloader;
use crate::stack::choice::{MetricLaneChoice, WalChoice};
use crate::stack::{Stack, StackError};

/// See the [module](self).
pub(super) struct Service {
    /// What the service was started with.
    pub(super) loaded: Loaded,
    /// What is in force.
    pub(super) reloader: Reloader,
    terms: InForce,
    pub(super) phase: Phase,
    pub(super) counters: Arc<Counters>,
    pub(super) started: Instant,
    /// Of the stack that is being built, so that recovery can be followed.
    pub(super) store: Arc<TokenStore>,
    pub(super) rate: Rate,
    pub(super) recent: Recent,
    pub(super) stress: LastStress,
    engine: OnceLock<Engine>,
}

impl Service {
    pub(super) fn new(loaded: Loaded, reloader: Reloader, terms: InForce) -> Self {
        Self {
            loaded,
            reloader,
            terms,
            phase: Phase::default(),
            counters: Arc::default(),
            started: Instant::now(),
            store: Arc::default(),
            rate: Rate::default(),
            recent: Recent::default(),
            stress: LastStress::default(),
            engine: OnceLock::new(),
        }
    }

    /// The terms in force now; a request keeps to those that it began with.
    pub(super) fn terms(&self) -> Arc<Terms> {
        self.terms.get()
    }

    pub(super) fn body_limits(&self) -> BodyLimits {
        let config = &self.terms().config;
        BodyLimits {
            most: config.max_body_mib << 20,
            stall: Duration::from_millis(config.body_timeout_ms),
            whole: Duration::from_millis(config.request_timeout_ms),
        }
    }

    /// The engine, once the stack has been built.
    pub(super) fn engine(&self) -> Option<&Engine> {
        self.engine.get()
    }

    pub(super) fn state(&self) -> State {
        self.phase.state(self.engine().map(|engine| &*engine.stack))
    }

    /// Takes the stack into use.
    ///
    /// # Errors
    /// If the operating system gives no threads, or the metrics can't be registered.
    pub(super) fn take(&self, stack: Stack) -> Result<(), StackError> {
        let engine = Engine::start(stack, &self.loaded.config.serve, &self.counters)?;
        if !engine.stack.metrics_in_use().is_off() {
            self.reloader.register(engine.stack.metrics())?;
        }
        // It is called once.
        drop(self.engine.set(engine));
        self.phase.set_ready();
        Ok(())
    }

    pub(super) fn into_engine(self) -> Option<Engine> {
        self.engine.into_inner()
    }
}

/// The running stack, and what takes work to it.
pub(super) struct Engine {
    pub(super) lanes: Lanes,
    pub(super) stack: Arc<Stack>,
    pub(super) wishes: Wishes,
    pub(super) metrics: Option<LaneMetrics>,
    duration: Option<HistogramId>,
    shard: Mutex<MetricLaneChoice>,
}

impl Engine {
    fn start(stack: Stack, config: &ServeConfig, counters: &Arc<Counters>) -> Result<Self, StackError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = match usize::try_from(config.lanes).unwrap_or(0) {
            0 => cores.min(4),
            chosen => chosen,
        };
        let in_flight = usize::try_from(config.max_in_flight).unwrap_or(usize::MAX);
        let stack = Arc::new(stack);
        let lanes = Lanes::start(&stack, threads, in_flight)?;
        let wishes = Wishes::default();
        let shard = Mutex::new(stack.metrics_in_use().lane());
        let (mut metrics, mut duration) = (None, None);
        if !stack.metrics_in_use().is_off() {
            let sink = stack.metrics();
            metrics = Some(LaneMetrics::register(sink)?);
            counters.register(sink)?;
            wishes.register(sink)?;
            let desc = MetricDesc::new(
                "neurograph_http_request_duration_seconds",
                "Time from a request's head to its answer, the wait for durability included.",
            );
            duration = Some(sink.histogram(&desc.unit("seconds", Scale::Nano))?);
        }
        Ok(Self { lanes, stack, wishes, metrics, duration, shard })
    }

    /// Counts how long a request took.
    pub(super) fn took(&self, time: Duration) {
        let Some(duration) = self.duration else { return };
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.shard.lock().unwrap_or_else(PoisonError::into_inner).observe(duration, ns, 1);
    }

    /// Waits until `ticket` is durable, without holding a thread.
    pub(super) async fn wait_durable(&self, ticket: Ticket, patience: Duration) -> Result<(), WaitError> {
        match self.stack.wal_in_use() {
            WalChoice::Off(_) => Ok(()),
            #[cfg(feature = "wal")]
            WalChoice::Built(log) => match tokio::time::timeout(patience, log.when_durable(ticket)).await {
                Ok(waited) => waited,
                Err(_) => {
                    let durable = self.stack.wal().durable();
                    Err(WaitError::TimedOut { waited: patience, ticket, durable })
                }
            },
            WalChoice::Custom(log) => {
                let log = Arc::clone(log);
                let waited = tokio::task::spawn_blocking(move || log.wait_durable(ticket, patience)).await;
                waited.unwrap_or(Err(WaitError::Closed))
            }
        }
    }

    /// The number of the first record that this process appends.
    pub(super) fn first_lsn(&self) -> u64 {
        match self.stack.wal_in_use() {
            #[cfg(feature = "wal")]
            WalChoice::Built(log) => log.first_lsn(),
            _ => 0,
        }
    }

    /// The number of the last record that is durable; `None` if there is none.
    pub(super) fn durable_lsn(&self) -> Option<u64> {
        (self.first_lsn() + self.stack.wal().stats().durable_records).checked_sub(1)
    }
}
