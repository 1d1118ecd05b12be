//! The commands that the documents show exist, and the README shows the two that matter: the proof
//! and the test, the latter as `.ci/run` runs it.

use std::collections::BTreeSet;

use super::markdown::{self, Line};
use crate::tidy::Violation;
use crate::tidy::tree::Tree;

/// The languages of fences that hold commands.
const SHELLS: [&str; 5] = ["", "sh", "bash", "shell", "console"];

const PROOF: &str = "cargo xtask stress";
const TEST: &str = "cargo xtask test";

/// The subcommands there are.
#[derive(Debug)]
pub(in crate::tidy) struct Known {
    pub(in crate::tidy) xtask: BTreeSet<String>,
    /// `None` where `ng` was not asked, so that its commands are not checked.
    pub(in crate::tidy) stack: Option<BTreeSet<String>>,
}

pub(in crate::tidy) fn check(tree: &Tree, known: &Known) -> Vec<Violation> {
    let mut found = missing(tree);
    for (path, text) in tree.texts_ending(".md") {
        for (line, command) in commands(text) {
            let words: Vec<_> = command.split_whitespace().skip_while(|word| is_setting(word)).collect();
            let (program, subcommand, names) = match words[..] {
                ["cargo", "xtask", name, ..] => ("cargo xtask", name, Some(&known.xtask)),
                ["cargo", "run", ref rest @ ..] if rest.contains(&"ng") => {
                    let after = rest.iter().skip_while(|word| **word != "--").nth(1);
                    ("ng", after.copied().unwrap_or("-"), known.stack.as_ref())
                }
                [program, name, ..] if program == "ng" || program.ends_with("/ng") => {
                    ("ng", name, known.stack.as_ref())
                }
                _ => continue,
            };
            let a_name = subcommand.starts_with(|first: char| first.is_ascii_alphabetic());
            if a_name && names.is_some_and(|names| !names.contains(subcommand)) {
                let advice = format!("`{program}` has no `{subcommand}`: show a command that exists");
                found.push(Violation::new(path, line, "commands", advice));
            }
        }
    }
    found
}

/// What the README and `.ci/run` must show and do not.
fn missing(tree: &Tree) -> Vec<Violation> {
    let shown: Vec<_> =
        tree.text("README.md").map(commands).unwrap_or_default().into_iter().map(|(_, it)| it).collect();
    let mut found: Vec<_> = [PROOF, TEST]
        .into_iter()
        .filter(|command| !shown.contains(command))
        .map(|command| {
            let advice = format!("show `{command}` in a fence, on a line of its own");
            Violation::new("README.md", 1, "commands", advice)
        })
        .collect();
    if !tree.text(".ci/run").is_some_and(|script| script.contains(TEST)) {
        let advice = format!("run the README's test command, `{TEST}`");
        found.push(Violation::new(".ci/run", 1, "commands", advice));
    }
    found
}

/// Each command in a fence with its line; where a fence marks commands by `$ `, only those.
fn commands(text: &str) -> Vec<(usize, &str)> {
    let fenced: Vec<Line<'_>> = markdown::lines(text)
        .into_iter()
        .filter(|line| line.fence.is_some_and(|language| SHELLS.contains(&language)))
        .collect();
    let marked: BTreeSet<_> = fenced
        .iter()
        .filter(|line| line.text.trim_start().starts_with("$ "))
        .map(|line| line.fence_number)
        .collect();
    let mut found = Vec::new();
    for line in fenced {
        let text = line.text.trim_start();
        let command = match text.strip_prefix("$ ") {
            Some(command) => command,
            None if marked.contains(&line.fence_number) => continue,
            None => text,
        };
        let command = command.split(" #").next().unwrap_or(command);
        found.extend(command.split(['|', ';', '&']).map(|part| (line.number, part.trim())));
    }
    found
}

/// `NAME=value` before a command.
fn is_setting(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.chars().all(|it| it.is_ascii_uppercase() || it.is_ascii_digit() || it == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::places;

    const README: &str = "```sh\ncargo xtask stress\ncargo xtask test  # all of it\n```\n";
    const CI: &str = "cargo xtask test\n";

    fn known() -> Known {
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
        Known { xtask: names(&["stress", "test"]), stack: Some(names(&["ingest", "recover"])) }
    }

    fn found_in(document: &str) -> Vec<usize> {
        let tree = Tree::of(&[("README.md", README), (".ci/run", CI), ("docs/a.md", document)]);
        let found = check(&tree, &known());
        assert!(found.iter().all(|one| one.path == "docs/a.md"), "{found:?}");
        found.iter().map(|one| one.line).collect()
    }

    #[test]
    fn commands_that_exist_pass_however_they_are_written() {
        let document = "```sh\ncargo xtask stress --quick\nNG_WAL__KIND=off ng ingest a.csv\n\
                        zcat a.gz | ng ingest - && ./target/release/ng recover\nng --version\n\
                        cargo run --release --bin ng -- recover --wal d\nng <command>\n```\n";
        assert_eq!(found_in(document), [0_usize; 0]);
    }

    #[test]
    fn commands_that_do_not_exist_are_found() {
        let document = "```bash\ncargo xtask gone\nng gone\nzcat a | ng gone\n\
                        cargo run -p ng-stack --bin ng -- gone\n./target/release/ng gone\n```\n";
        assert_eq!(found_in(document), [2, 3, 4, 5, 6]);
    }

    #[test]
    fn output_and_prose_are_no_commands() {
        let document = "ng gone\n```text\nng gone\n```\n```console\n$ ng ingest a\nng says this\n```\n\
                        ```rust\ncargo xtask gone\n```\n";
        assert_eq!(found_in(document), [0_usize; 0]);
    }

    #[test]
    fn the_commands_of_ng_are_left_alone_where_it_was_not_asked() {
        let tree = Tree::of(&[("README.md", README), (".ci/run", CI), ("a.md", "```\nng gone\n```\n")]);
        assert_eq!(check(&tree, &Known { stack: None, ..known() }), []);
    }

    #[test]
    fn a_readme_without_its_two_commands_and_a_ci_without_the_test_are_found() {
        let tree = Tree::of(&[("README.md", "cargo xtask test\n"), (".ci/run", "cargo test\n")]);
        let found = check(&tree, &known());
        assert_eq!(places(&found), [("README.md", 1), ("README.md", 1), (".ci/run", 1)]);
    }
}
