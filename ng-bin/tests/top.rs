//! `ng top` as a person runs it: from a service, from the rings, and in a terminal that it gives back.
#![cfg(all(feature = "top", feature = "blackbox"))]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test reports by panicking, a skip by a line"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ng_blackbox::{Recorder, RecorderOptions};
use ng_core::events::{Event, EventKind};
use ng_stack::top::{Live, Source, SourceError, terminal};

const DOCUMENT: &str = r#"{"at_unix_ms": 1764050059000, "state": "ready", "version": "9.8.7",
    "tokens": {"live": 5, "per_s": 3211000}, "log": null, "something_new": [1, 2]}"#;

/// A service that knows one document, and wants `token` if there is one.
fn service(token: Option<&'static str>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || answer(stream.unwrap(), token));
        }
    });
    address
}

fn answer(mut stream: TcpStream, token: Option<&str>) {
    let mut lines = Vec::new();
    for line in BufReader::new(stream.try_clone().unwrap()).lines() {
        match line {
            Ok(line) if !line.is_empty() => lines.push(line.to_lowercase()),
            _ => break,
        }
    }
    let allowed = token.is_none_or(|token| lines.contains(&format!("authorization: bearer {token}")));
    let status = match lines.first().map(String::as_str) {
        Some("get /v1/live http/1.1") if allowed => "200 OK",
        Some("get /v1/live http/1.1") => "401 Unauthorized",
        _ => "404 Not Found",
    };
    let body = if status == "200 OK" { DOCUMENT } else { "{}" };
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    drop(stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())));
}

fn top(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ng"));
    command.env_clear().arg("top").args(words).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn one_frame_and_one_document_come_from_a_service() {
    let address = service(None);
    let output = top(&["--admin", &address, "--once"]);
    let frame = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(frame.contains("[READY] 9.8.7") && frame.contains("tokens/s 3.21M"), "{frame}");
    assert!(!frame.contains('\x1b') && frame.lines().count() == 24, "{frame}");
    // The document comes as it is, what this program does not know included.
    let output = top(&["--admin", &format!("http://{address}/"), "--json"]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document, serde_json::from_str::<serde_json::Value>(DOCUMENT).unwrap());
}

#[test]
fn the_token_is_brought_and_its_absence_is_said() {
    let address = service(Some("0123456789abcdef"));
    let output = top(&["--admin", &address, "--once"]);
    assert_eq!(output.status.code(), Some(74));
    assert!(text(&output.stderr).contains("--token-file"), "{}", text(&output.stderr));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "0123456789abcdef\n").unwrap();
    let output = top(&["--admin", &address, "--once", "--token-file", file.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn a_service_that_is_not_there_and_rings_that_are_not_there_are_named() {
    // A port that was free a moment ago.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let output = top(&["--admin", &address, "--json"]);
    assert_eq!(output.status.code(), Some(74));
    assert!(text(&output.stderr).contains(&address), "{}", text(&output.stderr));
    let output = top(&["--rings", "/no/such/place", "--once"]);
    assert_eq!(output.status.code(), Some(74));
    assert!(text(&output.stderr).contains("/no/such/place"), "{}", text(&output.stderr));
    let output = top(&["--admin", &address]);
    assert_eq!(output.status.code(), Some(64), "standard output is no terminal");
}

#[test]
fn the_rings_of_a_living_process_tell_its_rate_and_its_rare_events() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::create(RecorderOptions::new(dir.path())).unwrap();
    let mut lane = recorder.open_lane("maker-7");
    ng_core::events::EventRecorder::record_rare(
        &recorder,
        Event::rare(EventKind::QUOTA_EXCEEDED, 5, 1_000),
        "pool lane-7 is full",
    );
    let done = AtomicBool::new(false);
    let began = Instant::now();
    let (output, made) = std::thread::scope(|scope| {
        let maker = scope.spawn(|| {
            let mut made = 0_u64;
            while !done.load(Ordering::Relaxed) {
                lane.record(Event::operation(EventKind::TOKENS_CREATED, made, 64));
                made += 64;
                std::thread::sleep(Duration::from_micros(200));
            }
            made
        });
        std::thread::sleep(Duration::from_millis(200));
        let output = top(&["--rings", dir.path().to_str().unwrap(), "--json", "--every", "500"]);
        done.store(true, Ordering::Relaxed);
        (output, maker.join().unwrap())
    });
    assert!(output.status.success(), "{}", text(&output.stderr));
    let live: Live = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(live.state.as_deref(), Some("running"));
    assert_eq!(live.pid, Some(std::process::id().into()));
    let (rate, truth) = (live.tokens.per_s.unwrap(), made as f64 / began.elapsed().as_secs_f64());
    assert!(rate > truth / 3.0 && rate < truth * 3.0, "{rate} beside {truth}");
    let event = live.events.iter().find(|event| event.kind == "quota_exceeded").unwrap();
    assert_eq!(event.text, "pool lane-7 is full");
    assert!(live.memory.rss_bytes.unwrap() > 1e6);
    // What is not in the rings is not known, and not 0.
    assert_eq!((live.tokens.live, live.sampling.rate), (None, None));
}

/// A command in a terminal of its own (util-linux's `script`), in 80 × 24; `None` where there is none.
fn in_a_terminal(command: &str) -> Option<Child> {
    let found = Command::new("script").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        println!("skipped: no `script` here (Debian's package bsdutils has it)");
        return None;
    }
    let command = format!("stty rows 24 cols 80; stty -g; {command}; echo; echo code $?; stty -g");
    let child = Command::new("script")
        .args(["--quiet", "--command", &command, "/dev/null"])
        .env("TERM", "xterm-256color")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    Some(child.unwrap())
}

/// What a terminal heard until `child` ended, which it must within 20 s.
fn heard(mut child: Child) -> String {
    let mut out = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        drop(out.read_to_end(&mut bytes));
        text(&bytes)
    });
    let patience = Instant::now() + Duration::from_secs(20);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > patience {
            child.kill().unwrap();
            panic!("it did not end: {}", reader.join().unwrap());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    reader.join().unwrap()
}

const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?1049l";

/// The terminal's settings before and after are the same, and its other screen was left.
fn is_given_back(said: &str) {
    let settings: Vec<&str> = said
        .lines()
        .map(str::trim)
        .filter(|line| line.contains(':') && line.split(':').count() > 20)
        .collect();
    assert!(settings.len() == 2 && settings[0] == settings[1], "{settings:?} in {said:?}");
    let (entered, left) = (said.find(ENTER).unwrap(), said.rfind(LEAVE).unwrap());
    assert!(entered < left, "{said:?}");
}

/// Whether any letter was given a colour (SGR 30–38 and 90–97, ECMA-48).
fn is_coloured(said: &str) -> bool {
    said.split("\x1b[").skip(1).any(|rest| {
        let Some(end) = rest.find(|c: char| c.is_ascii_alphabetic()) else { return false };
        let colour = |code: &str| code.parse().is_ok_and(|code: u8| matches!(code, 30..=38 | 90..=97));
        rest[end..].starts_with('m') && rest[..end].split(';').any(colour)
    })
}

#[test]
fn in_a_terminal_it_draws_without_colour_where_none_is_wanted_and_a_key_ends_it() {
    let address = service(None);
    let program = env!("CARGO_BIN_EXE_ng");
    for (setting, coloured) in [("NO_COLOR=1", false), ("NO_COLOR=", true)] {
        let Some(mut child) = in_a_terminal(&format!("{setting} {program} top --admin {address}")) else {
            return;
        };
        let mut keys = child.stdin.take().unwrap();
        std::thread::sleep(Duration::from_millis(1_500));
        keys.write_all(b"q").unwrap();
        let said = heard(child);
        drop(keys);
        assert!(said.contains("code 0"), "{said:?}");
        assert!(said.contains("READY") && said.contains("3.21M"), "{said:?}");
        is_given_back(&said);
        assert_eq!(is_coloured(&said), coloured, "{said:?}");
    }
}

#[test]
fn a_signal_ends_it_and_the_terminal_is_given_back() {
    let address = service(None);
    let program = env!("CARGO_BIN_EXE_ng");
    let command = format!("sh -c 'echo pid $$; exec {program} top --admin {address}'");
    let Some(mut child) = in_a_terminal(&command) else { return };
    let keys = child.stdin.take().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut said = String::new();
    let pid = loop {
        let mut line = String::new();
        assert!(out.read_line(&mut line).unwrap() > 0, "{said:?}");
        said += &line;
        if let Some(pid) = line.trim().strip_prefix("pid ") {
            break pid.to_owned();
        }
    };
    std::thread::sleep(Duration::from_millis(1_000));
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let mut rest = Vec::new();
    out.read_to_end(&mut rest).unwrap();
    child.wait().unwrap();
    drop(keys);
    said += &text(&rest);
    is_given_back(&said);
}

/// What a panic is tried on.
struct Panics;

impl Source for Panics {
    fn name(&self) -> String {
        "panics".to_owned()
    }

    fn poll(&mut self) -> Result<Live, SourceError> {
        std::thread::sleep(Duration::from_millis(300));
        panic!("as it was asked to")
    }
}

const CHILD: &str = "NG_STACK_TEST_TOP_PANICS";

/// The child of the next test; alone it does nothing.
#[test]
fn a_source_that_panics() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let options = terminal::Options { every: Duration::from_millis(100), colours: false };
    let ended = terminal::run(Box::new(Panics), options);
    println!("ended with an error: {}", ended.is_err());
}

#[test]
fn a_panic_ends_it_and_the_terminal_is_given_back() {
    let program = std::env::current_exe().unwrap();
    let command = format!("{CHILD}=1 {} --exact a_source_that_panics --nocapture", program.display());
    let Some(mut child) = in_a_terminal(&command) else { return };
    let keys = child.stdin.take().unwrap();
    let said = heard(child);
    drop(keys);
    assert!(said.contains("as it was asked to"), "the panic is seen: {said:?}");
    assert!(said.contains("ended with an error: true"), "{said:?}");
    is_given_back(&said);
}
