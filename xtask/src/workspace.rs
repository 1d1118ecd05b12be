//! Where the workspace lies, where cargo builds it, and what its manifests say that decides what is
//! run: the features of `ng-stack`, and the packages with loom models.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::process::Program;

/// How cargo builds what is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Build {
    /// As the tests are built.
    Dev,
    /// As it ships.
    Release,
}

impl Build {
    /// What cargo is told.
    pub(crate) fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Dev => &[],
            Self::Release => &["--release"],
        }
    }

    /// The folder within the target folder.
    pub(crate) fn folder(self) -> &'static str {
        match self {
            Self::Dev => "debug",
            Self::Release => "release",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
    cargo: OsString,
}

impl Workspace {
    /// The workspace that this program was built from.
    pub(crate) fn here() -> Self {
        let package = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = package.parent().map_or_else(|| package.clone(), Path::to_path_buf);
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
        Self {
            target: root.join(target),
            root,
            cargo: std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Cargo's target folder; every cargo started here is told to use it.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    pub(crate) fn program(&self, name: impl AsRef<std::ffi::OsStr>) -> Program {
        Program::new(name, &self.root)
    }

    /// Cargo, building into `target`.
    pub(crate) fn cargo_into<'a>(&self, target: &Path, args: impl IntoIterator<Item = &'a str>) -> Program {
        // The same cargo that runs this program, shown by its plain name.
        let program = Program::shown_as("cargo", &self.cargo, &self.root);
        program.args(args).quiet_env("CARGO_TARGET_DIR", target)
    }

    /// Cargo, building where it always does.
    pub(crate) fn cargo<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Program {
        self.cargo_into(&self.target, args)
    }

    /// The features of `ng-stack` beside `default`, in the order of the alphabet.
    pub(crate) fn stack_features(&self) -> Result<Vec<String>, Error> {
        features(&self.manifest("ng-bin")?, "ng-bin/Cargo.toml")
    }

    /// The packages whose manifests name loom, by package name.
    pub(crate) fn loom_packages(&self) -> Result<Vec<String>, Error> {
        let mut packages = Vec::new();
        for member in members(&self.manifest(".")?)? {
            let manifest = self.manifest(&member)?;
            packages.extend(loom_package(&manifest, &format!("{member}/Cargo.toml"))?);
        }
        Ok(packages)
    }

    fn manifest(&self, folder: &str) -> Result<String, Error> {
        let path = self.root.join(folder).join("Cargo.toml");
        fs::read_to_string(&path).map_err(|source| Error::Read { path, source })
    }
}

/// Parses a manifest; `path` is for the error.
pub(crate) fn parse_manifest(text: &str, path: &str) -> Result<toml::Table, Error> {
    text.parse().map_err(|source| Error::Manifest { path: path.to_owned(), source: Box::new(source) })
}

/// The folders that `[workspace] members` lists.
pub(crate) fn members(manifest: &str) -> Result<Vec<String>, Error> {
    let table = parse_manifest(manifest, "Cargo.toml")?;
    let listed = table.get("workspace").and_then(|it| it.get("members")).and_then(|it| it.as_array());
    Ok(listed.into_iter().flatten().filter_map(|one| one.as_str().map(str::to_owned)).collect())
}

fn features(manifest: &str, path: &str) -> Result<Vec<String>, Error> {
    let table = parse_manifest(manifest, path)?;
    let listed = table.get("features").and_then(|it| it.as_table());
    let mut names: Vec<_> = listed.into_iter().flat_map(|it| it.keys().cloned()).collect();
    names.retain(|name| name != "default");
    names.sort();
    Ok(names)
}

fn loom_package(manifest: &str, path: &str) -> Result<Option<String>, Error> {
    let table = parse_manifest(manifest, path)?;
    let plain = ["dependencies", "dev-dependencies"].map(|kind| table.get(kind));
    let by_target = table.get("target").and_then(|it| it.as_table()).into_iter().flat_map(|it| {
        it.values().flat_map(|one| ["dependencies", "dev-dependencies"].map(|kind| one.get(kind)))
    });
    let names_loom = plain
        .into_iter()
        .chain(by_target)
        .flatten()
        .filter_map(|it| it.as_table())
        .any(|dependencies| dependencies.contains_key("loom"));
    let name = table.get("package").and_then(|it| it.get("name")).and_then(|it| it.as_str());
    Ok(name.filter(|_| names_loom).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_feature_is_a_choice_and_not_a_layer() {
        let manifest = "[features]\ndefault = ['wal']\nwal = []\ncli = []\n";
        assert_eq!(features(manifest, "m").unwrap(), ["cli", "wal"]);
    }

    #[test]
    fn loom_is_found_under_a_target_too() {
        let under_target =
            "[package]\nname = 'a'\n[target.\"cfg(loom)\".dependencies]\nloom.workspace = true\n";
        assert_eq!(loom_package(under_target, "m").unwrap().as_deref(), Some("a"));
        let plain = "[package]\nname = 'b'\n[dev-dependencies]\nloom = '0.7'\n";
        assert_eq!(loom_package(plain, "m").unwrap().as_deref(), Some("b"));
        let without = "[package]\nname = 'c'\n[dependencies]\nlibc = '0.2'\n";
        assert_eq!(loom_package(without, "m").unwrap(), None);
    }

    #[test]
    fn a_broken_manifest_is_named_with_its_place() {
        let error = members("[workspace\n").unwrap_err().to_string();
        assert!(error.contains("Cargo.toml") && error.contains("line 1"), "{error}");
    }
}
