//! A constitution as it is written: TOML, a profile and what differs from it. It keeps no history.

use crate::constitution::{Bounds, Constitution, ConstitutionError, LogLevel};
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

/// A set of defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CharterProfile {
    /// Any finite weight; violations refuse; 1 % of operations sampled.
    #[default]
    Default,
    /// Any finite weight; violations are counted and pass; 5 % sampled.
    Explorer,
    /// Weights 0 to 1; violations refuse; nothing is deleted; 10 % sampled.
    Analyst,
    /// Weights −10 to 10; violations are counted and pass; 2 % sampled.
    Creative,
    /// As `default`, but the document must give each bound.
    Custom,
}

/// When a new version is taken back: once it has refused so many tokens, and so many times faster
/// than the one before did.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrialTerms {
    /// How long a version is watched after it came in force; 0 watches none. Default 30.
    pub seconds: u64,
    /// Violations below which nothing happens, at least 1. Default 1,000.
    pub refusals: u64,
    /// How many times the rate of violations before counts as an explosion, at least 1. Default
    /// 10.
    pub factor: f64,
}

impl Default for TrialTerms {
    fn default() -> Self {
        Self { seconds: 30, refusals: 1_000, factor: 10.0 }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default)]
    profile: CharterProfile,
    #[serde(default)]
    bounds: RawBounds,
    #[serde(default)]
    flags: RawFlags,
    #[serde(default)]
    observability: RawObservability,
    #[serde(default)]
    trial: TrialTerms,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawBounds {
    weight: Option<[f32; 2]>,
    radius: Option<[f32; 2]>,
    strength: Option<[f32; 2]>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawFlags {
    validation: Option<bool>,
    events: Option<bool>,
    mutation: Option<bool>,
    strict: Option<bool>,
    read_only: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawObservability {
    sample_rate: Option<f64>,
    log_level: Option<LogLevel>,
}

/// What is wrong with a document.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CharterError {
    /// It is no such TOML; the message shows the place.
    #[error("the constitution can't be read: {0}")]
    Syntax(String),
    /// A bound that `custom` must give.
    #[error("profile = \"custom\" takes no bound from elsewhere: write bounds.{0} = [least, most]")]
    Missing(&'static str),
    /// A bound that allows nothing.
    #[error(transparent)]
    Bound(#[from] ConstitutionError),
    /// A rate that is no share.
    #[error("observability.sample_rate = {0} is no share of operations: write a number from 0 to 1")]
    SampleRate(f64),
    /// Terms of the trial that make no sense.
    #[error("trial.{option} = {given}: {advice}")]
    Trial {
        /// `refusals` or `factor`.
        option: &'static str,
        /// Its value.
        given: f64,
        /// What to write.
        advice: &'static str,
    },
}

/// A document that was read and found sound.
///
/// ```
/// use ng_guardian::cdna::Charter;
///
/// let charter = Charter::parse("profile = \"analyst\"\n[bounds]\nweight = [0.0, 0.5]\n")?;
/// assert!(charter.constitution(7).strict);
/// let bad = Charter::parse("[bounds]\nweight = [0.5, 0.0]\n").unwrap_err();
/// assert!(bad.to_string().starts_with("constitution.weight = 0.5..=0 allows no value"));
/// # Ok::<(), ng_guardian::cdna::CharterError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Charter {
    /// The profile.
    pub profile: CharterProfile,
    /// When this version is taken back by itself.
    pub trial: TrialTerms,
    constitution: Constitution,
}

impl Charter {
    /// Reads a document.
    ///
    /// # Errors
    /// [`CharterError`], the first fault.
    pub fn parse(text: &str) -> Result<Self, CharterError> {
        let raw: Raw = toml::from_str(text)
            .map_err(|error| CharterError::Syntax(error.to_string().trim_end().to_owned()))?;
        if raw.profile == CharterProfile::Custom {
            let bounds = [
                ("weight", raw.bounds.weight),
                ("radius", raw.bounds.radius),
                ("strength", raw.bounds.strength),
            ];
            if let Some((missing, _)) = bounds.iter().find(|(_, range)| range.is_none()) {
                return Err(CharterError::Missing(missing));
            }
        }
        let base = raw.profile.constitution();
        let range = |given: Option<[f32; 2]>, base: RangeInclusive<f32>| given.map_or(base, |[a, b]| a..=b);
        let constitution = Constitution {
            version: 0,
            weight: range(raw.bounds.weight, base.weight),
            radius: range(raw.bounds.radius, base.radius),
            strength: range(raw.bounds.strength, base.strength),
            validation: raw.flags.validation.unwrap_or(base.validation),
            events: raw.flags.events.unwrap_or(base.events),
            mutation: raw.flags.mutation.unwrap_or(base.mutation),
            strict: raw.flags.strict.unwrap_or(base.strict),
            read_only: raw.flags.read_only.unwrap_or(base.read_only),
            sample_rate: raw.observability.sample_rate.or(base.sample_rate),
            log_level: raw.observability.log_level.or(base.log_level),
        };
        Bounds::new(&constitution)?;
        if let Some(rate) = constitution.sample_rate
            && !(0.0..=1.0).contains(&rate)
        {
            return Err(CharterError::SampleRate(rate));
        }
        if raw.trial.refusals == 0 {
            let advice = "any token would end the trial: write 1 or more";
            return Err(CharterError::Trial { option: "refusals", given: 0.0, advice });
        }
        if !(raw.trial.factor >= 1.0 && raw.trial.factor.is_finite()) {
            let (given, advice) = (raw.trial.factor, "write a finite number, 1 or more");
            return Err(CharterError::Trial { option: "factor", given, advice });
        }
        Ok(Self { profile: raw.profile, trial: raw.trial, constitution })
    }

    /// What is put in force, as this version.
    #[must_use]
    pub fn constitution(&self, version: u64) -> Constitution {
        Constitution { version, ..self.constitution.clone() }
    }

    /// Every setting with its value, defaults filled in, in the order of a document.
    #[must_use]
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let c = &self.constitution;
        let range = |range: &RangeInclusive<f32>| format!("[{:?}, {:?}]", range.start(), range.end());
        let profile =
            toml::Value::try_from(self.profile).map_or_else(|_| String::new(), |value| value.to_string());
        vec![
            ("profile", profile),
            ("bounds.weight", range(&c.weight)),
            ("bounds.radius", range(&c.radius)),
            ("bounds.strength", range(&c.strength)),
            ("flags.validation", c.validation.to_string()),
            ("flags.events", c.events.to_string()),
            ("flags.mutation", c.mutation.to_string()),
            ("flags.strict", c.strict.to_string()),
            ("flags.read_only", c.read_only.to_string()),
            (
                "observability.sample_rate",
                c.sample_rate.map_or_else(|| "unset".to_owned(), |rate| rate.to_string()),
            ),
            ("observability.log_level", c.log_level.map_or("unset", LogLevel::name).to_owned()),
            ("trial.seconds", self.trial.seconds.to_string()),
            ("trial.refusals", self.trial.refusals.to_string()),
            ("trial.factor", self.trial.factor.to_string()),
        ]
    }

    /// The settings that another charter has otherwise: key, here, there.
    #[must_use]
    pub fn diff(&self, other: &Self) -> Vec<(&'static str, String, String)> {
        self.settings()
            .into_iter()
            .zip(other.settings())
            .filter(|((_, here), (_, there))| here != there)
            .map(|((key, here), (_, there))| (key, here, there))
            .collect()
    }
}

impl CharterProfile {
    fn constitution(self) -> Constitution {
        let base = Constitution::default();
        let (weight, strict, mutation, sample_rate) = match self {
            Self::Default | Self::Custom => (base.weight.clone(), true, true, 0.01),
            Self::Explorer => (base.weight.clone(), false, true, 0.05),
            Self::Analyst => (0.0..=1.0, true, false, 0.10),
            Self::Creative => (-10.0..=10.0, false, true, 0.02),
        };
        Constitution { weight, strict, mutation, sample_rate: Some(sample_rate), ..base }
    }
}
