//! Nothing tracked depends on the machine it was written on: no path of its folders, and no
//! registry but crates.io.

use crate::tidy::Violation;
use crate::tidy::tree::Tree;

/// Written in two parts, so that this file does not break its own rule.
const PATHS: [&str; 4] =
    [concat!("/wo", "rk/"), concat!("/tmp/bash", "_jobs"), concat!("/fa", "rm/"), concat!(".lib", "rary")];

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// What a cargo configuration or manifest would name another registry by.
const REGISTRY_KEYS: [&str; 5] = ["[source", "[registries", "[registry", "replace-with", "registry ="];

pub(in crate::tidy) fn check(tree: &Tree) -> Vec<Violation> {
    tree.texts()
        .flat_map(|(path, text)| {
            text.lines().enumerate().filter_map(move |(index, line)| {
                let advice = broken_path(line).or_else(|| broken_registry(path, line))?;
                Some(Violation::new(path, index + 1, "machine", advice))
            })
        })
        .collect()
}

fn broken_path(line: &str) -> Option<String> {
    let found = PATHS.iter().find(|path| line.contains(**path))?;
    Some(format!("`{found}` exists on one machine only: use a path from the repository's root"))
}

fn broken_registry(path: &str, line: &str) -> Option<String> {
    let line = line.trim_start();
    let foreign = match path.rsplit('/').next()? {
        "Cargo.lock" => line.starts_with("source = ") && !line.contains(CRATES_IO),
        "Cargo.toml" | "config.toml" => REGISTRY_KEYS.iter().any(|key| line.contains(key)),
        _ => false,
    };
    foreign.then(|| "packages come from crates.io: set a mirror in cargo's own home instead".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::places;

    #[test]
    fn a_path_of_the_machine_is_found_in_any_text() {
        for (part, rest) in [("/wo", "rk/x"), ("/tmp/bash", "_jobs.0"), ("/fa", "rm/"), (".lib", "rary/x")] {
            let text = format!("fine\nsee {part}{rest}\n");
            let tree = Tree::of(&[("docs/a.md", &text), (".ci/run", "cd /tmp/work\n")]);
            assert_eq!(places(&check(&tree)), [("docs/a.md", 2)], "{part}{rest}");
        }
    }

    #[test]
    fn another_registry_is_found_in_lock_file_and_configuration() {
        let ours = format!("source = \"{CRATES_IO}\"\n");
        let tree = Tree::of(&[
            ("Cargo.lock", &format!("{ours}source = \"registry+https://mirror.example/index\"\n")),
            (".cargo/config.toml", "[alias]\n[source.crates-io]\nreplace-with = 'x'\n"),
            ("a/Cargo.toml", "[dependencies]\nx = { version = '1', registry = 'y' }\n"),
        ]);
        assert_eq!(
            places(&check(&tree)),
            [(".cargo/config.toml", 2), (".cargo/config.toml", 3), ("Cargo.lock", 2), ("a/Cargo.toml", 2)]
        );
    }
}
