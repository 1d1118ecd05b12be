//! A document's links into the repository lead to something.

use super::markdown;
use crate::tidy::Violation;
use crate::tidy::tree::Tree;

pub(in crate::tidy) fn check(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for (path, text) in tree.texts_ending(".md") {
        for line in markdown::lines(text).into_iter().filter(|line| line.fence.is_none()) {
            for target in targets(line.text) {
                let file = target.split('#').next().unwrap_or_default();
                if !file.is_empty() && resolve(path, file).is_none_or(|file| !tree.has(&file)) {
                    let advice = format!("`{target}` is not in the repository: mend the link");
                    found.push(Violation::new(path, line.number, "links", advice));
                }
            }
        }
    }
    found
}

/// What `[text](target)` and `[name]: target` on this line point at, less what lies elsewhere.
fn targets(line: &str) -> Vec<&str> {
    let inline = line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
    let by_name = line
        .trim_start()
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("]: "))
        .and_then(|(_, target)| target.split_whitespace().next());
    inline.chain(by_name).filter(|target| !target.contains(':')).collect()
}

/// `target` as seen from the document, as a path from the root; `None` when it leads outside.
fn resolve(document: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = document.split('/').collect();
    parts.pop();
    for part in target.trim_end_matches('/').split('/') {
        match part {
            "." => {}
            ".." => {
                parts.pop()?;
            }
            _ => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::places;

    #[test]
    fn links_that_lead_nowhere_are_found() {
        let document = "[a](../README.md#top) [b](adr/) [c](https://example.org/x)\n\
                        [d](gone.md) [e](#here)\n```text\n[f](also-gone.md)\n```\n\
                        [g]: ../../outside.md\n";
        let tree = Tree::of(&[("README.md", ""), ("docs/a.md", document), ("docs/adr/1.md", "")]);
        assert_eq!(places(&check(&tree)), [("docs/a.md", 2), ("docs/a.md", 6)]);
    }
}
