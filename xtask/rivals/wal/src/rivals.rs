//! The others: each is used as its documentation says, and syncs after each group.

use crate::sample::{Grouped, RECORD, Sample, grouped};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use okaywal::{LogVoid, WriteAheadLog};
use raft_engine::{Config, Engine, LogBatch, ReadableSize};
use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

/// Length, checksum, record; one `fdatasync` a group.
struct Naive(BufWriter<File>);

impl Grouped for Naive {
    fn append(&mut self, _number: u64, record: &[u8; RECORD]) -> Result<(), String> {
        let out = &mut self.0;
        let crc = crc_fast::crc32_iscsi(record);
        out.write_all(&(RECORD as u32).to_le_bytes())
            .and_then(|()| out.write_all(&crc.to_le_bytes()))
            .and_then(|()| out.write_all(record))
            .map_err(|error| error.to_string())
    }

    fn sync(&mut self) -> Result<(), String> {
        self.0.flush().and_then(|()| self.0.get_ref().sync_data()).map_err(|error| error.to_string())
    }
}

/// A buffered writer.
pub(crate) fn naive(dir: &Path, prewritten: bool, count: u64) -> Result<Sample, String> {
    let open = || -> std::io::Result<File> {
        let mut file = File::create(dir.join("log"))?;
        if prewritten {
            let zeros = vec![0; 1 << 20];
            for _ in 0..(count * (RECORD as u64 + 8)).div_ceil(1 << 20) {
                file.write_all(&zeros)?;
            }
            file.sync_all()?;
            file.seek(SeekFrom::Start(0))?;
        }
        Ok(file)
    };
    grouped(count, Naive(BufWriter::with_capacity(1 << 20, open().map_err(|error| error.to_string())?)))
}

/// A log of key and value, one region.
struct Raft {
    engine: Engine,
    batch: LogBatch,
}

impl Grouped for Raft {
    fn append(&mut self, number: u64, record: &[u8; RECORD]) -> Result<(), String> {
        let key = number.to_be_bytes().to_vec();
        self.batch.put(1, key, record.to_vec()).map_err(|error| error.to_string())
    }

    fn sync(&mut self) -> Result<(), String> {
        self.engine.write(&mut self.batch, true).map(drop).map_err(|error| error.to_string())
    }
}

/// raft-engine; with `prewritten`, on recycled files filled beforehand.
pub(crate) fn raft(dir: &Path, prewritten: bool, count: u64) -> Result<Sample, String> {
    let config = Config {
        dir: dir.display().to_string(),
        // Ours compresses nothing either.
        batch_compression_threshold: ReadableSize(0),
        enable_log_recycle: prewritten,
        prefill_for_recycle: prewritten,
        prefill_limit: prewritten.then(|| ReadableSize(count * 80)),
        purge_threshold: ReadableSize::gb(if prewritten { 2 } else { 10 }),
        ..Config::default()
    };
    let engine = Engine::open(config).map_err(|error| error.to_string())?;
    grouped(count, Raft { engine, batch: LogBatch::with_capacity(16_384) })
}

/// One entry a group, a chunk for each record.
struct Okay {
    log: WriteAheadLog,
    group: Vec<[u8; RECORD]>,
}

impl Grouped for Okay {
    fn append(&mut self, _number: u64, record: &[u8; RECORD]) -> Result<(), String> {
        // An entry borrows the log, so that it can't be kept open from call to call.
        self.group.push(*record);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), String> {
        let mut write = || -> std::io::Result<()> {
            let mut entry = self.log.begin_entry()?;
            for record in self.group.drain(..) {
                entry.write_chunk(&record)?;
            }
            entry.commit().map(drop)
        };
        write().map_err(|error| error.to_string())
    }
}

/// okaywal.
pub(crate) fn okay(dir: &Path, count: u64) -> Result<Sample, String> {
    let log = WriteAheadLog::recover(dir, LogVoid).map_err(|error| error.to_string())?;
    grouped(count, Okay { log, group: Vec::with_capacity(16_384) })
}

/// A whole database.
struct Fjall {
    database: Database,
    keyspace: Keyspace,
    batch: Option<fjall::OwnedWriteBatch>,
}

impl Grouped for Fjall {
    fn append(&mut self, number: u64, record: &[u8; RECORD]) -> Result<(), String> {
        let database = &self.database;
        let batch = self.batch.get_or_insert_with(|| database.batch());
        batch.insert(&self.keyspace, number.to_be_bytes(), record.as_slice());
        Ok(())
    }

    fn sync(&mut self) -> Result<(), String> {
        if let Some(batch) = self.batch.take() {
            batch.commit().map_err(|error| error.to_string())?;
        }
        self.database.persist(PersistMode::SyncData).map_err(|error| error.to_string())
    }
}

/// fjall.
pub(crate) fn fjall(dir: &Path, count: u64) -> Result<Sample, String> {
    let database = Database::builder(dir).open().map_err(|error| error.to_string())?;
    let keyspace =
        database.keyspace("log", KeyspaceCreateOptions::default).map_err(|error| error.to_string())?;
    grouped(count, Fjall { database, keyspace, batch: None })
}
