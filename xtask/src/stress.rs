//! `cargo xtask stress`: the product's own proof, built as it ships. What is measured, and what the
//! exit code means, is `ng stress`'s business.

use crate::cli::EXIT_FAILED;
use crate::error::Error;
use crate::process;
use crate::workspace::{Build, Workspace};

/// Builds `ng` in release and runs `ng stress` with `args`; returns its exit code.
pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result<u8, Error> {
    run_built(workspace, Build::Release, args)
}

/// `ng stress --quick` for its function: as the tests build it, since a release build of the whole
/// program takes longer than all that it would run.
pub(crate) fn quick(workspace: &Workspace) -> Result<u8, Error> {
    run_built(workspace, Build::Dev, &["--quick".to_owned()])
}

fn run_built(workspace: &Workspace, build: Build, args: &[String]) -> Result<u8, Error> {
    let program = workspace.cargo(["build"]).args(build.flags());
    if !program.args(["--package", "ng-stack", "--bin", "ng"]).run()?.success() {
        return Ok(EXIT_FAILED);
    }
    let program = workspace.target().join(build.folder()).join("ng");
    let status = workspace.program(program).args(["stress"]).args(args).run()?;
    Ok(process::exit_code(status))
}
