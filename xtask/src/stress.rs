//! `cargo xtask stress`: the product's own proof, built as it ships. What is measured, and what the
//! exit code means, is `ng stress`'s business.

use crate::cli::EXIT_FAILED;
use crate::error::Error;
use crate::process;
use crate::workspace::Workspace;

/// Builds `ng` in release and runs `ng stress` with `args`; returns its exit code.
pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result<u8, Error> {
    let build = workspace.cargo(["build", "--release", "--package", "ng-stack", "--bin", "ng"]);
    if !build.run()?.success() {
        return Ok(EXIT_FAILED);
    }
    let program = workspace.target().join("release").join("ng");
    let status = workspace.program(program).args(["stress"]).args(args).run()?;
    Ok(process::exit_code(status))
}
