//! What a running stack changes when its configuration changes: limits, named quotas, the constitution's
//! bounds and the sample rate, all of it or nothing. The log's level is the program's to change: only
//! whether the constitution decides it is known here.
//!
//! Every part is checked before any is put in force; where one is refused all the same, those
//! before it are taken back. The parts come in force one after another within microseconds, so a
//! token that is made meanwhile may meet the new limits and the old rate. The hot path pays
//! nothing: each lane rereads a generation or a rate that it reads anyway.

use super::choice::{AdmissionChoice, SamplerChoice};
use super::{Stack, StackError};
#[cfg(feature = "guardian")]
use crate::config::ConstitutionConfig;
use crate::config::StackConfig;

/// A live key that something else decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overruled {
    /// Its full name.
    pub key: String,
    /// What decides it, in words that end a sentence.
    pub why: &'static str,
}

/// How to take a part back.
type Undo<'a> = Box<dyn FnOnce() + 'a>;

/// Why nothing of `[guardian]` is followed.
const FOREIGN: &str = "the guardian is the program's own";

fn overrule<'k>(
    overruled: &mut Vec<Overruled>,
    keys: impl IntoIterator<Item = &'k (impl ToString + ?Sized + 'k)>,
    why: &'static str,
) {
    overruled.extend(keys.into_iter().map(|key| Overruled { key: key.to_string(), why }));
}

/// A list of all keys of a struct, which breaks with the struct.
macro_rules! keys {
    ($before:expr, $after:expr, $section:literal: $($key:ident),+) => {
        [$( ($before.$key != $after.$key).then_some(concat!($section, ".", stringify!($key))) ),+]
            .into_iter()
            .flatten()
            .collect::<Vec<&'static str>>()
    };
}

impl Stack {
    /// Puts in force in what `after` differs from `before`, as far as a running stack can; keys that
    /// are not marked live in docs/configuration.md are not looked at. Returns the live keys that are
    /// not in force, since something else decides them.
    ///
    /// # Errors
    /// If a layer refuses its part; nothing has changed then.
    pub fn follow(&self, before: &StackConfig, after: &StackConfig) -> Result<Vec<Overruled>, StackError> {
        let mut overruled = Vec::new();
        let bounds = keys!(before.guardian.constitution, after.guardian.constitution, "guardian.constitution":
            validation, strict, weight_min, weight_max, radius_min, radius_max, strength_min, strength_max);
        let limits = keys!(before.guardian, after.guardian, "guardian":
            max_tokens, max_memory_bytes, soft_mark, cleanup_mark, cleanup_target, rate_per_second, rate_burst);
        let undo_bounds = self.follow_bounds(&bounds, after, &mut overruled)?;
        let undo_limits = match self.follow_limits(&limits, after, &mut overruled) {
            Ok(undo) => undo,
            Err(error) => {
                undo_bounds();
                return Err(error);
            }
        };
        if let Err(error) = self.follow_quotas(before, after, &mut overruled) {
            undo_limits();
            undo_bounds();
            return Err(error);
        }
        #[expect(clippy::float_cmp, reason = "whether it is the same one, not near it")]
        if before.tracing.rate != after.tracing.rate {
            self.follow_rate(after, &mut overruled);
        }
        if before.log.level != after.log.level {
            let why = self.decrees.configure_level(after.log.level);
            overruled.extend(why.map(|why| Overruled { key: "log.level".to_owned(), why }));
        }
        Ok(overruled)
    }

    /// Returns how to take it back.
    #[cfg_attr(not(feature = "guardian"), allow(unused_variables, clippy::unnecessary_wraps))]
    fn follow_bounds(
        &self,
        changed: &[&'static str],
        after: &StackConfig,
        overruled: &mut Vec<Overruled>,
    ) -> Result<Undo<'_>, StackError> {
        let nothing: Undo<'_> = Box::new(|| ());
        if changed.is_empty() {
            return Ok(nothing);
        }
        match &self.admission {
            AdmissionChoice::Off(_) => Ok(nothing),
            AdmissionChoice::Custom(_) => {
                overrule(overruled, changed.iter().copied(), FOREIGN);
                Ok(nothing)
            }
            #[cfg(feature = "guardian")]
            AdmissionChoice::Built(_) if after.guardian.cdna_dir.is_some() => {
                let why = "the history in guardian.cdna_dir decides: use `ng cdna`";
                overrule(overruled, changed.iter().copied(), why);
                Ok(nothing)
            }
            #[cfg(feature = "guardian")]
            AdmissionChoice::Built(guardian) => {
                let old = guardian.constitution();
                let new = bounded(&after.guardian.constitution, old.clone());
                let failed = StackError::layer("guardian.constitution");
                let next = old.version + 1;
                guardian
                    .set_constitution(ng_guardian::Constitution { version: next, ..new })
                    .map_err(|error| failed(error.into()))?;
                Ok(Box::new(move || {
                    // It was in force a moment ago.
                    let _ = guardian.set_constitution(ng_guardian::Constitution { version: next + 1, ..old });
                }))
            }
        }
    }

    #[cfg_attr(not(feature = "guardian"), allow(unused_variables, clippy::unnecessary_wraps))]
    fn follow_limits(
        &self,
        changed: &[&'static str],
        after: &StackConfig,
        overruled: &mut Vec<Overruled>,
    ) -> Result<Undo<'_>, StackError> {
        let nothing: Undo<'_> = Box::new(|| ());
        if changed.is_empty() {
            return Ok(nothing);
        }
        match &self.admission {
            AdmissionChoice::Off(_) => Ok(nothing),
            AdmissionChoice::Custom(_) => {
                overrule(overruled, changed.iter().copied(), FOREIGN);
                Ok(nothing)
            }
            #[cfg(feature = "guardian")]
            AdmissionChoice::Built(guardian) => {
                let section = &after.guardian;
                let failed = |error: ng_guardian::GuardianError| StackError::layer("guardian")(error.into());
                let old = (guardian.limits(), guardian.marks(), guardian.tokens().rate());
                // They were in force a moment ago, so they are taken.
                let undo = move || {
                    let _ = guardian.set_limits(old.0);
                    let _ = guardian.set_marks(old.1);
                    let _ = guardian.tokens().set_rate(old.2);
                };
                guardian.set_marks(super::guardian::marks(section)).map_err(failed)?;
                if let Err(error) = guardian.set_limits(super::guardian::limits(section)) {
                    undo();
                    return Err(failed(error));
                }
                let rate = super::guardian::rate(section.rate_per_second, section.rate_burst);
                if let Err(error) = guardian.tokens().set_rate(rate) {
                    undo();
                    return Err(StackError::layer("guardian")(error.into()));
                }
                Ok(Box::new(undo))
            }
        }
    }

    /// Limits, marks and rates of the quotas that are there before and after.
    #[cfg_attr(not(feature = "guardian"), allow(clippy::unnecessary_wraps))]
    fn follow_quotas(
        &self,
        before: &StackConfig,
        after: &StackConfig,
        overruled: &mut Vec<Overruled>,
    ) -> Result<(), StackError> {
        let followed = before.guardian.named.followed(&after.guardian.named);
        match &self.admission {
            AdmissionChoice::Off(_) => Ok(()),
            AdmissionChoice::Custom(_) => {
                overrule(overruled, followed.iter().flat_map(|(_, keys)| keys), FOREIGN);
                Ok(())
            }
            #[cfg(feature = "guardian")]
            AdmissionChoice::Built(guardian) => {
                let specs: Vec<_> =
                    followed.iter().map(|(quota, _)| super::guardian::pool_spec(quota)).collect();
                if specs.is_empty() {
                    return Ok(());
                }
                guardian.change_pools(&specs).map_err(|error| StackError::layer("guardian")(error.into()))
            }
        }
    }

    fn follow_rate(&self, after: &StackConfig, overruled: &mut Vec<Overruled>) {
        let key = "tracing.rate";
        if matches!(self.sampler, SamplerChoice::Off(_)) {
            return;
        }
        if after.tracing.target_per_second > 0 {
            overrule(overruled, [key], "tracing.target_per_second steers the rate");
        } else if let Some(why) = self.decrees.configure_rate(after.tracing.rate) {
            overrule(overruled, [key], why);
        }
    }
}

/// The bounds of the configuration, and everything else as it is.
#[cfg(feature = "guardian")]
pub(super) fn bounded(
    bounds: &ConstitutionConfig,
    rest: ng_guardian::Constitution,
) -> ng_guardian::Constitution {
    #[expect(clippy::cast_possible_truncation, reason = "a weight is an f32, and so are its bounds")]
    let range = |min: f64, max: f64| min as f32..=max as f32;
    ng_guardian::Constitution {
        weight: range(bounds.weight_min, bounds.weight_max),
        radius: range(bounds.radius_min, bounds.radius_max),
        strength: range(bounds.strength_min, bounds.strength_max),
        validation: bounds.validation,
        strict: bounds.strict,
        ..rest
    }
}
