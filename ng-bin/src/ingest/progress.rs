//! What a run tells a person while it goes on.
//!
//! Everything goes to stderr; the bar only to a terminal, without colour. It decides nothing.

use std::io::{IsTerminal, Write};

use indicatif::{ProgressBar, ProgressStyle};

use super::engine::RefusedRow;
use super::fault::BadRow;

/// A listener; each method does nothing unless written.
pub trait Progress {
    /// A source of `bytes` (if known) begins.
    fn begin(&mut self, _source: &str, _bytes: Option<u64>) {}
    /// So many bytes of the source and rows of the run have been read.
    fn advance(&mut self, _bytes: u64, _rows: u64) {}
    /// A bad row.
    fn bad_row(&mut self, _row: &BadRow) {}
    /// A refused row.
    fn refused(&mut self, _row: &RefusedRow) {}
    /// The source has ended.
    fn end(&mut self) {}
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {}

/// Lines for the first faults, and a bar with the rate, on stderr.
pub struct Stderr {
    bar: Option<ProgressBar>,
    wants_bar: bool,
    left: u64,
}

impl Stderr {
    /// Shows the first `faults` bad or refused rows; a bar too if `bar` and stderr is a terminal.
    #[must_use]
    pub fn new(bar: bool, faults: u64) -> Self {
        Self { bar: None, wants_bar: bar && std::io::stderr().is_terminal(), left: faults }
    }

    fn line(&mut self, text: &dyn std::fmt::Display) {
        let Some(left) = self.left.checked_sub(1) else { return };
        self.left = left;
        let write = || {
            let more = if left == 0 { "\n(more such rows are only counted)" } else { "" };
            // A closed stderr must not end the run.
            let _ = writeln!(std::io::stderr(), "{text}{more}");
        };
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

impl Progress for Stderr {
    fn begin(&mut self, source: &str, bytes: Option<u64>) {
        if !self.wants_bar {
            return;
        }
        let (bar, template) = match bytes {
            Some(bytes) => (
                ProgressBar::new(bytes),
                "{prefix} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {msg} eta {eta}",
            ),
            None => (ProgressBar::new_spinner(), "{prefix} {spinner} {bytes} {bytes_per_sec} {msg}"),
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        self.bar = Some(bar.with_style(style).with_prefix(source.to_owned()));
    }

    fn advance(&mut self, bytes: u64, rows: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(bytes);
            bar.set_message(format!("{rows} rows"));
        }
    }

    fn bad_row(&mut self, row: &BadRow) {
        self.line(row);
    }

    fn refused(&mut self, row: &RefusedRow) {
        self.line(row);
    }

    fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
