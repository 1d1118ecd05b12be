//! Unsafe code stays countable: every file that has some is listed with how much, in
//! `unsafe_files.txt`, so that more of it is a line in a review; and every unsafe block or impl says
//! right above, after `// SAFETY:`, why it is sound.

use std::collections::BTreeMap;

use crate::tidy::Violation;
use crate::tidy::rust_text::{code_only, words};
use crate::tidy::tree::Tree;

/// A path and the number of times the word `unsafe` stands in its code, a line each.
pub(in crate::tidy) const ALLOWED: &str = include_str!("../unsafe_files.txt");

const LIST: &str = "xtask/src/tidy/unsafe_files.txt";

pub(in crate::tidy) fn check(tree: &Tree, allowed: &str) -> Vec<Violation> {
    let mut found = Vec::new();
    let counts = counts(tree);
    let listed = listed(allowed);
    for (&path, &count) in &counts {
        if listed.get(path).is_none_or(|it| it.count != count) {
            let advice = format!(
                "`unsafe` stands here {count} times: is each needed? then write `{path} {count}` in {LIST}"
            );
            found.push(Violation::new(path, 1, "safety", advice));
        }
        found.extend(uncommented(path, tree.text(path).unwrap_or_default()));
    }
    for (path, entry) in listed.iter().filter(|(path, _)| !counts.contains_key(*path)) {
        let advice = format!("`{path}` has no unsafe code (any more): take the line out");
        found.push(Violation::new(LIST, entry.line, "safety", advice));
    }
    found
}

/// One line for the end of a run.
pub(in crate::tidy) fn summary(tree: &Tree) -> String {
    let counts = counts(tree);
    let total: usize = counts.values().sum();
    format!("unsafe stands {total} times in {} files, see {LIST}", counts.len())
}

fn counts(tree: &Tree) -> BTreeMap<&str, usize> {
    tree.texts_ending(".rs")
        .map(|(path, text)| (path, words(&code_only(text), "unsafe").count()))
        .filter(|(_, count)| *count > 0)
        .collect()
}

struct Entry {
    line: usize,
    count: usize,
}

fn listed(text: &str) -> BTreeMap<&str, Entry> {
    text.lines()
        .enumerate()
        .filter_map(|(index, line)| {
            let (path, count) = line.split_once(' ')?;
            Some((path, Entry { line: index + 1, count: count.trim().parse().ok()? }))
        })
        .collect()
}

/// The unsafe blocks and impls without `// SAFETY:` above them.
fn uncommented(path: &str, text: &str) -> Vec<Violation> {
    let code = code_only(text);
    let (code, raw): (Vec<_>, Vec<_>) = (code.lines().collect(), text.lines().collect());
    let mut found = Vec::new();
    for (index, line) in code.iter().enumerate() {
        let needs_reason = words(line, "unsafe").any(|start| {
            let rest = line.get(start + "unsafe".len()..).unwrap_or_default().trim_start();
            // rustfmt keeps the brace on the line, so nothing after the word means a broken line.
            rest.starts_with('{') || rest.starts_with("impl")
        });
        if needs_reason && !has_reason_above(&code[..index], &raw[..index]) {
            let advice = "say why it is sound in a `// SAFETY:` comment right above";
            found.push(Violation::new(path, index + 1, "safety", advice));
        }
    }
    found
}

/// Whether the comment above the statement that the next line belongs to gives the reason.
fn has_reason_above(code: &[&str], raw: &[&str]) -> bool {
    let mut in_attribute = false;
    for (code, raw) in code.iter().zip(raw).rev() {
        let (code, raw) = (code.trim(), raw.trim());
        if raw.starts_with("// SAFETY: ") {
            return true;
        }
        if raw.starts_with("//") {
            continue;
        }
        in_attribute = (in_attribute || code.ends_with(']')) && !code.starts_with("#[");
        let ends_before = code.is_empty() || code.ends_with([';', '{', '}', ',']);
        if ends_before && !in_attribute {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::places;

    #[test]
    fn a_reason_right_above_is_accepted_behind_attributes_and_inside_a_statement() {
        let sources = [
            "// SAFETY: fine\nunsafe { f() };\n",
            "// SAFETY: fine,\n// on two lines\nunsafe impl Send for X {}\n",
            "// SAFETY: fine\n#[expect(\n    unsafe_code,\n    reason = \"x\"\n)]\nunsafe impl Sync for X {}\n",
            "// SAFETY: fine\nlet x =\n    unsafe { f() };\n",
            "let x = {\n    // SAFETY: fine\n    unsafe { f() }\n};\n",
            "#[expect(unsafe_code)]\nunsafe fn f() {}\n",
            "// not unsafe { code }\nlet a = \"unsafe { }\";\n",
        ];
        for source in sources {
            assert_eq!(uncommented("a.rs", source), [], "{source}");
        }
    }

    #[test]
    fn a_missing_or_distant_reason_is_found() {
        let cases = [
            ("unsafe { f() };\n", 1),
            ("// SAFETY: of another\n\nunsafe { f() };\n", 3),
            ("// SAFETY: of another\ng();\nunsafe { f() };\n", 3),
            ("// careful\nunsafe impl Send for X {}\n", 2),
            ("// SAFETY: of the first\nA => unsafe { f() },\nB => unsafe { g() },\n", 3),
        ];
        for (source, line) in cases {
            assert_eq!(places(&uncommented("a.rs", source)), [("a.rs", line)], "{source}");
        }
    }

    #[test]
    fn a_file_must_be_listed_with_its_exact_count_and_the_list_holds_no_other() {
        let source = "// SAFETY: fine\nunsafe { f() };\n";
        let tree = Tree::of(&[("a/src/a.rs", source), ("a/src/b.rs", "//! unsafe in prose\n")]);
        assert_eq!(check(&tree, "a/src/a.rs 1\n"), []);
        assert_eq!(places(&check(&tree, "")), [("a/src/a.rs", 1)]);
        assert_eq!(places(&check(&tree, "a/src/a.rs 2\n")), [("a/src/a.rs", 1)]);
        assert_eq!(places(&check(&tree, "a/src/a.rs 1\na/src/b.rs 1\n")), [(LIST, 2)]);
    }
}
