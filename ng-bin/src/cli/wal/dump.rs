//! `ng wal dump`: records to standard output.

use super::records::{Look, Wanted};
use super::{moment, unreadable};
use crate::cli::Failure;
use crate::cli::output::{print, say};
use ng_wal::RecoverError;
use ng_wal::recover::Reader;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The log's directory.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// One JSON object a line instead of words.
    #[arg(long)]
    json: bool,
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

pub(super) fn run(args: &Args) -> Result<u8, Failure> {
    let wanted = Wanted {
        from: args.from.unwrap_or(Wanted::ALL.from),
        below: args.to.map_or(Wanted::ALL.below, |to| to.saturating_add(1)),
        since: args.since.unwrap_or(Wanted::ALL.since),
        until: args.until.unwrap_or(Wanted::ALL.until),
    };
    let look = Look { json: args.json };
    let reader = match (args.from, args.since) {
        (Some(from), _) => Reader::open_at(&args.dir, from),
        (None, Some(since)) => Reader::open_since(&args.dir, since),
        (None, None) => Reader::open(&args.dir),
    };
    let mut reader = reader.map_err(|error| unreadable(&error))?;
    let mut fault: Option<RecoverError> = None;
    print(|out| {
        loop {
            match reader.next_block() {
                Ok(Some(block)) if block.first_lsn >= wanted.below => return Ok(()),
                Ok(Some(block)) => look.block(out, &block, &wanted)?,
                Ok(None) => return Ok(()),
                Err(error) => {
                    fault = Some(error);
                    return Ok(());
                }
            }
        }
    })?;
    if let Some(error) = fault {
        return Err(unreadable(&error));
    }
    if let Some(torn) = &reader.report().torn {
        say(format_args!("torn tail at {}:{}: {}", torn.path.display(), torn.offset, torn.fault));
    }
    Ok(0)
}
