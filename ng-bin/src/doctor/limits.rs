//! What this process is allowed.

use super::check::{Check, Verdict};
use super::system::{System, bytes};

/// Connections of `ng serve` by default, and as many again for files and the administration.
const FILES: u64 = 4096;

/// What the log's sixteen buffers of 1 MiB take, if they are to be registered with the ring.
const BUFFERS: u64 = 16 << 20;

pub(super) fn look(system: &System) -> Vec<Check> {
    vec![open_files(system), locked_memory(system), core_dumps(system)]
}

fn open_files(system: &System) -> Check {
    const NAME: &str = "open files";
    match system.soft_limit("Max open files") {
        None => Check::new(NAME, Verdict::Note, "unknown", "connections may be refused before their limit"),
        Some(most) if most >= FILES => {
            Check::new(NAME, Verdict::Good, most.to_string(), "enough for every connection of a service")
        }
        Some(most) => Check::new(
            NAME,
            Verdict::Warn,
            most.to_string(),
            "connections beyond it are refused, \
whatever the configuration says",
        )
        .fix(format!("`ulimit -n {FILES}`, or LimitNOFILE={FILES} in the unit")),
    }
}

fn locked_memory(system: &System) -> Check {
    const NAME: &str = "locked memory";
    match system.soft_limit("Max locked memory") {
        None => Check::new(NAME, Verdict::Note, "unknown", "nothing depends on it"),
        Some(u64::MAX) => Check::new(NAME, Verdict::Good, "unlimited", "the log may register its buffers"),
        Some(most) if most >= BUFFERS => {
            Check::new(NAME, Verdict::Good, bytes(most), "the log may register its buffers")
        }
        Some(most) => Check::new(
            NAME,
            Verdict::Note,
            bytes(most),
            "the log's buffers are not registered with \
the ring; that made no difference that could be measured",
        ),
    }
}

fn core_dumps(system: &System) -> Check {
    const NAME: &str = "core dumps";
    match system.soft_limit("Max core file size") {
        Some(0) => Check::new(
            NAME,
            Verdict::Note,
            "off",
            "after a crash there are the flight recorder's rings, \
and no image of the memory",
        ),
        Some(_) => Check::new(
            NAME,
            Verdict::Note,
            "on",
            "a crash writes the memory out, tokens included: it \
takes time and room",
        ),
        None => Check::new(NAME, Verdict::Note, "unknown", "nothing depends on it"),
    }
}
