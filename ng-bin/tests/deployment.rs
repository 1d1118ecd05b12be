//! The files under docs/deploy are parsed by those whom they are for, and what can run without a
//! container engine runs.
#![cfg(all(unix, feature = "serve", feature = "wal", feature = "telemetry"))]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test reports by panicking, a skip by a line")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ng_stack::config::Loader;
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/deploy").canonicalize().unwrap()
}

fn read(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap()
}

/// YAML as JSON, by Python's parser: that of `cargo xtask peers`, or the system's.
fn yaml(name: &str) -> Option<Value> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/peers/venv/bin/python");
    let script = "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))";
    let asked = [own.as_path(), Path::new("python3")].into_iter().find_map(|python| {
        let there = Command::new(python).args(["-c", "import yaml"]).output().ok()?.status.success();
        there.then(|| Command::new(python).args(["-c", script]).arg(folder().join(name)).output().unwrap())
    });
    let Some(output) = asked else {
        println!("skipped: there is no Python with PyYAML; `cargo xtask peers` installs it");
        return None;
    };
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// `NAME=value` lines.
fn variables(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_once('=').unwrap()).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

#[test]
fn the_example_environment_sets_keys_and_nothing_in_it_is_ignored() {
    let variables = variables(&read(".env.example"));
    assert!(variables.iter().any(|(name, _)| name == "NEUROGRAPH_TOKEN"));
    let loaded = Loader::new().file(folder().join("ng.toml")).env(variables.clone()).load().unwrap();
    assert_eq!(loaded.warnings, []);
    let from_it = |name: &str| {
        let settings = loaded.settings();
        settings.iter().any(|setting| setting.origin.to_string() == name)
    };
    for (name, _) in variables
        .iter()
        .filter(|(name, _)| !["NEUROGRAPH_TOKEN", "GRAFANA_PASSWORD"].contains(&name.as_str()))
    {
        assert!(from_it(name), "{name} sets nothing");
    }
}

#[test]
fn compose_mounts_files_that_are_there_and_sets_keys_that_exist() {
    let Some(compose) = yaml("compose.yml") else { return };
    let services = compose["services"].as_object().unwrap();
    assert_eq!(services.keys().collect::<Vec<_>>(), ["grafana", "jaeger", "neurograph", "prometheus"]);
    for (name, service) in services {
        let image = service["image"].as_str().unwrap();
        assert!(
            image == "neurograph" || image.rsplit(':').next().unwrap().contains('.'),
            "{image} is not pinned"
        );
        for volume in service["volumes"].as_array().into_iter().flatten() {
            let source = volume.as_str().unwrap().split(':').next().unwrap();
            let there = match source.strip_prefix("./") {
                Some(file) => folder().join(file).exists(),
                None => compose["volumes"].as_object().unwrap().contains_key(source),
            };
            assert!(there, "{name} mounts {source}");
        }
        for port in service["ports"].as_array().into_iter().flatten() {
            assert!(
                port.as_str().unwrap().starts_with("127.0.0.1:"),
                "{name} is open to the world at {port}"
            );
        }
    }
    let ours = &services["neurograph"];
    let environment = ours["environment"].as_object().unwrap().iter();
    let environment = environment.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()));
    let loaded = Loader::new().file(folder().join("ng.toml")).env(environment).load().unwrap();
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.config.tracing.exporter.name(), "otlp");
    // The container's limit has room for the quota.
    let most: u64 = ours["mem_limit"].as_str().unwrap().trim_end_matches('m').parse().unwrap();
    assert!(most << 20 > loaded.config.guardian.max_memory_bytes + (256 << 20));
}

#[test]
fn grafana_is_given_the_dashboard_and_the_sources_that_it_names() {
    let (Some(sources), Some(boards), Some(compose)) =
        (yaml("grafana/datasources.yml"), yaml("grafana/dashboards.yml"), yaml("compose.yml"))
    else {
        return;
    };
    let urls = sources["datasources"].as_array().unwrap().iter().map(|one| one["url"].as_str().unwrap());
    for url in urls {
        let host = url.trim_start_matches("http://").split(':').next().unwrap();
        assert!(compose["services"][host].is_object(), "{url} is nowhere in compose.yml");
    }
    let path = boards["providers"][0]["options"]["path"].as_str().unwrap();
    let mounts = compose["services"]["grafana"]["volumes"].as_array().unwrap();
    assert!(mounts.iter().any(|mount| mount.as_str().unwrap().contains(&format!(":{path}/"))));
}

#[test]
fn the_image_is_built_of_files_that_are_there_and_starts_the_service() {
    let text = read("Containerfile");
    let root = folder().join("../..");
    let copied =
        text.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|line| !line.starts_with("--"));
    for line in copied {
        let source = line.split_whitespace().next().unwrap();
        assert!(root.join(source).exists(), "{line}");
    }
    let toolchain = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let version = toolchain.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap();
    assert!(
        text.contains(&format!("rust:{}-alpine", version.trim_matches('"'))),
        "not the toolchain's version"
    );
    let words = text.lines().find_map(|line| line.strip_prefix("CMD ")).unwrap();
    let words: Vec<String> = serde_json::from_str(words).unwrap();
    assert_eq!(words, ["serve", "--config", "/etc/neurograph/ng.toml"]);
}

#[test]
fn systemd_takes_the_unit_and_finds_it_hardened() {
    let dir = tempfile::tempdir().unwrap();
    let unit = dir.path().join("neurograph.service");
    std::fs::write(&unit, read("neurograph.service").replace("/usr/local/bin/ng", env!("CARGO_BIN_EXE_ng")))
        .unwrap();
    let ask = |words: &[&str]| Command::new("systemd-analyze").args(words).arg(&unit).output();
    let Ok(verified) = ask(&["verify", "--man=no"]) else {
        println!("skipped: there is no systemd-analyze");
        return;
    };
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    // It reads the machine's other units, too, and may have its own to say of those.
    let ours: Vec<_> = said.lines().filter(|line| line.contains("neurograph")).collect();
    assert!(ours.is_empty(), "{ours:#?}");
    let judged = ask(&["security", "--offline=yes", "--threshold=20", "--no-pager"]).unwrap();
    let said =
        String::from_utf8_lossy(&judged.stdout).into_owned() + &String::from_utf8_lossy(&judged.stderr);
    if said.contains("unrecognized option") {
        println!("skipped: this systemd-analyze judges no file");
        return;
    }
    assert!(judged.status.success(), "{said}");
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The body of an answer without chunks, or nothing.
fn get(address: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: x\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "waited a minute for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn prometheus_scrapes_a_service_with_the_shipped_configuration_and_knows_the_alerts() {
    if Command::new("prometheus").arg("--version").output().is_err() {
        println!("skipped: there is no prometheus; `cargo xtask peers` installs it");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let token = "a-token-of-this-test-alone";
    std::fs::write(dir.path().join("token"), token).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ng"));
    command.current_dir(dir.path()).env_clear().env("NEUROGRAPH_TOKEN", token);
    command.env("NG_WAL__DIR", dir.path().join("wal")).env("NG_WAL__SEGMENT_MIB", "4");
    command.env("NG_BLACKBOX__DIR", dir.path().join("rings")).env("NG_ENGINE__POPULATE_TOKENS", "0");
    command.env("NG_TRACING__OUTPUT", dir.path().join("spans.jsonl"));
    command.env("NG_BLACKBOX__DUMP_ON_PANIC", "");
    command.args(["serve", "--json", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--config"]);
    command.arg(folder().join("ng.toml"));
    let mut service = Running(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(service.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    let admin = ready["admin"].as_str().unwrap().trim_start_matches("http://").to_owned();

    // The shipped file; what is another in the container is replaced, and must have been there.
    let mut config = read("prometheus.yml");
    for (shipped, here) in [
        ("neurograph:9464", admin.as_str()),
        ("/run/secrets/neurograph_token", dir.path().join("token").to_str().unwrap()),
        ("- alerts.yml", &format!("- {}", folder().join("alerts.yml").display())),
        ("scrape_interval: 5s", "scrape_interval: 1s"),
    ] {
        assert!(config.contains(shipped), "{shipped}");
        config = config.replace(shipped, here);
    }
    let file = dir.path().join("prometheus.yml");
    std::fs::write(&file, config).unwrap();
    let checked = Command::new("promtool").args(["check", "config"]).arg(&file).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));

    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let _prometheus = Running(
        Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("tsdb").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--enable-feature=exemplar-storage")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let ask = |query: &str| -> Option<String> {
        let body = get(&address, &format!("/api/v1/query?query={query}"))?;
        let answer: Value = serde_json::from_str(&body).ok()?;
        Some(answer["data"]["result"][0]["value"][1].as_str()?.to_owned())
    };
    assert_eq!(wait_for("a scrape", || ask("up")), "1");
    assert_eq!(wait_for("a figure", || ask("neurograph_quota_limit_tokens")), "10000000");
    let rules: Value = serde_json::from_str(&get(&address, "/api/v1/rules").unwrap()).unwrap();
    let groups = rules["data"]["groups"].as_array().unwrap();
    assert!(groups.iter().any(|group| group["name"] == "neurograph-log"), "{rules}");
}
