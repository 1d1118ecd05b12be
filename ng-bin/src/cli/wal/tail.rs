//! `ng wal tail`: the end of a log, and what is appended to it.

use super::records::{Look, Wanted};
use super::unreadable;
use crate::cli::Failure;
use crate::cli::output::print;
use ng_wal::RecoverError;
use ng_wal::recover::Reader;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How often a followed log is looked at.
const PAUSE: Duration = Duration::from_millis(25);
/// What looks like damage may be a writer at work, but not for so long.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The log's directory.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// One JSON object a line instead of words.
    #[arg(long)]
    json: bool,
    /// How many of the last records.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    records: u64,
    /// Go on with what a running writer appends, until interrupted. What is shown may not be
    /// durable yet.
    #[arg(short, long)]
    follow: bool,
}

pub(super) fn run(args: &Args) -> Result<u8, Failure> {
    let failed = |error: RecoverError| unreadable(&error);
    // The number of the last record, from the last segment alone.
    let mut last = Reader::open_at(&args.dir, u64::MAX).map_err(failed)?;
    let ended = to_end(&mut last, &mut std::io::sink(), None);
    if let Ok(Some(error)) = ended
        && !args.follow
    {
        return Err(unreadable(&error));
    }
    let from = last.report().next_lsn.saturating_sub(args.records);
    let mut reader = Reader::open_at(&args.dir, from).map_err(failed)?;
    let look = Look { json: args.json, checkpoint: None };
    let wanted = Wanted { from, ..Wanted::ALL };
    let mut fault: Option<RecoverError> = None;
    print(|out| {
        let mut moved = Instant::now();
        loop {
            let before = reader.report().blocks;
            let error = to_end(&mut reader, out, Some((look, &wanted)))?;
            out.flush()?;
            if reader.report().blocks > before {
                moved = Instant::now();
            }
            match error {
                Some(error) if !args.follow || moved.elapsed() > PATIENCE => {
                    fault = Some(error);
                    return Ok(());
                }
                None if !args.follow => return Ok(()),
                _ => {}
            }
            std::thread::sleep(PAUSE);
            if let Err(error) = reader.look_again()
                && moved.elapsed() > PATIENCE
            {
                fault = Some(error);
                return Ok(());
            }
        }
    })?;
    fault.map_or(Ok(0), |error| Err(unreadable(&error)))
}

/// Hands out what there is, and says what stopped it if that is not the end.
fn to_end(
    reader: &mut Reader,
    out: &mut dyn Write,
    show: Option<(Look, &Wanted)>,
) -> std::io::Result<Option<RecoverError>> {
    loop {
        match reader.next_block() {
            Ok(Some(block)) => {
                if let Some((look, wanted)) = show {
                    look.block(out, &block, wanted)?;
                }
            }
            Ok(None) => return Ok(None),
            Err(error) => return Ok(Some(error)),
        }
    }
}
