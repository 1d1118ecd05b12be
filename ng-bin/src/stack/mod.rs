//! The stack composed: a store, a clock, and each layer as configured, replaced or switched off.
//!
//! A [`Stack`] owns the shared sides; each thread takes a [`StackLane`] from it. Nothing here is on
//! the hot path but the match that says which implementation a layer is ([`choice`]).

mod announce;
#[cfg(feature = "blackbox")]
mod blackbox;
mod build;
#[cfg(feature = "wal")]
mod checkpoint;
pub mod choice;
mod decree;
mod error;
mod follow;
mod guardian;
#[cfg(feature = "serve")]
mod inside;
mod promotion;
mod reclaim;
mod recover;
mod watch;

#[cfg(feature = "blackbox")]
pub use blackbox::Died;
pub use build::Builder;
pub use error::StackError;
pub use follow::Overruled;
pub use promotion::EventTap;
pub use reclaim::Cleaner;
pub use recover::{Recovered, replay};

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use choice::{
    AdmissionChoice, AdmissionLaneChoice, EventChoice, MetricChoice, MetricLaneChoice, SamplerChoice,
    SamplerLaneChoice, SpanChoice, SpanLaneChoice, WalChoice, WalLaneChoice,
};
use ng_core::TokenStore;
use ng_core::clock::TickClock;
use ng_core::events::{Event, EventKind};
use ng_core::lane::{Lane, LaneOptions, Layers};
use ng_core::wal::WaitError;

use crate::config::{Loaded, Loader};

/// A lane of a stack that was composed from configuration.
pub type StackLane =
    Lane<AdmissionLaneChoice, WalLaneChoice, MetricLaneChoice, SamplerLaneChoice, SpanLaneChoice, EventTap>;

/// The shared sides of all layers, and the store. See the [module](self).
///
/// ```
/// use ng_core::TokenSpec;
/// use ng_stack::config::StackConfig;
/// use ng_stack::Stack;
///
/// let dir = tempfile::tempdir()?;
/// let text = format!(
///     "[wal]\ndir = {0:?}\n[tracing]\noutput = \"\"\n[blackbox]\ndir = {1:?}",
///     dir.path().join("wal"),
///     dir.path().join("rings"),
/// );
/// let loaded = ng_stack::config::Loader::new().text("ng.toml", text).load()?;
/// let stack = Stack::builder().loaded(loaded).build()?;
/// let mut lane = stack.lane("maker")?;
/// let made = lane.create(&TokenSpec::new().with_weight(0.5))?;
/// stack.wal().wait_durable(made.ticket, std::time::Duration::from_secs(10))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Stack {
    // First, so that it sends its last while all layers can still be asked.
    #[cfg(feature = "otlp")]
    #[expect(dead_code, reason = "kept at work until the stack ends")]
    metric_pusher: Option<ng_telemetry::otlp::MetricPusher>,
    store: Arc<TokenStore>,
    clock: TickClock,
    domain: u8,
    lane_options: LaneOptions,
    recovered: Option<Recovered>,
    admission: AdmissionChoice,
    decrees: Arc<decree::Decrees>,
    wal: WalChoice,
    metrics: MetricChoice,
    sampler: SamplerChoice,
    spans: SpanChoice,
    events: EventChoice,
    // Before the log, which it uses.
    #[cfg(feature = "wal")]
    checkpointer: Option<checkpoint::Checkpointer>,
    feed: Option<Arc<promotion::Feed>>,
    #[cfg(feature = "telemetry")]
    promoter: Option<ng_telemetry::promotion::Promoter>,
    alarm: Option<announce::Alarm>,
    // Held for the guardian, which knows it weakly.
    cleaner: Option<Arc<Cleaner>>,
    #[cfg(feature = "blackbox")]
    dead: Vec<Died>,
    #[cfg(feature = "blackbox")]
    durable_mark: Option<blackbox::DurableMark>,
    #[cfg(feature = "blackbox")]
    #[expect(dead_code, reason = "kept at work until the stack ends")]
    crash_path: blackbox::CrashPath,
}

impl Stack {
    /// A stack of the configuration in a file, with the process's environment over it.
    ///
    /// # Errors
    /// See [`StackError`]; nothing was started then.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, StackError> {
        let loaded = Loader::new().file(path.as_ref()).env(std::env::vars_os()).load()?;
        Self::builder().loaded(loaded).build()
    }

    /// A stack of a configuration that was read already.
    ///
    /// # Errors
    /// See [`StackError`]; nothing was started then.
    pub fn from_loaded(loaded: Loaded) -> Result<Self, StackError> {
        Self::builder().loaded(loaded).build()
    }

    /// A stack to be put together in code.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A lane for one thread, called `name` in refusals and in the flight recorder.
    ///
    /// # Errors
    /// [`StackError::Log`] if the log is poisoned or closed, [`StackError::Store`].
    pub fn lane(&self, name: &str) -> Result<StackLane, StackError> {
        self.lane_in(self.domain, name)
    }

    /// A lane whose new tokens are of another domain than `engine.domain`: a tenant's, whose quota is
    /// that of the domain.
    ///
    /// # Errors
    /// As [`Stack::lane`]; [`StackError::Store`] too if `domain` is above 15.
    pub fn lane_in(&self, domain: u8, name: &str) -> Result<StackLane, StackError> {
        let layers = Layers {
            admission: self.admission.lane(domain, name),
            wal: self.wal.lane()?,
            metrics: self.metrics.lane(),
            sampler: self.sampler.lane(),
            spans: self.spans.lane(),
            events: EventTap::new(self.events.lane(name), self.feed.clone()),
        };
        let writer = self.store.writer(domain)?;
        Ok(Lane::new(writer, layers, self.clock.tick(), self.lane_options))
    }

    /// The tokens.
    #[must_use]
    pub const fn store(&self) -> &Arc<TokenStore> {
        &self.store
    }

    /// The log.
    #[must_use]
    pub fn wal(&self) -> &dyn ng_core::wal::WalSink {
        self.wal.shared()
    }

    /// The log, to be held on to.
    #[cfg(feature = "cli")]
    pub(crate) fn wal_choice(&self) -> WalChoice {
        self.wal.clone()
    }

    /// Quotas and the constitution.
    #[must_use]
    pub fn admission(&self) -> &dyn ng_core::admission::Admission {
        self.admission.shared()
    }

    /// Counters and histograms.
    #[must_use]
    pub fn metrics(&self) -> &dyn ng_core::metrics::MetricSink {
        self.metrics.shared()
    }

    /// Who puts the log's level in force where the constitution says one
    /// (`observability.log_level`): at once if it does now, and whenever that changes.
    pub fn on_level(&self, set: impl Fn(crate::config::LogLevel) + Send + Sync + 'static) {
        self.decrees.on_level(Arc::new(set));
    }

    /// Head sampling.
    #[must_use]
    pub fn sampler(&self) -> &dyn ng_core::sampling::SpanSampler {
        self.sampler.shared()
    }

    /// Where spans go.
    #[must_use]
    pub fn spans(&self) -> &dyn ng_core::spans::SpanSink {
        self.spans.shared()
    }

    /// The layer that puts spans of `tracing` macros under the same decision as the lanes', and hands
    /// them to the same exporter; `None` unless both are this workspace's own.
    #[cfg(feature = "telemetry")]
    #[must_use]
    pub fn tracing_layer(&self) -> Option<ng_telemetry::tracing_layer::SamplingLayer> {
        match (&self.sampler, &self.spans) {
            (SamplerChoice::Built(sampler), SpanChoice::Built(writer)) => {
                Some(ng_telemetry::tracing_layer::SamplingLayer::new(Arc::clone(sampler), writer))
            }
            _ => None,
        }
    }

    /// The flight recorder.
    #[must_use]
    pub fn events(&self) -> &dyn ng_core::events::EventRecorder {
        self.events.shared()
    }

    /// What was found in the log when the stack started; `None` if there was none.
    #[must_use]
    pub const fn recovered(&self) -> Option<&Recovered> {
        self.recovered.as_ref()
    }

    /// The processes whose rings were found at the start and that no one had announced before, the
    /// latest first.
    #[cfg(feature = "blackbox")]
    #[must_use]
    pub fn dead(&self) -> &[Died] {
        &self.dead
    }

    /// Which implementations are in use, by section of the configuration.
    #[must_use]
    pub fn layers(&self) -> [(&'static str, bool); 5] {
        [
            ("wal", !self.wal.is_off()),
            ("guardian", !self.admission.is_off()),
            ("metrics", !self.metrics.is_off()),
            ("tracing", !self.sampler.is_off()),
            ("blackbox", !self.events.is_off()),
        ]
    }

    /// Waits until the log has its segments ready, pre-written, at most `timeout`; whether it has. A
    /// run that is to be measured in the steady state begins after this.
    #[must_use]
    pub fn wait_ready(&self, timeout: Duration) -> bool {
        match &self.wal {
            #[cfg(feature = "wal")]
            WalChoice::Built(log) => log.wait_spares(timeout),
            _ => {
                let _ = timeout;
                true
            }
        }
    }

    /// How long records took to become durable since the stack started: the median, the 99th percentile
    /// and the longest. Zeros where there is no log, or one of a user's own.
    #[must_use]
    pub fn durable_lag(&self) -> [Duration; 3] {
        match &self.wal {
            #[cfg(feature = "wal")]
            WalChoice::Built(log) => {
                let lags = log.lags();
                [lags.p50, lags.p99, lags.max]
            }
            _ => [Duration::ZERO; 3],
        }
    }

    /// Ends in good order: what was appended becomes durable, spans are written out, the end is
    /// recorded. Lanes that still exist are refused by the log from then on.
    ///
    /// # Errors
    /// [`WaitError`] if the log could not make everything durable within `timeout`.
    pub fn shutdown(mut self, timeout: Duration) -> Result<(), WaitError> {
        #[cfg(feature = "wal")]
        let () = drop(self.checkpointer.take());
        let closed = self.wal.shared().close(timeout);
        // It looks once more, before the last spans go out.
        #[cfg(feature = "telemetry")]
        drop(self.promoter.take());
        self.spans.shared().flush(timeout);
        drop(self.alarm.take());
        // Its last look is at the log as it is now.
        #[cfg(feature = "blackbox")]
        let () = drop(self.durable_mark.take());
        let durable = self.wal.shared().stats().durable_records;
        let event = Event::rare(EventKind::STOPPED, self.store.len(), durable);
        self.events
            .shared()
            .record_rare(event, if closed.is_ok() { "in good order" } else { "log not flushed" });
        closed
    }
}

#[cfg(test)]
pub(crate) mod tests;
