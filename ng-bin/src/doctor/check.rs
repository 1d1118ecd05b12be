//! One finding about the machine.

use std::fmt;

use serde::Serialize;

/// How good it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// It could not be found out, or it costs little.
    Note,
    /// It costs speed or comfort.
    Warn,
    /// It takes away what the configuration asks for.
    Bad,
}

impl Verdict {
    /// As a line begins.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Note => "note",
            Self::Warn => "warn",
            Self::Bad => "BAD",
        }
    }
}

/// One thing that the stack depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// How good it is.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What follows from it.
    pub consequence: String,
    /// What to do about it, if there is something to do.
    pub fix: Option<String>,
}

impl Check {
    pub(super) fn new(
        name: &'static str,
        verdict: Verdict,
        found: impl Into<String>,
        consequence: impl Into<String>,
    ) -> Self {
        Self { name, verdict, found: found.into(), consequence: consequence.into(), fix: None }
    }

    pub(super) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}

/// A line, and one more for what to do; the last one not ended.
impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<5} {:<16} {}: {}", self.verdict.label(), self.name, self.found, self.consequence)?;
        match &self.fix {
            Some(fix) => write!(f, "\n      {:<16} -> {fix}", ""),
            None => Ok(()),
        }
    }
}
