//! The static binary, and the image that holds nothing else, built and started by a container engine.
//!
//! Only the last stage of the Containerfile is built here: the first one needs a registry, and what it
//! makes is given in its place.
#![cfg(all(unix, feature = "serve", feature = "wal", feature = "telemetry"))]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test reports by panicking, a skip by a line")]

use std::ffi::OsStr;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/deploy").canonicalize().unwrap()
}

/// The static binary, if it was built as docs/deploy/README.md says.
fn static_binary() -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/x86_64-unknown-linux-musl");
    let given = std::env::var_os("NG_STATIC_BINARY").map(PathBuf::from);
    let built = ["release", "debug"].map(|profile| target.join(profile).join("ng"));
    given.into_iter().chain(built).find(|path| path.is_file())
}

#[test]
fn the_static_binary_needs_no_library_and_does_its_work() {
    let Some(binary) = static_binary() else {
        println!("skipped: no static binary was built, see docs/deploy/README.md");
        return;
    };
    // Nothing to be loaded beside it: an ELF file of 64 bits without a program header PT_INTERP (3).
    let bytes = std::fs::read(&binary).unwrap();
    let word = |at: usize, len: usize| {
        bytes[at..at + len].iter().rev().fold(0_usize, |number, byte| number << 8 | usize::from(*byte))
    };
    assert_eq!(&bytes[..5], b"\x7fELF\x02");
    let (first, size, count) = (word(32, 8), word(54, 2), word(56, 2));
    assert!((0..count).all(|at| word(first + at * size, 4) != 3), "it asks for an interpreter");

    let dir = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| {
        let mut command = Command::new(&binary);
        command.current_dir(dir.path()).env_clear().args(words);
        let output = command.env("NG_BLACKBOX__DIR", dir.path().join("rings")).output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let example = folder().join("ng.toml");
    assert_eq!(run(&["config", "check", example.to_str().unwrap()]).0, Some(0));
    let (code, told, said) = run(&["doctor", "--json"]);
    assert!([Some(0), Some(1)].contains(&code), "{said}");
    let told: Value = serde_json::from_str(&told).unwrap();
    assert!(told["checks"].as_array().unwrap().iter().any(|check| check["name"] == "log, tried"), "{told}");
    std::fs::write(dir.path().join("rows.csv"), "id,weight\n1,0.5\n2,1.5\n").unwrap();
    assert_eq!(run(&["ingest", "rows.csv", "--wal", "wal"]).0, Some(0));
    let (code, csv, said) = run(&["recover", "--wal", "wal", "--export", "csv"]);
    assert_eq!((code, csv.lines().count()), (Some(0), 3), "{said}");
}

/// A container engine, and what must stand before `run` on this machine.
struct Engine {
    program: &'static str,
    global: &'static [&'static str],
}

/// Limits within those of any machine: an engine's own default may be more than it is allowed to set.
const LIMITS: [&str; 4] = ["--ulimit", "nofile=4096:4096", "--ulimit", "nproc=1024:1024"];

impl Engine {
    fn ask<S: AsRef<OsStr>>(&self, words: &[S]) -> Output {
        Command::new(self.program).args(self.global).args(words).output().unwrap()
    }

    /// What it printed, of a call that must succeed.
    fn tell<S: AsRef<OsStr> + std::fmt::Debug>(&self, words: &[S]) -> String {
        let output = self.ask(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{} {words:?}: {said}", self.program);
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// The first that builds the image and starts a container of it, or why there is none.
    fn find(image: &str, rootfs: &Path) -> Result<Self, String> {
        // Where control groups are of both versions, podman's first choice of a runtime gives up.
        let ways: [(&str, &[&str]); 3] =
            [("podman", &[]), ("podman", &["--runtime", "runc"]), ("docker", &[])];
        let mut why = String::from("there is neither podman nor docker");
        for (program, global) in ways {
            if Command::new(program).arg("--version").output().is_err() {
                continue;
            }
            let engine = Self { program, global };
            let build = engine.ask(&[
                OsStr::new("build"),
                "--quiet".as_ref(),
                "--build-context".as_ref(),
                format!("build={}", rootfs.display()).as_ref(),
                "--file".as_ref(),
                folder().join("Containerfile").as_os_str(),
                "--tag".as_ref(),
                image.as_ref(),
                folder().join("../..").as_os_str(),
            ]);
            let tried = if build.status.success() {
                let words = ["run", "--rm", "--network", "host"];
                engine.ask(&[&words[..], &LIMITS, &[image, "--version"]].concat())
            } else {
                build
            };
            if tried.status.success() {
                assert!(String::from_utf8_lossy(&tried.stdout).starts_with("ng "), "{tried:?}");
                return Ok(engine);
            }
            why = format!("{program}: {}", String::from_utf8_lossy(&tried.stderr).trim());
        }
        Err(why)
    }
}

/// What a run of the test leaves behind with the engine, taken away again.
struct Leftovers<'a> {
    engine: &'a Engine,
    name: &'a str,
    image: &'a str,
}

impl Drop for Leftovers<'_> {
    fn drop(&mut self) {
        self.engine.ask(&["rm", "--force", "--volumes", self.name]);
        self.engine.ask(&["volume", "rm", "--force", self.name]);
        self.engine.ask(&["rmi", "--force", self.image]);
    }
}

/// Status and body of one request, or nothing while nobody answers.
fn request(port: u16, head: &str, body: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    let len = body.len();
    write!(
        stream,
        "{head} HTTP/1.0\r\nHost: localhost\r\nContent-Type: text/csv\r\nContent-Length: {len}\r\n\r\n{body}"
    )
    .ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

fn wait_ready(engine: &Engine, name: &str, admin: u16) {
    let began = Instant::now();
    while request(admin, "GET /readyz", "").is_none_or(|(status, _)| status != 200) {
        let logs = engine.ask(&["logs", name]);
        assert!(began.elapsed() < Duration::from_secs(60), "not ready in a minute: {logs:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn the_image_serves_stops_at_sigterm_and_finds_its_tokens_again() {
    let Some(binary) = static_binary() else {
        println!("skipped: no static binary was built, see docs/deploy/README.md");
        return;
    };
    // What the Containerfile's first stage leaves.
    let stage = tempfile::tempdir().unwrap();
    std::fs::copy(&binary, stage.path().join("ng")).unwrap();
    std::fs::create_dir(stage.path().join("state")).unwrap();
    let name = format!("neurograph-test-{}", std::process::id());
    let engine = match Engine::find(&name, stage.path()) {
        Ok(engine) => engine,
        Err(why) => {
            println!("skipped: no container can be started here: {}", why.replace('\n', " "));
            return;
        }
    };
    let _taken_away = Leftovers { engine: &engine, name: &name, image: &name };

    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (gateway, admin) = (free(), free());
    // As in compose.yml: nothing can be written but the volume and the shared memory.
    let listen = format!("NG_SERVE__LISTEN=127.0.0.1:{gateway}");
    let page = format!("NG_SERVE__ADMIN=127.0.0.1:{admin}");
    let volume = format!("{name}:/var/lib/neurograph");
    let start = ["run", "--detach", "--network", "host", "--read-only", "--cap-drop", "ALL"];
    let rest = ["--shm-size", "256m", "--env", &listen, "--env", &page, "--volume", &volume, "--name", &name];
    engine.tell(&[&start[..], &LIMITS, &rest, &[name.as_str()]].concat());

    wait_ready(&engine, &name, admin);
    let rows: String = (0..1000).map(|row| format!("0.{row:03}\n")).collect();
    let (status, answer) =
        request(gateway, "POST /v1/tokens?durable=true", &format!("weight\n{rows}")).unwrap();
    assert_eq!(status, 200, "{answer}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((&answer["made"], &answer["durable"]), (&1000.into(), &true.into()), "{answer}");

    engine.tell(&["stop", "--time", "30", &name]);
    let state: Value = serde_json::from_str(&engine.tell(&["inspect", &name])).unwrap();
    assert_eq!(state[0]["State"]["ExitCode"], 0, "{:?}", engine.ask(&["logs", &name]));

    engine.tell(&["start", &name]);
    wait_ready(&engine, &name, admin);
    let (_, figures) = request(admin, "GET /metrics", "").unwrap();
    assert!(figures.lines().any(|line| line == "neurograph_tokens 1000"), "{figures}");
}
