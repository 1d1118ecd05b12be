//! `cargo xtask ci`: every check there is, one after the other, each run even when an earlier one
//! failed, so that one run tells all.

use std::time::{Duration, Instant};

use crate::cli::{EXIT_FAILED, EXIT_OK};
use crate::error::Error;
use crate::workspace::{Build, Workspace};
use crate::{lint, powercut, process, stress, test};

/// Half a second each; more of them prove more, and are for a night.
const POWER_CUTS: u32 = 20;

/// Runs `test` (unless `skip_test`), `lint`, `stress --quick` and the power cuts (where the machine
/// can't, it says `skipped: …`); the durations come at the end, and
/// after them, where tests were run, the line that counts them.
pub(crate) fn run(workspace: &Workspace, skip_test: bool) -> Result<u8, Error> {
    let mut steps = Vec::new();
    let mut summary = None;
    if !skip_test {
        let start = Instant::now();
        let totals = test::run_all(workspace)?;
        steps.push(Step { name: "test", passed: totals.passed(), took: start.elapsed() });
        summary = Some(totals);
    }
    let start = Instant::now();
    let code = lint::run(workspace)?;
    steps.push(Step { name: "lint", passed: code == EXIT_OK, took: start.elapsed() });

    let start = Instant::now();
    let code = stress::quick(workspace)?;
    steps.push(Step { name: "stress --quick", passed: code == EXIT_OK, took: start.elapsed() });

    let start = Instant::now();
    let cuts = powercut::cut_all(
        workspace,
        &powercut::Args { runs: POWER_CUTS, seed: 1, backend: None, json: None, build: Build::Dev },
    )?;
    steps.push(Step { name: "powercut", passed: cuts.passed(), took: start.elapsed() });

    process::result(&format!("powercut: {}", cuts.line()));
    for step in &steps {
        process::result(&step.line());
    }
    if let Some(totals) = summary {
        totals.report();
    }
    Ok(if steps.iter().all(|step| step.passed) { EXIT_OK } else { EXIT_FAILED })
}

struct Step {
    name: &'static str,
    passed: bool,
    took: Duration,
}

impl Step {
    fn line(&self) -> String {
        let verdict = if self.passed { "passed" } else { "FAILED" };
        format!("{:<15} {verdict} in {:.1} s", self.name, self.took.as_secs_f64())
    }
}
