//! What can go wrong when a recorder is made or a ring is opened.

use std::io;
use std::path::PathBuf;

/// Why there is no recorder, or no ring. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecorderError {
    /// A capacity can't be used.
    #[error("blackbox.{key} = {value}: it must be a power of two from {least} to {most}")]
    Capacity {
        /// Which option.
        key: &'static str,
        /// What it is.
        value: usize,
        /// The least that works.
        least: usize,
        /// The most that works.
        most: usize,
    },
    /// The number of rings can't be used.
    #[error("blackbox.max_rings = {value}: it must be from 1 to {most}")]
    MaxRings {
        /// What it is.
        value: usize,
        /// The most that works.
        most: usize,
    },
    /// An event's schema can't be used.
    #[error("event {label:?} (kind {kind:#x}): {why}")]
    Schema {
        /// Its kind.
        kind: u16,
        /// What it is called.
        label: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The schemas do not fit into a header.
    #[error("the schemas of all events take {bytes} bytes, and there is room for at most {most}")]
    SchemaSize {
        /// What they take.
        bytes: usize,
        /// What there is room for.
        most: usize,
    },
    /// The directory can't be made.
    #[error("can't make the black box's directory {path}: {cause}; choose another with blackbox.dir")]
    Directory {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// A ring file can't be made or mapped.
    #[error(
        "can't make the ring {path} of {bytes} bytes: {cause}; free room there, make the tiers \
         smaller or choose another blackbox.dir"
    )]
    Ring {
        /// Which file.
        path: PathBuf,
        /// How long it was to be.
        bytes: usize,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// Every ring belongs to a thread that still runs.
    #[error("all {limit} rings are in use by running threads; raise blackbox.max_rings")]
    TooManyRings {
        /// How many there may be.
        limit: usize,
    },
}
