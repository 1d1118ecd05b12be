//! Where the kernel says what it is: `/proc` and `/sys`, or a folder that looks like them.

use std::path::{Path, PathBuf};

/// The kernel's files below a root.
#[derive(Debug, Clone)]
pub struct System {
    root: PathBuf,
}

impl System {
    /// This machine.
    #[must_use]
    pub fn here() -> Self {
        Self { root: PathBuf::from("/") }
    }

    /// A folder with the files of another one.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The text of an absolute path, trimmed; `None` if it can't be read.
    pub(super) fn read(&self, path: &str) -> Option<String> {
        let text = std::fs::read_to_string(self.root.join(path.trim_start_matches('/'))).ok()?;
        Some(text.trim().to_owned())
    }

    /// The number in bytes that `/proc/meminfo` has under this name.
    pub(super) fn meminfo(&self, name: &str) -> Option<u64> {
        let text = self.read("/proc/meminfo")?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
        Some(kib << 10)
    }

    /// The soft limit of this process under its name in `/proc/self/limits`; `u64::MAX` for none.
    pub(super) fn soft_limit(&self, name: &str) -> Option<u64> {
        let text = self.read("/proc/self/limits")?;
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        match line.split_whitespace().next()? {
            "unlimited" => Some(u64::MAX),
            number => number.parse().ok(),
        }
    }

    /// Type of the file system that holds an absolute path, by `/proc/self/mountinfo`.
    pub(super) fn file_system(&self, path: &Path) -> Option<String> {
        let text = self.read("/proc/self/mountinfo")?;
        let mounts = text.lines().filter_map(|line| {
            // "36 35 98:0 /root /mount/point options - type source options", proc(5).
            let (before, after) = line.split_once(" - ")?;
            let point = before.split(' ').nth(4)?.replace("\\040", " ");
            Some((PathBuf::from(point), after.split(' ').next()?.to_owned()))
        });
        // Later mounts cover earlier ones.
        let (_, kind) = mounts.filter(|(point, _)| path.starts_with(point)).fold(
            None,
            |best: Option<(usize, String)>, (point, kind)| {
                let depth = point.components().count();
                if best.as_ref().is_some_and(|(deepest, _)| *deepest > depth) {
                    best
                } else {
                    Some((depth, kind))
                }
            },
        )?;
        Some(kind)
    }
}

/// Bytes for people.
pub(super) fn bytes(n: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.iter().find(|(_, size)| n >= *size) {
        Some((unit, size)) if n.is_multiple_of(*size) => format!("{} {unit}", n / size),
        Some((unit, size)) => format!("{}.{} {unit}", n / size, n % size * 10 / size),
        None => format!("{n} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_and_latest_mount_counts() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("proc/self")).unwrap();
        let mounts = "\
22 1 8:1 / / rw - ext4 /dev/sda1 rw
23 22 0:5 / /var rw - xfs /dev/sdb rw
24 22 0:6 / /var/lib\\040x rw shared:3 - tmpfs tmpfs rw
25 22 0:7 / /var rw - btrfs /dev/sdc rw
";
        std::fs::write(dir.path().join("proc/self/mountinfo"), mounts).unwrap();
        let system = System::at(dir.path());
        let kind = |path: &str| system.file_system(Path::new(path)).unwrap();
        assert_eq!(kind("/home"), "ext4");
        assert_eq!(kind("/var/log"), "btrfs");
        assert_eq!(kind("/var/lib x/wal"), "tmpfs");
        assert_eq!(kind("/various"), "ext4");
    }

    #[test]
    fn bytes_are_told_in_the_largest_unit() {
        assert_eq!(bytes(64 << 20), "64 MiB");
        assert_eq!(bytes(1_000_000_000), "953.6 MiB");
        assert_eq!(bytes(5), "5 bytes");
    }
}
