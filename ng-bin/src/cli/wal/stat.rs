//! `ng wal stat`: what is in a log, added up.

use super::judge::{Judged, verify_words};
use super::{Place, moment, unreadable};
use crate::cli::Failure;
use crate::cli::output::{print, write_json};
use ng_wal::recover::{Reader, list};
use std::collections::BTreeMap;
use std::path::Path;

#[derive(Debug, Default, serde::Serialize)]
struct Kind {
    records: u64,
    bytes: u64,
}

#[derive(Debug, serde::Serialize)]
struct Document {
    #[serde(flatten)]
    judged: Judged,
    log_id: String,
    /// Files of the log, spares included, and their length.
    files: u64,
    file_bytes: u64,
    /// Blocks with their padding.
    block_bytes: u64,
    payload_bytes: u64,
    epochs: u64,
    first_sealed_unix_ns: u64,
    last_sealed_unix_ns: u64,
    /// By kind, in decimal.
    kinds: BTreeMap<u16, Kind>,
}

pub(super) fn run(place: &Place) -> Result<u8, Failure> {
    let files = list(&place.dir).map_err(|error| Failure::io(&error))?;
    let mut document = Document {
        judged: verify_words(place)?,
        log_id: files
            .iter()
            .rev()
            .find(|file| file.log_id != 0)
            .map_or_else(String::new, |file| format!("{:016x}", file.log_id)),
        files: files.len() as u64,
        file_bytes: files.iter().map(|file| file.bytes).sum(),
        block_bytes: 0,
        payload_bytes: 0,
        epochs: 0,
        first_sealed_unix_ns: 0,
        last_sealed_unix_ns: 0,
        kinds: BTreeMap::new(),
    };
    let damaged = document.judged.damage.is_some();
    match Reader::open(&place.dir) {
        Ok(reader) => document.add_up(reader)?,
        // Said in the verdict.
        Err(_) if damaged => {}
        Err(error) => return Err(unreadable(&error)),
    }
    if place.json {
        write_json(&document, Path::new("-"))?;
    } else {
        print(|out| writeln!(out, "{}", document.words()))?;
    }
    Ok(document.judged.code())
}

impl Document {
    fn add_up(&mut self, mut reader: Reader) -> Result<(), Failure> {
        let mut epoch = None;
        loop {
            let block = match reader.next_block() {
                Ok(Some(block)) => block,
                Ok(None) => return Ok(()),
                Err(_) if self.judged.damage.is_some() => return Ok(()),
                Err(error) => return Err(unreadable(&error)),
            };
            self.block_bytes += block.length as u64;
            self.epochs += u64::from(epoch != Some(block.epoch));
            epoch = Some(block.epoch);
            if self.first_sealed_unix_ns == 0 {
                self.first_sealed_unix_ns = block.sealed_unix_ns;
            }
            self.last_sealed_unix_ns = block.sealed_unix_ns;
            for run in block.runs() {
                let kind = self.kinds.entry(run.kind.0).or_default();
                kind.records += u64::from(run.count);
                kind.bytes += run.bytes.len() as u64;
                self.payload_bytes += run.bytes.len() as u64;
            }
        }
    }

    fn words(&self) -> String {
        let mut text = self.judged.words();
        let mut line = |name: &str, value: String| text.push_str(&format!("\n{name:<16}{value}"));
        line("log", self.log_id.clone());
        line("files", format!("{} ({} bytes)", self.files, self.file_bytes));
        line("blocks", format!("{} ({} bytes)", self.judged.blocks, self.block_bytes));
        line("payload", format!("{} bytes", self.payload_bytes));
        line("epochs", self.epochs.to_string());
        if self.judged.blocks > 0 {
            line("first block", moment::show(self.first_sealed_unix_ns));
            line("last block", moment::show(self.last_sealed_unix_ns));
        }
        for (kind, sum) in &self.kinds {
            line(&format!("kind {kind:#06x}"), format!("{} records, {} bytes", sum.records, sum.bytes));
        }
        text
    }
}
