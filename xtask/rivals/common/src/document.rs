//! What every rivals program takes, and the one document that it writes.

use clap::Args as ClapArgs;
use serde::Serialize;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The options that all share.
#[derive(Debug, Clone, ClapArgs)]
pub struct Args {
    /// Rounds: the more, the narrower the spread.
    #[arg(long, default_value_t = 7)]
    pub rounds: usize,
    /// A small run, for function and not for speed.
    #[arg(long)]
    pub quick: bool,
    /// One document with every figure, to FILE or `-`.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// Writes `document` to `path`, or to standard output if that is `-`.
///
/// # Errors
/// What could not be written, and why.
pub fn write_json(path: &Path, document: &impl Serialize) -> Result<(), String> {
    let mut text = serde_json::to_string_pretty(document).map_err(|error| error.to_string())?;
    text.push('\n');
    let written = if path.as_os_str() == "-" {
        std::io::stdout().lock().write_all(text.as_bytes())
    } else {
        std::fs::write(path, text)
    };
    written.map_err(|error| format!("write {}: {error}", path.display()))
}

/// The end of a rivals program called `name`: what went wrong goes to standard error, and the exit code
/// is 74.
pub fn finish(name: &str, outcome: Result<(), String>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{name}: {why}");
            ExitCode::from(74)
        }
    }
}
