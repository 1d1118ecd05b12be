//! The program's own words: `tracing` events to standard error, each place limited by itself, and
//! its spans under the stack's one decision.

use std::sync::OnceLock;

use tracing_subscriber::prelude::*;
use tracing_subscriber::{EnvFilter, reload};

use super::{EX_CONFIG, Failure};
use crate::config::{LogConfig, LogFormat, LogLevel};
#[cfg(feature = "telemetry")]
use crate::stack::Stack;

/// What may be said in another's place.
const VARIABLE: &str = "RUST_LOG";

/// The crates whose level `log.level` is; libraries speak from `warn` on.
const OURS: [&str; 6] = ["ng_core", "ng_wal", "ng_guardian", "ng_telemetry", "ng_blackbox", "ng_stack"];

/// What `attach` fills in later.
#[cfg(feature = "telemetry")]
struct Installed {
    late: ng_telemetry::tracing_layer::LateLayer,
    stats: Box<dyn Fn() -> ng_telemetry::logs::LogStats + Send + Sync>,
}

#[cfg(feature = "telemetry")]
static INSTALLED: OnceLock<Installed> = OnceLock::new();

/// Puts another filter in the place of the subscriber's.
type Refilter = Box<dyn Fn(EnvFilter) + Send + Sync>;

static REFILTER: OnceLock<Refilter> = OnceLock::new();

fn asked() -> String {
    std::env::var(VARIABLE).unwrap_or_default()
}

fn of_level(level: LogLevel) -> EnvFilter {
    let level = level.name();
    let others = if level == "error" { level } else { "warn" };
    let ours = OURS.map(|name| format!("{name}={level}")).join(",");
    EnvFilter::new(format!("{others},{ours}"))
}

/// Whether the level can be changed: not where the environment says what is shown.
#[cfg(feature = "serve")]
pub(super) fn follows_level() -> bool {
    REFILTER.get().is_some() && asked().is_empty()
}

/// Puts another level in force.
#[cfg(feature = "serve")]
pub(super) fn set_level(level: LogLevel) {
    if let Some(refilter) = REFILTER.get() {
        refilter(of_level(level));
        tracing::info!(target: "ng_stack::logs", level = level.name(), "the log has another level");
    }
}

fn filter(config: &LogConfig) -> Result<EnvFilter, Failure> {
    let asked = asked();
    if asked.is_empty() {
        return Ok(of_level(config.level));
    }
    EnvFilter::try_new(&asked).map_err(|error| {
        let help = "write a level, or such as ng_wal=debug,warn";
        Failure::new(EX_CONFIG, format!("{VARIABLE} can't be {asked:?}: {error}; {help}"))
    })
}

/// Installs the process's subscriber, if it has none yet.
pub(super) fn install(config: &LogConfig) -> Result<(), Failure> {
    let (filter, handle) = reload::Layer::new(filter(config)?);
    let refilter: Refilter = Box::new(move |filter| {
        // It fails only without the subscriber, which stays as long as the process.
        drop(handle.reload(filter));
    });
    #[cfg(feature = "telemetry")]
    {
        use ng_telemetry::logs;
        let format = match config.format {
            LogFormat::Human => logs::LogFormat::Human,
            LogFormat::Json => logs::LogFormat::Json,
        };
        let limit = logs::LogLimit { per_second: u32::try_from(config.per_second).unwrap_or(u32::MAX) };
        let (lines, stats) = logs::Logs::new(std::io::stderr(), format, limit);
        let late = ng_telemetry::tracing_layer::LateLayer::default();
        // The last one is asked first: what it turns down no other layer sees.
        let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter)).with(late.clone());
        if subscriber.try_init().is_ok() {
            let _ = INSTALLED.set(Installed { late, stats: Box::new(stats) });
            let _ = REFILTER.set(refilter);
        }
    }
    #[cfg(not(feature = "telemetry"))]
    {
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        let lines = match config.format {
            LogFormat::Human => lines.boxed(),
            LogFormat::Json => lines.json().boxed(),
        };
        if tracing_subscriber::registry().with(lines.with_filter(filter)).try_init().is_ok() {
            let _ = REFILTER.set(refilter);
        }
    }
    Ok(())
}

/// Puts the program's `tracing` spans under the decision of `stack`, and counts its log lines there.
/// The first stack of a process has them.
#[cfg(feature = "telemetry")]
pub(super) fn attach(stack: &Stack) -> Result<(), Failure> {
    use ng_core::metrics::MetricDesc;
    use ng_telemetry::logs::LogStats;
    type Count = fn(&LogStats) -> u64;
    let Some(installed) = INSTALLED.get() else { return Ok(()) };
    if let Some(layer) = stack.tracing_layer() {
        installed.late.set(layer);
    }
    let counts: [(&str, Count); 3] = [
        ("written", |stats| stats.written),
        ("suppressed", |stats| stats.suppressed),
        ("failed", |stats| stats.failed),
    ];
    for (outcome, count) in counts {
        let desc = MetricDesc::new("neurograph_log_lines_total", "Lines of the log, by what became of them.");
        let read = move || INSTALLED.get().map_or(0, |installed| count(&(installed.stats)()));
        let registered = stack.metrics().counter_from(&desc.label("outcome", outcome), Box::new(read));
        registered.map_err(|error| Failure::new(EX_CONFIG, error.to_string()))?;
    }
    Ok(())
}
