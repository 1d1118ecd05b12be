//! A disk whose power can be cut: nbdkit with a write-back cache in its own memory, shown as a file
//! by nbdfuse, as a block device by losetup, and mounted as ext4. What the kernel has not flushed
//! when nbdkit is killed never reaches the image. Everything is taken down again on drop.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Nothing here takes that long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(20);
/// The image is sparse; logs of a few runs fit in it.
const IMAGE_BYTES: u64 = 512 << 20;

/// What the rig needs, by the package of Debian that has it.
const PROGRAMS: [(&str, &str); 6] = [
    ("nbdkit", "nbdkit"),
    ("nbdfuse", "libnbd-bin"),
    ("fusermount3", "fuse3"),
    ("losetup", "mount"),
    ("mount", "mount"),
    ("mkfs.ext4", "e2fsprogs"),
];

/// Why there can be no power cuts here, if so.
pub(super) fn obstacle() -> Option<String> {
    let user = answer(Command::new("id").arg("-u")).unwrap_or_default();
    if user != "0" {
        return Some("power cuts need root, to mount a disk image".to_owned());
    }
    if !Path::new("/dev/fuse").exists() {
        return Some("this machine has no /dev/fuse".to_owned());
    }
    if !Path::new("/dev/loop-control").exists() {
        return Some("this machine has no /dev/loop-control".to_owned());
    }
    let missing: Vec<_> = PROGRAMS.iter().filter(|(program, _)| !is_there(program)).collect();
    if let Some((program, _)) = missing.first() {
        let packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
        return Some(format!("{program} is missing: apt-get install {}", packages.join(" ")));
    }
    None
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    places.into_iter().any(|place| place.join(program).is_file())
}

/// Runs to the end; the error carries what it said.
fn run(command: &mut Command) -> io::Result<()> {
    answer(command).map(drop)
}

fn answer(command: &mut Command) -> io::Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::other(format!("{}: {said}", command.get_program().to_string_lossy())))
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) -> io::Result<()> {
    let since = Instant::now();
    while !done() {
        if since.elapsed() > PATIENCE {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("waited in vain for {what}")));
        }
        sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// A folder of its own for image, socket and mount points.
#[derive(Debug)]
pub(super) struct Bench {
    folder: PathBuf,
}

impl Bench {
    pub(super) fn new(folder: &Path) -> io::Result<Self> {
        for name in ["fuse", "disk"] {
            std::fs::create_dir_all(folder.join(name))?;
        }
        Ok(Self { folder: folder.to_owned() })
    }

    fn image(&self) -> PathBuf {
        self.folder.join("image")
    }

    /// Where the disk is mounted.
    pub(super) fn disk(&self) -> PathBuf {
        self.folder.join("disk")
    }

    /// An empty file system.
    pub(super) fn format(&self) -> io::Result<()> {
        let image = self.image();
        drop(std::fs::remove_file(&image));
        File::create(&image)?.set_len(IMAGE_BYTES)?;
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image))
    }

    /// The image mounted as it is: what was durable.
    pub(super) fn mount_image(&self) -> io::Result<Mounted> {
        Mounted::new(&self.image(), &self.disk())
    }

    /// The disk with its power on.
    pub(super) fn power_on(&self) -> io::Result<Powered> {
        let socket = self.folder.join("socket");
        drop(std::fs::remove_file(&socket));
        let nbdkit = Command::new("nbdkit")
            .args(["-f", "-U"])
            .arg(&socket)
            .args(["--filter=cache", "file"])
            .arg(self.image())
            .arg("cache=writeback")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut powered = Powered { mounted: None, nbdfuse: None, nbdkit, fuse: self.folder.join("fuse") };
        wait_until("nbdkit", || socket.exists())?;
        let file = powered.fuse.join("disk");
        let nbdfuse = Command::new("nbdfuse")
            .arg(&file)
            .arg(format!("nbd+unix:///?socket={}", socket.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        powered.nbdfuse = Some(nbdfuse);
        wait_until("nbdfuse", || file.exists())?;
        powered.mounted = Some(Mounted::new(&file, &self.disk())?);
        Ok(powered)
    }
}

/// A file mounted through a loop device.
#[derive(Debug)]
pub(super) struct Mounted {
    device: String,
    at: PathBuf,
}

impl Mounted {
    fn new(file: &Path, at: &Path) -> io::Result<Self> {
        let device = answer(Command::new("losetup").args(["--find", "--show"]).arg(file))?;
        let mounted = Self { device, at: at.to_owned() };
        run(Command::new("mount").args(["-t", "ext4", &mounted.device]).arg(at))?;
        Ok(mounted)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // A dead disk can't be unmounted in good order: detached, it goes when its last user does.
        if run(Command::new("umount").arg(&self.at)).is_err() {
            drop(run(Command::new("umount").args(["--lazy"]).arg(&self.at)));
        }
        drop(run(Command::new("losetup").args(["--detach", &self.device])));
    }
}

/// A mounted disk whose writes lie in a cache until they are flushed.
#[derive(Debug)]
pub(super) struct Powered {
    mounted: Option<Mounted>,
    nbdfuse: Option<Child>,
    nbdkit: Child,
    fuse: PathBuf,
}

impl Powered {
    /// The cut: what was not flushed is gone.
    pub(super) fn cut(&mut self) -> io::Result<()> {
        self.nbdkit.kill()?;
        self.nbdkit.wait().map(drop)
    }
}

impl Drop for Powered {
    fn drop(&mut self) {
        // Unless it was cut before, in good order: the disk first.
        drop(self.mounted.take());
        drop(run(Command::new("fusermount3").args(["-u", "-z"]).arg(&self.fuse)));
        if let Some(mut nbdfuse) = self.nbdfuse.take() {
            drop(nbdfuse.kill());
            drop(nbdfuse.wait());
        }
        drop(self.nbdkit.kill());
        drop(self.nbdkit.wait());
    }
}
