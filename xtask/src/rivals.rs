//! `cargo xtask rivals LAYER`: our layer beside the libraries that one would take instead. Their
//! packages under `xtask/rivals/` are a workspace of their own, so that an ordinary build never
//! compiles what is only measured. What is measured, and how, is theirs to say.

use std::fs;

use crate::error::Error;
use crate::process;
use crate::workspace::Workspace;

/// Where the packages lie, one folder a layer.
const FOLDER: &str = "xtask/rivals";
/// What they share; no layer.
const COMMON: &str = "common";

/// Builds the layer's package in release and runs it with `args`; returns its exit code.
pub(crate) fn run(workspace: &Workspace, layer: &str, args: &[String]) -> Result<u8, Error> {
    let known = layers(workspace)?;
    if !known.iter().any(|one| one == layer) {
        return Err(Error::NoRivals { layer: layer.to_owned(), known: known.join(", ") });
    }
    let manifest = format!("{FOLDER}/{layer}/Cargo.toml");
    // A folder of its own: another lock file means other versions, and neither build evicts the other.
    let target = workspace.target().join("rivals");
    let run = ["run", "--release", "--manifest-path", &manifest, "--"];
    let status = workspace.cargo_into(&target, run).args(args).run()?;
    Ok(process::exit_code(status))
}

/// The layers that have rivals, by name.
fn layers(workspace: &Workspace) -> Result<Vec<String>, Error> {
    let path = workspace.root().join(FOLDER);
    let failed = |source| Error::Read { path: path.clone(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(&path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != COMMON && entry.path().join("Cargo.toml").is_file() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_layer_is_refused_with_the_known_ones() {
        let error = run(&Workspace::here(), "no-such-layer", &[]).unwrap_err().to_string();
        assert!(error.contains("no-such-layer"), "{error}");
        assert!(!error.contains(COMMON), "{error}");
    }
}
