//! `cargo xtask lint`: format, clippy, rustdoc, every choice of features, and the rules of the
//! house. All are run, also after a failure; the failed ones are named at the end.

use std::collections::BTreeSet;

use crate::cli::{EXIT_FAILED, EXIT_OK};
use crate::error::Error;
use crate::process::{self, Program};
use crate::tidy;
use crate::workspace::Workspace;

/// Runs every check; the exit code says whether all were clean.
pub(crate) fn run(workspace: &Workspace) -> Result<u8, Error> {
    let mut failed = Vec::new();
    for program in programs(workspace)? {
        let shown = program.shown().to_owned();
        if !program.run()?.success() {
            failed.push(shown);
        }
    }
    match stack_commands(workspace) {
        Ok(commands) => {
            if tidy::check(workspace, Some(commands))? > 0 {
                failed.push("cargo xtask tidy".to_owned());
            }
        }
        Err(error) => failed.push(format!("the commands of `ng`: {error}")),
    }
    for command in &failed {
        process::result(&format!("failed: {command}"));
    }
    Ok(if failed.is_empty() { EXIT_OK } else { EXIT_FAILED })
}

fn programs(workspace: &Workspace) -> Result<Vec<Program>, Error> {
    let clippy =
        |select: &[&str]| workspace.cargo(["clippy", "--quiet"]).args(select).args(["--", "-D", "warnings"]);
    let bare = ["--package", "ng-stack", "--all-targets", "--no-default-features"];
    let mut programs = vec![
        workspace.cargo(["fmt", "--all", "--check"]),
        clippy(&["--workspace", "--all-targets"]),
        // What dependents compile: without the contract suites, which tests switch on.
        clippy(&["--package", "ng-core", "--lib"]),
        clippy(&bare),
    ];
    for feature in workspace.stack_features()? {
        programs.push(clippy(&[&bare[..], &["--features", &feature]].concat()));
    }
    programs.push(clippy(&["--package", "ng-stack", "--all-targets", "--all-features"]));
    let doc = workspace.cargo(["doc", "--quiet", "--workspace", "--no-deps"]);
    programs.push(doc.env("RUSTDOCFLAGS", "-D warnings"));
    Ok(programs)
}

/// The subcommands of `ng`, from its own help.
fn stack_commands(workspace: &Workspace) -> Result<BTreeSet<String>, Error> {
    let help = workspace.cargo(["run", "--quiet", "--package", "ng-stack", "--bin", "ng", "--", "--help"]);
    Ok(commands_in(&help.answer()?))
}

/// The names in the `Commands:` section that clap writes.
fn commands_in(help: &str) -> BTreeSet<String> {
    let section = help.lines().skip_while(|line| line.trim() != "Commands:").skip(1);
    section
        .take_while(|line| line.is_empty() || line.starts_with(' '))
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_from_the_help_of_clap() {
        let help = "Usage: ng <COMMAND>\n\nCommands:\n  ingest  Read tokens\n          from files\n  \
                    stress  Measure\n\nOptions:\n  -h, --help  Print help\n";
        assert_eq!(commands_in(help).into_iter().collect::<Vec<_>>(), ["ingest", "stress"]);
        assert!(commands_in("Usage: ng\n").is_empty());
    }

    #[test]
    fn the_matrix_holds_no_layer_each_layer_and_all() {
        let workspace = Workspace::here();
        let shown: Vec<_> = programs(&workspace).unwrap().iter().map(|one| one.shown().to_owned()).collect();
        for feature in workspace.stack_features().unwrap() {
            let wanted = format!("--no-default-features --features {feature} -- -D warnings");
            assert!(shown.iter().any(|line| line.contains(&wanted)), "{wanted} is not in {shown:?}");
        }
        assert!(shown.iter().any(|line| line.contains("--no-default-features -- -D warnings")));
        assert!(shown.iter().any(|line| line.contains("--all-features -- -D warnings")));
    }
}
