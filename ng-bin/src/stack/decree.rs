//! What the constitution says of other layers, the share of operations that is sampled and the log's
//! level, beside what the configuration says of the same. The constitution goes first; where it
//! says nothing, or no longer, the configuration's value is in force. It reads neither of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::choice::SamplerChoice;
use crate::config::{LogLevel, StackConfig};

/// Puts a level in force.
pub(crate) type SetLevel = Arc<dyn Fn(LogLevel) + Send + Sync>;

/// Why a change in the configuration is not in force.
const DECREED: &str = "the constitution in force decides: use `ng cdna`";

#[derive(Debug)]
pub(super) struct Decrees(Mutex<State>);

struct State {
    sampler: SamplerChoice,
    rate: Setting<f64>,
    level: Setting<LogLevel>,
    set_level: Option<SetLevel>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("rate", &self.rate).field("level", &self.level).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Setting<T> {
    configured: T,
    decreed: Option<T>,
}

#[cfg(feature = "guardian")]
impl<T: Copy + PartialEq> Setting<T> {
    fn in_force(&self) -> T {
        self.decreed.unwrap_or(self.configured)
    }

    /// What is in force from now on, if that is another value than before.
    fn decree(&mut self, decreed: Option<T>) -> Option<T> {
        let before = self.in_force();
        self.decreed = decreed;
        Some(self.in_force()).filter(|now| *now != before)
    }
}

impl Decrees {
    pub(super) fn new(config: &StackConfig, sampler: SamplerChoice) -> Arc<Self> {
        let rate = Setting { configured: config.tracing.rate, decreed: None };
        let level = Setting { configured: config.log.level, decreed: None };
        Arc::new(Self(Mutex::new(State { sampler, rate, level, set_level: None })))
    }

    /// The constitution in force says this.
    #[cfg(feature = "guardian")]
    pub(super) fn decree(&self, rate: Option<f64>, level: Option<LogLevel>) {
        let mut state = self.state();
        if let Some(rate) = state.rate.decree(rate) {
            // A rate was checked with its document; a sampler that is off takes none.
            let _ = state.sampler.shared().set_rate(rate);
        }
        if let Some(level) = state.level.decree(level)
            && let Some(set) = &state.set_level
        {
            set(level);
        }
    }

    /// Who puts a level in force; at once where the constitution says one.
    pub(super) fn on_level(&self, set: SetLevel) {
        let mut state = self.state();
        if let Some(level) = state.level.decreed {
            set(level);
        }
        state.set_level = Some(set);
    }

    /// The configuration says another level: why it is not in force, if it is not.
    pub(super) fn configure_level(&self, level: LogLevel) -> Option<&'static str> {
        let mut state = self.state();
        state.level.configured = level;
        state.level.decreed.map(|_| DECREED)
    }

    /// The configuration says another rate: why it is not in force, if it is not.
    pub(super) fn configure_rate(&self, rate: f64) -> Option<&'static str> {
        let mut state = self.state();
        state.rate.configured = rate;
        if state.rate.decreed.is_some() {
            return Some(DECREED);
        }
        let taken = state.sampler.shared().set_rate(rate);
        (!taken).then_some("the sampler is the program's own, and takes no rate")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
