//! `ng recover`: a log's directory to a store, and tokens out again. The log is only read.

use std::path::{Path, PathBuf};

use ng_core::TokenStore;

use super::output::{print, say, write_json};
use super::{EX_IOERR, Failure};
use crate::export::{self, Format};
use crate::stack::{Recovered, replay};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The log's directory.
    #[arg(long, value_name = "DIR")]
    wal: PathBuf,
    /// Write all tokens to standard output, by slot.
    #[arg(long, value_parser = ["csv", "ndjson", "bin"])]
    export: Option<String>,
    /// Write them to FILE instead.
    #[arg(long, value_name = "FILE", requires = "export")]
    output: Option<PathBuf>,
    /// What was found, as one JSON document, to FILE or `-`.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, serde::Serialize)]
struct Found<'a> {
    tokens: u64,
    ms: f64,
    #[serde(flatten)]
    log: &'a Recovered,
}

pub(super) fn run(args: &Args) -> Result<u8, Failure> {
    let store = TokenStore::new();
    let began = std::time::Instant::now();
    let Some(log) = replay(&args.wal, &store)? else {
        return Err(Failure::new(EX_IOERR, format!("there is no log in {}", args.wal.display())));
    };
    let found = Found { tokens: store.len(), ms: began.elapsed().as_secs_f64() * 1e3, log: &log };
    if let Some(to) = &args.json {
        write_json(&found, to)?;
    }
    // Where tokens or a document go to standard output, the words go to standard error.
    let taken =
        args.json.as_deref() == Some(Path::new("-")) || args.export.is_some() && args.output.is_none();
    let text = describe(&found);
    if taken {
        say(format_args!("{text}"))
    } else {
        print(|out| writeln!(out, "{text}"))?
    }
    let Some(format) = args.export.as_deref() else { return Ok(0) };
    let format = match format {
        "csv" => Format::Csv,
        "ndjson" => Format::Ndjson,
        _ => Format::Bin,
    };
    let tokens = store.iter().map(|(token, _)| token);
    let written = match &args.output {
        None => export::write_all(format, std::io::stdout().lock(), tokens),
        Some(path) => {
            let failed = |error| Failure::new(EX_IOERR, format!("create {}: {error}", path.display()));
            export::write_all(format, std::fs::File::create(path).map_err(failed)?, tokens)
        }
    };
    written.map_err(|error| Failure::io(&error))?;
    Ok(0)
}

fn describe(found: &Found<'_>) -> String {
    let log = found.log;
    let mut text = format!(
        "{} tokens from {} records in {} segment(s), {:.1} ms",
        found.tokens, log.records, log.segments, found.ms
    );
    if log.checkpoint_lsn > 0 {
        text.push_str(&format!(
            "\n{} records of a checkpoint stand for those before {}",
            log.checkpoint_records, log.checkpoint_lsn
        ));
    }
    for bad in &log.bad_checkpoints {
        text.push_str(&format!("\ncheckpoint {bad}; done without it"));
    }
    if log.superseded > 0 {
        text.push_str(&format!("\n{} records were overtaken by younger ones", log.superseded));
    }
    if log.foreign > 0 {
        text.push_str(&format!("\n{} records are not of tokens and were passed over", log.foreign));
    }
    if log.dropped > 0 {
        text.push_str(&format!(
            "\n{} records were let go by a full log before they were written",
            log.dropped
        ));
    }
    match &log.torn {
        Some(torn) => text.push_str(&format!("\n{torn}")),
        None => text.push_str("\nthe log ends in good order"),
    }
    text
}
