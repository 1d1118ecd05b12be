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
//! | `histogram` | which bucket a value falls into |
//! | `chunks` | cells that grow without moving |
//! | `catalog` | which names and labels there are |
//! | `text` | how they are shown |

mod catalog;
mod chunks;
mod histogram;
mod registry;
mod shard;
mod text;

pub use histogram::RELATIVE_ERROR;
pub use registry::{MAX_SERIES, Registry, RegistryOptions};
pub use shard::MetricShard;
pub use text::{HISTOGRAM_BOUNDS, HISTOGRAM_SERIES};
