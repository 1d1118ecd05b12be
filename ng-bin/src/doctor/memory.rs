//! Memory: how much there is for tokens, how dear its first touch is, who else limits it.

use super::check::{Check, Verdict};
use super::system::{System, bytes};
use crate::config::{GuardianKind, StackConfig};

/// What the stack takes beside the tokens: buffers, spares, rings.
const BESIDE: u64 = 64 << 20;

pub(super) fn look(system: &System, config: &StackConfig) -> Vec<Check> {
    vec![room(system, config), huge_pages(system), pressure(system)]
}

fn room(system: &System, config: &StackConfig) -> Check {
    const NAME: &str = "memory";
    let tokens = match config.guardian.kind {
        GuardianKind::Off => config.engine.populate_tokens.saturating_mul(64),
        GuardianKind::Leases => {
            config.guardian.max_memory_bytes.min(config.guardian.max_tokens.saturating_mul(64))
        }
    };
    let wanted = tokens.saturating_add(BESIDE);
    let limit = cgroup_limit(system);
    let available = system.meminfo("MemAvailable");
    let there = [limit, available].into_iter().flatten().min();
    let Some(there) = there else {
        return Check::new(NAME, Verdict::Note, "unknown", "nothing can be said about the room for tokens");
    };
    let whose = if limit == Some(there) { "by the cgroup's limit" } else { "available" };
    let found = format!("{} {whose}, {} wanted", bytes(there), bytes(wanted));
    if there >= wanted {
        return Check::new(NAME, Verdict::Good, found, "as many tokens as the quota lets in have room");
    }
    let fits = there.saturating_sub(BESIDE) / 64;
    Check::new(NAME, Verdict::Bad, found, "the kernel kills the process before the quota refuses a token")
        .fix(format!("set guardian.max_tokens to at most {fits}, or give more memory"))
}

/// The tightest limit of this process's cgroup and those above it, version 2 or 1.
fn cgroup_limit(system: &System) -> Option<u64> {
    let text = system.read("/proc/self/cgroup")?;
    let mut limits = Vec::new();
    for line in text.lines() {
        // "0::/path" in version 2, "4:memory:/path" in version 1, cgroups(7).
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            v1 if v1.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let mut at = path.trim_end_matches('/');
        loop {
            let limit = system.read(&format!("{root}{at}/{file}")).and_then(|text| text.parse().ok());
            // Version 1 says "none" by a number near the largest one.
            limits.extend(limit.filter(|limit: &u64| *limit < 1 << 60));
            let Some((above, _)) = at.rsplit_once('/') else { break };
            at = above;
        }
    }
    limits.into_iter().min()
}

fn huge_pages(system: &System) -> Check {
    const NAME: &str = "huge pages";
    let text = system.read("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_default();
    let chosen = text.split(['[', ']']).nth(1).unwrap_or("unknown").to_owned();
    match chosen.as_str() {
        "always" | "madvise" => Check::new(
            NAME,
            Verdict::Good,
            chosen,
            "the store asks for pages of 2 MiB and \
gets them: a first touch costs about 4 ns a token instead of 25",
        ),
        "never" => Check::new(NAME, Verdict::Warn, chosen, "a first touch costs about 25 ns a token")
            .fix("echo madvise > /sys/kernel/mm/transparent_hugepage/enabled, or set engine.populate_tokens"),
        _ => Check::new(NAME, Verdict::Note, chosen, "the first touch of memory may be dear")
            .fix("set engine.populate_tokens, so that the start pays for it"),
    }
}

fn pressure(system: &System) -> Check {
    const NAME: &str = "memory pressure";
    match system.read("/proc/pressure/memory") {
        Some(text) => {
            let some = text.lines().next().and_then(|line| line.split_whitespace().nth(1)).unwrap_or("");
            Check::new(
                NAME,
                Verdict::Good,
                some.to_owned(),
                "the guardian can tell when the machine runs short",
            )
        }
        None => Check::new(
            NAME,
            Verdict::Note,
            "not told by this kernel",
            "the gauge \
neurograph_memory_pressure_percent stays NaN",
        )
        .fix("boot with `psi=1`, or pass /proc/pressure into the container"),
    }
}
