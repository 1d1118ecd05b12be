//! Metrics: counters and histograms that their lane writes without a locked instruction, gauges,
//! and the Prometheus text format.
//!
//! A count is exact: it is merged over live and ended lanes when it is read, and never goes
//! backwards. Writing never locks, formats or (after a lane's first use of a metric) allocates.
//!
//! | file | idea |
//! |---|---|
//! | `registry` | the shared side |
//! | `shard` | the lane, and how its cells are read |
//! | `bound` | a counter of one owner, looked up once |
//! | `histogram` | which bucket a value falls into |
//! | `chunks` | cells that grow without moving |
//! | `catalog` | which names and labels there are |
//! | `family` | label sets that are bound as they come up, with a cap |
//! | `exemplars` | which spans show what values were about |
//! | `snapshot` | everything as of one moment |
//! | `text`, `open_metrics` | how it is shown |
//! | `exposition` | which of them a scraper gets |

mod bound;
mod catalog;
mod chunks;
mod exemplars;
pub mod exposition;
mod family;
mod histogram;
mod open_metrics;
mod registry;
mod shard;
pub(crate) mod snapshot;
mod text;

pub use bound::BoundCounter;
#[cfg(feature = "otlp")]
pub(crate) use catalog::Kind;
pub use exposition::Exposition;
pub use family::{Family, MAX_VALUE_BYTES, OVERFLOW};
pub use histogram::RELATIVE_ERROR;
pub use registry::{MAX_SERIES, Registry, RegistryOptions};
pub use shard::MetricShard;
#[cfg(feature = "otlp")]
pub(crate) use text::read_labels;
pub use text::{HISTOGRAM_BOUNDS, HISTOGRAM_SERIES};
