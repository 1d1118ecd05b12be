//! What a recorder is asked to be, and what of that can't be.

use std::path::PathBuf;

use ng_core::events::{EventKind, EventSchema, is_name};

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
    /// The kinds of events of one's own, which each header describes; see [`ng_core::event`].
    pub schemas: Vec<EventSchema>,
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
            schemas: Vec::new(),
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
    /// [`RecorderError::Capacity`], [`RecorderError::MaxRings`], [`RecorderError::Schema`] and
    /// [`RecorderError::SchemaSize`], for the first that is wrong.
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
        self.validate_schemas()
    }

    fn validate_schemas(&self) -> Result<(), RecorderError> {
        for (at, schema) in self.schemas.iter().enumerate() {
            let wrong = |why: &'static str| {
                Err(RecorderError::Schema { kind: schema.kind.0, label: schema.label.to_owned(), why })
            };
            if schema.kind < EventKind::USER {
                return wrong("kinds below 0x0100 are the workspace's own");
            }
            if self.schemas[..at].iter().any(|other| other.kind == schema.kind) {
                return wrong("another event has this kind");
            }
            if !is_name(schema.label) || schema.fields.iter().any(|field| !is_name(field.name)) {
                return wrong("a name is empty or has a colon or a control character");
            }
            if schema.fields.iter().any(|field| field.at >= 16 || !field.at.is_multiple_of(field.ty.bytes()))
            {
                return wrong("a field lies beyond the 16 bytes of an event, or is not aligned");
            }
        }
        let (bytes, most) = (format::schema(&self.schemas).len(), format::SCHEMA_BYTES);
        if bytes > most { Err(RecorderError::SchemaSize { bytes, most }) } else { Ok(()) }
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
    fn schemas_that_a_reader_could_not_tell_apart_are_refused() {
        let schema = |kind, label| EventSchema { kind: EventKind(kind), label, fields: &[] };
        let of = |schemas| RecorderOptions { schemas, ..RecorderOptions::new("rings") }.validate();
        of(vec![schema(0x100, "one"), schema(0x101, "two")]).unwrap();
        for (schemas, says) in [
            (vec![schema(7, "panic")], "below 0x0100"),
            (vec![schema(0x100, "one"), schema(0x100, "two")], "\"two\" (kind 0x100): another"),
            (vec![schema(0x100, "a\tb")], "control character"),
            ((0x100..0x300).map(|kind| schema(kind, "a label of some length")).collect(), "at most"),
        ] {
            let error = of(schemas).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_ring_of_the_defaults_takes_less_than_four_mebibytes() {
        let one = RecorderOptions { max_rings: 1, ..RecorderOptions::new("rings") };
        assert!(one.total_bytes() < 4 << 20, "{}", one.total_bytes());
    }
}
