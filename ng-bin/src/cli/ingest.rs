//! `ng ingest`: rows to tokens, through a whole stack.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ng_core::TokenSpec;
use ng_core::lane::{BatchReport, CreateError};

use super::ending::Ending;
use super::output::{print, say, write_json};
use super::{EX_IOERR, EX_USAGE, Failure, load};
use crate::config::EX_CONFIG;
use crate::ingest::{
    Format, Ingest, IngestError, Intake, Mapping, NoProgress, Options, Progress, Rejects, Source, Stderr,
    Stopped, Summary, Verdicts,
};
use crate::stack::choice::WalChoice;
use crate::stack::{Stack, StackLane};

/// How long the end of a run waits for the disk.
const PATIENCE: Duration = Duration::from_secs(600);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Files to read, in order; `-` is standard input and needs --format.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The format; by the file's name otherwise.
    #[arg(long, value_parser = ["csv", "ndjson", "bin"])]
    format: Option<String>,
    /// Which column fills which field, such as `--map weight=price --map L1.x=lon`; columns named
    /// like the fields otherwise.
    #[arg(long, value_name = "FIELD=COLUMN")]
    map: Vec<String>,
    /// Keep rows that became no token here, unchanged.
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// Stop at the first bad row.
    #[arg(long)]
    strict: bool,
    /// Take the nearest number that fits instead of calling the row bad.
    #[arg(long)]
    clamp: bool,
    /// The configuration of the stack.
    #[arg(long)]
    config: Option<PathBuf>,
    /// The log's directory, over the configuration's.
    #[arg(long, value_name = "DIR")]
    wal: Option<PathBuf>,
    /// The summary as one JSON document, to FILE or `-`.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Rows of a batch; a smaller one is durable sooner.
    #[arg(long, default_value_t = 4_096, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    batch: u64,
    /// After each batch, wait until it is durable and write the number of durable tokens to
    /// standard output. Refused where a token may be made without its record.
    #[arg(long)]
    acknowledge: bool,
}

/// The summary, with what the stack says.
#[derive(Debug, serde::Serialize)]
struct Outcome<'a> {
    #[serde(flatten)]
    rows: &'a Summary,
    logged: u64,
    durable: u64,
    ns_per_token: f64,
}

/// A lane that takes rows.
struct Taker<'s> {
    stack: &'s Stack,
    lane: StackLane,
    report: BatchReport,
    made: u64,
    acknowledge: bool,
}

impl Intake for Taker<'_> {
    fn take(&mut self, specs: &[TokenSpec], verdicts: &mut Verdicts) -> Result<(), Stopped> {
        let _span = tracing::info_span!("ingest.batch", rows = specs.len()).entered();
        tracing::info_span!("ingest.make").in_scope(|| self.lane.create_batch(specs, &mut self.report));
        for refused in self.report.refused() {
            let reason = match &refused.why {
                CreateError::Unsound(_) => "unsound",
                CreateError::Forbidden(_) => "constitution",
                CreateError::Quota(_) => "quota",
                CreateError::Store(ng_core::store::StoreError::Taken { .. }) => "taken",
                CreateError::Store(_) => "store",
                CreateError::Log(why) => {
                    return Err(Stopped { settled: refused.index, cause: why.to_string().into() });
                }
                _ => "other",
            };
            verdicts.refuse(refused.index, reason, &refused.why);
        }
        self.made += self.report.made() as u64;
        if self.acknowledge {
            let _span = tracing::info_span!("ingest.wait_durable").entered();
            let waited = self.stack.wal().wait_durable(self.report.ticket(), PATIENCE);
            waited.map_err(|error| Stopped { settled: specs.len(), cause: error.into() })?;
            let written = print(|out| writeln!(out, "{}", self.made));
            written.map_err(|failure| Stopped { settled: specs.len(), cause: failure.text.into() })?;
        }
        Ok(())
    }
}

/// What was appended becomes durable, and the log is closed.
fn close(wal: &WalChoice, signal: &str) {
    let closed = wal.shared().close(PATIENCE);
    let durable = wal.shared().stats().durable_records;
    match closed {
        Ok(()) => say(format_args!("ng: {signal}: the log is closed, {durable} records are durable")),
        Err(error) => say(format_args!("ng: {signal}: {durable} records are durable; {error}")),
    }
}

pub(super) fn run(args: &Args) -> Result<u8, Failure> {
    let format = args.format.as_deref().map(|name| match name {
        "csv" => Format::Csv,
        "ndjson" => Format::Ndjson,
        _ => Format::Bin,
    });
    let usage = |error: &dyn std::error::Error| Failure::new(EX_USAGE, super::output::with_causes(error));
    let mapping = Mapping::parse(&args.map).map_err(|error| usage(&error))?;
    let mut config = load(args.config.as_ref())?.config;
    if let Some(dir) = &args.wal {
        config.wal.dir.clone_from(dir);
    }
    if args.acknowledge
        && let Some(why) = config.wal.not_durable()
    {
        return Err(Failure::new(EX_CONFIG, format!("--acknowledge can't be kept: {why}")));
    }
    // Each source is opened before anything is made.
    let sources = args.files.iter().map(|path| open(path, format)).collect::<Result<Vec<_>, _>>()?;
    let paths: Vec<&Path> = args.files.iter().map(PathBuf::as_path).collect();
    let rejects = match &args.rejects {
        None => None,
        Some(path) => Some(Rejects::create(path, &paths).map_err(|error| Failure::io(&error))?),
    };
    let stack = Stack::builder().config(config).build()?;
    #[cfg(feature = "telemetry")]
    super::logs::attach(&stack)?;
    let wal = stack.wal_choice();
    let ending = Ending::watch(move |signal| close(&wal, signal)).map_err(|error| Failure::io(&error))?;
    let before = stack.wal().stats();
    let lane = stack.lane("ingest")?;
    let acknowledge = args.acknowledge;
    let mut taker = Taker { stack: &stack, lane, report: BatchReport::default(), made: 0, acknowledge };
    let options = Options {
        batch: usize::try_from(args.batch).unwrap_or(usize::MAX),
        strict: args.strict,
        clamp: args.clamp,
        ..Options::default()
    };
    let quiet = args.json.as_deref() == Some(Path::new("-"));
    let mut progress: Box<dyn Progress> =
        if quiet { Box::new(NoProgress) } else { Box::new(Stderr::new(true, 20)) };
    let began = Instant::now();
    let mut ingest = Ingest::new(mapping, options, rejects);
    let mut stopped = None;
    for source in sources {
        if let Err(error) = ingest.run(source, &mut taker, &mut *progress) {
            stopped = Some(error);
            break;
        }
    }
    drop(taker);
    ending.stay_if_asked_to_end();
    let flushed = stack.wal().flush(PATIENCE);
    let elapsed = began.elapsed();
    let stats = stack.wal().stats();
    let rows = ingest.summary();
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of a run")]
    let ns_per_token = elapsed.as_nanos() as f64 / rows.made.max(1) as f64;
    let outcome = Outcome {
        rows,
        logged: stats.records - before.records,
        durable: stats.durable_records - before.durable_records,
        ns_per_token,
    };
    match &args.json {
        Some(to) => write_json(&outcome, to)?,
        None if acknowledge => {}
        None => print(|out| summarise(&outcome, out))?,
    }
    flushed.map_err(|error| Failure::io(&error))?;
    drop(ending);
    stack.shutdown(PATIENCE).map_err(|error| Failure::io(&error))?;
    match stopped {
        None => Ok(0),
        Some(error @ IngestError::BadRow(_)) => Err(Failure::new(1, super::output::with_causes(&error))),
        Some(error @ (IngestError::Mapping(_) | IngestError::Header { .. })) => Err(usage(&error)),
        Some(error) => Err(Failure::new(EX_IOERR, super::output::with_causes(&error))),
    }
}

fn open(path: &Path, format: Option<Format>) -> Result<Source, Failure> {
    if path != Path::new("-") {
        return Source::open(path, format).map_err(|error| Failure::io(&error));
    }
    let Some(format) = format else {
        return Err(Failure::new(
            EX_USAGE,
            "standard input has no name to tell its format by: give --format",
        ));
    };
    Ok(Source::from_reader("standard input", format, std::io::stdin()))
}

fn summarise(outcome: &Outcome<'_>, out: &mut dyn std::io::Write) -> std::io::Result<()> {
    let rows = outcome.rows;
    writeln!(out, "read     {}", rows.read)?;
    writeln!(out, "made     {}", rows.made)?;
    writeln!(out, "refused  {}", rows.refused)?;
    for (reason, count) in &rows.refused_by {
        writeln!(out, "  {reason:<12} {count}")?;
    }
    writeln!(out, "bad      {}", rows.bad)?;
    if rows.unsettled > 0 {
        writeln!(out, "unsettled {}", rows.unsettled)?;
    }
    writeln!(out, "logged   {}", outcome.logged)?;
    writeln!(out, "durable  {}", outcome.durable)?;
    writeln!(out, "{:.1} ns per token", outcome.ns_per_token)
}
