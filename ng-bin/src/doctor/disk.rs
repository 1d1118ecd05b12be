//! The log's directory, tried with a real log, and the flight recorder's.

use std::path::{Path, PathBuf};

use super::check::{Check, Verdict};
use super::system::System;
use crate::config::{BlackboxKind, StackConfig, WalKind};

pub(super) fn look(system: &System, config: &StackConfig, try_disk: bool) -> Vec<Check> {
    let mut checks = Vec::new();
    if config.wal.kind == WalKind::Log {
        checks.push(ring(system));
        checks.extend(log(system, config, try_disk));
    }
    if config.blackbox.kind == BlackboxKind::Rings {
        checks.push(recorder(system, &config.blackbox.dir));
    }
    checks
}

/// The nearest part of a path that exists.
fn existing(path: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(path).ok()?;
    absolute.ancestors().find(|part| part.is_dir()).and_then(|part| part.canonicalize().ok())
}

fn ring(system: &System) -> Check {
    const NAME: &str = "io_uring";
    const FIX: &str = "sysctl kernel.io_uring_disabled=0, and allow io_uring in the sandbox's seccomp profile \
(Docker's default forbids it)";
    match system.read("/proc/sys/kernel/io_uring_disabled").as_deref() {
        Some("0") | None => Check::new(
            NAME,
            Verdict::Good,
            "not forbidden",
            "the log may use it; whether a \
sandbox lets it is tried below",
        ),
        Some("1") => Check::new(
            NAME,
            Verdict::Note,
            "for the privileged and one group only",
            "others write by \
the back end `std`",
        )
        .fix(FIX),
        Some(other) => Check::new(
            NAME,
            Verdict::Warn,
            format!("forbidden (io_uring_disabled={other})"),
            "the log \
falls back to ordinary writes: about half the speed",
        )
        .fix(FIX),
    }
}

/// File systems that are gone with the machine, or with the container.
const VOLATILE: [&str; 3] = ["tmpfs", "ramfs", "overlay"];
/// File systems over a network: what a sync promises is the server's word.
const REMOTE: [&str; 5] = ["nfs", "nfs4", "cifs", "smb3", "fuse.sshfs"];

fn log(system: &System, config: &StackConfig, try_disk: bool) -> Vec<Check> {
    const NAME: &str = "log directory";
    let dir = &config.wal.dir;
    let Some(place) = existing(dir) else {
        return vec![
            Check::new(NAME, Verdict::Bad, dir.display().to_string(), "no part of this path exists")
                .fix("give wal.dir a directory that this user may write to"),
        ];
    };
    let kind = system.file_system(&place).unwrap_or_else(|| "unknown".to_owned());
    let found = format!("{} on {kind}", dir.display());
    let mut checks = vec![match kind.as_str() {
        "tmpfs" | "ramfs" => {
            Check::new(NAME, Verdict::Bad, found, "nothing on it survives a restart of the machine")
                .fix("give wal.dir a directory on a disk")
        }
        kind if VOLATILE.contains(&kind) => Check::new(
            NAME,
            Verdict::Warn,
            found,
            "it goes with the container, \
and direct output may not work",
        )
        .fix("give wal.dir a volume of its own"),
        kind if REMOTE.contains(&kind) => Check::new(
            NAME,
            Verdict::Warn,
            found,
            "what is acknowledged is durable as far as the server says so",
        )
        .fix("give wal.dir a directory on a local disk"),
        _ => Check::new(NAME, Verdict::Good, found, "it survives the machine"),
    }];
    if try_disk {
        checks.push(tried(&place, config));
    }
    checks
}

/// A log of a few records beside the configured one, written as that one would be.
#[cfg(feature = "wal")]
fn tried(place: &Path, config: &StackConfig) -> Check {
    const NAME: &str = "log, tried";
    let dir = place.join(format!(".ng-doctor-{}", std::process::id()));
    let outcome = try_log(&dir, config);
    // Whatever was made is taken away, also after a failure.
    drop(std::fs::remove_dir_all(&dir));
    match outcome {
        Ok((chosen, micros)) => {
            let label = chosen.kind.label();
            let found = format!("{label}, a record durable in {:.1} ms (median of {RECORDS})", micros / 1e3);
            match chosen.kind {
                ng_wal::BackendKind::Uring => {
                    Check::new(NAME, Verdict::Good, found, "io_uring past the page cache works in this directory")
                }
                _ => Check::new(NAME, Verdict::Warn, found, format!("{}; about half the speed", chosen.why))
                    .fix("a file system with direct output (ext4, xfs), and a sandbox that lets io_uring through"),
            }
        }
        Err(error) => Check::new(NAME, Verdict::Bad, place.display().to_string(), error)
            .fix("give wal.dir a directory that this user may write to, with room for two segments"),
    }
}

#[cfg(feature = "wal")]
const RECORDS: usize = 15;

#[cfg(feature = "wal")]
fn try_log(dir: &Path, config: &StackConfig) -> Result<(ng_wal::Chosen, f64), String> {
    use ng_core::wal::{RecordKind, WalLane as _, WalSink as _};
    use std::time::{Duration, Instant};
    let said = |error: &dyn std::error::Error| error.to_string();
    let mut options = ng_wal::LogOptions::new(dir);
    options.backend = match config.wal.backend {
        crate::config::WalBackend::Std => ng_wal::BackendKind::Std,
        crate::config::WalBackend::Mmap => ng_wal::BackendKind::Mmap,
        crate::config::WalBackend::Auto | crate::config::WalBackend::Uring => ng_wal::BackendKind::Auto,
    };
    options.mode = ng_wal::Mode::Each;
    options.block_bytes = 64 << 10;
    options.segment_bytes = 2 << 20;
    let log = ng_wal::Log::open(options).map_err(|error| said(&error))?;
    let patience = Duration::from_secs(10);
    let mut lane = log.open_lane().map_err(|error| said(&error))?;
    let mut took = Vec::with_capacity(RECORDS);
    for _ in 0..RECORDS {
        let began = Instant::now();
        let ticket = lane.append(RecordKind::USER, b"ng doctor").map_err(|error| said(&error))?;
        log.wait_durable(ticket, patience).map_err(|error| said(&error))?;
        took.push(began.elapsed().as_secs_f64() * 1e6);
    }
    drop(lane);
    log.close(patience).map_err(|error| said(&error))?;
    took.sort_by(f64::total_cmp);
    Ok((log.backend().clone(), took.get(RECORDS / 2).copied().unwrap_or_default()))
}

#[cfg(not(feature = "wal"))]
fn tried(_place: &Path, _config: &StackConfig) -> Check {
    Check::new("log, tried", Verdict::Note, "not tried", "this program was built without the log")
}

fn recorder(system: &System, dir: &Path) -> Check {
    const NAME: &str = "recorder's rings";
    let Some(place) = existing(dir) else {
        return Check::new(NAME, Verdict::Bad, dir.display().to_string(), "no part of this path exists")
            .fix("give blackbox.dir a directory on a tmpfs, such as /dev/shm/neurograph");
    };
    let kind = system.file_system(&place).unwrap_or_else(|| "unknown".to_owned());
    let found = format!("{} on {kind}", dir.display());
    match kind.as_str() {
        "tmpfs" | "ramfs" => Check::new(
            NAME,
            Verdict::Good,
            found,
            "recording never waits for a disk, and a \
dead process's rings are kept until the machine ends",
        ),
        _ => Check::new(
            NAME,
            Verdict::Warn,
            found,
            "the kernel writes the rings to the disk in the background, \
and a maker may wait for it; in return they survive the machine",
        )
        .fix("set blackbox.dir to a tmpfs, such as /dev/shm/neurograph"),
    }
}
