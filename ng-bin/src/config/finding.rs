//! What is wrong with a configuration, and how it is shown.
//!
//! A message says where, what, and what to write instead. It never says only that something is
//! invalid.

use std::fmt::{self, Write as _};

use super::place::Place;

/// The exit code of a program that refuses its configuration: `EX_CONFIG` of BSD's sysexits.h.
pub const EX_CONFIG: u8 = 78;

/// Findings that are kept; those beyond are counted.
const KEPT: usize = 100;

/// Whether the configuration is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// It is.
    Error,
    /// It is not, but something in it does not do what it seems to.
    Warning,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whether the configuration is refused for it.
    pub severity: Severity,
    /// Where it is written.
    pub place: Place,
    /// What is wrong.
    pub message: String,
    /// What to do about it, the most probable first.
    pub help: Vec<String>,
}

impl Finding {
    pub(super) fn error(place: Place, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, place, message: message.into(), help: Vec::new() }
    }

    pub(super) fn warning(place: Place, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(place, message) }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    pub(super) fn did_you_mean(self, nearest: Option<impl fmt::Display>) -> Self {
        match nearest {
            Some(nearest) => self.help(format!("did you mean {nearest}?")),
            None => self,
        }
    }

    /// The finding as a block of lines, the last one ended; with terminal colours if `color`.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        let paint = Paint(color);
        let (label, hue) = match self.severity {
            Severity::Error => ("error", RED),
            Severity::Warning => ("warning", YELLOW),
        };
        let mut out = format!("{}: {}\n", paint.with(hue, label), paint.with(BOLD, &self.message));
        let gutter = self.place.line().map_or(1, |line| line.to_string().len());
        let pad = " ".repeat(gutter);
        let bar = paint.with(BLUE, "|");
        let arrow = paint.with(BLUE, "-->");
        // Writing to a String can't fail.
        let _ = match &self.place {
            Place::Text(at) => {
                let line = paint.with(BLUE, &format!("{:>gutter$}", at.line));
                let marks = paint.with(hue, &"^".repeat(at.width));
                writeln!(
                    out,
                    "{pad}{arrow} {}:{}:{}\n{pad} {bar}\n{line} {bar} {}\n{pad} {bar} {}{marks}",
                    at.name,
                    at.line,
                    at.column,
                    at.shown,
                    " ".repeat(at.lead),
                )
            }
            Place::Variable { name, value } => {
                let what = if name.starts_with('-') { "option" } else { "environment variable" };
                let marks = paint.with(hue, &"^".repeat(value.chars().count().max(1)));
                writeln!(
                    out,
                    "{pad}{arrow} {what} {name}\n{pad} {bar}\n{pad} {bar} {name}={value}\n{pad} {bar} {}{marks}",
                    " ".repeat(name.chars().count() + 1),
                )
            }
            Place::File { name } => writeln!(out, "{pad}{arrow} {name}"),
        };
        for help in &self.help {
            let _ = writeln!(out, "{pad} {} {}: {help}", paint.with(BLUE, "="), paint.with(CYAN, "help"));
        }
        out
    }
}

/// Every reason for which a configuration is refused, in the order of the text, then of the
/// environment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.render(false))]
pub struct ConfigErrors {
    findings: Vec<Finding>,
    more: usize,
}

impl ConfigErrors {
    /// The findings, at most 100.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// How many there were, those that are not kept included.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.findings.len() + self.more
    }

    /// Every finding and how many there are, without a final newline; with terminal colours if
    /// `color`.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        let mut out = String::new();
        for finding in &self.findings {
            out.push_str(&finding.render(color));
            out.push('\n');
        }
        let _ = match (self.count(), self.more) {
            (1, _) => write!(out, "1 error in the configuration"),
            (count, 0) => write!(out, "{count} errors in the configuration"),
            (count, more) => write!(out, "{count} errors in the configuration, {more} of them not shown"),
        };
        out
    }
}

/// Gathers findings while a configuration is read.
#[derive(Debug, Default)]
pub(super) struct Findings {
    errors: Vec<Finding>,
    warnings: Vec<Finding>,
    more: usize,
}

impl Findings {
    pub(super) fn warn(&mut self, warning: Finding) {
        if self.warnings.len() < KEPT {
            self.warnings.push(warning);
        }
    }

    /// Adds an error, which is made only if it is kept: finding its place costs a walk over the text.
    pub(super) fn error(&mut self, error: impl FnOnce() -> Finding) {
        if self.errors.len() < KEPT {
            self.errors.push(error());
        } else {
            self.more += 1;
        }
    }

    /// The warnings, or all errors.
    pub(super) fn done(mut self) -> Result<Vec<Finding>, ConfigErrors> {
        if self.errors.is_empty() {
            return Ok(self.warnings);
        }
        // Stable, so that what has no line keeps its order, after what has one.
        self.errors.sort_by_key(|finding| match &finding.place {
            Place::File { .. } => (0, 0, 0),
            Place::Text(at) => (1, at.line, at.column),
            Place::Variable { .. } => (2, 0, 0),
        });
        Err(ConfigErrors { findings: self.errors, more: self.more })
    }
}

const BOLD: &str = "1";
const RED: &str = "1;31";
const YELLOW: &str = "1;33";
const BLUE: &str = "1;34";
const CYAN: &str = "1;36";

/// Colours by the codes of ECMA-48's "select graphic rendition", or none.
struct Paint(bool);

impl Paint {
    fn with(&self, code: &str, text: &str) -> String {
        if self.0 { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}
