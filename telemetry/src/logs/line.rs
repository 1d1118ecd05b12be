//! The layer, and one line.

use std::{
    fmt::{self, Write as _},
    io::Write,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
};

use ng_core::clock::precise_unix_ns;
use serde_json::{Map, Value as Json, json};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

use super::limit::{Counts, Limiter, LogLimit, LogStats};
use crate::tracing_layer::TraceHandle;

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people: time, level, module, message, fields.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// The layer that writes events.
///
/// ```
/// use ng_telemetry::logs::{LogFormat, LogLimit, Logs};
/// use tracing_subscriber::{EnvFilter, Layer as _, prelude::*};
///
/// let (logs, stats) = Logs::new(std::io::sink(), LogFormat::Json, LogLimit { per_second: 2 });
/// let subscriber = tracing_subscriber::registry().with(logs.with_filter(EnvFilter::new("info")));
/// tracing::subscriber::with_default(subscriber, || {
///     for n in 0..10 {
///         tracing::info!(n, "too much");
///         tracing::debug!("not asked for");
///     }
/// });
/// assert!(stats().written >= 2 && stats().suppressed >= 6);
/// ```
pub struct Logs {
    out: Mutex<Box<dyn Write + Send>>,
    format: LogFormat,
    limiter: Limiter,
}

impl Logs {
    /// A layer that writes to `out`, and a way to ask what it counts.
    pub fn new(
        out: impl Write + Send + 'static,
        format: LogFormat,
        limit: LogLimit,
    ) -> (Self, impl Fn() -> LogStats + Send + Sync + 'static) {
        let limiter = Limiter::new(limit);
        let counts: Arc<Counts> = Arc::clone(&limiter.counts);
        (Self { out: Mutex::new(Box::new(out)), format, limiter }, move || counts.stats())
    }
}

impl fmt::Debug for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logs").field("format", &self.format).finish_non_exhaustive()
    }
}

impl<S> Layer<S> for Logs
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let now = precise_unix_ns();
        let callsite = std::ptr::from_ref(event.metadata()).addr();
        let Some(left_out) = self.limiter.admit(callsite, now / 1_000_000_000) else { return };
        let mut fields = Fields::default();
        event.record(&mut fields);
        if left_out > 0 {
            fields.others.insert("suppressed".to_owned(), json!(left_out));
        }
        let ids = TraceHandle::current().ids();
        if let Some((trace, span)) = ids {
            fields.others.insert("trace_id".to_owned(), json!(trace.to_string()));
            if let Some(span) = span {
                fields.others.insert("span_id".to_owned(), json!(span.to_string()));
            }
        }
        let metadata = event.metadata();
        let line = match self.format {
            LogFormat::Human => human(now, *metadata.level(), metadata.target(), &fields),
            LogFormat::Json => as_json(now, *metadata.level(), metadata.target(), fields),
        };
        // In one piece, so that lines of several threads do not mix.
        let written = self.out.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes());
        let counts = &self.limiter.counts;
        let count = if written.is_ok() { &counts.written } else { &counts.failed };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Json>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: Json) {
        self.others.insert(field.name().to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, json!(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, json!(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, json!(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, json!(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.add(field, json!(value));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            self.add(field, json!(format!("{value:?}")));
        }
    }
}

/// `2026-11-25T03:04:05.678Z  INFO module: message key=value`, on one line whatever is in it.
fn human(unix_ns: u64, level: Level, target: &str, fields: &Fields) -> String {
    let mut line = format!("{} {level:>5} {target}: ", utc(unix_ns));
    one_line(&mut line, &fields.message);
    for (key, value) in &fields.others {
        // Writing to a String has no way to fail.
        let _ = write!(line, " {key}=");
        match value {
            Json::String(text) if !text.contains([' ', '"', '=']) => one_line(&mut line, text),
            other => one_line(&mut line, &other.to_string()),
        }
    }
    line.push('\n');
    line
}

/// A text from outside must not begin a line of its own, nor move the cursor.
fn one_line(line: &mut String, text: &str) {
    for c in text.chars() {
        if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
    }
}

fn as_json(unix_ns: u64, level: Level, target: &str, fields: Fields) -> String {
    let mut object = Map::new();
    object.insert("time".to_owned(), json!(utc(unix_ns)));
    object.insert("level".to_owned(), json!(level.as_str()));
    object.insert("target".to_owned(), json!(target));
    object.insert("message".to_owned(), json!(fields.message));
    object.insert("fields".to_owned(), Json::Object(fields.others));
    let mut line = Json::Object(object).to_string();
    line.push('\n');
    line
}

/// RFC 3339 in UTC, to the millisecond. Days to dates: Howard Hinnant, *chrono-Compatible Low-Level
/// Date Algorithms*, `civil_from_days`.
fn utc(unix_ns: u64) -> String {
    let (seconds, millis) = (unix_ns / 1_000_000_000, unix_ns / 1_000_000 % 1_000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_shifted + 2) / 5 + 1;
    let month = if month_shifted < 10 { month_shifted + 3 } else { month_shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

#[cfg(all(test, not(loom)))]
mod tests {
    use tracing_subscriber::prelude::*;

    use super::*;

    #[derive(Clone, Default)]
    struct Shown(Arc<Mutex<Vec<u8>>>);

    impl Write for Shown {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, body: impl FnOnce()) -> String {
        let shown = Shown::default();
        let (logs, _) = Logs::new(shown.clone(), format, LogLimit::default());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(logs), body);
        String::from_utf8(shown.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000Z"),
            (4_102_444_800, "2100-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(utc(seconds * 1_000_000_000), text);
        }
    }

    #[test]
    fn a_message_from_outside_stays_on_its_line() {
        let text = logged(LogFormat::Human, || {
            tracing::warn!(who = "a b", plain = "x", "line one\nline \x1b[2J two");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(
            text.contains(r" WARN ng_telemetry::logs::line::tests: line one\nline \u{1b}[2J two"),
            "{text}"
        );
        assert!(text.contains(r#" plain=x who="a b""#), "{text}");
    }

    #[test]
    fn a_line_of_json_has_every_field_and_the_trace() {
        let forced = ng_core::sampling::Decision {
            sampled: true,
            reason: ng_core::sampling::Reason::Forced,
            probability: 1.0,
        };
        let handle = TraceHandle::decided(&forced, &crate::context::Extracted::default());
        let text = logged(LogFormat::Json, || {
            handle.in_scope(|| tracing::error!(n = 3, ratio = 0.5, "broken"));
            tracing::info!("outside");
        });
        let lines: Vec<Json> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((&lines[0]["level"], &lines[0]["message"]), (&json!("ERROR"), &json!("broken")));
        assert_eq!((&lines[0]["fields"]["n"], &lines[0]["fields"]["ratio"]), (&json!(3), &json!(0.5)));
        let (trace, _) = handle.ids().unwrap();
        assert_eq!(lines[0]["fields"]["trace_id"], trace.to_string());
        assert_eq!(lines[1]["fields"].get("trace_id"), None);
    }
}
