//! Rules for operations by their name: a rate of their own, a target of their own, or nothing.
//!
//! The first rule that fits counts. It decides nothing itself.

use super::{controller::Adaptive, sampler::RateError};

/// A rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// The operation's whole name, or its beginning followed by `*`.
    pub pattern: String,
    /// What holds for it.
    pub action: RuleAction,
}

/// What holds for operations of a name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RuleAction {
    /// This share of them is sampled, 0–1.
    Rate(f64),
    /// As many are sampled as come near a target.
    Adaptive(Adaptive),
}

/// Why a rule can't be.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// The pattern is empty, or has a `*` before its end.
    #[error("sampling rule {0:?}: write an operation's name, or its beginning and * at the end")]
    Pattern(String),
    /// The rate is none.
    #[error("sampling rule {pattern:?}: {source}")]
    Rate {
        /// The rule's pattern.
        pattern: String,
        /// What is wrong.
        source: RateError,
    },
    /// A text is no rule.
    #[error("sampling rule {0:?} is not NAME=RATE, such as \"http.*=0.1\"")]
    Form(String),
}

impl Rule {
    /// A fixed rate for a pattern.
    #[must_use]
    pub fn rate(pattern: &str, rate: f64) -> Self {
        Self { pattern: pattern.to_owned(), action: RuleAction::Rate(rate) }
    }

    /// Reads `NAME=RATE, NAME=RATE, …`; an empty text is no rules.
    ///
    /// # Errors
    /// [`RuleError`], of the first that is wrong.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, RuleError> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let rule = |part: &str| {
            let form = || RuleError::Form(part.to_owned());
            let (pattern, rate) = part.rsplit_once('=').ok_or_else(form)?;
            let rule = Self::rate(pattern.trim(), rate.trim().parse().map_err(|_| form())?);
            rule.check().map(|()| rule)
        };
        parts.map(rule).collect()
    }

    /// Whether it holds for this name.
    #[must_use]
    pub fn fits(&self, name: &str) -> bool {
        match self.pattern.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => name == self.pattern,
        }
    }

    pub(super) fn check(&self) -> Result<(), RuleError> {
        let body = self.pattern.strip_suffix('*').unwrap_or(&self.pattern);
        if self.pattern.is_empty() || body.contains('*') {
            return Err(RuleError::Pattern(self.pattern.clone()));
        }
        match self.action {
            RuleAction::Rate(rate) if !(0.0..=1.0).contains(&rate) => {
                Err(RuleError::Rate { pattern: self.pattern.clone(), source: RateError { rate } })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_and_what_is_wrong_is_named() {
        let rules = Rule::parse_list("http.*=0.1, create = 1,,a=b=0").unwrap();
        assert_eq!(rules, [Rule::rate("http.*", 0.1), Rule::rate("create", 1.0), Rule::rate("a=b", 0.0)]);
        assert!(rules[0].fits("http.get") && !rules[0].fits("https") && !rules[1].fits("create2"));
        assert_eq!(Rule::parse_list(" ").unwrap(), []);
        assert_eq!(Rule::parse_list("a").unwrap_err(), RuleError::Form("a".into()));
        assert_eq!(Rule::parse_list("a=x").unwrap_err(), RuleError::Form("a=x".into()));
        assert_eq!(Rule::parse_list("a*b=1").unwrap_err(), RuleError::Pattern("a*b".into()));
        assert!(matches!(Rule::parse_list("a=2").unwrap_err(), RuleError::Rate { .. }));
    }
}
