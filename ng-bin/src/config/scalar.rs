//! One value on its way from a text to a field, or back.
//!
//! A scalar knows nothing of ranges: what a field may hold is said in `setting.rs`.

use std::borrow::Cow;
use std::fmt;

use super::place::quote;

/// A value as it was given, or as it is shown.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar<'a> {
    /// A string.
    Text(Cow<'a, str>),
    /// A whole number. A number that 128 bits can't hold is given as the nearest that they can.
    Whole(i128),
    /// A number with a fraction or an exponent.
    Real(f64),
    /// `true` or `false`.
    Switch(bool),
    /// What no field takes, by its name with an article: "an array", "a table", "a date".
    Foreign(&'static str),
}

impl Scalar<'_> {
    /// The value as a message names it.
    pub(super) fn found(&self) -> String {
        match self {
            Self::Text(text) => format!("\"{}\"", quote(text)),
            // As near as 128 bits come to what was written.
            Self::Whole(i128::MIN | i128::MAX) => "a number of so many digits".to_owned(),
            Self::Whole(_) | Self::Real(_) | Self::Switch(_) | Self::Foreign(_) => self.to_string(),
        }
    }
}

/// As TOML writes it.
impl fmt::Display for Scalar<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => toml::Value::String(text.to_string()).fmt(f),
            Self::Whole(number) => number.fmt(f),
            // Debug keeps the point of a whole number, without which TOML reads an integer.
            Self::Real(number) if number.is_nan() => f.write_str("nan"),
            Self::Real(number) => write!(f, "{number:?}"),
            Self::Switch(on) => on.fmt(f),
            Self::Foreign(what) => f.write_str(what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scalar_is_shown_as_toml_writes_it() {
        assert_eq!(
            Scalar::Text("a\"b\n".into()).to_string().parse::<toml::Value>().unwrap().as_str(),
            Some("a\"b\n")
        );
        assert_eq!(Scalar::Whole(10).to_string(), "10");
        assert_eq!(Scalar::Real(1.0).to_string(), "1.0");
        assert_eq!(Scalar::Real(f64::INFINITY).to_string(), "inf");
        assert_eq!(Scalar::Real(f64::NAN).to_string(), "nan");
        assert_eq!(Scalar::Switch(true).to_string(), "true");
    }

    #[test]
    fn a_long_string_is_cut_in_a_message_and_control_characters_are_replaced() {
        let found = Scalar::Text("\u{1b}[31m".repeat(1000).into()).found();
        assert!(found.chars().count() < 100, "{found}");
        assert!(!found.contains('\u{1b}'));
    }
}
