//! No dead files: every Rust file is a crate's root or is reached from one by `mod` declarations.
//! A file that nobody compiles rots unseen.

use std::collections::BTreeSet;

use crate::tidy::Violation;
use crate::tidy::rust_text::code_only;
use crate::tidy::tree::Tree;

pub(in crate::tidy) fn check(tree: &Tree) -> Vec<Violation> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<String> =
        tree.paths().filter(|path| is_crate_root(tree, path)).map(str::to_owned).collect();
    while let Some(path) = open.pop() {
        let Some(text) = tree.text(&path) else { continue };
        if reached.insert(path.clone()) {
            open.extend(declared(tree, &path, text));
        }
    }
    tree.texts_ending(".rs")
        .filter(|(path, _)| !reached.contains(*path))
        .map(|(path, _)| {
            Violation::new(path, 1, "dead", "no `mod` leads here: declare it, or delete the file")
        })
        .collect()
}

/// Whether cargo takes the file as the root of a crate: one of the package in whose folder it lies
/// (the deepest with a manifest, since the measuring and fuzzing packages lie within others).
fn is_crate_root(tree: &Tree, path: &str) -> bool {
    let packages = path.match_indices('/').map(|(end, _)| end);
    let Some(package) = packages.filter(|end| tree.has(&format!("{}/Cargo.toml", &path[..*end]))).max()
    else {
        return false;
    };
    let parts: Vec<_> = path[package + 1..].split('/').collect();
    match parts[..] {
        ["build.rs"] | ["src", "lib.rs" | "main.rs"] => true,
        ["src", "bin", file] | ["tests" | "examples" | "benches" | "fuzz_targets", file] => {
            file.ends_with(".rs")
        }
        ["src", "bin", _, "main.rs"] | ["tests" | "examples" | "benches", _, "main.rs"] => true,
        _ => false,
    }
}

/// The files that the `mod name;` lines of a file may mean.
fn declared(tree: &Tree, path: &str, text: &str) -> Vec<String> {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    let stem = file.trim_end_matches(".rs");
    let children = if is_crate_root(tree, path) || stem == "mod" {
        folder.to_owned()
    } else {
        format!("{folder}/{stem}")
    };
    let code = code_only(text);
    let mut files = Vec::new();
    let mut renamed = None;
    for (line, raw) in code.lines().zip(text.lines()) {
        if let Some(target) = raw.trim().strip_prefix("#[path = \"").and_then(|it| it.split('"').next()) {
            renamed = Some(format!("{folder}/{target}"));
        }
        let Some(name) = declared_name(line) else { continue };
        match renamed.take() {
            Some(target) => files.push(target),
            None => files.extend([format!("{children}/{name}.rs"), format!("{children}/{name}/mod.rs")]),
        }
    }
    files
}

/// `name` of `mod name;`, whatever stands before it on the line.
fn declared_name(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace().skip_while(|word| *word != "mod").skip(1);
    words.next()?.strip_suffix(';')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::places;

    #[test]
    fn a_file_that_no_mod_names_is_found() {
        let tree = Tree::of(&[
            ("a/Cargo.toml", ""),
            ("a/src/lib.rs", "pub mod one;\n#[cfg(test)] mod two;\n// mod dead;\n"),
            ("a/src/one.rs", "pub(crate) mod deep;\n"),
            ("a/src/one/deep.rs", ""),
            ("a/src/two/mod.rs", "mod under;\n#[path = \"odd-name.rs\"]\nmod odd;\n"),
            ("a/src/two/under.rs", ""),
            ("a/src/two/odd-name.rs", ""),
            ("a/src/dead.rs", "mod deader;\n"),
            ("a/src/dead/deader.rs", ""),
        ]);
        assert_eq!(places(&check(&tree)), [("a/src/dead.rs", 1), ("a/src/dead/deader.rs", 1)]);
    }

    #[test]
    fn the_roots_that_cargo_finds_are_alive_with_their_modules() {
        let tree = Tree::of(&[
            ("a/Cargo.toml", ""),
            ("a/inner/Cargo.toml", ""),
            ("a/inner/src/main.rs", "mod part;\n"),
            ("a/inner/src/part.rs", ""),
            ("a/build.rs", ""),
            ("a/src/main.rs", ""),
            ("a/src/bin/tool.rs", ""),
            ("a/tests/crash.rs", "mod common;\n"),
            ("a/tests/common/mod.rs", ""),
            ("a/tests/unused/mod.rs", ""),
            ("a/examples/own/main.rs", ""),
        ]);
        assert_eq!(places(&check(&tree)), [("a/tests/unused/mod.rs", 1)]);
    }
}
