//! What a recorder is asked to be, and what of that can't be.

use std::path::PathBuf;

use crate::error::RecorderError;
use crate::format;

/// How large the rings are and where they lie.
///
/// All files together take at most [`RecorderOptions::total_bytes`]: with the defaults 1.3 MiB a
/// ring, of which there are as many as threads that record, up to `max_rings`, and 0.6 MiB for the
/// shared one. The room is taken from the file system when a ring is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecorderOptions {
    /// The directory that holds one directory per process; made if it does not exist. On tmpfs
    /// (`/dev/shm/…`) the rings outlive the process; on a disk they outlive, but for the last
    /// seconds, the machine.
    pub dir: PathBuf,
    /// How many events of the operation tier each thread keeps: a power of two, 64–4,194,304.
    pub operation_events: usize,
    /// How many events of the sampled tier each thread keeps: a power of two, 64–1,048,576.
    pub sampled_events: usize,
    /// How many events of the rare tier each thread keeps, and as many again for all threads
    /// together: a power of two, 64–65,536.
    pub rare_events: usize,
    /// How many threads have a ring at the same time, 1–4,096. Rings of ended threads are kept
    /// until their place is needed, the oldest going first.
    pub max_rings: usize,
    /// Of the configuration that the process runs with; written into each header.
    pub config_hash: u64,
    /// Keep the rings when the recorder is dropped in good order. Without it they are removed,
    /// unless a panic was recorded that [`crate::Recorder::catch`] did not recover.
    pub keep_on_exit: bool,
}

impl RecorderOptions {
    /// The defaults, under `dir`.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            operation_events: 16_384,
            sampled_events: 4_096,
            rare_events: 2_048,
            max_rings: 64,
            config_hash: 0,
            keep_on_exit: false,
        }
    }

    /// What all ring files may take together, in bytes.
    #[must_use]
    pub fn total_bytes(&self) -> usize {
        let shared = format::plan(self.shared_capacities()).1;
        format::plan(self.capacities()).1.saturating_mul(self.max_rings).saturating_add(shared)
    }

    /// Checks each value.
    ///
    /// # Errors
    /// [`RecorderError::Capacity`] and [`RecorderError::MaxRings`], for the first that is wrong.
    pub fn validate(&self) -> Result<(), RecorderError> {
        let tiers = [
            ("operation_events", self.operation_events, 1 << 22),
            ("sampled_events", self.sampled_events, 1 << 20),
            ("rare_events", self.rare_events, 1 << 16),
        ];
        // Two blocks of the operation tier: one to read while the other is being written.
        let least = 64;
        for (key, value, most) in tiers {
            if !value.is_power_of_two() || value < least || value > most {
                return Err(RecorderError::Capacity { key, value, least, most });
            }
        }
        let most = 4_096;
        if self.max_rings == 0 || self.max_rings > most {
            return Err(RecorderError::MaxRings { value: self.max_rings, most });
        }
        Ok(())
    }

    pub(crate) fn capacities(&self) -> [usize; 3] {
        [self.operation_events, self.sampled_events, self.rare_events]
    }

    pub(crate) fn shared_capacities(&self) -> [usize; 3] {
        [0, 0, self.rare_events]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_cannot_be_names_its_key_and_its_range() {
        let good = RecorderOptions::new("rings");
        good.validate().unwrap();
        for (options, says) in [
            (RecorderOptions { operation_events: 1000, ..good.clone() }, "blackbox.operation_events = 1000"),
            (RecorderOptions { sampled_events: 32, ..good.clone() }, "from 64 to 1048576"),
            (RecorderOptions { rare_events: 1 << 17, ..good.clone() }, "blackbox.rare_events = 131072"),
            (RecorderOptions { max_rings: 0, ..good.clone() }, "blackbox.max_rings = 0"),
            (RecorderOptions { max_rings: 5000, ..good.clone() }, "from 1 to 4096"),
        ] {
            let error = options.validate().unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_ring_of_the_defaults_takes_less_than_four_mebibytes() {
        let one = RecorderOptions { max_rings: 1, ..RecorderOptions::new("rings") };
        assert!(one.total_bytes() < 4 << 20, "{}", one.total_bytes());
    }
}
