//! raft-engine as both rivals use it: files filled beforehand, as our segments are; no compression,
//! since ours compresses nothing either; one sync for a group of records.
//!
//! Its last batch is never empty: an empty write with `sync` does nothing (raft-engine #395).

use std::path::Path;

use raft_engine::{Config, Engine, LogBatch, ReadableSize};

/// Records that are made durable by one sync, as in `rivals wal`.
pub(crate) const GROUP: usize = 16_384;

const REGION: u64 = 1;

pub(crate) struct Raft {
    engine: Engine,
    batch: LogBatch,
}

impl Raft {
    /// An engine for `records` of 64 bytes.
    pub(crate) fn open(dir: &Path, records: u64) -> Result<Self, String> {
        let config = Config {
            dir: dir.join("raft").display().to_string(),
            batch_compression_threshold: ReadableSize(0),
            enable_log_recycle: true,
            prefill_for_recycle: true,
            prefill_limit: Some(ReadableSize((records * 96).max(64 << 20))),
            purge_threshold: ReadableSize::gb(2),
            ..Config::default()
        };
        let engine = Engine::open(config).map_err(|error| error.to_string())?;
        Ok(Self { engine, batch: LogBatch::with_capacity(GROUP) })
    }

    /// Adds a value under a number; nothing is written yet.
    pub(crate) fn put(&mut self, number: u64, value: Vec<u8>) -> Result<(), String> {
        self.batch.put(REGION, number.to_be_bytes().to_vec(), value).map_err(|error| error.to_string())
    }

    /// Writes what was put, and waits until it is durable.
    pub(crate) fn commit(&mut self) -> Result<(), String> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.engine.write(&mut self.batch, true).map(drop).map_err(|error| error.to_string())
    }

    /// The value under a number.
    pub(crate) fn get(&self, number: u64) -> Option<Vec<u8>> {
        self.engine.get(REGION, &number.to_be_bytes())
    }
}
