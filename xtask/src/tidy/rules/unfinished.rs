//! Nothing is left for later in the code: what is missing stands in the issues, and what is there
//! works.

use crate::tidy::Violation;
use crate::tidy::rust_text::{code_only, words};
use crate::tidy::tree::Tree;

/// Written in two parts, so that this file does not break its own rule.
const MARKERS: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

/// Macros that compile and then panic.
const MACROS: [&str; 2] = ["todo", "unimplemented"];

pub(in crate::tidy) fn check(tree: &Tree) -> Vec<Violation> {
    tree.texts()
        .filter(|(path, _)| *path != "Cargo.lock")
        .flat_map(|(path, text)| {
            let code = if path.ends_with(".rs") { code_only(text) } else { String::new() };
            let markers = found(text, &MARKERS, |_| true).into_iter();
            let macros = found(&code, &MACROS, |after| after.starts_with('!'));
            markers
                .chain(macros)
                .map(|(line, what)| {
                    let advice = format!("`{what}`: finish it, or take it out and file an issue");
                    Violation::new(path, line, "unfinished", advice)
                })
                .collect::<Vec<_>>()
        })
        .collect()
}

/// The lines of `text` on which one of `sought` stands as a word that `goes_on` as wanted.
fn found(text: &str, sought: &[&'static str], goes_on: impl Fn(&str) -> bool) -> Vec<(usize, &'static str)> {
    let mut places = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for &word in sought {
            let ends = words(line, word).map(|start| start + word.len());
            if ends.filter_map(|end| line.get(end..)).any(&goes_on) {
                places.push((index + 1, word));
            }
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::places;

    #[test]
    fn markers_are_found_in_any_text_and_as_whole_words() {
        for marker in MARKERS {
            let text = format!("fine\n# {marker}: later\nmktemp {marker}{marker}\n");
            let tree = Tree::of(&[(".ci/run", &text)]);
            assert_eq!(places(&check(&tree)), [(".ci/run", 2)], "{marker}");
        }
    }

    #[test]
    fn macros_that_panic_are_found_in_code_and_not_in_prose() {
        let source = "//! No todo!() here.\nfn f() { todo!() }\nfn g() { unimplemented!(\"x\") }\n";
        let tree = Tree::of(&[("a/src/a.rs", source), ("docs/a.md", "todo! is denied\n")]);
        assert_eq!(places(&check(&tree)), [("a/src/a.rs", 2), ("a/src/a.rs", 3)]);
    }
}
