//! Named sets of defaults.
//!
//! A profile only sets defaults: the file and the environment override each of its values.

use std::path::PathBuf;

use super::choice::choices;
use super::sections::{LogFormat, LogLevel, StackConfig, WalMode};

choices! {
    /// A named set of defaults.
    Profile {
        /// Every token logged and durable within milliseconds, 1 % of operations traced.
        Default = "default",
        /// For work on a laptop: little memory and disk, every operation traced, no sync.
        Development = "development",
        /// For a service: JSON messages, and a dump of the last events after a panic.
        Production = "production",
        /// The stress test of v0.44.1, whose figures this project is compared with.
        Seed = "seed",
    }
}

impl Profile {
    /// Sets what the profile sets, and leaves everything else.
    pub(super) fn apply(self, config: &mut StackConfig) {
        config.profile = self;
        match self {
            Self::Default => {}
            Self::Development => {
                config.wal.mode = WalMode::Os;
                config.wal.block_kib = 64;
                config.wal.segment_mib = 4;
                config.guardian.max_tokens = 1_000_000;
                config.guardian.max_memory_bytes = 64_000_000;
                config.tracing.rate = 1.0;
                config.blackbox.operation_events = 4096;
                config.blackbox.sampled_events = 1024;
                config.log.level = LogLevel::Debug;
            }
            Self::Production => {
                config.blackbox.dump_on_panic = Some(PathBuf::from("ng-data/panic.json"));
                config.log.format = LogFormat::Json;
            }
            Self::Seed => {
                config.wal.every = 1000;
                config.wal.batch_records = 10_000;
                config.guardian.max_tokens = 10_000_000;
                config.guardian.max_memory_bytes = 1_000_000_000;
                config.guardian.cleanup_mark = 0.95;
                config.guardian.cleanup = true;
            }
        }
    }
}
