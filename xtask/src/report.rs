//! `cargo xtask report`: the charts under `docs/charts`, drawn anew. How they are drawn is `ng report`'s
//! business; here is only where the documents and the pictures lie.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;

use crate::cli::EXIT_FAILED;
use crate::error::Error;
use crate::process;
use crate::workspace::Workspace;

/// Where the published documents and their pictures are; a test draws them again and compares.
const FOLDER: &str = "docs/charts";

/// What is published.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// A document of `ng stress --json` that takes the place of the published one.
    #[arg(value_name = "JSON")]
    stress: Option<PathBuf>,
    /// A document of `cargo xtask rivals stack --json` that takes the place of the published one.
    #[arg(long, value_name = "JSON")]
    rivals: Option<PathBuf>,
}

/// Publishes what is given, builds `ng` in release and draws; returns its exit code.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<u8, Error> {
    let folder = workspace.root().join(FOLDER);
    let (stress, rivals) = (folder.join("stress.json"), folder.join("rivals.json"));
    publish(args.stress.as_deref(), &stress)?;
    publish(args.rivals.as_deref(), &rivals)?;
    let build = workspace.cargo(["build", "--release", "--package", "ng-stack", "--bin", "ng"]);
    if !build.run()?.success() {
        return Ok(EXIT_FAILED);
    }
    let program = workspace.program(workspace.target().join("release").join("ng"));
    let draw = program.args(["report"]).args([&stress]).args(["--rivals"]).args([&rivals]);
    Ok(process::exit_code(draw.args(["--svg"]).args([&folder]).run()?))
}

fn publish(given: Option<&Path>, to: &Path) -> Result<(), Error> {
    let Some(from) = given else { return Ok(()) };
    let failed = |source| Error::Read { path: from.to_owned(), source };
    let text = fs::read_to_string(from).map_err(failed)?;
    fs::write(to, text).map_err(|source| Error::Write { path: to.to_owned(), source })
}
