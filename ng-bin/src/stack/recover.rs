//! From a log's directory back into a store. Files are read, never changed.

use std::path::Path;

use ng_core::TokenStore;

use super::StackError;

/// What was found in a log.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Recovered {
    /// Records read, of every kind.
    pub records: u64,
    /// Records of tokens that changed the store.
    pub applied: u64,
    /// Records of tokens that a younger one had overtaken.
    pub superseded: u64,
    /// Records of kinds that are not tokens'.
    pub foreign: u64,
    /// The last kind of them, if there are any.
    pub foreign_kind: Option<u16>,
    /// Records that the checkpoint held, of all kinds; 0 without one.
    pub checkpoint_records: u64,
    /// The checkpoint covers all records of the log below this number; 0 without one.
    pub checkpoint_lsn: u64,
    /// Checkpoints that are damaged and that were done without.
    pub bad_checkpoints: Vec<String>,
    /// Records that a full buffer made the log let go, as the log itself says.
    pub dropped: u64,
    /// Segments read.
    pub segments: u64,
    /// The number of the record after the last.
    pub next_lsn: u64,
    /// What was wrong with the end, if the log was not closed in good order.
    pub torn: Option<String>,
}

/// Puts the log in `dir`, its checkpoint first, back into `store`; `None` if there is no such directory.
///
/// # Errors
/// [`StackError::Recovery`] if acknowledged records can't be read, if a record is no token
/// though it says so, or if the store can't take it. The files are as they were.
#[cfg(feature = "wal")]
pub fn replay(dir: &Path, store: &TokenStore) -> Result<Option<Recovered>, StackError> {
    type Cause = Box<dyn std::error::Error + Send + Sync>;
    let failed = |source: Cause| StackError::Recovery { dir: dir.to_path_buf(), source };
    match std::fs::metadata(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error.into())),
        Ok(_) => {}
    }
    let mut found = Recovered::default();
    let mut fault: Option<Cause> = None;
    let mut restorer = store.restorer();
    let replayed = ng_wal::recover::replay(dir, |run| {
        if run.kind == ng_wal::GAP || fault.is_some() {
            return;
        }
        match restorer.run(run.kind, run.record_len, run.bytes) {
            Ok(count) => {
                found.applied += count.applied;
                found.superseded += count.superseded;
                found.foreign += count.foreign;
                if count.foreign > 0 {
                    found.foreign_kind = Some(run.kind.0);
                }
            }
            Err(error) => fault = Some(error.into()),
        }
    })
    .map_err(|error| failed(error.into()))?;
    drop(restorer);
    if let Some(fault) = fault {
        return Err(failed(fault));
    }
    let report = replayed.report;
    if let Some(checkpoint) = &replayed.checkpoint {
        found.checkpoint_records = checkpoint.records;
        found.checkpoint_lsn = checkpoint.lsn;
    }
    let told = |bad: &ng_wal::recover::BadCheckpoint| {
        format!("{}: damaged at offset {}: {}", bad.path.display(), bad.offset, bad.fault)
    };
    found.bad_checkpoints = replayed.bad_checkpoints.iter().map(told).collect();
    found.records = report.records;
    found.dropped = report.dropped;
    found.segments = report.segments;
    found.next_lsn = report.next_lsn;
    found.torn = report.torn.map(|torn| {
        format!(
            "torn tail at {}:{}: {}; {} records in {} blocks were not durable and are gone",
            torn.path.display(),
            torn.offset,
            torn.fault,
            torn.dropped_records,
            torn.dropped_blocks
        )
    });
    Ok((report.segments > 0 || found.checkpoint_lsn > 0).then_some(found))
}

/// As with the feature `wal`.
///
/// # Errors
/// Always: there is nothing that could read a log.
#[cfg(not(feature = "wal"))]
pub fn replay(dir: &Path, _store: &TokenStore) -> Result<Option<Recovered>, StackError> {
    let source = "this build can't read logs: build ng-stack with the feature \"wal\"".into();
    Err(StackError::Recovery { dir: dir.to_path_buf(), source })
}
