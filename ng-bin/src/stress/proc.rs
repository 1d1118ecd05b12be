//! What the operating system says of this process and this thread: never estimated.

use super::StressError;

fn field(path: &str, name: &str) -> Result<u64, StressError> {
    let text = std::fs::read_to_string(path).map_err(StressError::io(format!("read {path}")))?;
    text.lines()
        .find_map(|line| {
            line.strip_prefix(name)?.trim_start_matches(':').split_whitespace().next()?.parse().ok()
        })
        .ok_or_else(|| StressError::Wrong(format!("{path} says nothing of {name}")))
}

/// Resident memory of this process, in bytes.
pub(super) fn resident_bytes() -> Result<u64, StressError> {
    Ok(field("/proc/self/status", "VmRSS")? << 10)
}

/// What the calling thread has asked of the kernel so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Calls {
    /// Reads and writes.
    pub(super) io: u64,
    /// Times that it gave up the processor: each wait for a lock, a buffer or a sync is one.
    pub(super) waits: u64,
}

impl Calls {
    pub(super) fn of_this_thread() -> Result<Self, StressError> {
        let io = field("/proc/thread-self/io", "syscr")? + field("/proc/thread-self/io", "syscw")?;
        Ok(Self { io, waits: field("/proc/thread-self/status", "voluntary_ctxt_switches")? })
    }

    pub(super) const fn since(self, before: Self) -> Self {
        Self { io: self.io - before.io, waits: self.waits - before.waits }
    }
}

/// This machine, as it names itself.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// How many threads run at once.
    pub cores: usize,
    /// The kernel's release.
    pub kernel: String,
    /// The type of the file system under the stress's directory.
    pub filesystem: String,
}

impl Machine {
    pub(super) fn of(dir: &std::path::Path) -> Self {
        let unknown = || "unknown".to_owned();
        let cpu = std::fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?.to_owned();
            Some(line.split_once(':')?.1.trim().to_owned())
        });
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok();
        Self {
            cpu: cpu.unwrap_or_else(unknown),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: kernel.map_or_else(unknown, |text| text.trim().to_owned()),
            filesystem: filesystem(dir).unwrap_or_else(unknown),
        }
    }
}

/// The type of the mount with the longest path that `dir` lies under.
fn filesystem(dir: &std::path::Path) -> Option<String> {
    let dir = std::fs::canonicalize(dir).ok()?;
    let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
    let under = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (at, kind) = (words.next()?, words.next()?);
        dir.starts_with(at).then(|| (at.len(), kind.to_owned()))
    });
    under.max_by_key(|mount| mount.0).map(|mount| mount.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_answers() {
        assert!(resident_bytes().unwrap() > 1 << 20);
        let before = Calls::of_this_thread().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(1));
        let calls = Calls::of_this_thread().unwrap().since(before);
        assert!(calls.waits >= 1 && calls.io >= 1, "{calls:?}");
        assert!(Machine::of(std::path::Path::new("/")).cores >= 1);
    }
}
