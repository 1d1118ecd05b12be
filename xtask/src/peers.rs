//! `cargo xtask peers`: installs the programs that nobody here wrote and that end-to-end tests ask:
//! Prometheus with promtool, Chromium, and a Python with OpenTelemetry's protobuf classes. Tests that
//! find them missing skip and say so; nothing else needs them.

use std::path::PathBuf;

use crate::cli::{EXIT_FAILED, EXIT_OK};
use crate::error::Error;
use crate::process;
use crate::workspace::Workspace;

/// What comes from the distribution (Debian and its kin).
const DEBIAN: [&str; 2] = ["prometheus", "chromium"];
/// What comes from PyPI, into a Python of its own under the target folder.
const PYTHON: [&str; 4] = ["opentelemetry-proto", "grpcio", "prometheus-client", "pyyaml"];

/// Installs what is missing; the exit code says whether all of it is there now.
pub(crate) fn run(workspace: &Workspace) -> Result<u8, Error> {
    let mut missing = Vec::new();
    let there = ["promtool", "chromium"].iter().all(|program| answers(workspace, program, &["--version"]));
    if !there && !install_debian(workspace) {
        missing.push(format!("install by hand: {}", DEBIAN.join(" ")));
    }
    let python = venv(workspace).join("bin").join("python");
    let python = python.to_string_lossy();
    let import =
        "import grpc, opentelemetry.proto.collector.trace.v1.trace_service_pb2, prometheus_client, yaml";
    if !answers(workspace, &python, &["-c", import]) {
        let made = answers(workspace, "python3", &["-m", "venv", &venv(workspace).to_string_lossy()]);
        let installed = made
            && workspace
                .program(&*python)
                .args(["-m", "pip", "install", "--quiet"])
                .args(PYTHON)
                .run()?
                .success();
        if !installed {
            missing.push(format!("no Python with {}: is python3-venv installed?", PYTHON.join(", ")));
        }
    }
    for line in &missing {
        process::note(&format!("peers: {line}"));
    }
    if missing.is_empty() {
        process::result("peers: all there");
    }
    Ok(if missing.is_empty() { EXIT_OK } else { EXIT_FAILED })
}

/// Where the tests look for it, too.
fn venv(workspace: &Workspace) -> PathBuf {
    workspace.target().join("peers").join("venv")
}

/// Whether a program is there and does as it is told.
fn answers(workspace: &Workspace, program: &str, args: &[&str]) -> bool {
    workspace.program(program).args(args).answer().is_ok()
}

/// Needs root; without it, this fails and is said so.
fn install_debian(workspace: &Workspace) -> bool {
    let command = ["install", "--yes", "--no-install-recommends"];
    let apt = workspace.program("apt-get").args(command).args(DEBIAN);
    apt.run().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_there_does_not_answer() {
        let workspace = Workspace::here();
        assert!(!answers(&workspace, "no-such-program-at-all", &[]));
        assert!(answers(&workspace, "cargo", &["--version"]));
    }
}
