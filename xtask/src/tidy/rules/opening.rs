//! Every Rust file opens with `//!`: what it is for, and what it never does.

use crate::tidy::Violation;
use crate::tidy::tree::Tree;

pub(in crate::tidy) fn check(tree: &Tree) -> Vec<Violation> {
    tree.texts_ending(".rs")
        .filter(|(_, text)| !text.starts_with("//! "))
        .map(|(path, _)| {
            let advice = "open the file with `//! ` and a sentence: what it is for, what it never does";
            Violation::new(path, 1, "opening", advice)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::places;

    #[test]
    fn a_file_that_opens_with_code_is_found_in_tests_and_examples_too() {
        let tree = Tree::of(&[
            ("a/src/good.rs", "//! Good.\n"),
            ("a/src/bad.rs", "use x;\n//! Late.\n"),
            ("a/tests/bad.rs", "/// Not the file's.\nfn f() {}\n"),
            ("a/examples/empty.rs", ""),
            ("a/notes.md", "no Rust"),
        ]);
        let found = check(&tree);
        assert_eq!(places(&found), [("a/examples/empty.rs", 1), ("a/src/bad.rs", 1), ("a/tests/bad.rs", 1)]);
    }
}
