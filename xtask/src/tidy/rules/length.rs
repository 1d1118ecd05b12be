//! A file is one idea: at most 600 lines before its tests.

use crate::tidy::Violation;
use crate::tidy::tree::Tree;

const MOST_LINES: usize = 600;

/// Folders whose files are tests as a whole: cases side by side, not one idea.
const ALL_TESTS: [&str; 3] = ["/tests/", "/benches/", "/fuzz/"];

pub(in crate::tidy) fn check(tree: &Tree) -> Vec<Violation> {
    tree.texts_ending(".rs")
        .filter(|(path, _)| !ALL_TESTS.iter().any(|folder| path.contains(folder)))
        .filter_map(|(path, text)| {
            let lines = text.lines().take_while(|line| !opens_tests(line)).count();
            (lines > MOST_LINES).then(|| {
                let advice = format!(
                    "{lines} lines before the tests, at most {MOST_LINES}: look for the seam and split it"
                );
                Violation::new(path, MOST_LINES + 1, "length", advice)
            })
        })
        .collect()
}

fn opens_tests(line: &str) -> bool {
    line.starts_with("#[cfg(test)]") || line.starts_with("#[cfg(all(test")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::places;

    #[test]
    fn lines_are_counted_up_to_the_tests() {
        let fits = format!("{}#[cfg(test)]\n{}", "x\n".repeat(600), "t\n".repeat(900));
        let fits_too = format!("{}#[cfg(all(test, not(loom)))]\n{}", "x\n".repeat(600), "t\n".repeat(900));
        let long = "x\n".repeat(601);
        let tree = Tree::of(&[
            ("a/src/fits.rs", &fits),
            ("a/src/fits_too.rs", &fits_too),
            ("a/src/long.rs", &long),
            ("a/tests/cases.rs", &long),
        ]);
        assert_eq!(places(&check(&tree)), [("a/src/long.rs", 601)]);
    }
}
