//! `ng blackbox`: what threads did last, from the rings of a living or a dead process. Rings are
//! only read.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ng_blackbox::ProcessRings;
use ng_blackbox::read::{Autopsy, Diff, Filter, Follower, Snapshot};
use ng_core::events::Tier;

use super::output::{print, say, write_json};
use super::{EX_IOERR, Failure, load};

const CODES: &str = "Exit codes: 0 all was read; 1 a part is damaged or unreadable (what is sound was \
shown all the same), or `diff` found a difference; 64 wrong words; 74 there are no \
such rings, or a file failed; 78 the configuration must change.";

#[derive(Debug, clap::Subcommand)]
#[command(after_help = CODES)]
pub(super) enum Words {
    /// List the processes that have rings, the latest first, and how each ended.
    #[command(after_help = CODES)]
    Ls {
        #[command(flatten)]
        place: Place,
        /// One JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Show how a process ended, what its rings cover, and its last events.
    #[command(after_help = CODES)]
    Show {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        wanted: Wanted,
        /// How many events at most, the last ones.
        #[arg(long, value_name = "N", default_value_t = 50)]
        last: usize,
        /// One JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Follow a living process until it ends.
    #[command(after_help = CODES)]
    Tail {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        wanted: Wanted,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
        /// How often the rings are read, in milliseconds.
        #[arg(long, value_name = "MS", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=60_000))]
        every: u64,
    },
    /// Write events for another program.
    #[command(after_help = CODES)]
    Export {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        wanted: Wanted,
        /// JSON lines, text, Chrome's trace events (speedscope, about:tracing) or Perfetto's trace.
        #[arg(long, value_parser = ["jsonl", "text", "chrome", "perfetto"])]
        format: String,
        /// How many events at most, the last ones.
        #[arg(long, value_name = "N", default_value_t = usize::MAX, hide_default_value = true)]
        last: usize,
        /// Write to FILE instead of standard output.
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Say what differs between two processes' rings.
    #[command(after_help = CODES)]
    Diff {
        /// A process's directory, a ring file, or a process id.
        one: PathBuf,
        /// The other.
        other: PathBuf,
        #[command(flatten)]
        place: Place,
        /// One JSON document.
        #[arg(long)]
        json: bool,
    },
}

/// Where rings are looked for.
#[derive(Debug, clap::Args)]
pub(super) struct Place {
    /// The directory of all rings; `blackbox.dir` of the configuration without it.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The configuration that names it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Target {
    /// A process's directory, a ring file, or a process id; the latest process without it.
    target: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

/// Which events.
#[derive(Debug, clap::Args)]
pub(super) struct Wanted {
    /// Only of this thread, by name or id; can be given again.
    #[arg(long, value_name = "NAME")]
    thread: Vec<String>,
    /// Only of this tier; can be given again.
    #[arg(long, value_parser = ["operation", "sampled", "rare"])]
    tier: Vec<String>,
    /// Only of this kind, by label or number; can be given again.
    #[arg(long, value_name = "KIND")]
    kind: Vec<String>,
    /// Only those of the last SECONDS before the last event.
    #[arg(long, value_name = "SECONDS")]
    since: Option<f64>,
    /// None of the last SECONDS before the last event.
    #[arg(long, value_name = "SECONDS")]
    until: Option<f64>,
}

impl Wanted {
    fn filter(&self, snapshot: &Snapshot) -> Filter {
        let end = snapshot.events.iter().filter_map(|event| event.unix_ns).max();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a float's cast saturates"
        )]
        let before = |seconds: Option<f64>| Some(end?.saturating_sub((seconds? * 1e9) as u64));
        Filter {
            threads: self.thread.clone(),
            tiers: Tier::ALL
                .into_iter()
                .filter(|tier| self.tier.iter().any(|it| it == tier.label()))
                .collect(),
            kinds: self.kind.clone(),
            from_unix_ns: before(self.since),
            to_unix_ns: before(self.until),
        }
    }
}

pub(super) fn run(words: &Words) -> Result<u8, Failure> {
    match words {
        Words::Ls { place, json } => ls(place, *json),
        Words::Show { target, wanted, last, json } => show(&target.open()?, wanted, *last, *json),
        Words::Tail { target, wanted, json, every } => {
            tail(&target.path()?, wanted, *json, Duration::from_millis(*every))
        }
        Words::Export { target, wanted, format, last, output } => {
            export(target.open()?, wanted, format, *last, output.as_deref())
        }
        Words::Diff { one, other, place, json } => diff(&place.open(one)?, &place.open(other)?, *json),
    }
}

impl Place {
    fn dir(&self) -> Result<PathBuf, Failure> {
        match &self.dir {
            Some(dir) => Ok(dir.clone()),
            None => Ok(load(self.config.as_ref())?.config.blackbox.dir),
        }
    }

    fn processes(&self) -> Result<(PathBuf, Vec<ProcessRings>), Failure> {
        let dir = self.dir()?;
        let failed = |error| Failure::new(EX_IOERR, format!("list {}: {error}", dir.display()));
        let found = ng_blackbox::find_all(&dir).map_err(failed)?;
        Ok((dir, found))
    }

    /// What a word means: a path that exists, or the id of a process that has rings.
    fn path(&self, word: &Path) -> Result<PathBuf, Failure> {
        if word.exists() {
            return Ok(word.to_owned());
        }
        let (dir, found) = self.processes()?;
        let pid: Option<u32> = word.to_str().and_then(|word| word.parse().ok());
        let process = found.into_iter().find(|process| Some(process.pid) == pid);
        process.map(|process| process.path).ok_or_else(|| {
            let why = format!("{} is no path and no process with rings in {}", word.display(), dir.display());
            Failure::new(EX_IOERR, why)
        })
    }

    fn open(&self, word: &Path) -> Result<Snapshot, Failure> {
        read(&self.path(word)?)
    }
}

impl Target {
    fn path(&self) -> Result<PathBuf, Failure> {
        match &self.target {
            Some(word) => self.place.path(word),
            None => {
                let (dir, found) = self.place.processes()?;
                let latest = found.into_iter().next().map(|process| process.path);
                let none = || Failure::new(EX_IOERR, format!("no process has rings in {}", dir.display()));
                latest.ok_or_else(none)
            }
        }
    }

    fn open(&self) -> Result<Snapshot, Failure> {
        read(&self.path()?)
    }
}

fn read(path: &Path) -> Result<Snapshot, Failure> {
    Snapshot::open(path).map_err(|error| Failure::io(&error))
}

/// 1 if a part is damaged. A record that was torn by a death, or is being written, is no damage.
fn code(snapshot: &Snapshot) -> u8 {
    let damaged = snapshot.rings.iter().any(|ring| !ring.damage.is_empty());
    u8::from(damaged || !snapshot.unreadable.is_empty())
}

fn ls(place: &Place, json: bool) -> Result<u8, Failure> {
    #[derive(serde::Serialize)]
    struct Row {
        alive: bool,
        bytes: u64,
        #[serde(flatten)]
        autopsy: Option<Autopsy>,
        unreadable: Option<String>,
    }
    let (dir, found) = place.processes()?;
    let (mut rows, mut code) = (Vec::new(), 0);
    for process in found {
        let (autopsy, unreadable) = match Snapshot::open(&process.path) {
            Ok(snapshot) => (Some(Autopsy::of(&snapshot)), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let damaged = autopsy.as_ref().is_none_or(|autopsy| !autopsy.damage.is_empty());
        code |= u8::from(damaged);
        rows.push(Row { alive: process.alive, bytes: process.bytes, autopsy, unreadable });
    }
    if json {
        write_json(&serde_json::json!({"dir": dir, "processes": rows}), Path::new("-"))?;
        return Ok(code);
    }
    print(|out| {
        for row in &rows {
            let Some(autopsy) = &row.autopsy else {
                writeln!(out, "{}", row.unreadable.as_deref().unwrap_or_default())?;
                continue;
            };
            #[expect(clippy::cast_precision_loss, reason = "MiB for people")]
            let mib = row.bytes as f64 / f64::from(1 << 20);
            writeln!(
                out,
                "{:>8}  {:>7.1} MiB  {:>12} events  {}  {}",
                autopsy.pid,
                mib,
                autopsy.recorded,
                autopsy.path.display(),
                autopsy.cause
            )?;
        }
        Ok(())
    })?;
    if rows.is_empty() {
        say(format_args!("no process has rings in {}", dir.display()));
    }
    Ok(code)
}

fn show(snapshot: &Snapshot, wanted: &Wanted, last: usize, json: bool) -> Result<u8, Failure> {
    let mut snapshot = snapshot.clone();
    snapshot.name_frames();
    let autopsy = Autopsy::of(&snapshot);
    let filtered = snapshot.retain(&wanted.filter(&snapshot));
    if json {
        let mut document = snapshot.to_json(last);
        document["autopsy"] = serde_json::to_value(&autopsy).map_err(|error| Failure::io(&error))?;
        document["filtered_out"] = filtered.into();
        write_json(&document, Path::new("-"))?;
        return Ok(code(&snapshot));
    }
    print(|mut out| {
        snapshot.write_text(&mut out, last)?;
        if filtered > 0 {
            writeln!(out, "{filtered} events were filtered out")?;
        }
        if let Some(lsn) = autopsy.durable_lsn {
            writeln!(out, "the log was durable below record {lsn}")?;
        }
        Ok(())
    })?;
    Ok(code(&snapshot))
}

fn tail(path: &Path, wanted: &Wanted, json: bool, every: Duration) -> Result<u8, Failure> {
    let mut follower = Follower::new(path);
    loop {
        let (mut snapshot, missed) = follower.poll().map_err(|error| Failure::io(&error))?;
        let filter = Filter { from_unix_ns: None, to_unix_ns: None, ..wanted.filter(&snapshot) };
        snapshot.retain(&filter);
        if missed > 0 {
            say(format_args!("{missed} events were overwritten before they could be shown"));
        }
        let start = snapshot.process.as_ref().map(|process| process.created_unix_ns);
        let mut out = std::io::stdout().lock();
        let written = if json {
            snapshot.write_json_lines(&mut out, usize::MAX)
        } else {
            snapshot.write_events(&mut out, usize::MAX, start)
        };
        match written.and_then(|()| out.flush()) {
            // Whoever read has enough.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(0),
            written => {
                written.map_err(|error| Failure::new(EX_IOERR, format!("standard output: {error}")))?
            }
        }
        drop(out);
        let ends = snapshot.process.as_ref().is_none_or(|process| !process.alive || process.closed_in_order);
        if ends {
            say(format_args!("{}", Autopsy::of(&snapshot).cause));
            return Ok(code(&snapshot));
        }
        std::thread::sleep(every);
    }
}

fn export(
    mut snapshot: Snapshot,
    wanted: &Wanted,
    format: &str,
    last: usize,
    output: Option<&Path>,
) -> Result<u8, Failure> {
    snapshot.name_frames();
    snapshot.retain(&wanted.filter(&snapshot));
    snapshot.keep_last(last);
    let write = |out: &mut dyn Write| {
        let mut out = out;
        match format {
            "jsonl" => snapshot.write_json_lines(&mut out, usize::MAX),
            "text" => snapshot.write_text(&mut out, usize::MAX),
            "chrome" => snapshot.write_chrome(&mut out),
            _ => snapshot.write_perfetto(&mut out),
        }
    };
    match output {
        None => print(write)?,
        Some(path) => {
            let failed = |error| Failure::new(EX_IOERR, format!("write {}: {error}", path.display()));
            let mut out = std::io::BufWriter::new(std::fs::File::create(path).map_err(failed)?);
            write(&mut out).and_then(|()| out.flush()).map_err(failed)?;
        }
    }
    // The data is for a program; what it covers is for whoever runs this.
    let mut coverage = Vec::new();
    if format != "text" && snapshot.write_coverage(&mut coverage).is_ok() {
        say(format_args!("{}", String::from_utf8_lossy(&coverage).trim_end()));
    }
    if matches!(format, "chrome" | "perfetto") && snapshot.untimed() > 0 {
        say(format_args!("{} events without a time were left out", snapshot.untimed()));
    }
    Ok(code(&snapshot))
}

fn diff(one: &Snapshot, other: &Snapshot, json: bool) -> Result<u8, Failure> {
    let diff = Diff::of(one, other);
    if json {
        write_json(&diff, Path::new("-"))?;
    } else {
        print(|out| {
            let [first, second] = &diff.cause;
            if first != second {
                writeln!(out, "ended: {first} | {second}")?;
            }
            if !diff.same_build {
                writeln!(out, "written by different programs")?;
            }
            if !diff.same_config {
                writeln!(out, "different configurations")?;
            }
            for (what, rows) in [("recorded", &diff.recorded), ("in the windows", &diff.kinds)] {
                for row in rows {
                    let [one, other] = row.counts;
                    writeln!(out, "{what}: {:<32} {one:>14} {other:>14}", row.name)?;
                }
            }
            Ok(())
        })?;
    }
    Ok(u8::from(!diff.is_empty()))
}
