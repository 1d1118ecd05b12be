//! Who may depend on whom within the workspace: the layers on `ng-core` alone, `ng-stack` on all of
//! them and on each by choice, xtask on none. It is what keeps a layer replaceable. What only
//! measures or fuzzes (`rivals-…`, `…-fuzz`) takes whatever it looks at, and nothing depends on it.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::Error;
use crate::tidy::Violation;
use crate::tidy::tree::Tree;
use crate::workspace::parse_manifest;

const LAYERS: [&str; 4] = ["ng-blackbox", "ng-guardian", "ng-telemetry", "ng-wal"];
const CORE: &str = "ng-core";
const STACK: &str = "ng-stack";
const XTASK: &str = "xtask";

const COMMON: &str = "rivals-common";

const KINDS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

pub(in crate::tidy) fn check(tree: &Tree) -> Result<Vec<Violation>, Error> {
    let packages = packages(tree)?;
    let names: BTreeSet<&str> = packages.keys().map(String::as_str).collect();
    let mut found = Vec::new();
    for (name, package) in &packages {
        let Some(allowed) = allowed(name) else {
            let advice = format!("say in {} what `{name}` may depend on", file!());
            found.push(Violation::new(package.path, package.line_of("name"), "edges", advice));
            continue;
        };
        for edge in package.edges() {
            // A package names itself among its test dependencies to switch a feature on.
            let inside = names.contains(edge.to.as_str()) && edge.to != *name;
            if inside && !allowed.contains(&edge.to.as_str()) {
                let advice = format!("`{name}` must not depend on `{}`: inject a trait of ng-core", edge.to);
                found.push(Violation::new(package.path, package.line_of(&edge.key), "edges", advice));
            } else if inside && name == STACK && edge.to != CORE && edge.kind == "dependencies" {
                found.extend(package.unless_optional(&edge));
            }
        }
    }
    Ok(found)
}

fn allowed(package: &str) -> Option<Vec<&'static str>> {
    match package {
        CORE | XTASK => Some(Vec::new()),
        STACK => Some([&LAYERS[..], &[CORE]].concat()),
        layer if LAYERS.contains(&layer) => Some(vec![CORE]),
        outside if outside.starts_with("rivals-") || outside.ends_with("-fuzz") => {
            Some([&LAYERS[..], &[CORE, STACK, COMMON]].concat())
        }
        _ => None,
    }
}

struct Package<'a> {
    path: &'a str,
    text: &'a str,
    manifest: toml::Table,
}

/// A dependency of a package.
struct Edge {
    /// The key in the manifest.
    key: String,
    /// The package meant.
    to: String,
    kind: &'static str,
    optional: bool,
}

fn packages(tree: &Tree) -> Result<BTreeMap<String, Package<'_>>, Error> {
    let mut packages = BTreeMap::new();
    for (path, text) in tree.texts_ending("/Cargo.toml") {
        let manifest = parse_manifest(text, path)?;
        let name = manifest.get("package").and_then(|it| it.get("name")).and_then(|it| it.as_str());
        if let Some(name) = name {
            packages.insert(name.to_owned(), Package { path, text, manifest });
        }
    }
    Ok(packages)
}

impl Package<'_> {
    fn edges(&self) -> Vec<Edge> {
        let by_target = self.manifest.get("target").and_then(|it| it.as_table());
        let tables = by_target.into_iter().flat_map(toml::Table::values).filter_map(|it| it.as_table());
        let mut edges = Vec::new();
        for table in tables.chain([&self.manifest]) {
            for kind in KINDS {
                let listed = table.get(kind).and_then(|it| it.as_table());
                edges.extend(listed.into_iter().flatten().map(|(key, value)| Edge {
                    key: key.clone(),
                    to: value.get("package").and_then(|it| it.as_str()).unwrap_or(key).to_owned(),
                    kind,
                    optional: value.get("optional").and_then(toml::Value::as_bool).unwrap_or(false),
                }));
            }
        }
        edges
    }

    fn unless_optional(&self, edge: &Edge) -> Option<Violation> {
        let wanted = format!("dep:{}", edge.key);
        let features = self.manifest.get("features").and_then(|it| it.as_table());
        let switched = features.into_iter().flat_map(toml::Table::values).any(|feature| {
            let parts = feature.as_array().into_iter().flatten();
            parts.filter_map(|it| it.as_str()).any(|it| it == wanted)
        });
        (!edge.optional || !switched).then(|| {
            let advice = format!("make `{}` optional, and let a feature switch `{wanted}` on", edge.key);
            Violation::new(self.path, self.line_of(&edge.key), "edges", advice)
        })
    }

    /// The first line that begins with `key`, or 1.
    fn line_of(&self, key: &str) -> usize {
        self.text.lines().position(|line| line.trim_start().starts_with(key)).map_or(1, |index| index + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::places;

    const BARE_CORE: (&str, &str) = ("core/Cargo.toml", "[package]\nname = 'ng-core'\n");
    const BARE_WAL: (&str, &str) = ("wal/Cargo.toml", "[package]\nname = 'ng-wal'\n");

    fn found(path: &str, manifest: &str) -> Vec<usize> {
        let tree = Tree::of(&[BARE_CORE, BARE_WAL, (path, manifest)]);
        let found = check(&tree).unwrap();
        assert!(places(&found).iter().all(|(at, _)| *at == path), "{found:?}");
        found.iter().map(|one| one.line).collect()
    }

    #[test]
    fn core_depends_on_no_package_of_the_workspace_but_may_name_itself() {
        let manifest = "[package]\nname = 'ng-core'\n[dev-dependencies]\nng-core = { path = '.' }\n";
        assert_eq!(found("core/Cargo.toml", manifest), [0_usize; 0]);
        let manifest = format!("{manifest}[target.'cfg(unix)'.dependencies]\nng-wal.workspace = true\n");
        assert_eq!(found("core/Cargo.toml", &manifest), [6]);
    }

    #[test]
    fn a_layer_depends_on_core_alone_in_its_tests_too() {
        let manifest = "[package]\nname = 'ng-guardian'\n[dependencies]\nng-core.workspace = true\n\
                        libc = '0.2'\n[dev-dependencies]\nlog = { package = 'ng-wal', path = '../wal' }\n";
        assert_eq!(found("guardian/Cargo.toml", manifest), [7]);
    }

    #[test]
    fn the_stack_takes_each_layer_by_choice() {
        let head = "[package]\nname = 'ng-stack'\n[dependencies]\nng-core.workspace = true\n";
        let good = format!(
            "{head}ng-wal = {{ workspace = true, optional = true }}\n[features]\nwal = ['dep:ng-wal']\n"
        );
        assert_eq!(found("ng-bin/Cargo.toml", &good), [0_usize; 0]);
        assert_eq!(found("ng-bin/Cargo.toml", &format!("{head}ng-wal.workspace = true\n")), [5]);
        let without_feature = format!("{head}ng-wal = {{ workspace = true, optional = true }}\n");
        assert_eq!(found("ng-bin/Cargo.toml", &without_feature), [5]);
    }

    #[test]
    fn xtask_depends_on_none_and_a_new_package_must_be_given_its_place() {
        let xtask = "[package]\nname = 'xtask'\n[dependencies]\nng-core.workspace = true\n";
        assert_eq!(found("xtask/Cargo.toml", xtask), [4]);
        assert_eq!(found("new/Cargo.toml", "[package]\nname = 'ng-new'\n"), [2]);
    }
    #[test]
    fn what_only_measures_takes_any_layer_and_no_layer_takes_it() {
        let rivals = "[package]\nname = 'rivals-wal'\n[dependencies]\nng-wal.workspace = true\n";
        assert_eq!(found("xtask/rivals/wal/Cargo.toml", rivals), [0_usize; 0]);
        let rivals = ("xtask/rivals/wal/Cargo.toml", rivals);
        let core = ("core/Cargo.toml", "[package]\nname = 'ng-core'\n[dependencies]\nrivals-wal = '1'\n");
        let found = check(&Tree::of(&[core, BARE_WAL, rivals])).unwrap();
        assert_eq!(places(&found), [("core/Cargo.toml", 4)]);
    }
}
