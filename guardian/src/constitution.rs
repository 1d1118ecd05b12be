//! The constitution (CDNA): which weights, radii and strengths a token may have, and what a lane
//! compares with. Its versions only rise; history on disk is not kept here.

use ng_core::admission::Violation;
use ng_core::token::{RADIUS_SCALE, STRENGTH_SCALE, Token};
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

/// The bounds on a token, as an operator writes them. Both ends are allowed values.
#[derive(Debug, Clone, PartialEq)]
pub struct Constitution {
    /// Rises with each change; a violation names it.
    pub version: u64,
    /// Weights, finite. A weight that is not finite violates any constitution.
    pub weight: RangeInclusive<f32>,
    /// Field radii, within 0–2.55.
    pub radius: RangeInclusive<f32>,
    /// Field strengths, within 0–1.
    pub strength: RangeInclusive<f32>,
    /// Whether tokens are checked at all.
    pub validation: bool,
    /// Whether a violation refuses the token; otherwise it is counted and passed.
    pub strict: bool,
    /// Whether the guardian's events go to the flight recorder. Changes of the constitution always
    /// do.
    pub events: bool,
    /// Whether tokens may be deleted, by a cleanup too.
    pub mutation: bool,
    /// Whether no token may be made or deleted at all.
    pub read_only: bool,
    /// The share of operations that is to be sampled, 0–1; `None` leaves it as it is. Whoever hears
    /// [`GuardianOptions::on_constitution`](crate::GuardianOptions::on_constitution) sets it.
    pub sample_rate: Option<f64>,
    /// The least severe message that is logged; `None` leaves it to whoever hears, as above.
    pub log_level: Option<LogLevel>,
}

/// The least severe message that is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// What failed.
    Error,
    /// What may fail soon, or was not done as asked.
    Warn,
    /// What was started, ended, found.
    Info,
    /// What each part does.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl Default for Constitution {
    /// Version 1: every token with a finite weight is allowed, and others are refused.
    fn default() -> Self {
        Self {
            version: 1,
            weight: f32::MIN..=f32::MAX,
            radius: 0.0..=f32::from(u8::MAX) / RADIUS_SCALE,
            strength: 0.0..=f32::from(u8::MAX) / STRENGTH_SCALE,
            validation: true,
            strict: true,
            events: true,
            mutation: true,
            read_only: false,
            sample_rate: None,
            log_level: None,
        }
    }
}

/// A constitution that can't be put in force. The one before stays.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ConstitutionError {
    /// An end that is no finite number, or a range that is empty.
    #[error(
        "constitution.{field} = {min}..={max} allows no value: write two finite numbers, the lesser first"
    )]
    EmptyRange {
        /// `weight`, `radius` or `strength`.
        field: &'static str,
        /// The lower end given.
        min: f32,
        /// The upper end given.
        max: f32,
    },
    /// A range that lies between two of the 256 values which the field can have, or beyond them.
    #[error(
        "constitution.{field} = {min}..={max} allows none of the field's values (0 to {largest} in steps of 1/{scale}): widen it"
    )]
    NoStepInside {
        /// `radius` or `strength`.
        field: &'static str,
        /// The lower end given.
        min: f32,
        /// The upper end given.
        max: f32,
        /// The field's largest value.
        largest: f32,
        /// Its steps per unit.
        scale: f32,
    },
    /// A version that does not follow the one in force.
    #[error("constitution.version = {given} is not above the version in force: write {} or more", .current.saturating_add(1))]
    VersionNotAbove {
        /// The version given.
        given: u64,
        /// The version in force.
        current: u64,
    },
}

/// A constitution in the form that a lane compares with: ranges of the token's raw bytes.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    weight_min: f32,
    weight_max: f32,
    radius: Steps,
    strength: Steps,
    unchecked: bool,
    strict: bool,
    read_only: bool,
    mutation: bool,
    version: u64,
}

/// A range of raw bytes, as its least and its width: one subtraction and one comparison.
#[derive(Debug, Clone, Copy)]
struct Steps {
    least: u8,
    width: u8,
}

impl Steps {
    fn within(
        field: &'static str,
        range: &RangeInclusive<f32>,
        scale: f32,
    ) -> Result<Self, ConstitutionError> {
        let (min, max) = ends(field, range)?;
        let mut inside = (0..=u8::MAX).filter(|raw| range.contains(&(f32::from(*raw) / scale)));
        let largest = f32::from(u8::MAX) / scale;
        let least =
            inside.next().ok_or(ConstitutionError::NoStepInside { field, min, max, largest, scale })?;
        let most = inside.next_back().unwrap_or(least);
        Ok(Self { least, width: most - least })
    }

    #[inline(always)]
    const fn contains(self, raw: u8) -> bool {
        raw.wrapping_sub(self.least) <= self.width
    }

    fn violation(self, field: &'static str, raw: u8, scale: f32, version: u64) -> Option<Violation> {
        let [value, min, max] = [raw, self.least, self.least + self.width].map(|raw| f32::from(raw) / scale);
        (!self.contains(raw)).then_some(Violation { field, value, min, max, version })
    }
}

fn ends(field: &'static str, range: &RangeInclusive<f32>) -> Result<(f32, f32), ConstitutionError> {
    let (min, max) = (*range.start(), *range.end());
    if min.is_finite() && max.is_finite() && min <= max {
        Ok((min, max))
    } else {
        Err(ConstitutionError::EmptyRange { field, min, max })
    }
}

impl Bounds {
    pub(crate) fn new(constitution: &Constitution) -> Result<Self, ConstitutionError> {
        let (weight_min, weight_max) = ends("weight", &constitution.weight)?;
        // No weight is within these two, so a read-only constitution costs no branch of its own.
        let (weight_min, weight_max) = if constitution.read_only {
            (f32::INFINITY, f32::NEG_INFINITY)
        } else {
            (weight_min, weight_max)
        };
        Ok(Self {
            weight_min,
            weight_max,
            radius: Steps::within("radius", &constitution.radius, RADIUS_SCALE)?,
            strength: Steps::within("strength", &constitution.strength, STRENGTH_SCALE)?,
            unchecked: !constitution.validation && !constitution.read_only,
            strict: constitution.strict || constitution.read_only,
            read_only: constitution.read_only,
            mutation: constitution.mutation,
            version: constitution.version,
        })
    }

    /// Whether the token passes without a closer look. Comparisons without branches between
    /// them; a weight that is not a number is within no range.
    #[inline(always)]
    pub(crate) fn allows(&self, token: &Token) -> bool {
        (token.weight >= self.weight_min)
            & (token.weight <= self.weight_max)
            & self.radius.contains(token.radius_raw)
            & self.strength.contains(token.strength_raw)
            | self.unchecked
    }

    /// Whether a violation refuses the token.
    pub(crate) fn strict(&self) -> bool {
        self.strict
    }

    /// Whether tokens may be deleted.
    pub(crate) fn may_delete(&self) -> Result<(), Violation> {
        match (self.read_only, self.mutation) {
            (true, _) => Err(flag("read_only", self.version)),
            (false, false) => Err(flag("mutation", self.version)),
            (false, true) => Ok(()),
        }
    }

    /// What is wrong with a token that [`Bounds::allows`] did not let pass.
    pub(crate) fn violation(&self, token: &Token) -> Violation {
        let version = self.version;
        if self.read_only {
            return flag("read_only", version);
        }
        self.radius
            .violation("radius", token.radius_raw, RADIUS_SCALE, version)
            .or_else(|| self.strength.violation("strength", token.strength_raw, STRENGTH_SCALE, version))
            .unwrap_or(Violation {
                field: "weight",
                value: token.weight,
                min: self.weight_min,
                max: self.weight_max,
                version,
            })
    }
}

/// A flag that forbids everything, in the form of a bound.
fn flag(field: &'static str, version: u64) -> Violation {
    Violation { field, value: 1.0, min: 0.0, max: 0.0, version }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token(weight: f32, radius_raw: u8, strength_raw: u8) -> Token {
        let mut token = Token::default();
        (token.weight, token.radius_raw, token.strength_raw) = (weight, radius_raw, strength_raw);
        token
    }

    #[test]
    fn the_default_allows_all_but_weights_that_are_not_finite() {
        let bounds = Bounds::new(&Constitution::default()).unwrap();
        assert!(bounds.allows(&token(f32::MAX, 255, 255)));
        assert!(bounds.allows(&token(f32::MIN, 0, 0)));
        for weight in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(!bounds.allows(&token(weight, 0, 0)));
            assert_eq!(bounds.violation(&token(weight, 0, 0)).field, "weight");
        }
    }

    #[test]
    fn without_validation_even_nan_passes() {
        let bounds = Bounds::new(&Constitution { validation: false, ..Constitution::default() }).unwrap();
        assert!(bounds.allows(&token(f32::NAN, 0, 0)));
    }

    #[test]
    fn read_only_forbids_every_token_even_without_validation() {
        let constitution =
            Constitution { read_only: true, validation: false, strict: false, ..Constitution::default() };
        let bounds = Bounds::new(&constitution).unwrap();
        assert!(!bounds.allows(&token(0.5, 1, 1)) && bounds.strict());
        assert_eq!(bounds.violation(&token(0.5, 1, 1)).field, "read_only");
        assert_eq!(bounds.may_delete().unwrap_err().field, "read_only");
        let frozen = Bounds::new(&Constitution { mutation: false, ..Constitution::default() }).unwrap();
        assert!(frozen.allows(&token(0.5, 1, 1)));
        assert_eq!(frozen.may_delete().unwrap_err().field, "mutation");
    }

    #[test]
    fn a_range_without_a_value_is_named() {
        let bad = |radius| Bounds::new(&Constitution { radius, ..Constitution::default() }).unwrap_err();
        assert_eq!(
            bad(0.001..=0.009).to_string(),
            "constitution.radius = 0.001..=0.009 allows none of the field's values (0 to 2.55 in steps of 1/100): widen it"
        );
        assert!(matches!(bad(f32::NAN..=1.0), ConstitutionError::EmptyRange { field: "radius", .. }));
        assert!(matches!(bad(1.0..=0.5), ConstitutionError::EmptyRange { .. }));
        assert!(matches!(bad(3.0..=4.0), ConstitutionError::NoStepInside { .. }));
    }

    #[test]
    fn both_ends_of_a_range_are_allowed() {
        let bounds = Bounds::new(&Constitution { radius: 0.29..=0.58, ..Constitution::default() }).unwrap();
        let allowed: Vec<_> = (0..=255).filter(|raw| bounds.allows(&token(0.0, *raw, 0))).collect();
        assert_eq!(allowed, (29..=58).collect::<Vec<_>>());
    }

    proptest! {
        /// The raw comparison agrees with the plain reading of the ranges.
        #[test]
        fn raw_bounds_mean_what_is_written(
            (a, b, c, d) in (0.0f32..2.6, 0.0f32..2.6, 0.0f32..1.1, 0.0f32..1.1),
            (e, f, weight) in (-9.0f32..9.0, -9.0f32..9.0, -9.0f32..9.0),
            (radius_raw, strength_raw) in any::<(u8, u8)>(),
        ) {
            let constitution = Constitution {
                weight: e.min(f)..=e.max(f),
                radius: a.min(b)..=a.max(b),
                strength: c.min(d)..=c.max(d),
                ..Constitution::default()
            };
            if let Ok(bounds) = Bounds::new(&constitution) {
                let token = token(weight, radius_raw, strength_raw);
                let plain = constitution.weight.contains(&weight)
                    && constitution.radius.contains(&token.radius())
                    && constitution.strength.contains(&token.strength());
                prop_assert_eq!(bounds.allows(&token), plain);
                if !plain {
                    let found = bounds.violation(&token);
                    prop_assert!(!(found.min..=found.max).contains(&found.value));
                }
            }
        }
    }
}
