//! `ng cdna`: the constitution's history from the command line. A running stack with the same
//! `guardian.cdna_dir` follows it within a memory interval.
//!
//! Exit codes: 0 done; 1 the history says no (no such version, quarantine, nothing before); 64 wrong
//! words; 74 the history can't be read, is broken, or is in use; 78 the document must change.

use std::io::Read;
use std::path::{Path, PathBuf};

use ng_guardian::cdna::{Charter, History, HistoryError, HistoryWriter, Record, VersionState, read_history};

use super::output::{print, with_causes};
use super::{EX_IOERR, EX_USAGE, Failure, load};
use crate::config::EX_CONFIG;

#[derive(Debug, clap::Args)]
pub(super) struct Place {
    /// The history's directory; `guardian.cdna_dir` of the configuration otherwise.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The configuration that names the directory.
    #[arg(long, value_name = "FILE", conflicts_with = "dir")]
    config: Option<PathBuf>,
    /// Answer with one JSON document.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum Words {
    /// Show a version's settings, defaults filled in; the one in force without a number.
    Show {
        /// The version.
        version: Option<u64>,
        #[command(flatten)]
        place: Place,
    },
    /// Show what was done, oldest first.
    Log {
        #[command(flatten)]
        place: Place,
    },
    /// Show the settings in which two versions differ.
    Diff {
        /// The version to begin with.
        from: u64,
        /// The other version; the one in force without a number.
        to: Option<u64>,
        #[command(flatten)]
        place: Place,
    },
    /// Check a document and keep it as the next version. It is not in force until it is activated.
    Set {
        /// The document in TOML; `-` reads standard input.
        file: PathBuf,
        /// Why, for the log.
        #[arg(long, default_value = "")]
        note: String,
        /// Activate it at once.
        #[arg(long)]
        activate: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Put a version in force.
    Activate {
        /// The version.
        version: u64,
        /// Why, for the log.
        #[arg(long, default_value = "")]
        note: String,
        #[command(flatten)]
        place: Place,
    },
    /// Put an earlier version in force again; the one before without a number.
    Rollback {
        /// The version.
        version: Option<u64>,
        /// Why, for the log.
        #[arg(long, default_value = "")]
        note: String,
        #[command(flatten)]
        place: Place,
    },
    /// Say that a version may not come in force.
    Quarantine {
        /// The version.
        version: u64,
        /// Why, for the log.
        #[arg(long, default_value = "")]
        note: String,
        #[command(flatten)]
        place: Place,
    },
    /// Say that a version may come in force again.
    Release {
        /// The version.
        version: u64,
        /// Why, for the log.
        #[arg(long, default_value = "")]
        note: String,
        #[command(flatten)]
        place: Place,
    },
    /// Check every link of the history.
    Verify {
        #[command(flatten)]
        place: Place,
    },
}

impl From<HistoryError> for Failure {
    fn from(error: HistoryError) -> Self {
        let code = match error {
            HistoryError::NoVersion { .. }
            | HistoryError::Quarantined { .. }
            | HistoryError::InForce { .. }
            | HistoryError::NothingBefore => 1,
            HistoryError::Charter(_) => EX_CONFIG,
            _ => EX_IOERR,
        };
        Self::new(code, with_causes(&error))
    }
}

impl Place {
    fn dir(&self) -> Result<PathBuf, Failure> {
        if let Some(dir) = &self.dir {
            return Ok(dir.clone());
        }
        let why = "no history is named: write --dir DIR, or set guardian.cdna_dir in the configuration";
        load(self.config.as_ref())?.config.guardian.cdna_dir.ok_or_else(|| Failure::new(EX_USAGE, why))
    }

    /// One answer, as words or as a document.
    fn answer(&self, words: &str, document: &serde_json::Value) -> Result<u8, Failure> {
        print(|out| if self.json { writeln!(out, "{document:#}") } else { writeln!(out, "{words}") })?;
        Ok(0)
    }
}

pub(super) fn run(words: &Words) -> Result<u8, Failure> {
    match words {
        Words::Show { version, place } => show(*version, place),
        Words::Log { place } => log(place),
        Words::Diff { from, to, place } => diff(*from, *to, place),
        Words::Set { file, note, activate, place } => set(file, note, *activate, place),
        Words::Activate { version, note, place } => {
            HistoryWriter::open(&place.dir()?)?.activate(*version, note)?;
            done(place, *version, "active", &format!("version {version} is in force"))
        }
        Words::Rollback { version, note, place } => {
            let version = HistoryWriter::open(&place.dir()?)?.rollback(*version, note)?;
            done(place, version, "active", &format!("version {version} is in force again"))
        }
        Words::Quarantine { version, note, place } => {
            HistoryWriter::open(&place.dir()?)?.quarantine(*version, note)?;
            done(place, *version, "quarantined", &format!("version {version} is in quarantine"))
        }
        Words::Release { version, note, place } => {
            HistoryWriter::open(&place.dir()?)?.release(*version, note)?;
            done(place, *version, "staged", &format!("version {version} can be activated"))
        }
        Words::Verify { place } => {
            let history = read_history(&place.dir()?)?;
            let (records, active) = (history.records().len(), history.active());
            let words = match active {
                Some(active) => format!("{records} records, every link holds; version {active} is in force"),
                None => format!("{records} records, every link holds; no version is in force"),
            };
            place.answer(&words, &serde_json::json!({ "records": records, "active": active, "sound": true }))
        }
    }
}

fn done(place: &Place, version: u64, state: &str, words: &str) -> Result<u8, Failure> {
    place.answer(words, &serde_json::json!({ "version": version, "state": state }))
}

/// A version's charter; that of the one in force without a number.
fn charter(history: &History, version: Option<u64>) -> Result<(u64, Charter), Failure> {
    let nothing = || Failure::new(1, "no version is in force: `ng cdna set FILE --activate` makes one");
    let version = version.or_else(|| history.active()).ok_or_else(nothing)?;
    let kept = history.version(version).ok_or(HistoryError::NoVersion { version })?;
    Ok((version, Charter::parse(&kept.document).map_err(HistoryError::from)?))
}

fn show(version: Option<u64>, place: &Place) -> Result<u8, Failure> {
    let history = read_history(&place.dir()?)?;
    let (version, charter) = charter(&history, version)?;
    let state = history.versions().find(|(known, _)| known.version == version).map(|(_, state)| state);
    let settings = charter.settings();
    let mut words = format!("version {version} ({})", state.map_or("unknown", label));
    for (key, value) in &settings {
        words.push_str(&format!("\n{key} = {value}"));
    }
    let settings: serde_json::Map<_, _> =
        settings.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
    place.answer(&words, &serde_json::json!({ "version": version, "state": state, "settings": settings }))
}

const fn label(state: VersionState) -> &'static str {
    match state {
        VersionState::Staged => "staged",
        VersionState::Active => "active",
        VersionState::Quarantined => "quarantined",
    }
}

fn log(place: &Place) -> Result<u8, Failure> {
    let history = read_history(&place.dir()?)?;
    let line = |record: &Record| {
        let act = serde_json::to_value(record.act).unwrap_or_default();
        let act = act.as_str().unwrap_or_default().replace('_', " ");
        let note = if record.note.is_empty() { String::new() } else { format!(": {}", record.note) };
        format!("{:>4}  {}  version {} {act}{note}", record.number, record.unix_seconds, record.version)
    };
    let lines: Vec<_> = history.records().iter().map(line).collect();
    let words = if lines.is_empty() { "the history is empty".to_owned() } else { lines.join("\n") };
    place.answer(&words, &serde_json::json!({ "active": history.active(), "records": history.records() }))
}

fn diff(from: u64, to: Option<u64>, place: &Place) -> Result<u8, Failure> {
    let history = read_history(&place.dir()?)?;
    let (from, here) = charter(&history, Some(from))?;
    let (to, there) = charter(&history, to)?;
    let changes = here.diff(&there);
    let mut words = format!("version {from} → version {to}");
    for (key, here, there) in &changes {
        words.push_str(&format!("\n{key}: {here} → {there}"));
    }
    if changes.is_empty() {
        words.push_str("\nno setting differs");
    }
    let changes: Vec<_> = changes
        .into_iter()
        .map(|(key, from, to)| serde_json::json!({ "key": key, "from": from, "to": to }))
        .collect();
    place.answer(&words, &serde_json::json!({ "from": from, "to": to, "changes": changes }))
}

fn set(file: &Path, note: &str, activate: bool, place: &Place) -> Result<u8, Failure> {
    let failed = |error| Failure::new(EX_IOERR, format!("read {}: {error}", file.display()));
    let document = if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(failed)?;
        text
    } else {
        std::fs::read_to_string(file).map_err(failed)?
    };
    let mut history = HistoryWriter::open(&place.dir()?)?;
    let version = history.stage(&document, note)?;
    if !activate {
        return done(
            place,
            version,
            "staged",
            &format!("version {version} is staged: `ng cdna activate {version}`"),
        );
    }
    history.activate(version, note)?;
    done(place, version, "active", &format!("version {version} is in force"))
}
