//! Programs that nobody here wrote, for the tests that need one: where they are, or why not.
//! `cargo xtask peers` installs them.
#![allow(dead_code, clippy::print_stdout, reason = "each test takes what it needs; a skip is printed")]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Says that a test can't do its work here.
pub(crate) fn skip(why: &str) {
    println!("skipped: {why}; `cargo xtask peers` installs it");
}

/// A program on the PATH that answers `--version`.
pub(crate) fn program(name: &str) -> Option<Command> {
    let answers = Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    answers.is_ok_and(|status| status.success()).then(|| Command::new(name))
}

/// A Python that has `module`: the peers' own, or the one on the PATH.
pub(crate) fn python(module: &str) -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/peers/venv/bin/python");
    let built = std::env::var_os("CARGO_TARGET_DIR").map(|dir| Path::new(&dir).join("peers/venv/bin/python"));
    let candidates = [built, Some(own), Some(PathBuf::from("python3"))];
    candidates.into_iter().flatten().find(|python| {
        let import = format!("import {module}");
        let tried =
            Command::new(python).args(["-c", &import]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    })
}

/// A child that ends with the test, however that ends.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Runs `command` with `input` and gives its exit code, output and errors.
pub(crate) fn feed(mut command: Command, input: &[u8]) -> (Option<i32>, String, String) {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it answered --version");
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("it ends");
    drop(writer.join());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port()
}

/// One GET, without a client library.
pub(crate) fn get(port: u16, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.to_owned()))
}

/// Asks until there is an answer, up to `patience`.
pub(crate) fn eventually<T>(patience: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if began.elapsed() > patience {
            return None;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Serves GETs on a port of its own until the process ends: `answer` takes the request's headers
/// and gives the status line's rest, further headers, and the body.
pub(crate) fn serve(answer: impl Fn(&[String]) -> (Vec<String>, Vec<u8>) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(&stream);
            let lines = reader.by_ref().lines().map_while(Result::ok);
            let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            // What is not read would reset the connection under the answer.
            let body = header(&headers, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
            drop(std::io::copy(&mut reader.take(body), &mut std::io::sink()));
            let (more, body) = answer(&headers);
            let mut head = "HTTP/1.1 200 OK\r\nConnection: close\r\n".to_owned();
            for line in more {
                head.push_str(&line);
                head.push_str("\r\n");
            }
            let mut stream = &stream;
            drop(write!(stream, "{head}Content-Length: {}\r\n\r\n", body.len()));
            drop(stream.write_all(&body));
        }
    });
    port
}

/// The value of a header.
pub(crate) fn header<'a>(headers: &'a [String], name: &str) -> Option<&'a str> {
    headers.iter().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}
