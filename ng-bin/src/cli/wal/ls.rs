//! `ng wal ls`: the segment files and the checkpoints, one a line.

use super::{Place, moment};
use crate::cli::Failure;
use crate::cli::output::{print, write_json};
use ng_wal::checkpoint::Checkpoint;
use ng_wal::recover::{SegmentInfo, SegmentState, checkpoints, list};
use std::path::Path;

#[derive(Debug, serde::Serialize)]
struct Line {
    segment: u32,
    file: String,
    state: String,
    bytes: u64,
    log_id: String,
    first_lsn: u64,
    begun_unix_ns: u64,
    block_bytes: u32,
    previous: u32,
}

impl From<&SegmentInfo> for Line {
    fn from(info: &SegmentInfo) -> Self {
        Self {
            segment: info.number,
            file: info.path.display().to_string(),
            state: word(info.state),
            bytes: info.bytes,
            log_id: format!("{:016x}", info.log_id),
            first_lsn: info.first_lsn,
            begun_unix_ns: info.created_unix_ns,
            block_bytes: info.block_bytes,
            previous: info.previous,
        }
    }
}

fn word(state: SegmentState) -> String {
    match state {
        SegmentState::Used => "used".to_owned(),
        SegmentState::Outside => "outside".to_owned(),
        SegmentState::Spare => "spare".to_owned(),
        SegmentState::Short => "short".to_owned(),
        SegmentState::Damaged => "damaged header".to_owned(),
        SegmentState::Foreign => "foreign".to_owned(),
        SegmentState::Version(version) => format!("version {version}"),
        _ => "unknown".to_owned(),
    }
}

/// A checkpoint among the lines, and at the beginning of a dump.
#[derive(Debug, serde::Serialize)]
pub(super) struct Covered {
    /// It covers all records below this number.
    checkpoint: u64,
    file: String,
    bytes: u64,
    records: u64,
    durable_lsn: u64,
    begun_unix_ns: u64,
    /// Whether its header and its end can be read.
    complete: bool,
}

impl From<&Checkpoint> for Covered {
    fn from(one: &Checkpoint) -> Self {
        Self {
            checkpoint: one.lsn,
            file: one.path.display().to_string(),
            bytes: one.bytes,
            records: one.records,
            durable_lsn: one.durable_lsn,
            begun_unix_ns: one.created_unix_ns,
            complete: one.complete,
        }
    }
}

#[derive(Debug, serde::Serialize)]
#[serde(untagged)]
enum Entry {
    Segment(Line),
    Checkpoint(Covered),
}

pub(super) fn run(place: &Place) -> Result<u8, Failure> {
    let covered = checkpoints(&place.dir).map_err(|error| super::unreadable(&error))?;
    let infos = list(&place.dir).map_err(|error| Failure::io(&error))?;
    if place.json {
        let segments = infos.iter().map(|info| Entry::Segment(Line::from(info)));
        let covered = covered.iter().map(|one| Entry::Checkpoint(Covered::from(one)));
        let lines: Vec<Entry> = segments.chain(covered).collect();
        write_json(&lines, Path::new("-"))?;
        return Ok(0);
    }
    print(|out| {
        writeln!(out, "{:>10}  {:<14}  {:>11}  {:>12}  begun", "segment", "state", "bytes", "first record")?;
        for info in &infos {
            let state = word(info.state);
            write!(out, "{:>10}  {state:<14}  {:>11}  ", info.number, info.bytes)?;
            if info.log_id == 0 {
                writeln!(out, "{:>12}  -", "-")?;
            } else {
                writeln!(out, "{:>12}  {}", info.first_lsn, moment::show(info.created_unix_ns))?;
            }
        }
        for one in &covered {
            let state = if one.complete { "below record" } else { "damaged" };
            write!(out, "{:>10}  {state:<14}  {:>11}  ", "checkpoint", one.bytes)?;
            let begun =
                if one.created_unix_ns == 0 { "-".to_owned() } else { moment::show(one.created_unix_ns) };
            writeln!(out, "{:>12}  {begun}", one.lsn)?;
        }
        Ok(())
    })?;
    Ok(0)
}
