//! The repository's files in memory, so that a rule is a function and its test is a few strings.

use std::collections::BTreeMap;
use std::fs;

use crate::error::Error;
use crate::workspace::Workspace;

/// Path from the root (`/` between its parts) → text; `None` for a file that is not UTF-8.
#[derive(Debug)]
pub(super) struct Tree {
    files: BTreeMap<String, Option<String>>,
}

impl Tree {
    /// Everything that git tracks, or would track with the next `git add`.
    pub(super) fn of_repository(workspace: &Workspace) -> Result<Self, Error> {
        let listed = workspace
            .program("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .answer()?;
        let mut files = BTreeMap::new();
        for path in listed.split('\0').filter(|path| !path.is_empty()) {
            let file = workspace.root().join(path);
            // Deleted, but not yet from the index.
            if !file.exists() {
                continue;
            }
            let bytes = fs::read(&file).map_err(|source| Error::Read { path: file, source })?;
            files.insert(path.to_owned(), String::from_utf8(bytes).ok());
        }
        Ok(Self { files })
    }

    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let own = |(path, text): &(&str, &str)| ((*path).to_owned(), Some((*text).to_owned()));
        Self { files: files.iter().map(own).collect() }
    }

    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path)?.as_deref()
    }

    /// Every text file with its path.
    pub(super) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().filter_map(|(path, text)| Some((path.as_str(), text.as_deref()?)))
    }

    pub(super) fn texts_ending(&self, end: &str) -> impl Iterator<Item = (&str, &str)> {
        self.texts().filter(move |(path, _)| path.ends_with(end))
    }

    /// Whether `path` is a file, or a folder with one in it.
    pub(super) fn has(&self, path: &str) -> bool {
        let folder = format!("{path}/");
        path.is_empty()
            || self.files.contains_key(path)
            || self.files.range(folder.clone()..).next().is_some_and(|(next, _)| next.starts_with(&folder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_files_are_found_and_mere_prefixes_are_not() {
        let tree = Tree::of(&[("docs/adr/0001.md", ""), ("docs-old/a.md", "")]);
        assert!(tree.has("docs") && tree.has("docs/adr") && tree.has("docs/adr/0001.md"));
        assert!(!tree.has("doc") && !tree.has("docs/adr/0001"));
    }

    #[test]
    fn this_repository_is_read() {
        let tree = Tree::of_repository(&Workspace::here()).unwrap();
        assert!(tree.text("xtask/src/tidy/tree.rs").unwrap().contains("this_repository_is_read"));
        assert!(tree.paths().all(|path| !path.starts_with("target/")));
    }
}
