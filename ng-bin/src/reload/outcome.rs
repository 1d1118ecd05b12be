//! What became of a configuration that was read again.

use std::fmt;

use crate::config::{ConfigErrors, Difference};

/// Why it was read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Someone asked: SIGHUP, or a request.
    Asked,
    /// The file has changed, or one that it names.
    Changed,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Asked => "asked to read the configuration again",
            Self::Changed => "the configuration's file has changed",
        })
    }
}

/// A change that is not in force.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// The change.
    pub difference: Difference,
    /// Why it is not, in words that end a sentence.
    pub why: &'static str,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "whoever changed the file wants to know"]
pub enum Outcome {
    /// It says what is in force already.
    Unchanged,
    /// It was taken: what is live is in force.
    Applied {
        /// What is in force now and was not before.
        changed: Vec<Difference>,
        /// What is not, because it needs a restart or something else decides it.
        waiting: Vec<Waiting>,
        /// What was read anew from files that the configuration names, such as a certificate.
        renewed: Vec<&'static str>,
    },
    /// It has faults: nothing has changed.
    Refused(ConfigErrors),
    /// A layer did not take its part: nothing has changed.
    Failed(String),
}

impl Outcome {
    /// Whether the configuration in force is as the file says, save for what waits.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        matches!(self, Self::Unchanged | Self::Applied { .. })
    }

    /// As the metric's label has it.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Applied { .. } => "applied",
            Self::Refused(_) | Self::Failed(_) => "refused",
        }
    }
}

/// A line for each thing that there is to say, the last one not ended.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unchanged => f.write_str("nothing has changed"),
            Self::Applied { changed, waiting, renewed } => {
                if changed.is_empty() && waiting.is_empty() {
                    return write!(f, "read anew: {}", renewed.join(", "));
                }
                let many = |n: usize| if n == 1 { "change" } else { "changes" };
                write!(f, "{} {} in force", changed.len(), many(changed.len()))?;
                if !waiting.is_empty() {
                    write!(f, ", {} {} not", waiting.len(), many(waiting.len()))?;
                }
                for one in changed {
                    write!(f, "\n  {} = {} (was {})  # {}", one.key, one.after, one.before, one.after_from)?;
                }
                for one in renewed {
                    write!(f, "\n  {one} was read anew")?;
                }
                for Waiting { difference: one, why } in waiting {
                    write!(f, "\n  {} stays {}, not {}: {why}", one.key, one.before, one.after)?;
                }
                Ok(())
            }
            Self::Refused(errors) => write!(f, "refused, the configuration before stays in force\n{errors}"),
            Self::Failed(why) => write!(f, "refused, the configuration before stays in force: {why}"),
        }
    }
}
