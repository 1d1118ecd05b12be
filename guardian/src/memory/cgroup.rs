//! The limit of the process's control group, version 1 or 2, and the pressure on its memory.
//! Formats: cgroups(7), proc_pid_mountinfo(5), the kernel's Documentation/admin-guide/cgroup-v2.rst
//! and Documentation/accounting/psi.rst.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// After so many readings the group is looked for again: a process can be moved.
const LOOK_AGAIN: u32 = 128;

/// The kernel's average over 10 s is new each 2 s (include/linux/psi_types.h).
const PRESSURE_AGE: Duration = Duration::from_secs(1);

/// So seldom is `memory.stat`, which costs the kernel ten times what the other files do, read while less
/// than half of the limit is used: nothing depends on it then.
const STAT_EACH: u32 = 16;

/// Version 1 says "no limit" with the largest multiple of a page; nothing has as much memory.
const NO_LIMIT: u64 = 1 << 62;

/// What is kept open of the process's group and those above it.
#[derive(Debug, Default)]
pub(super) struct Cgroup {
    levels: Vec<Level>,
    pressure: Option<File>,
    /// When the pressure was read, and what it was.
    pressed: Option<(Instant, Option<f64>)>,
    /// Which level, and what it could give back.
    last_stat: Option<(usize, Option<u64>)>,
    readings: u32,
}

#[derive(Debug)]
struct Level {
    limit: File,
    used: File,
    stat: Option<File>,
}

/// The tightest limit, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limited {
    pub(super) limit: u64,
    pub(super) used: u64,
    /// What of that the kernel can take back.
    pub(super) reclaimable: Option<u64>,
}

/// Where the process's memory controller is.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    mount: PathBuf,
    group: PathBuf,
    version_1: bool,
}

impl Cgroup {
    /// The group of this process; empty where there is none or none that may be read.
    pub(super) fn find() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let place = place(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"));
        let Some(Place { mount, group, version_1 }) = place else { return Self::default() };
        let (limit, used) = if version_1 {
            ("memory.limit_in_bytes", "memory.usage_in_bytes")
        } else {
            ("memory.max", "memory.current")
        };
        let levels = group
            .ancestors()
            .take_while(|dir| dir.starts_with(&mount))
            .filter_map(|dir| {
                Some(Level {
                    limit: File::open(dir.join(limit)).ok()?,
                    used: File::open(dir.join(used)).ok()?,
                    stat: File::open(dir.join("memory.stat")).ok(),
                })
            })
            .collect();
        let whole = Path::new("/proc/pressure/memory");
        let pressure = File::open(group.join("memory.pressure")).or_else(|_| File::open(whole)).ok();
        Self { levels, pressure, ..Self::default() }
    }

    /// The tightest limit, and what is used of it.
    pub(super) fn limit_and_use(&mut self) -> Option<Limited> {
        self.readings += 1;
        if self.readings > LOOK_AGAIN {
            *self = Self::find();
        }
        let limits =
            self.levels.iter().enumerate().filter_map(|(at, level)| Some((number(&level.limit)?, at, level)));
        let (limit, at, level) =
            limits.filter(|(limit, ..)| *limit < NO_LIMIT).min_by_key(|(limit, ..)| *limit)?;
        let used = number(&level.used)?;
        let reclaimable = match self.last_stat {
            Some((known, bytes))
                if known == at && used < limit / 2 && !self.readings.is_multiple_of(STAT_EACH) =>
            {
                bytes
            }
            _ => level.stat.as_ref().and_then(whole).map(|stat| reclaimable(&stat)),
        };
        self.last_stat = Some((at, reclaimable));
        Some(Limited { limit, used, reclaimable })
    }

    /// Percent of the last 10 s in which some task waited for memory.
    pub(super) fn pressure(&mut self, now: Instant) -> Option<f64> {
        if let Some((then, percent)) = self.pressed
            && now.saturating_duration_since(then) < PRESSURE_AGE
        {
            return percent;
        }
        let percent = self.pressure.as_ref().and_then(text).and_then(|text| average(&text));
        self.pressed = Some((now, percent));
        percent
    }
}

/// `some avg10=0.12 avg60=…`
fn average(text: &str) -> Option<f64> {
    let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
    some.split_ascii_whitespace().find_map(|field| field.strip_prefix("avg10="))?.parse().ok()
}

/// Page cache and slabs that the kernel can take back, from `memory.stat`. Version 1 has the sums
/// with the groups below under names of their own, and no slabs; what lies in shared memory is not in
/// either file list.
fn reclaimable(stat: &str) -> u64 {
    let named = |name: &str| {
        let mut rest = stat.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        rest.find_map(|bytes| bytes.trim().parse::<u64>().ok())
    };
    let files = |prefix: &str| {
        let list = |list: &str| named(&format!("{prefix}{list}"));
        Some(list("inactive_file")? + list("active_file")?)
    };
    files("total_").or_else(|| files("")).unwrap_or(0) + named("slab_reclaimable").unwrap_or(0)
}

/// A file of a few KiB, to its end.
fn whole(file: &File) -> Option<String> {
    let mut bytes = vec![0; 16 << 10];
    let len = file.read_at(&mut bytes, 0).ok()?;
    bytes.truncate(len);
    String::from_utf8(bytes).ok()
}

fn text(file: &File) -> Option<String> {
    let mut bytes = [0; 256];
    let len = file.read_at(&mut bytes, 0).ok()?;
    Some(String::from_utf8_lossy(bytes.get(..len)?).into_owned())
}

/// `None` for `max` too.
fn number(file: &File) -> Option<u64> {
    text(file)?.trim().parse().ok()
}

/// From `/proc/self/cgroup` and `/proc/self/mountinfo`.
fn place(groups: &str, mounts: &str) -> Option<Place> {
    // hierarchy:controllers:path; version 2 has no controllers.
    let fields = groups.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        Some((fields.next()?, fields.next()?))
    });
    let (mut one, mut two) = (None, None);
    for (controllers, path) in fields {
        if controllers.split(',').any(|controller| controller == "memory") {
            one = Some(path);
        } else if controllers.is_empty() {
            two = Some(path);
        }
    }
    let version_1 = one.is_some();
    let path = one.or(two)?;
    mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let kind = right.split(' ').next()?;
        let options = right.split(' ').nth(2).unwrap_or_default();
        let fits = match version_1 {
            true => kind == "cgroup" && options.split(',').any(|option| option == "memory"),
            false => kind == "cgroup2",
        };
        let mut fields = left.split(' ').skip(3);
        let (root, mount) = (fields.next()?, unescape(fields.next()?));
        // What is mounted may be a part of the hierarchy, as in a container.
        let inside = Path::new(path).strip_prefix(root).unwrap_or(Path::new(""));
        fits.then(|| Place { group: mount.join(inside), mount, version_1 })
    })
}

/// Blanks in a mount point are written in octal.
fn unescape(path: &str) -> PathBuf {
    path.replace("\\040", " ").into()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn version_2_is_found_where_it_is_mounted() {
        let mounts = "30 24 0:27 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
        let found = place("0::/user.slice/app.scope\n", mounts).unwrap();
        assert_eq!(found.group, Path::new("/sys/fs/cgroup/user.slice/app.scope"));
        assert!(!found.version_1);
    }

    #[test]
    fn version_1_goes_first_and_a_container_sees_its_own_part() {
        let groups = "5:cpu,cpuacct:/x\n4:memory:/docker/abc\n0::/\n";
        let mounts = "\
            31 24 0:28 / /sys/fs/cgroup/unified rw - cgroup2 none rw\n\
            32 24 0:29 /docker/abc /sys/fs/cgroup/cpu rw - cgroup none rw,cpu\n\
            33 24 0:30 /docker/abc /sys/fs/cgroup/my\\040memory rw - cgroup none rw,memory\n";
        let found = place(groups, mounts).unwrap();
        let mount = PathBuf::from("/sys/fs/cgroup/my memory");
        assert_eq!(found, Place { group: mount.join(""), mount, version_1: true });
    }

    #[test]
    fn without_cgroups_there_is_no_limit_and_no_error() {
        assert_eq!(place("", ""), None);
        assert_eq!(place("0::/x\n", "33 24 0:30 / /proc rw - proc proc rw\n"), None);
        assert_eq!(Cgroup::default().limit_and_use(), None);
        assert_eq!(Cgroup::default().pressure(Instant::now()), None);
    }

    #[test]
    fn what_can_be_taken_back_is_the_files_and_the_slabs_of_either_version() {
        let two = "anon 5\nfile 90\nshmem 40\ninactive_anon 4\ninactive_file 20\nactive_file 30\nslab_reclaimable 7\n";
        assert_eq!(reclaimable(two), 57);
        let one = "inactive_file 1\nactive_file 2\ntotal_inactive_file 20\ntotal_active_file 30\n";
        assert_eq!(reclaimable(one), 50);
        assert_eq!(reclaimable("nonsense"), 0);
    }

    #[test]
    fn pressure_is_the_average_of_ten_seconds() {
        assert_eq!(average("some avg10=1.25 avg60=0.00 avg300=0.00 total=7\nfull avg10=9"), Some(1.25));
        assert_eq!(average("nonsense"), None);
    }
}
