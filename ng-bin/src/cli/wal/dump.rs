//! `ng wal dump`: records to standard output, of the log or of a checkpoint.

use super::ls::Covered;
use super::records::{Look, Wanted};
use super::{moment, unreadable};
use crate::cli::output::{print, say};
use crate::cli::{EX_USAGE, Failure};
use ng_wal::RecoverError;
use ng_wal::checkpoint::Checkpoint;
use ng_wal::recover::{Block, CheckpointReader, Reader, checkpoints};
use std::io::{self, Write};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The log's directory.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// One JSON object a line instead of words.
    #[arg(long)]
    json: bool,
    /// The records of a checkpoint instead of the log's: of the youngest, or of the one below LSN.
    /// They have numbers of their own, from 0.
    #[arg(
        long,
        value_name = "LSN",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "youngest",
        value_parser = which,
        conflicts_with_all = ["since", "until"],
    )]
    checkpoint: Option<Which>,
    /// From this record on.
    #[arg(long, value_name = "LSN")]
    from: Option<u64>,
    /// Up to this record, itself included.
    #[arg(long, value_name = "LSN")]
    to: Option<u64>,
    /// Only blocks sealed at or after TIME: 2026-01-31T12:00:00Z, or seconds since 1970.
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    since: Option<u64>,
    /// Only blocks sealed before TIME.
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    until: Option<u64>,
}

/// Which checkpoint.
#[derive(Debug, Clone, Copy)]
enum Which {
    Youngest,
    Below(u64),
}

fn which(word: &str) -> Result<Which, std::num::ParseIntError> {
    if word == "youngest" { Ok(Which::Youngest) } else { word.parse().map(Which::Below) }
}

pub(super) fn run(args: &Args) -> Result<u8, Failure> {
    let wanted = Wanted {
        from: args.from.unwrap_or(Wanted::ALL.from),
        below: args.to.map_or(Wanted::ALL.below, |to| to.saturating_add(1)),
        since: args.since.unwrap_or(Wanted::ALL.since),
        until: args.until.unwrap_or(Wanted::ALL.until),
    };
    let found = checkpoints(&args.dir).map_err(|error| unreadable(&error))?;
    if let Some(which) = args.checkpoint {
        return of_checkpoint(args, pick(args, which, &found)?, &wanted);
    }
    let look = Look { json: args.json, checkpoint: None };
    let reader = match (args.from, args.since) {
        (Some(from), _) => Reader::open_at(&args.dir, from),
        (None, Some(since)) => Reader::open_since(&args.dir, since),
        (None, None) => Reader::open(&args.dir),
    };
    let reader = reader.map_err(|error| unreadable(&error))?;
    let source = show(Source::Log(Box::new(reader)), look, &found, &wanted)?;
    if let Source::Log(reader) = source
        && let Some(torn) = &reader.report().torn
    {
        say(format_args!("torn tail at {}:{}: {}", torn.path.display(), torn.offset, torn.fault));
    }
    Ok(0)
}

fn of_checkpoint(args: &Args, one: &Checkpoint, wanted: &Wanted) -> Result<u8, Failure> {
    let reader = CheckpointReader::open(one).map_err(|error| unreadable(&error))?;
    let look = Look { json: args.json, checkpoint: Some(one.lsn) };
    show(Source::Checkpoint(Box::new(reader)), look, std::slice::from_ref(one), wanted).map(|_| 0)
}

/// What hands out the records.
#[derive(Debug)]
enum Source {
    Log(Box<Reader>),
    Checkpoint(Box<CheckpointReader>),
}

impl Source {
    fn next_block(&mut self) -> Result<Option<Block<'_>>, RecoverError> {
        match self {
            Self::Log(reader) => reader.next_block(),
            Self::Checkpoint(reader) => reader.next_block(),
        }
    }
}

/// Prints the checkpoints' headers and the wanted records, up to what stops it before the end.
fn show(mut source: Source, look: Look, headers: &[Checkpoint], wanted: &Wanted) -> Result<Source, Failure> {
    let mut fault = None;
    print(|out| {
        headers.iter().try_for_each(|one| header(out, look.json, one))?;
        loop {
            match source.next_block() {
                Ok(Some(block)) if block.first_lsn >= wanted.below => return Ok(()),
                Ok(Some(block)) => look.block(out, &block, wanted)?,
                Ok(None) => return Ok(()),
                Err(error) => {
                    fault = Some(error);
                    return Ok(());
                }
            }
        }
    })?;
    fault.map_or(Ok(source), |error| Err(unreadable(&error)))
}

/// The one that is asked for; `found` is the youngest first.
fn pick<'a>(args: &Args, which: Which, found: &'a [Checkpoint]) -> Result<&'a Checkpoint, Failure> {
    let dir = args.dir.display();
    let (one, missing) = match which {
        Which::Youngest => (found.first(), format!("there is no checkpoint in {dir}")),
        Which::Below(lsn) => {
            let one = found.iter().find(|one| one.lsn == lsn);
            (one, format!("there is no checkpoint below record {lsn} in {dir}: `ng wal ls` lists them"))
        }
    };
    one.ok_or_else(|| Failure::new(EX_USAGE, missing))
}

/// What a checkpoint's header and its end say, as a line.
fn header(out: &mut dyn Write, json: bool, one: &Checkpoint) -> io::Result<()> {
    if json {
        serde_json::to_writer(&mut *out, &Covered::from(one))?;
        return writeln!(out);
    }
    let path = one.path.display();
    if !one.complete {
        return writeln!(out, "checkpoint {path}: damaged, for the records below {}", one.lsn);
    }
    writeln!(
        out,
        "checkpoint {path}: {} records for those below {}, begun {}",
        one.records,
        one.lsn,
        moment::show(one.created_unix_ns)
    )
}
