//! `ng wal checkpoint`: a log that no engine has open, made short: what its records led to in one
//! file, and the segments that it covers removed.

use super::{DAMAGED, Place, unreadable, untaken};
use crate::cli::Failure;
use crate::cli::output::{print, write_json};
use ng_core::TokenStore;
use ng_wal::checkpoint::CheckpointError;
use ng_wal::recover::take;
use std::path::Path;

#[derive(Debug, serde::Serialize)]
struct Document {
    checkpoint: String,
    /// It covers all records below this number.
    lsn: u64,
    tokens: u64,
    records: u64,
    bytes: u64,
    /// Files that are gone.
    removed: u64,
    removed_bytes: u64,
}

pub(super) fn run(place: &Place) -> Result<u8, Failure> {
    let log = take(&place.dir).map_err(|error| untaken(&error))?;
    let store = TokenStore::new();
    let (mut fault, mut foreign) = (None, None);
    let mut restorer = store.restorer();
    let replayed = log.replay(|run| {
        if run.kind == ng_wal::GAP || fault.is_some() {
            return;
        }
        match restorer.run(run.kind, run.record_len, run.bytes) {
            Ok(count) if count.foreign > 0 => foreign = Some(run.kind),
            Ok(_) => {}
            Err(error) => fault = Some(error),
        }
    });
    drop(restorer);
    replayed.map_err(|error| unreadable(&error))?;
    if let Some(error) = fault {
        return Err(Failure::new(DAMAGED, error.to_string()));
    }
    if let Some(kind) = foreign {
        return Err(Failure::new(DAMAGED, CheckpointError::Foreign { kind }.to_string()));
    }
    let freed = log.checkpoint(&store).map_err(|error| Failure::io(&error))?;
    let document = Document {
        checkpoint: freed.checkpoint.path.display().to_string(),
        lsn: freed.checkpoint.lsn,
        tokens: store.len(),
        records: freed.checkpoint.records,
        bytes: freed.checkpoint.bytes,
        removed: freed.removed,
        removed_bytes: freed.removed_bytes,
    };
    if place.json {
        write_json(&document, Path::new("-"))?;
        return Ok(0);
    }
    print(|out| {
        writeln!(
            out,
            "{}: {} tokens, {} bytes, for the records below {}",
            document.checkpoint, document.tokens, document.bytes, document.lsn
        )?;
        writeln!(out, "{} segment file(s) removed ({} bytes)", document.removed, document.removed_bytes)
    })?;
    Ok(0)
}
