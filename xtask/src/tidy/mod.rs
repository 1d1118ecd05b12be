//! The rules of the house that no compiler checks. A rule is a function from the tree of files to
//! the places that break it; it reads nothing but the tree and changes nothing.

mod rules;
mod rust_text;
mod tree;

use std::collections::BTreeSet;
use std::fmt;

use crate::cli::{self, EXIT_FAILED, EXIT_OK};
use crate::error::Error;
use crate::process;
use crate::workspace::Workspace;
use rules::commands::Known;
use tree::Tree;

/// `cargo xtask tidy`: all rules, except for the commands of `ng`, which would have to be built.
pub(crate) fn run(workspace: &Workspace) -> Result<u8, Error> {
    let broken = check(workspace, None)?;
    Ok(if broken == 0 { EXIT_OK } else { EXIT_FAILED })
}

/// Checks every rule and prints what breaks one; returns how many places do. `stack` holds the
/// subcommands of `ng` where they are known.
pub(crate) fn check(workspace: &Workspace, stack: Option<BTreeSet<String>>) -> Result<usize, Error> {
    let tree = Tree::of_repository(workspace)?;
    if stack.is_none() {
        process::note("tidy: the commands of `ng` in the docs are checked by `cargo xtask lint` only");
    }
    let known = Known { xtask: cli::command_names(), stack };
    let violations = violations(&tree, &known)?;
    for violation in &violations {
        process::result(&violation.to_string());
    }
    process::result(&format!(
        "tidy: {} places to mend in {} files; {}",
        violations.len(),
        tree.len(),
        rules::safety::summary(&tree)
    ));
    Ok(violations.len())
}

fn violations(tree: &Tree, known: &Known) -> Result<Vec<Violation>, Error> {
    let mut all = [
        rules::opening::check(tree),
        rules::edges::check(tree)?,
        rules::safety::check(tree, rules::safety::ALLOWED),
        rules::dead::check(tree),
        rules::commands::check(tree, known),
        rules::links::check(tree),
        rules::length::check(tree),
        rules::machine::check(tree),
        rules::unfinished::check(tree),
        rules::layout::check(tree),
    ]
    .concat();
    all.sort();
    Ok(all)
}

/// A place that breaks a rule, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Violation {
    path: String,
    /// From 1.
    line: usize,
    rule: &'static str,
    advice: String,
}

impl Violation {
    fn new(path: &str, line: usize, rule: &'static str, advice: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, rule, advice: advice.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.path, self.line, self.rule, self.advice)
    }
}

#[cfg(test)]
fn places(violations: &[Violation]) -> Vec<(&str, usize)> {
    violations.iter().map(|one| (one.path.as_str(), one.line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_is_written_so_that_editors_can_jump_to_it() {
        let shown = Violation::new("core/src/lib.rs", 3, "opening", "say what it is for").to_string();
        assert_eq!(shown, "core/src/lib.rs:3: opening: say what it is for");
    }

    #[test]
    fn every_rule_is_asked() {
        let unfinished = concat!("// TO", "DO\nfn f() { unsafe { g() } }\n");
        let machine = concat!("see /wo", "rk/notes and [gone](gone.md)\n```sh\ncargo xtask gone\n```\n");
        let long = "//! Long.\n".repeat(601);
        let tree = Tree::of(&[
            ("core/src/lib.rs", unfinished),
            ("core/src/dead.rs", &long),
            ("core/Cargo.toml", "[package]\nname = 'ng-core'\n[dependencies]\nxtask.workspace = true\n"),
            ("xtask/Cargo.toml", "[package]\nname = 'xtask'\n"),
            ("README.md", machine),
        ]);
        let known = Known { xtask: BTreeSet::new(), stack: None };
        let found = violations(&tree, &known).unwrap();
        let broken: BTreeSet<_> = found.iter().map(|one| one.rule).collect();
        let expected = [
            "commands",
            "dead",
            "edges",
            "layout",
            "length",
            "links",
            "machine",
            "opening",
            "safety",
            "unfinished",
        ];
        assert_eq!(broken.into_iter().collect::<Vec<_>>(), expected);
    }
}
