//! `ng doctor`: what this machine offers, and what follows from it.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::output::{print, write_json};
use super::{Failure, load};
use crate::doctor::{System, Verdict, examine};

const CODES: &str = "Exit codes: 0 nothing takes away what the configuration asks for; 1 something does; \
78 the configuration must change.";

#[derive(Debug, clap::Args)]
#[command(after_help = CODES)]
pub(super) struct Args {
    /// The configuration whose directories and limits are looked at; the defaults without one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Write nothing: the log's directory is not tried with a little log of 4 MiB.
    #[arg(long)]
    no_write: bool,
    /// What was found, as one JSON document on standard output.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<u8, Failure> {
    let loaded = load(args.config.as_ref())?;
    let checks = examine(&System::here(), &loaded.config, !args.no_write);
    let count = |verdict| checks.iter().filter(|check| check.verdict == verdict).count();
    let bad = count(Verdict::Bad);
    if args.json {
        write_json(&json!({"sound": bad == 0, "checks": checks}), Path::new("-"))?;
    } else {
        print(|out| {
            for check in &checks {
                writeln!(out, "{check}")?;
            }
            let (good, note, warn) = (count(Verdict::Good), count(Verdict::Note), count(Verdict::Warn));
            writeln!(out, "{good} good, {note} to note, {warn} to warn of, {bad} bad")
        })?;
    }
    Ok(u8::from(bad > 0))
}
