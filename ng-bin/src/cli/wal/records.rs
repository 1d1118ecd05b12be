//! One record as a line: words for people, or a JSON object.

use super::moment;
use crate::export::{self, Format};
use ng_core::records::{TokenRecord, decode};
use ng_wal::recover::Block;
use ng_wal::{GAP, Record, Run};
use std::io::{self, Write};

/// Bytes of a payload shown to people.
const SHOWN: usize = 24;

/// Which records are wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// Records from this number on.
    pub(super) from: u64,
    /// Records below this number.
    pub(super) below: u64,
    /// Of blocks sealed at this moment or later, in nanoseconds since 1970.
    pub(super) since: u64,
    /// Of blocks sealed before this moment.
    pub(super) until: u64,
}

impl Wanted {
    pub(super) const ALL: Self = Self { from: 0, below: u64::MAX, since: 0, until: u64::MAX };
}

/// How lines look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) json: bool,
    /// The records are of the checkpoint below this number, and have numbers of their own.
    pub(super) checkpoint: Option<u64>,
}

impl Look {
    /// Writes the wanted records of a block.
    pub(super) fn block(self, out: &mut dyn Write, block: &Block<'_>, wanted: &Wanted) -> io::Result<()> {
        if block.sealed_unix_ns < wanted.since || block.sealed_unix_ns >= wanted.until {
            return Ok(());
        }
        for run in block.runs() {
            if run.first_lsn >= wanted.below || run.first_lsn + u64::from(run.count) <= wanted.from {
                continue;
            }
            if run.kind == GAP && run.record_len == 0 {
                self.lost(out, &run)?;
                continue;
            }
            let inside = |record: &Record<'_>| (wanted.from..wanted.below).contains(&record.lsn);
            for record in run.records().filter(inside) {
                self.record(out, block, &record)?;
            }
        }
        Ok(())
    }

    fn lost(self, out: &mut dyn Write, run: &Run<'_>) -> io::Result<()> {
        let (lsn, count) = (run.first_lsn, run.count);
        if self.json {
            return writeln!(out, "{{\"lsn\":{lsn},\"kind\":0,\"lost\":{count}}}");
        }
        writeln!(out, "{lsn:>12}  lost: {count} record(s) that a salvage could not read")
    }

    fn record(self, out: &mut dyn Write, block: &Block<'_>, record: &Record<'_>) -> io::Result<()> {
        if !self.json {
            return words(out, block, record);
        }
        match self.checkpoint {
            None => write!(
                out,
                "{{\"lsn\":{},\"kind\":{},\"epoch\":{},\"segment\":{},\"offset\":{}",
                record.lsn, record.kind.0, block.epoch, block.segment, block.offset,
            ),
            Some(below) => write!(
                out,
                "{{\"checkpoint\":{below},\"record\":{},\"kind\":{},\"offset\":{}",
                record.lsn, record.kind.0, block.offset,
            ),
        }?;
        json(out, block, record)
    }
}

/// What the payload is, as JSON members, if this program knows.
fn meaning(record: &Record<'_>) -> Option<String> {
    if record.kind == GAP {
        let dropped = record.payload.first_chunk::<8>()?;
        return Some(format!("\"dropped\":{}", u64::from_le_bytes(*dropped)));
    }
    match decode(record.kind, record.payload).ok()?? {
        TokenRecord::Created { token, generation } => {
            let mut object = Vec::new();
            export::write_token(Format::Ndjson, &mut object, &token);
            let object = String::from_utf8_lossy(object.trim_ascii_end()).into_owned();
            Some(format!("\"generation\":{generation},\"token\":{object}"))
        }
        TokenRecord::Deleted { id, generation } => {
            Some(format!("\"generation\":{generation},\"deleted\":{}", id.raw()))
        }
    }
}

/// The members that all records have, and the end of the object.
fn json(out: &mut dyn Write, block: &Block<'_>, record: &Record<'_>) -> io::Result<()> {
    write!(
        out,
        ",\"sealed_unix_ns\":{},\"bytes\":{},\"payload\":\"",
        block.sealed_unix_ns,
        record.payload.len(),
    )?;
    hex(out, record.payload)?;
    match meaning(record) {
        Some(meaning) => writeln!(out, "\",{meaning}}}"),
        None => writeln!(out, "\"}}"),
    }
}

fn words(out: &mut dyn Write, block: &Block<'_>, record: &Record<'_>) -> io::Result<()> {
    let sealed = moment::show(block.sealed_unix_ns);
    write!(out, "{:>12}  {sealed}  {:#06x}  {:>6}  ", record.lsn, record.kind.0, record.payload.len())?;
    hex(out, record.payload.get(..SHOWN).unwrap_or(record.payload))?;
    let cut = if record.payload.len() > SHOWN { "…" } else { "" };
    let told = match decode(record.kind, record.payload) {
        Ok(Some(TokenRecord::Created { token, generation })) => {
            format!("  token {} generation {generation}", token.id())
        }
        Ok(Some(TokenRecord::Deleted { id, generation })) => {
            format!("  deleted {id} generation {generation}")
        }
        _ if record.kind == GAP => "  records let go by full buffers".to_owned(),
        _ => String::new(),
    };
    writeln!(out, "{cut}{told}")
}

fn hex(out: &mut dyn Write, bytes: &[u8]) -> io::Result<()> {
    bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
}
