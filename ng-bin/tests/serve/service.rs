//! A service under test, curl, and a client of one's own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Small segments, so that a start takes no time.
const CONFIG: &str = "[wal]\nsegment_mib = 2\nblock_kib = 64\n";

pub(crate) fn ng(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ng"));
    command.current_dir(dir).env_clear();
    command.env("NG_BLACKBOX__DIR", dir.join("rings")).env("NG_TRACING__OUTPUT", dir.join("spans.jsonl"));
    command.env("NG_WAL__DIR", dir.join("wal"));
    command
}

/// The service's command: free ports, and `config` beside the tests' own.
pub(crate) fn command(dir: &Path, config: &str) -> Command {
    let file = dir.join("ng.toml");
    std::fs::write(&file, format!("{CONFIG}{config}")).unwrap();
    let mut command = ng(dir);
    command.args(["serve", "--json", "--config"]).arg(file);
    command.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    command
}

pub(crate) struct Service {
    pub(crate) child: Child,
    pub(crate) gateway: String,
    pub(crate) admin: String,
    pub(crate) ready: Value,
    said: Arc<Mutex<Vec<String>>>,
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Service {
    pub(crate) fn start(dir: &Path, config: &str) -> Self {
        Self::of(command(dir, config))
    }

    pub(crate) fn of(command: Command) -> Self {
        let mut service = Self::spawn(command);
        let mut line = String::new();
        let read = BufReader::new(service.child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        if read == 0 {
            let status = service.child.wait().unwrap();
            panic!("it did not start: {status}\n{}", service.said());
        }
        service.ready = serde_json::from_str(&line).unwrap();
        service
    }

    /// Waits for the addresses only, not until it is ready.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        let stderr = child.stderr.take().unwrap();
        let lines = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line);
            }
        });
        let mut service =
            Self { child, gateway: String::new(), admin: String::new(), ready: Value::Null, said };
        let find = |service: &Self, what: &str| {
            let said = service.said.lock().unwrap();
            said.iter().find_map(|line| line.strip_prefix(what).map(str::to_owned))
        };
        wait_for("its addresses", || {
            service.gateway = find(&service, "ng serve: gateway on ").unwrap_or_default();
            service.admin = find(&service, "ng serve: admin on ").unwrap_or_default();
            let ended = service.child.try_wait().unwrap().is_some();
            ended || !(service.gateway.is_empty() || service.admin.is_empty())
        });
        service
    }

    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().join("\n")
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Its end after SIGTERM.
    pub(crate) fn stop(mut self) -> (ExitStatus, String) {
        self.signal("TERM");
        let status = self.wait();
        (status, self.said())
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        wait_for("its end", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        // The rest of what it said.
        std::thread::sleep(Duration::from_millis(50));
        status.unwrap()
    }

    /// A document of the administration's.
    pub(crate) fn look(&self, path: &str) -> Value {
        let reply = Client::new(&self.admin).request("GET", path, &[], b"");
        serde_json::from_slice(&reply.body).unwrap()
    }

    pub(crate) fn state(&self) -> (u16, String) {
        let reply = Client::new(&self.admin).request("GET", "/readyz", &[], b"");
        let document: Value = serde_json::from_slice(&reply.body).unwrap();
        (reply.status, document["state"].as_str().unwrap().to_owned())
    }
}

pub(crate) fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status().unwrap();
    assert!(status.success());
}

#[track_caller]
pub(crate) fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether a program is there; if not, why the test says nothing.
pub(crate) fn has(program: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok();
    if !there {
        println!("skipped: there is no {program}");
    }
    there
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

/// Runs curl with these words, `body` on its standard input.
#[track_caller]
pub(crate) fn curl(words: &[&str], body: &[u8]) -> Reply {
    let mut child = Command::new("curl")
        // Nothing of the machine's own settings, and no proxy.
        .args(["-q", "-sS", "-m", "30", "--noproxy", "*", "-H", "Expect:", "-D", "/dev/stderr"])
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let body = body.to_vec();
    let writer = std::thread::spawn(move || drop(stdin.write_all(&body)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let head = String::from_utf8_lossy(&output.stderr).into_owned();
    let status = head.lines().find_map(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
    let Some(status) = status else { panic!("curl {words:?}: {}: {head}", output.status) };
    Reply { status, head, body: output.stdout }
}

/// Posts `body` of a type with curl.
#[track_caller]
pub(crate) fn post(service: &Service, content_type: &str, query: &str, body: &[u8]) -> Reply {
    let url = format!("{}/v1/tokens{query}", service.gateway);
    curl(&["-H", &format!("Content-Type: {content_type}"), "--data-binary", "@-", &url], body)
}

pub(crate) const NDJSON: &str = "application/x-ndjson";

/// A client that keeps its connection.
pub(crate) struct Client {
    pub(crate) stream: BufReader<TcpStream>,
}

impl Client {
    #[track_caller]
    pub(crate) fn new(url: &str) -> Self {
        Self::try_new(url).unwrap()
    }

    pub(crate) fn try_new(url: &str) -> std::io::Result<Self> {
        let stream = TcpStream::connect(url.strip_prefix("http://").unwrap())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    #[track_caller]
    pub(crate) fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Reply {
        self.try_request(method, path, headers, body).unwrap()
    }

    pub(crate) fn try_request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<Reply> {
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        let mut bytes = (head + "\r\n").into_bytes();
        bytes.extend_from_slice(body);
        self.send(&bytes)?;
        self.reply()
    }

    pub(crate) fn reply(&mut self) -> std::io::Result<Reply> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.stream.read_line(&mut head)? == 0 {
                return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, head));
            }
        }
        let status = head.get(9..12).and_then(|text| text.parse().ok()).unwrap();
        let mut reply = Reply { status, head, body: Vec::new() };
        let len = reply.header("content-length").map_or(0, |text| text.parse().unwrap());
        reply.body.resize(len, 0);
        self.stream.read_exact(&mut reply.body)?;
        Ok(reply)
    }

    /// What comes until the other side closes.
    pub(crate) fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        // A reset ends it as well.
        drop(self.stream.read_to_end(&mut rest));
        String::from_utf8_lossy(&rest).into_owned()
    }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut child =
        Command::new("gzip").arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&bytes).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output.stdout
}

/// Tokens in the raw form, one an id.
pub(crate) fn raw(ids: std::ops::Range<u32>) -> Vec<u8> {
    let token = |id: u32| {
        let mut bytes = [0_u8; 64];
        bytes[0..4].copy_from_slice(&id.to_le_bytes());
        bytes[4..8].copy_from_slice(&0.5_f32.to_le_bytes());
        bytes[12] = 1;
        bytes
    };
    ids.flat_map(token).collect()
}

pub(crate) fn spans(dir: &Path) -> PathBuf {
    dir.join("spans.jsonl")
}
