//! From its section of the configuration to a guardian, and to one that runs when the section changes: limits,
//! named quotas, what recovery found, and what the constitution says of other layers.

use std::sync::Arc;
#[cfg(feature = "guardian")]
use std::time::Duration;

use ng_core::TokenStore;
use ng_core::events::EventRecorder;
#[cfg(feature = "guardian")]
use ng_guardian::{
    Constitution, Guardian, GuardianError, GuardianOptions, Limits, MarkLevels, PoolError, RateLimit,
};

use super::StackError;
#[cfg(not(feature = "guardian"))]
use super::build::missing;
use super::choice::AdmissionChoice;
use super::decree::Decrees;
use crate::config::StackConfig;
#[cfg(feature = "guardian")]
use crate::config::{ConstitutionConfig, GuardianConfig};

#[cfg(feature = "guardian")]
pub(super) fn open(
    config: &StackConfig,
    events: Arc<dyn EventRecorder>,
    decrees: &Arc<Decrees>,
    store: &TokenStore,
) -> Result<AdmissionChoice, StackError> {
    let section = &config.guardian;
    let failed = StackError::layer("guardian");
    let MarkLevels { soft_mark, cleanup_mark, cleanup_target } = marks(section);
    let guardian = Guardian::start(GuardianOptions {
        limits: limits(section),
        pools: section.named.iter().map(pool_spec).collect(),
        soft_mark,
        cleanup_mark,
        rearm: section.rearm,
        cleanup_target,
        max_lease: section.max_lease,
        present: present(config, store),
        memory_interval: Duration::from_millis(section.memory_interval_ms),
        constitution: bounded(&section.constitution, Constitution { version: 1, ..Constitution::default() }),
        events: Some(events),
        drift_bound_bytes: section.drift_bound_bytes,
        memory_mark: section.memory_mark,
        memory_rearm: section.memory_rearm,
        cdna: section.cdna_dir.clone(),
        on_constitution: Some(decree_what_it_says(Arc::clone(decrees))),
        rate: rate(section.rate_per_second, section.rate_burst),
        ..GuardianOptions::default()
    })
    .map_err(|error| failed(error.into()))?;
    Ok(AdmissionChoice::Built(Arc::new(guardian)))
}

#[cfg(feature = "guardian")]
pub(super) const fn limits(section: &GuardianConfig) -> Limits {
    Limits { max_tokens: section.max_tokens, max_memory_bytes: section.max_memory_bytes }
}

#[cfg(feature = "guardian")]
pub(super) const fn marks(section: &GuardianConfig) -> MarkLevels {
    let GuardianConfig { soft_mark, cleanup_mark, cleanup_target, .. } = *section;
    MarkLevels { soft_mark, cleanup_mark, cleanup_target }
}

/// 0 a second sets no rate.
#[cfg(feature = "guardian")]
pub(super) fn rate(per_second: u64, burst: u64) -> Option<RateLimit> {
    let per_second = u32::try_from(per_second).ok().filter(|rate| *rate > 0)?;
    Some(RateLimit { per_second, burst: u32::try_from(burst).unwrap_or(u32::MAX) })
}

/// In what a section of the configuration differs from the one in force, of all that a running guardian
/// follows.
#[cfg(feature = "guardian")]
pub(super) struct Changes {
    /// The bounds on a token.
    pub(super) bounds: bool,
    /// Limits, marks and the rate of the quota on tokens.
    pub(super) limits: bool,
    /// Quotas by name, as they are then.
    pub(super) quotas: Vec<ng_guardian::PoolSpec>,
}

#[cfg(feature = "guardian")]
impl Changes {
    /// All of them, or none.
    pub(super) fn put_in_force(
        &self,
        guardian: &Guardian,
        section: &GuardianConfig,
    ) -> Result<(), StackError> {
        let constitution = guardian.constitution();
        let before = (guardian.limits(), guardian.marks(), guardian.tokens().rate());
        self.try_all(guardian, section).inspect_err(|_| {
            // What was in force a moment ago is taken.
            let version = guardian.constitution().version;
            if version != constitution.version {
                let again = Constitution { version: version + 1, ..constitution.clone() };
                let _ = guardian.set_constitution(again);
            }
            let _ = guardian.set_limits(before.0);
            let _ = guardian.set_marks(before.1);
            let _ = guardian.tokens().set_rate(before.2);
        })
    }

    fn try_all(&self, guardian: &Guardian, section: &GuardianConfig) -> Result<(), StackError> {
        if self.bounds {
            let now = guardian.constitution();
            let next = bounded(&section.constitution, Constitution { version: now.version + 1, ..now });
            let failed = StackError::layer("guardian.constitution");
            guardian.set_constitution(next).map_err(|error| failed(error.into()))?;
        }
        let failed = |error: GuardianError| StackError::layer("guardian")(error.into());
        let refused = |error: PoolError| StackError::layer("guardian")(error.into());
        if self.limits {
            guardian.set_marks(marks(section)).map_err(failed)?;
            guardian.set_limits(limits(section)).map_err(failed)?;
            let rate = rate(section.rate_per_second, section.rate_burst);
            guardian.tokens().set_rate(rate).map_err(refused)?;
        }
        if !self.quotas.is_empty() {
            guardian.change_pools(&self.quotas).map_err(refused)?;
        }
        Ok(())
    }
}

/// The bounds of the configuration, and everything else as it is.
#[cfg(feature = "guardian")]
fn bounded(bounds: &ConstitutionConfig, rest: Constitution) -> Constitution {
    #[expect(clippy::cast_possible_truncation, reason = "a weight is an f32, and so are its bounds")]
    let range = |min: f64, max: f64| min as f32..=max as f32;
    Constitution {
        weight: range(bounds.weight_min, bounds.weight_max),
        radius: range(bounds.radius_min, bounds.radius_max),
        strength: range(bounds.strength_min, bounds.strength_max),
        validation: bounds.validation,
        strict: bounds.strict,
        ..rest
    }
}

/// What recovery found, which is in use already, even where it is more than a limit allows now.
#[cfg(feature = "guardian")]
fn present(config: &StackConfig, store: &TokenStore) -> Vec<(u8, u64)> {
    if !config.guardian.named.iter().any(|quota| quota.domain.is_some()) {
        return vec![(config.engine.domain, store.len())];
    }
    let mut present = [0_u64; ng_core::store::DOMAINS as usize];
    for (token, _) in store.iter() {
        if let Some(count) = present.get_mut(usize::from(token.id().domain())) {
            *count += 1;
        }
    }
    (0..).zip(present).filter(|(_, count)| *count > 0).collect()
}

/// What the configuration says of a named quota.
#[cfg(feature = "guardian")]
pub(super) fn pool_spec(quota: &crate::config::QuotaConfig) -> ng_guardian::PoolSpec {
    ng_guardian::PoolSpec {
        name: quota.name.clone(),
        parent: quota.parent.clone(),
        options: ng_guardian::PoolOptions {
            limit: quota.limit,
            max_lease: quota.max_lease,
            rate: rate(quota.rate_per_second, quota.rate_burst),
        },
        domain: quota.domain,
        soft_mark: (quota.soft_mark > 0.0).then_some(quota.soft_mark),
        cleanup_mark: (quota.cleanup_mark > 0.0).then_some(quota.cleanup_mark),
        cleanup_target: quota.cleanup_target,
    }
}

/// What the constitution says of other layers is in force as soon as it is.
#[cfg(feature = "guardian")]
fn decree_what_it_says(decrees: Arc<Decrees>) -> ng_guardian::ConstitutionHook {
    use crate::config::LogLevel as Ours;
    use ng_guardian::LogLevel;
    let level = |level| match level {
        LogLevel::Error => Ours::Error,
        LogLevel::Warn => Ours::Warn,
        LogLevel::Info => Ours::Info,
        LogLevel::Debug => Ours::Debug,
        LogLevel::Trace => Ours::Trace,
    };
    Arc::new(move |constitution| {
        decrees.decree(constitution.sample_rate, constitution.log_level.map(level));
    })
}

#[cfg(not(feature = "guardian"))]
pub(super) fn open(
    _config: &StackConfig,
    _events: Arc<dyn EventRecorder>,
    _decrees: &Arc<Decrees>,
    _store: &TokenStore,
) -> Result<AdmissionChoice, StackError> {
    Err(missing("guardian"))
}
