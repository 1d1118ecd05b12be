//! The top level names the rooms of the house and nothing else; dot-files are the tools' business.

use std::collections::BTreeMap;

use crate::tidy::Violation;
use crate::tidy::tree::Tree;

const ROOMS: [&str; 11] = [
    "Cargo.lock",
    "Cargo.toml",
    "README.md",
    "blackbox",
    "core",
    "docs",
    "guardian",
    "ng-bin",
    "telemetry",
    "wal",
    "xtask",
];

pub(in crate::tidy) fn check(tree: &Tree) -> Vec<Violation> {
    // Each name at the top, with the first file under it.
    let mut found = BTreeMap::new();
    for path in tree.paths().filter(|path| !path.starts_with('.')) {
        let name = path.split('/').next().unwrap_or(path);
        found.entry(name).or_insert(path);
    }
    let missing = ROOMS.iter().filter(|room| !found.contains_key(*room)).map(|room| {
        Violation::new(room, 1, "layout", "the top level must hold it: see docs/architecture.md")
    });
    let strange = found.iter().filter(|(name, _)| !ROOMS.contains(name)).map(|(name, path)| {
        let advice = format!("`{name}` is no room of the house: move it into one, docs/ included");
        Violation::new(path, 1, "layout", advice)
    });
    missing.chain(strange).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(files: &[&str]) -> Vec<String> {
        let files: Vec<_> = files.iter().map(|path| (*path, "")).collect();
        check(&Tree::of(&files)).into_iter().map(|one| one.path).collect()
    }

    #[test]
    fn the_rooms_and_dot_files_are_in_order() {
        assert!(names(&[&ROOMS[..], &[".ci/run", ".clippy.toml"]].concat()).is_empty());
    }

    #[test]
    fn a_missing_room_and_a_strange_one_are_found() {
        let mut files: Vec<_> = ROOMS.iter().copied().filter(|room| *room != "README.md").collect();
        files.extend(["scripts/a.sh", "scripts/b.sh", "LICENSE"]);
        assert_eq!(names(&files), ["README.md", "LICENSE", "scripts/a.sh"]);
    }
}
