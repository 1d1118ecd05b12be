//! The house's chores behind one command, `cargo xtask`: it runs cargo and the `ng` program, adds
//! up what they say, and checks the rules that no compiler checks. It links no other package of the
//! workspace, so it builds in seconds and still runs when everything else is broken.

mod ci;
mod cli;
mod error;
mod lint;
mod peers;
mod powercut;
mod process;
mod report;
mod rivals;
mod stress;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Task};
use crate::error::Error;
use crate::workspace::Workspace;

fn main() -> ExitCode {
    match run(Cli::parse().task) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            process::note(&format!("error: {error}"));
            ExitCode::from(cli::EXIT_BROKEN)
        }
    }
}

fn run(task: Task) -> Result<u8, Error> {
    let workspace = Workspace::here();
    match task {
        Task::Stress { args } => stress::run(&workspace, &args),
        Task::Report(args) => report::run(&workspace, &args),
        Task::Rivals { layer, args } => rivals::run(&workspace, &layer, &args),
        Task::Peers => peers::run(&workspace),
        Task::Powercut(args) => powercut::run(&workspace, &args),
        Task::Test => test::run(&workspace),
        Task::Lint => lint::run(&workspace),
        Task::Tidy => tidy::run(&workspace),
        Task::Ci { skip_test } => ci::run(&workspace, skip_test),
    }
}
