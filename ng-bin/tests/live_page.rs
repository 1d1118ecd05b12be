//! The live page in a real browser: a tiny server hands it out with figures that no one else has, and
//! what headless Chromium makes of it must show them, in either colour scheme, without a word on the
//! console. Without Chromium that part skips; the rest reads the page's text.
//!
//! `NG_SCREENSHOTS=DIR` keeps the pictures there.
#![cfg(feature = "cli")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test reports by panicking, a skip by a line"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

const PAGE: &str = include_str!("../src/serve/page/index.html");

/// What stands between two marks.
fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let start = text.find(from).unwrap_or_else(|| panic!("no {from}")) + from.len();
    &text[start..start + text[start..].find(to).unwrap()]
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits =
            group.iter().enumerate().fold(0_u32, |bits, (at, &byte)| bits | u32::from(byte) << (16 - 8 * at));
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[test]
fn the_pages_own_policy_allows_its_script_and_its_style_and_nothing_else() {
    assert_eq!(base64(b"any carnal pleas"), "YW55IGNhcm5hbCBwbGVhcw==");
    let policy = between(PAGE, "http-equiv=\"Content-Security-Policy\" content=\"", "\"");
    for (what, tag) in [("script", "script"), ("style", "style")] {
        let text = between(PAGE, &format!("<{tag}>"), &format!("</{tag}>"));
        let wanted = format!("{what}-src 'sha256-{}'", base64(&Sha256::digest(text)));
        assert!(policy.contains(&wanted), "the {what} was changed: the policy needs {wanted}");
    }
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    // What it asks for is on the same host, and nothing is fetched to be shown.
    assert!(!PAGE.contains("src=\"http") && !PAGE.contains("href=\"http") && !PAGE.contains("@import"));
    assert!(!PAGE.contains(" onclick=") && !PAGE.contains(" style=\""), "such attributes the policy forbids");
}

/// Relative luminance of `#rrggbb` (WCAG 2.2).
fn luminance(colour: &str) -> f64 {
    let part = |at: usize| {
        let value = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
}

#[test]
fn every_text_has_a_contrast_of_at_least_4_5_in_light_and_dark() {
    let dark_at = PAGE.find("prefers-color-scheme: dark").unwrap();
    for scheme in [PAGE, &PAGE[dark_at..]] {
        let colours: BTreeMap<&str, &str> = between(scheme, ":root {", "}")
            .split(';')
            .filter_map(|one| one.split_once(':'))
            .map(|(name, value)| (name.trim(), value.trim()))
            .collect();
        for text in ["--text", "--muted", "--accent", "--good", "--warn", "--bad", "--mark"] {
            for ground in ["--back", "--card"] {
                let (a, b) = (luminance(colours[text]), luminance(colours[ground]));
                let contrast = (a.max(b) + 0.05) / (a.min(b) + 0.05);
                assert!(contrast >= 4.5, "{text} on {ground}: {contrast:.2}");
            }
        }
    }
}

#[test]
fn tables_have_captions_and_heads_and_sections_have_names() {
    let count = |what: &str| PAGE.matches(what).count();
    assert_eq!(count("<table>"), count("<caption>"));
    assert_eq!(count("<th "), count("<th scope=\"col\""));
    assert_eq!(count("<section"), count("<h2 id="));
    assert!(count("<main id=\"main\"") == 1 && count("<header>") == 1 && count("<footer>") == 1);
    assert!(PAGE.contains("<html lang=\"en\">") && PAGE.contains("name=\"viewport\""));
    assert!(PAGE.contains("role=\"status\"") && PAGE.contains("prefers-reduced-motion"));
}

/// Figures that nothing on the page has by itself; the first answer's throughput is `per_s`.
fn figures(answer: u64) -> String {
    let now = 1_764_050_000_000 + answer * 1_000;
    serde_json::json!({
        "at_unix_ms": now, "uptime_s": 4_321, "ready": true, "state": "ready", "version": "9.8.7",
        "tokens": {"live": 7_654_321, "made_total": 19_876_543, "deleted_total": 12_222_222,
            "refused_total": 17, "per_s": 3_210_000.0 + 40_000.0 * (answer % 7) as f64},
        "log": {"kind": "log", "backend": "uring", "appended_lsn": 19_876_543, "durable_lsn": 19_876_001,
            "lag_p50_us": 1_480, "lag_p99_us": 3_900 + 50 * (answer % 5), "lag_bytes": 34_688,
            "stalls_total": 4, "stall_ms_total": 12.5, "drops_total": 0, "bytes_total": 1_272_098_752_u64,
            "poisoned": false},
        "memory": {"rss_bytes": 580_000_000, "counted_bytes": 489_876_544, "limit_bytes": 1_000_000_000,
            "cgroup_limit_bytes": null, "pressure": 0.3},
        "quotas": [{"name": "tokens", "used": 7_654_321, "limit": 10_000_000, "soft": 0.8, "aggressive": 0.95,
                "refused_total": 0},
            {"name": "lane-7", "used": 870, "limit": 1_000, "soft": 800, "aggressive": 950, "refused_total": 17}],
        "sampling": {"rate": 0.01, "sampled_total": 198_765, "spans_written_total": 198_700,
            "spans_dropped_total": 65},
        "refusals": [{"reason": "quota", "total": 17 + answer}],
        "events": [{"at_unix_ms": now - 60_000, "kind": "quota_soft", "thread": "guardian",
                "text": "pool lane-7 is above its soft mark: 801 of 1000"},
            {"at_unix_ms": now - 4_000, "kind": "log_stall", "thread": "maker-0",
                "text": "waited <b>3.1 ms</b> for a block"}],
        "http": {"connections": 3, "requests_total": 991, "in_flight": 1, "rejected_total": 0},
        "stress": {"tokens": 9_500_000, "rounds": 3,
            "machine": {"cpu": "a processor", "cores": 2, "kernel": "6.18", "filesystem": "ext4"},
            "baseline": {"wall_ms": 74.9, "ns_per_token": 7.9},
            "full_sampled_wal": {"wall_ms": 206.9, "ns_per_token": 21.8},
            "full_every_token": {"wall_ms": 342.6, "ns_per_token": 36.1},
            "layers": {"wal": {"removed_ns": 15.2, "spread_ns": 9.1, "verdict": "measured"},
                "guardian": {"removed_ns": 0.21, "spread_ns": 1.23, "verdict": "inconclusive"}}},
    })
    .to_string()
}

/// A server of the page; from its `lost`-th question for figures on it hangs up.
struct Server {
    address: String,
    asked: Arc<AtomicU64>,
}

impl Server {
    fn start(lost: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let counted = Arc::clone(&counted);
                std::thread::spawn(move || answer(stream.unwrap(), &counted, lost));
            }
        });
        Self { address, asked }
    }
}

fn answer(mut stream: TcpStream, asked: &AtomicU64, lost: u64) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut first = String::new();
    // A browser opens connections that it never uses.
    if reader.read_line(&mut first).unwrap_or(0) == 0 {
        return;
    }
    for line in reader.lines() {
        if line.map_or(true, |line| line.is_empty()) {
            break;
        }
    }
    let (kind, body) = match first.split(' ').nth(1) {
        Some("/") => ("text/html; charset=utf-8", PAGE.to_owned()),
        Some("/v1/live") => {
            let number = asked.fetch_add(1, Ordering::Relaxed);
            if number >= lost {
                return;
            }
            ("application/json", figures(number))
        }
        other => panic!("the page asked for {other:?}"),
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    drop(stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())));
}

/// A Chromium that answers.
fn chromium() -> Option<&'static str> {
    ["chromium", "chromium-browser", "google-chrome"].into_iter().find(|name| {
        let asked = Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        asked.is_ok_and(|status| status.success())
    })
}

/// What the browser makes of the page: the document, and what was said on the console.
fn browse(program: &str, address: &str, options: &[&str]) -> (String, Vec<String>) {
    let profile = tempfile::tempdir().unwrap();
    let mut child = Command::new(program)
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--enable-logging=stderr",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(options)
        .arg(format!("http://{address}/"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let heard = std::thread::spawn(move || {
        let mut text = Vec::new();
        drop(stderr.read_to_end(&mut text));
        String::from_utf8_lossy(&text).into_owned()
    });
    let mut stdout = child.stdout.take().unwrap();
    let written = std::thread::spawn(move || {
        let mut text = Vec::new();
        drop(stdout.read_to_end(&mut text));
        String::from_utf8_lossy(&text).into_owned()
    });
    let patience = Instant::now() + Duration::from_secs(90);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > patience {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("the browser did not end in 90 s: {}", heard.join().unwrap());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let console =
        heard.join().unwrap().lines().filter(|line| line.contains("CONSOLE")).map(str::to_owned).collect();
    (written.join().unwrap(), console)
}

/// Where pictures go.
fn pictures(scratch: &Path) -> PathBuf {
    std::env::var_os("NG_SCREENSHOTS").map_or_else(|| scratch.to_owned(), PathBuf::from)
}

const SKIPPED: &str = "skipped: no Chromium answers here (Debian's package chromium has it)";

#[test]
fn a_browser_shows_the_figures_it_was_fed_and_says_nothing_on_the_console() {
    let Some(program) = chromium() else {
        println!("{SKIPPED}");
        return;
    };
    let server = Server::start(u64::MAX);
    let (page, console) = browse(program, &server.address, &["--dump-dom", "--virtual-time-budget=6000"]);
    assert!(console.is_empty(), "{console:#?}");
    assert!(server.asked.load(Ordering::Relaxed) >= 3, "it asks again and again");
    for shown in [
        "✓ Ready",
        "9.8.7",
        "1 h 12 min",
        "3.2",
        "7,654,321",
        "19,876,543",
        "uring",
        "1.48 ms",
        "33.9 KiB",
        "19,876,001",
        "4, 12.5 ms",
        "553 MiB",
        "954 MiB",
        "76.5 %",
        "lane-7",
        "87 %, above the soft mark",
        "1 %",
        "198,700",
        "65",
        "quota",
        "log_stall",
        "maker-0",
        "991",
        "9,500,000 tokens, 3 rounds; a processor",
        "15.2 ns",
        "inconclusive",
        "343 ms",
        // Text of others is text, and no markup.
        "waited &lt;b&gt;3.1 ms&lt;/b&gt; for a block",
    ] {
        assert!(page.contains(shown), "no {shown:?} in {page}");
    }
    assert!(page.contains("id=\"link\" hidden"), "nothing says that the service is lost");
    let none = "<td>none</td>";
    assert!(page.contains(none), "a limit that is not known is no number");
    let words = ["NaN", "undefined", "[object", "Infinity", ">null<"];
    let body = &page[page.find("<main").unwrap()..page.find("<script>").unwrap()];
    assert!(words.iter().all(|word| !body.contains(word)), "{body}");
}

#[test]
fn a_browser_says_that_the_service_is_gone_and_from_when_its_figures_are() {
    let Some(program) = chromium() else {
        println!("{SKIPPED}");
        return;
    };
    let server = Server::start(2);
    let (page, _) = browse(program, &server.address, &["--dump-dom", "--virtual-time-budget=12000"]);
    for shown in [
        "✕ Disconnected",
        "Connection lost: ",
        "asked again in ",
        "what is shown is from ",
        "class=\"stale\"",
        "7,654,321",
    ] {
        assert!(page.contains(shown), "no {shown:?} in {page}");
    }
    // Ever more seldom: 1, 2, 4 seconds, not each second.
    let asked = server.asked.load(Ordering::Relaxed);
    assert!((3..=8).contains(&asked), "{asked} questions in 12 s");
}

#[test]
fn a_picture_is_made_in_light_and_dark_and_for_a_phone() {
    let Some(program) = chromium() else {
        println!("{SKIPPED}");
        return;
    };
    let scratch = tempfile::tempdir().unwrap();
    let dir = pictures(scratch.path());
    // `preferredColorScheme` of Chromium's own settings: 0 is dark, 1 is light.
    for (name, size, scheme) in
        [("page-light", "1200,1640", 1), ("page-dark", "1200,1640", 0), ("page-phone", "500,2560", 1)]
    {
        let path = dir.join(format!("{name}.png"));
        let server = Server::start(u64::MAX);
        let options = [
            format!("--screenshot={}", path.display()),
            format!("--window-size={size}"),
            format!("--blink-settings=preferredColorScheme={scheme}"),
            "--virtual-time-budget=60000".to_owned(),
        ];
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let (_, console) = browse(program, &server.address, &options);
        assert!(console.is_empty(), "{console:#?}");
        let picture = std::fs::read(&path).unwrap();
        assert!(picture.starts_with(b"\x89PNG") && picture.len() > 20_000, "{} bytes", picture.len());
    }
}
