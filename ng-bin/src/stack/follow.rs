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
use crate::config::StackConfig;

/// A live key that something else decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overruled {
    /// Its full name.
    pub key: String,
    /// What decides it, in words that end a sentence.
    pub why: &'static str,
}

/// Why nothing of `[guardian]` is followed.
const FOREIGN: &str = "the guardian is the program's own";

/// Why its bounds are not.
#[cfg(feature = "guardian")]
const HISTORY: &str = "the history in guardian.cdna_dir decides: use `ng cdna`";

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
        let quotas = before.guardian.named.followed(&after.guardian.named);
        match &self.admission {
            AdmissionChoice::Off(_) => {}
            AdmissionChoice::Custom(_) => {
                overrule(&mut overruled, bounds.iter().chain(&limits).copied(), FOREIGN);
                overrule(&mut overruled, quotas.iter().flat_map(|(_, keys)| keys), FOREIGN);
            }
            #[cfg(feature = "guardian")]
            AdmissionChoice::Built(guardian) => {
                let keeps_history = after.guardian.cdna_dir.is_some();
                if keeps_history {
                    overrule(&mut overruled, bounds.iter().copied(), HISTORY);
                }
                let changes = super::guardian::Changes {
                    bounds: !bounds.is_empty() && !keeps_history,
                    limits: !limits.is_empty(),
                    quotas: quotas.iter().map(|(quota, _)| super::guardian::pool_spec(quota)).collect(),
                };
                changes.put_in_force(guardian, &after.guardian)?;
            }
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
