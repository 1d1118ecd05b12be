//! What a system still has after a SIGKILL: a child records a thousand events, says so, and is killed
//! while it waits; what can be read of its files then is what survived. A system that leaves no file
//! leaves nothing.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ng_core::events::Tier;

use crate::systems::{CAPACITY, FAULTBOX, Kind, SYSTEMS, System};

/// The child: `words` are the system's name and a directory.
pub(crate) fn child(words: &[PathBuf]) -> Result<(), String> {
    let [name, dir] = words else { return Err("a name and a directory".to_owned()) };
    let system = SYSTEMS.iter().find(|system| Path::new(system.name) == name);
    let system = system.ok_or_else(|| format!("no system {}", name.display()))?;
    let shared = (system.open)(dir)?;
    let events = CAPACITY as u64;
    shared.on_a_thread(Kind::Operation, &mut |work| {
        work(events);
        println!("recorded");
        drop(std::io::stdout().flush());
        // Until it is killed, with everything still open.
        std::thread::sleep(std::time::Duration::from_secs(60));
    });
    Err("nobody killed it".to_owned())
}

/// How many of the child's events can be read once it is dead.
pub(crate) fn left_by(system: &System) -> Result<usize, String> {
    let io = |error: std::io::Error| format!("{}: {error}", system.name);
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).map_err(io)?;
    let mut child = Command::new(std::env::current_exe().map_err(io)?)
        .arg("--child")
        .args([Path::new(system.name), dir.path()])
        .stdout(Stdio::piped())
        .spawn()
        .map_err(io)?;
    let stdout = child.stdout.take().ok_or("no standard output")?;
    let said = BufReader::new(stdout).lines().next().transpose().map_err(io)?;
    child.kill().map_err(io)?;
    child.wait().map_err(io)?;
    if said.as_deref() != Some("recorded") {
        return Err(format!("{}: the child ended before it had recorded", system.name));
    }
    Ok(match system.name {
        "ng-blackbox" => {
            let dead = ng_blackbox::find_dead(&dir.path().join("rings")).map_err(io)?;
            let dead = dead.first().ok_or("no rings were left")?;
            let snapshot =
                ng_blackbox::read::Snapshot::open(&dead.path).map_err(|error| error.to_string())?;
            snapshot.events.iter().filter(|event| event.tier == Tier::Operation).count()
        }
        "faultbox" => {
            let ring = faultbox::shared_ring::SharedRing::join(dir.path().join(FAULTBOX)).map_err(io)?;
            ring.map_or(0, |ring| ring.snapshot().len())
        }
        // They keep everything on the heap.
        _ => 0,
    })
}
