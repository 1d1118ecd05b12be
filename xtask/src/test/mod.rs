//! `cargo xtask test`: everything that must pass, run through cargo-nextest where it is installed
//! and through cargo test where it is not, and added up to one line. It knows which runs there are;
//! what a harness prints is read in [`harness`].

mod harness;
mod totals;

use std::fs;
use std::io::ErrorKind;

use crate::cli::{EXIT_FAILED, EXIT_OK};
use crate::error::Error;
use crate::process::{self, Program};
use crate::workspace::Workspace;
use harness::Harness;
use totals::{Outcome, Totals};

/// Runs all and reports; the exit code says whether all passed.
pub(crate) fn run(workspace: &Workspace) -> Result<u8, Error> {
    let totals = run_all(workspace)?;
    totals.report();
    Ok(if totals.passed() { EXIT_OK } else { EXIT_FAILED })
}

/// Runs all and returns what became of it; the caller reports.
pub(crate) fn run_all(workspace: &Workspace) -> Result<Totals, Error> {
    let harness = harness::installed(workspace);
    let mut totals = Totals::default();
    for step in plan(workspace)? {
        process::note(&format!("\n== {}", step.name));
        totals.add(&step.name, run_step(workspace, harness, &step)?);
    }
    Ok(totals)
}

/// One run of a harness.
#[derive(Debug, Default)]
struct Step {
    name: String,
    kind: Kind,
    /// Chooses packages and features.
    select: Vec<String>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Kind {
    #[default]
    Tests,
    /// The examples in the documentation, which nextest does not run.
    Docs,
    /// The models named `loom…`, in release, in a target folder of their own.
    Loom,
}

fn plan(workspace: &Workspace) -> Result<Vec<Step>, Error> {
    let whole = || vec!["--workspace".to_owned()];
    let mut steps = vec![
        Step { name: "unit and integration tests".into(), kind: Kind::Tests, select: whole() },
        Step { name: "documentation tests".into(), kind: Kind::Docs, select: whole() },
    ];
    steps.extend(feature_steps(&workspace.stack_features()?));
    steps.extend(workspace.loom_packages()?.into_iter().map(|package| Step {
        name: format!("loom models of {package}"),
        kind: Kind::Loom,
        select: vec!["--package".into(), package],
    }));
    Ok(steps)
}

/// `ng-stack` without layers, then with each feature alone; all together is the workspace's run.
///
/// A feature alone runs its unit tests. What starts the program or crosses layers is run without
/// any and with all; linking each of those tests once more for each feature would take as long as
/// everything else together, and clippy compiles them for each anyway.
fn feature_steps(features: &[String]) -> Vec<Step> {
    let bare = ["--package", "ng-stack", "--no-default-features"].map(str::to_owned).to_vec();
    let alone = features.iter().map(|feature| Step {
        name: format!("ng-stack with {feature} alone"),
        select: [bare.clone(), vec!["--features".into(), feature.clone(), "--lib".into()]].concat(),
        ..Step::default()
    });
    let none = Step { name: "ng-stack without layers".into(), select: bare.clone(), ..Step::default() };
    [none].into_iter().chain(alone).collect()
}

fn run_step(workspace: &Workspace, harness: Harness, step: &Step) -> Result<Outcome, Error> {
    let harness = if step.kind == Kind::Docs { Harness::CargoTest } else { harness };
    let target = match step.kind {
        Kind::Loom => workspace.target().join("loom"),
        Kind::Tests | Kind::Docs => workspace.target().to_path_buf(),
    };
    let report = harness::report_file(&target);
    match fs::remove_file(&report) {
        Err(source) if source.kind() != ErrorKind::NotFound => {
            return Err(Error::Remove { path: report, source });
        }
        _ => {}
    }
    let program = workspace.cargo_into(&target, []).args(harness.args(step.kind, &step.select));
    // A coloured summary would not be understood.
    let program = for_kind(program, step.kind).quiet_env("CARGO_TERM_COLOR", "never");
    let tapped = program.run_tapped()?;
    let counts = harness.counts(&tapped.lines);
    let skips = match harness {
        Harness::Nextest => harness::skips_in_report(&fs::read_to_string(&report).unwrap_or_default()),
        Harness::CargoTest => harness::skips_in_output(&tapped.lines),
    };
    Ok(Outcome {
        succeeded: tapped.status.success(),
        counts,
        skips,
        may_be_empty: step.kind == Kind::Docs,
        filtered: step.kind == Kind::Loom,
    })
}

fn for_kind(program: Program, kind: Kind) -> Program {
    match kind {
        Kind::Tests | Kind::Docs => program,
        // Link-time optimisation would cost a model run minutes and gain it nothing.
        Kind::Loom => program
            .quiet_env("CARGO_PROFILE_RELEASE_LTO", "off")
            .quiet_env("CARGO_PROFILE_RELEASE_DEBUG", "0")
            .env("RUSTFLAGS", "--cfg loom"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_layer_and_each_layer_alone_are_run() {
        let steps = feature_steps(&["cli".into(), "wal".into()]);
        let selected: Vec<_> = steps.iter().map(|step| step.select.join(" ")).collect();
        let bare = "--package ng-stack --no-default-features";
        assert_eq!(
            selected,
            [bare.to_owned(), format!("{bare} --features cli --lib"), format!("{bare} --features wal --lib")]
        );
    }

    #[test]
    fn the_plan_of_this_workspace_has_every_kind_of_run() {
        let steps = plan(&Workspace::here()).unwrap();
        let names: Vec<_> = steps.iter().map(|step| step.name.as_str()).collect();
        for expected in [
            "unit and integration tests",
            "documentation tests",
            "ng-stack without layers",
            "ng-stack with wal alone",
            "loom models of ng-core",
        ] {
            assert!(names.contains(&expected), "{expected} is not in {names:?}");
        }
    }
}
