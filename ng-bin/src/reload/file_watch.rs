//! Whether a file is another one than before, by asking for its metadata.
//!
//! Watchers of directories tell sooner, and miss what people really do: an editor's rename, a
//! symbolic link two directories up that now leads elsewhere (as a mounted Kubernetes volume does),
//! a network's file system. One `stat` follows all of them and takes microseconds, so a look each
//! second costs nothing that could be measured, and needs neither a thread nor a descriptor.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What identifies a file's contents without reading them; `None` where there is no file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp(Option<(u64, Option<SystemTime>, Identity)>);

#[cfg(unix)]
type Identity = (u64, u64, i64, i64);
#[cfg(not(unix))]
type Identity = ();

impl Stamp {
    fn of(path: &Path) -> Self {
        let Ok(found) = std::fs::metadata(path) else { return Self(None) };
        #[cfg(unix)]
        let identity = {
            use std::os::unix::fs::MetadataExt as _;
            (found.dev(), found.ino(), found.ctime(), found.ctime_nsec())
        };
        #[cfg(not(unix))]
        let identity = ();
        Self(Some((found.len(), found.modified().ok(), identity)))
    }
}

/// What a look shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// It is as it was when it was last known.
    Same,
    /// It is another one, and was yet another one at the last look: half of it may be written.
    Moving,
    /// It is another one, and has rested since the last look. It is known from now on.
    Changed,
}

/// A file that is looked at now and then.
#[derive(Debug)]
pub(super) struct FileWatch {
    path: PathBuf,
    known: Stamp,
    /// Another stamp that was seen once: half of it may be written.
    unsettled: Option<Stamp>,
}

impl FileWatch {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { known: Stamp::of(&path), unsettled: None, path }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What has become of the file since it was last known.
    pub(super) fn look(&mut self) -> Seen {
        let now = Stamp::of(&self.path);
        if now == self.known {
            self.unsettled = None;
            return Seen::Same;
        }
        if self.unsettled != Some(now) {
            self.unsettled = Some(now);
            return Seen::Moving;
        }
        self.know(now);
        Seen::Changed
    }

    /// Takes the file as it is for known. To be called before it is read: what changes while it is
    /// read is then seen at the next look.
    pub(super) fn mark(&mut self) {
        self.know(Stamp::of(&self.path));
    }

    fn know(&mut self, stamp: Stamp) {
        self.known = stamp;
        self.unsettled = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_new_once_it_has_rested_between_two_looks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ng.toml");
        std::fs::write(&path, "a").unwrap();
        let mut watch = FileWatch::new(path.clone());
        assert_eq!(watch.look(), Seen::Same);
        std::fs::write(&path, "ab").unwrap();
        assert_eq!(watch.look(), Seen::Moving, "it may be half written");
        std::fs::write(&path, "abc").unwrap();
        assert_eq!(watch.look(), Seen::Moving, "it still moves");
        assert_eq!(watch.look(), Seen::Changed);
        assert_eq!(watch.look(), Seen::Same);
    }

    #[test]
    fn a_rename_over_it_and_a_link_that_leads_elsewhere_are_seen_and_so_is_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("one")).unwrap();
        std::fs::create_dir(at("two")).unwrap();
        for folder in ["one", "two"] {
            std::fs::write(at(folder).join("ng.toml"), "same").unwrap();
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(at("one"), at("data")).unwrap();
            let mut watch = FileWatch::new(at("data/ng.toml"));
            std::os::unix::fs::symlink(at("two"), at("next")).unwrap();
            std::fs::rename(at("next"), at("data")).unwrap();
            assert!([watch.look(), watch.look()].contains(&Seen::Changed));
            std::fs::write(at("new"), "same").unwrap();
            std::fs::rename(at("new"), at("two/ng.toml")).unwrap();
            assert!([watch.look(), watch.look()].contains(&Seen::Changed));
            std::fs::remove_file(at("two/ng.toml")).unwrap();
            assert!([watch.look(), watch.look()].contains(&Seen::Changed));
            assert_eq!(watch.look(), Seen::Same);
        }
    }

    #[test]
    fn what_was_marked_before_it_was_read_is_not_new() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ng.toml");
        std::fs::write(&path, "a").unwrap();
        let mut watch = FileWatch::new(path.clone());
        std::fs::write(&path, "b, longer").unwrap();
        watch.mark();
        assert_eq!([watch.look(), watch.look()], [Seen::Same; 2]);
    }
}
