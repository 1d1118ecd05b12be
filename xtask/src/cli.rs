//! What can be asked of `cargo xtask`, and the exit codes it answers with. It parses and does
//! nothing else.

use std::collections::BTreeSet;

use clap::{CommandFactory, Parser, Subcommand};

/// Everything asked for was done and found good.
pub(crate) const EXIT_OK: u8 = 0;
/// A test, a lint or a rule failed; the output says which.
pub(crate) const EXIT_FAILED: u8 = 1;
/// A chore could not be carried out: a program is missing, a file can't be read.
pub(crate) const EXIT_BROKEN: u8 = 3;

const EXIT_CODES: &str = "\
Exit codes:
  0  everything asked for was done and found good
  1  a test, a lint or a rule failed; the output says which
  2  the command line was not understood
  3  a chore could not be carried out: a program is missing, a file can't be read
  `stress` and `rivals` pass on the exit code of what they run (128 + the signal if one ended it).";

/// The chores of this repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) task: Task,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Build `ng` in release and run `ng stress` with the arguments given.
    #[command(disable_help_flag = true)]
    Stress {
        /// Passed on to `ng stress` as they are, `--help` included.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Draw the charts under docs/charts anew, from the published documents or from new ones.
    Report(crate::report::Args),
    /// Measure a layer beside the libraries that one would take instead: `wal`, `guardian`, …
    ///
    /// The packages under `xtask/rivals/` are a workspace of their own, which no other build compiles.
    #[command(disable_help_flag = true)]
    Rivals {
        /// The layer.
        layer: String,
        /// Passed on as they are, `--help` included.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Install the programs of others that end-to-end tests ask; without them those tests skip.
    Peers,
    /// Cut the power of a disk that a log is written to, and see that no acknowledged record is gone.
    ///
    /// Needs root, FUSE, and the packages nbdkit, libnbd-bin and fuse3; where one is missing it says
    /// `skipped: …` and why. Installs nothing.
    Powercut(crate::powercut::Args),
    /// Run everything that must pass; the last line counts passed, failed and skipped.
    Test,
    /// Check format, clippy, rustdoc, the feature matrix and `tidy`.
    Lint,
    /// Check the rules of the house that no compiler checks.
    Tidy,
    /// Run `test`, `lint`, `stress --quick` and 20 power cuts, and say how long each took.
    Ci {
        /// Leave out `test`, for a caller that has just run it.
        #[arg(long)]
        skip_test: bool,
    },
}

/// The names that may follow `cargo xtask`, as clap knows them.
pub(crate) fn command_names() -> BTreeSet<String> {
    let own = Cli::command();
    own.get_subcommands().map(|one| one.get_name().to_owned()).chain(["help".to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stress_passes_on_options_it_does_not_know() {
        let cli = Cli::try_parse_from(["x", "stress", "--quick", "--tokens", "5", "--help"]).unwrap();
        let Task::Stress { args } = cli.task else { panic!("{:?}", cli.task) };
        assert_eq!(args, ["--quick", "--tokens", "5", "--help"]);
    }

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_chore_is_named() {
        let names: Vec<_> = command_names().into_iter().collect();
        assert_eq!(
            names,
            ["ci", "help", "lint", "peers", "powercut", "report", "rivals", "stress", "test", "tidy"]
        );
    }
}
