//! Which process a directory of rings belongs to, whether it still lives, and which directories
//! may go. It never touches a directory whose name is not one that a recorder gives.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::seal;

/// A process, told apart from a later one with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) pid: u32,
    /// Clock ticks after boot; 0 where the system does not say.
    pub(crate) start: u64,
    /// A hash of the boot's id; 0 where the system does not say.
    pub(crate) boot: u64,
}

impl Identity {
    /// This process.
    pub(crate) fn own() -> Self {
        let pid = std::process::id();
        Self { pid, start: running_since(pid).unwrap_or(0), boot: boot() }
    }

    /// The name of its `n`-th directory.
    pub(crate) fn directory(self, n: u32) -> String {
        format!("{}-{}-{:x}-{n}", self.pid, self.start, self.boot)
    }

    /// The process whose directory has this name.
    fn parse(name: &str) -> Option<Self> {
        let mut parts = name.split('-');
        let identity = Self {
            pid: parts.next()?.parse().ok()?,
            start: parts.next()?.parse().ok()?,
            boot: u64::from_str_radix(parts.next()?, 16).ok()?,
        };
        parts.next()?.parse::<u32>().ok()?;
        parts.next().is_none().then_some(identity)
    }

    /// Whether it runs. A process that was killed and that no one has waited for does not.
    pub(crate) fn lives(self) -> bool {
        self.boot == boot() && running_since(self.pid) == Some(self.start)
    }
}

/// A hash of the boot's id.
pub(crate) fn boot() -> u64 {
    fs::read("/proc/sys/kernel/random/boot_id").map_or(0, |id| seal::checksum(&id))
}

/// When a running process started, by field 22 of its `stat` (proc(5)).
fn running_since(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold spaces and parentheses itself.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// The running thread's id; 0 where the system does not say.
pub(crate) fn thread_id() -> u64 {
    let link = fs::read_link("/proc/thread-self").ok();
    let name = link.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
    name.and_then(|name| name.parse().ok()).unwrap_or(0)
}

/// The rings of a process, living or dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessRings {
    /// Its directory, for [`crate::read::Snapshot::open`].
    pub path: PathBuf,
    /// Its process id.
    pub pid: u32,
    /// When its directory last changed, in nanoseconds since 1970: about when its last lane opened.
    pub changed_unix_ns: u64,
    /// What its files take, in bytes.
    pub bytes: u64,
    /// Whether it runs. A process of another PID namespace that shares the directory looks dead.
    pub alive: bool,
}

/// The dead processes with rings under `dir`, the latest first. A directory that does not exist
/// holds none.
///
/// # Errors
/// What the system says if `dir` can't be listed.
pub fn find_dead(dir: &Path) -> io::Result<Vec<ProcessRings>> {
    let mut found = find_all(dir)?;
    found.retain(|process| !process.alive);
    Ok(found)
}

/// All processes with rings under `dir`, the latest first. A directory that does not exist holds
/// none.
///
/// # Errors
/// What the system says if `dir` can't be listed.
pub fn find_all(dir: &Path) -> io::Result<Vec<ProcessRings>> {
    let listing = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing?,
    };
    let mut found = Vec::new();
    for entry in listing {
        let entry = entry?;
        let name = entry.file_name();
        let Some(identity) = name.to_str().and_then(Identity::parse) else { continue };
        if !entry.file_type()?.is_dir() {
            continue;
        }
        // It may vanish while it is looked at, if another process prunes.
        let Ok(metadata) = entry.metadata() else { continue };
        let changed = metadata.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let bytes = fs::read_dir(entry.path()).map_or(0, |files| {
            files.flatten().filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
        });
        found.push(ProcessRings {
            path: entry.path(),
            pid: identity.pid,
            changed_unix_ns: u64::try_from(changed.as_nanos()).unwrap_or(u64::MAX),
            bytes,
            alive: identity.lives(),
        });
    }
    found.sort_by(|one, other| {
        other.changed_unix_ns.cmp(&one.changed_unix_ns).then_with(|| one.path.cmp(&other.path))
    });
    Ok(found)
}

/// Removes the directories of dead processes but the `keep` latest, of which the latest is kept
/// whatever its size and the others as far as all fit into `bytes`; says how many went.
///
/// # Errors
/// What the system says if a directory can't be removed; earlier ones are gone by then.
pub fn prune_dead(dir: &Path, keep: usize, bytes: u64) -> io::Result<usize> {
    let (mut removed, mut taken) = (0, 0u64);
    for (at, dead) in find_dead(dir)?.into_iter().enumerate() {
        taken = taken.saturating_add(dead.bytes);
        if at < keep && (at == 0 || taken <= bytes) {
            continue;
        }
        match fs::remove_dir_all(&dead.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            done => {
                done?;
                removed += 1;
            }
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_lives_and_one_that_took_its_number_later_is_another() {
        let own = Identity::own();
        assert!(own.lives());
        assert!(own.start > 0 && own.boot > 0);
        assert!(!Identity { start: own.start - 1, ..own }.lives());
        assert!(!Identity { boot: own.boot ^ 1, ..own }.lives());
        assert_eq!(Identity::parse(&own.directory(3)), Some(own));
        assert!(thread_id() > 0);
    }

    #[test]
    fn foreign_names_are_no_processes() {
        for name in ["", "1", "1-2-3", "1-2-3-4-5", "a-2-3-4", "1-2-zz-4", "1-2-3-x", "lost+found"] {
            assert_eq!(Identity::parse(name), None, "{name}");
        }
    }

    #[test]
    fn only_the_latest_dead_that_fit_are_kept_and_the_living_and_foreign_stay() {
        let dir = tempfile::tempdir().unwrap();
        let own = Identity::own();
        let gone = |n: u32| Identity { start: own.start - 1, ..own }.directory(n);
        for name in [gone(0), gone(1), gone(2), own.directory(0), "notes".to_owned()] {
            fs::create_dir(dir.path().join(&name)).unwrap();
            fs::write(dir.path().join(name).join("ring"), [0; 10]).unwrap();
        }
        let dead = find_dead(dir.path()).unwrap();
        assert_eq!(dead.len(), 3);
        assert!(dead.iter().all(|dead| dead.pid == own.pid && dead.bytes == 10));
        assert_eq!(find_all(dir.path()).unwrap().len(), 4);
        // Ten bytes each: the second latest would make it twenty.
        assert_eq!(prune_dead(dir.path(), 2, 19).unwrap(), 2);
        assert_eq!(find_dead(dir.path()).unwrap(), dead[..1]);
        assert_eq!(prune_dead(dir.path(), 0, u64::MAX).unwrap(), 1);
        assert!(dir.path().join(own.directory(0)).exists() && dir.path().join("notes").exists());
        assert!(find_dead(&dir.path().join("absent")).unwrap().is_empty());
    }
}
