//! Why a guardian does not start, or does not take a change.

use crate::cdna::HistoryError;
use crate::constitution::ConstitutionError;
use crate::pools::PoolError;

/// Nothing was started or changed.
#[derive(Debug, thiserror::Error)]
pub enum GuardianError {
    /// A number below the least that makes sense.
    #[error("guardian.{option} = {given} {why}: write {least} or more")]
    TooSmall {
        /// The option.
        option: &'static str,
        /// Its value.
        given: u64,
        /// What such a value would mean.
        why: &'static str,
        /// The least that is taken.
        least: u64,
    },
    /// A fraction that isn't one.
    #[error("guardian.{option} = {given} is no fraction of the limit: write a number above 0 and at most 1")]
    NoFraction {
        /// The option.
        option: &'static str,
        /// Its value.
        given: f64,
    },
    /// Two marks that contradict each other.
    #[error("guardian.{lower} = {lower_given} is not below guardian.{upper} = {upper_given}: {advice}")]
    OutOfOrder {
        /// The option that should be the lower.
        lower: &'static str,
        /// Its value.
        lower_given: f64,
        /// The option that should be the higher.
        upper: &'static str,
        /// Its value.
        upper_given: f64,
        /// What to write.
        advice: &'static str,
    },
    /// An interval of no length.
    #[error(
        "guardian.memory_interval = 0 would read the memory without a pause: write 1 ms or more (100 ms is usual)"
    )]
    NoInterval,
    /// A quota or a pool that can't be made.
    #[error("guardian: {0}")]
    Pool(#[from] PoolError),
    /// A constitution that can't be put in force.
    #[error(transparent)]
    Constitution(#[from] ConstitutionError),
    /// The constitution's history can't be read.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The operating system gave no thread.
    #[error(
        "the guardian's thread could not be started: raise the limit on threads (ulimit -u, or the cgroup's pids.max)"
    )]
    NoThread(#[source] std::io::Error),
}
