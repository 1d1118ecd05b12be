//! The command line: words to options, results to standard output, progress and errors to standard
//! error. It measures nothing and makes no token itself.
//!
//! Exit codes: 0 all well; 1 the run says no (a budget broken, a strict run stopped, tokens
//! lost); 64 wrong words; 74 a file or the log failed; 75 `ng serve` cut requests off; 78 the
//! configuration must change. `ng wal` judges logs: 0 sound, 1 damaged with loss, 2 a torn tail only.

mod allocator;
#[cfg(feature = "blackbox")]
mod blackbox;
#[cfg(feature = "guardian")]
mod cdna;
mod config;
mod doctor;
mod ending;
mod ingest;
mod logs;
mod output;
mod recover;
mod report;
#[cfg(feature = "serve")]
mod serve;
mod shell;
mod stress;
#[cfg(feature = "top")]
mod top;
#[cfg(feature = "wal")]
mod wal;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{EX_CONFIG, Loaded, Loader};
use output::say;

/// Wrong words on the command line (`EX_USAGE` of sysexits.h).
const EX_USAGE: u8 = 64;
/// A file or the log failed (`EX_IOERR` of sysexits.h).
const EX_IOERR: u8 = 74;

/// The observability stack that a hot engine can leave on.
#[derive(Debug, Parser)]
#[command(name = "ng", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 all well; 1 the run says no (budget broken, strict run stopped); \
64 wrong words; 74 a file or the log failed; 75 requests were cut off; 78 the configuration must change.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Make 9.5 million tokens with every layer on, and say where the time goes.
    Stress(stress::Args),
    /// Watch a running stack in the terminal.
    #[cfg(feature = "top")]
    Top(top::Args),
    /// Draw a stress document: one page, or an SVG for each chart.
    Report(report::Args),
    /// Read tokens from CSV, NDJSON or raw files into a logged store.
    Ingest(ingest::Args),
    /// Take tokens over HTTP into a logged store, and show what happens.
    #[cfg(feature = "serve")]
    Serve(serve::Args),
    /// Rebuild the store from its log, say what was found, and write tokens out.
    Recover(recover::Args),
    /// Look at a log, check it, follow it, or have what can be read of a damaged one.
    #[cfg(feature = "wal")]
    #[command(subcommand)]
    Wal(wal::Words),
    /// Read the flight recorder's rings of a living or a dead process.
    #[cfg(feature = "blackbox")]
    #[command(subcommand)]
    Blackbox(blackbox::Words),
    /// Check, print or explain the configuration.
    #[command(subcommand)]
    Config(config::Words),
    /// Say what this machine offers, what follows from it, and what to do.
    Doctor(doctor::Args),
    /// Print what makes a shell complete the words of `ng`.
    Completions(shell::Completions),
    /// Write the manual's pages.
    Man(shell::Man),
    /// Show, change, activate and take back the constitution.
    #[cfg(feature = "guardian")]
    #[command(subcommand)]
    Cdna(cdna::Words),
    /// What a recovery test kills; not for people.
    #[command(hide = true)]
    StressChild(stress::ChildArgs),
}

/// Why a command ended with a code of its own.
struct Failure {
    code: u8,
    text: String,
}

impl Failure {
    fn new(code: u8, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    /// An error of the operating system's, or of the log.
    fn io(error: &dyn std::error::Error) -> Self {
        Self::new(EX_IOERR, output::with_causes(error))
    }
}

impl From<crate::stack::StackError> for Failure {
    fn from(error: crate::stack::StackError) -> Self {
        Self::new(error.exit_code(), output::with_causes(&error))
    }
}

impl From<crate::config::ConfigErrors> for Failure {
    fn from(errors: crate::config::ConfigErrors) -> Self {
        Self::new(EX_CONFIG, errors.render(output::colours()))
    }
}

/// Runs the program with this process's arguments and environment.
#[must_use]
pub fn main() -> ExitCode {
    allocator::give_back_what_is_freed();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are asked for, and go to standard output.
            let asked = !error.use_stderr();
            drop(error.print());
            return if asked { ExitCode::SUCCESS } else { EX_USAGE.into() };
        }
    };
    let outcome = match cli.command {
        Command::Stress(args) => stress::run(&args),
        #[cfg(feature = "top")]
        Command::Top(args) => top::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Ingest(args) => ingest::run(&args),
        #[cfg(feature = "serve")]
        Command::Serve(args) => serve::run(&args),
        Command::Recover(args) => recover::run(&args),
        #[cfg(feature = "wal")]
        Command::Wal(words) => wal::run(&words),
        #[cfg(feature = "blackbox")]
        Command::Blackbox(words) => blackbox::run(&words),
        Command::Config(words) => config::run(&words),
        Command::Doctor(args) => doctor::run(&args),
        Command::Completions(args) => shell::completions(&args),
        Command::Man(args) => shell::man(&args),
        #[cfg(feature = "guardian")]
        Command::Cdna(words) => cdna::run(&words),
        Command::StressChild(args) => stress::run_child(&args),
    };
    match outcome {
        Ok(code) => code.into(),
        Err(failure) => {
            say(format_args!("ng: {}", failure.text));
            failure.code.into()
        }
    }
}

/// The configuration in `file`, or the defaults, with the environment over it. Warnings go to
/// standard error.
fn load(file: Option<&PathBuf>) -> Result<Loaded, Failure> {
    let mut loader = Loader::new().env(environment());
    if let Some(file) = file {
        loader = loader.file(file);
    }
    let loaded = loader.load()?;
    logs::install(&loaded.config.log)?;
    for warning in &loaded.warnings {
        say(format_args!("{}", warning.render(output::colours())));
    }
    Ok(loaded)
}

fn environment() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os()
}
