//! Who is let in, and by which door.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::service::{Client, NDJSON, Service, command, curl, has, wait_for};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// Starts it with these words after the usual ones, which they override.
fn with(dir: &Path, config: &str, words: &[&str]) -> Command {
    let mut command = command(dir, config);
    let program = command.get_program().to_owned();
    let given: Vec<_> = command.get_args().map(std::ffi::OsStr::to_owned).collect();
    let mut again = Command::new(program);
    again.current_dir(dir);
    for (name, value) in command.get_envs() {
        again.env(name, value.unwrap());
    }
    // The addresses are the last four words.
    again.args(&given[..given.len() - 4]).args(words);
    command = again;
    command
}

#[test]
fn beyond_loopback_a_token_is_needed_to_start_at_all() {
    let dir = tempfile::tempdir().unwrap();
    for words in [
        ["--listen", "0.0.0.0:0", "--admin", "127.0.0.1:0"],
        ["--listen", "127.0.0.1:0", "--admin", "[::]:0"],
    ] {
        let output = with(dir.path(), "", &words).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains("listens beyond loopback") && said.contains("NEUROGRAPH_TOKEN"), "{said}");
    }
    std::fs::write(dir.path().join("token"), "short\n").unwrap();
    let output = with(dir.path(), "[serve]\ntoken_file = \"token\"\n", &[]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(78) && said.contains("16 or more"), "{said}");

    let words = ["--listen", "0.0.0.0:0", "--admin", "127.0.0.1:0"];
    let service = Service::of(with(dir.path(), "[serve]\ninsecure = true\n", &words));
    assert!(service.gateway.starts_with("http://0.0.0.0:"));
    let mut client = Client::new(&service.gateway);
    assert_eq!(client.request("GET", "/v1/stats", &[], b"").status, 200);
}

#[test]
fn only_the_very_token_opens_and_the_state_is_told_to_everyone() {
    if !has("curl") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut command = with(dir.path(), "", &["--listen", "0.0.0.0:0", "--admin", "0.0.0.0:0"]);
    command.env("NEUROGRAPH_TOKEN", TOKEN);
    let service = Service::of(command);
    let get = |base: &str, path: &str, token: Option<&str>| {
        let (url, header) =
            (format!("{base}{path}"), format!("Authorization: Bearer {}", token.unwrap_or("-")));
        let words: &[&str] = if token.is_some() { &["-H", &header, &url] } else { &[&url] };
        curl(words, b"")
    };
    let nearly = format!("{}g", &TOKEN[..31]);
    for (path, base) in
        [("/v1/stats", &service.gateway), ("/v1/live", &service.admin), ("/metrics", &service.admin)]
    {
        for wrong in [None, Some("wrong"), Some(nearly.as_str()), Some(&TOKEN[..31])] {
            let reply = get(base, path, wrong);
            assert_eq!(
                (reply.status, reply.header("www-authenticate")),
                (401, Some("Bearer")),
                "{path} {wrong:?}"
            );
        }
        assert_eq!(get(base, path, Some(TOKEN)).status, 200, "{path}");
    }
    for open in ["/healthz", "/readyz", "/"] {
        assert_eq!(get(&service.admin, open, None).status, 200, "{open}");
    }
    let config = get(&service.admin, "/v1/config", Some(TOKEN));
    assert!(!String::from_utf8(config.body).unwrap().contains(TOKEN), "a secret is not shown");
    let live = get(&service.admin, "/v1/live", Some(TOKEN)).json();
    assert_eq!(live["http"]["unauthorized_total"], 12, "{live}");
    // With a body on the way, the answer is not lost to a reset.
    for _ in 0..10 {
        let reply =
            Client::new(&service.gateway).try_request("POST", "/v1/tokens?format=bin", &[], &[0; 2 << 20]);
        assert_eq!(reply.unwrap().status, 401);
    }
}

/// A certificate of its own for 127.0.0.1, as NAME.pem with its key as NAME-key.pem.
fn certify(dir: &Path, name: &str) {
    let (cert, key) = (format!("{name}.pem"), format!("{name}-key.pem"));
    let made = Command::new("openssl")
        .current_dir(dir)
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
        .args(["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-keyout", &key, "-out", &cert])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

#[test]
fn tls_is_spoken_when_a_certificate_is_given() {
    if !has("curl") || !has("openssl") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    certify(dir.path(), "cert");
    let config = "[serve]\ntls_cert = \"cert.pem\"\ntls_key = \"cert-key.pem\"\nheader_timeout_ms = 500\n";
    let service = Service::start(dir.path(), config);
    assert!(service.gateway.starts_with("https://127.0.0.1:"), "{}", service.gateway);
    let cert = dir.path().join("cert.pem");
    let trust = ["--cacert", cert.to_str().unwrap()];
    let url = format!("{}/v1/tokens?durable=true", service.gateway);
    let post = ["-H", "Content-Type: application/x-ndjson", "--data-binary", "@-", &url];
    let reply = curl(&[&trust[..], &post].concat(), b"{\"weight\":1}\n");
    assert_eq!((reply.status, &reply.json()["made"]), (200, &json!(1)));
    let url = format!("{}/readyz", service.admin);
    assert_eq!(curl(&[&trust[..], &[&url]].concat(), b"").status, 200);
    // Plain words are not answered, and a handshake that does not come is not waited for.
    let mut plain = Client::new(&service.gateway.replace("https", "http"));
    plain.send(b"GET /v1/stats HTTP/1.1\r\n\r\n").unwrap();
    assert!(!plain.rest().contains("HTTP/1.1 200"));
    assert_eq!(Client::new(&service.gateway.replace("https", "http")).rest(), "");

    std::fs::write(dir.path().join("cert-key.pem"), "no key").unwrap();
    let output = command(dir.path(), config).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(78) && said.contains("serve.tls_key"), "{said}");
}

#[test]
fn a_unix_socket_is_a_door_of_this_machine_and_one_left_behind_is_taken_over() {
    if !has("curl") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let config = "[serve]\nunix_socket = \"ng.sock\"\n";
    let mut service = Service::start(dir.path(), config);
    let socket = dir.path().join("ng.sock");
    let post = || {
        curl(
            &[
                "--unix-socket",
                socket.to_str().unwrap(),
                "-H",
                "Content-Type: application/x-ndjson",
                "--data-binary",
                "@-",
                "http://ng/v1/tokens?durable=true",
            ],
            b"{\"weight\":1}\n",
        )
    };
    assert_eq!(post().json()["made"], 1);
    // Another service does not take a socket that answers, nor a file that is none.
    let other = tempfile::tempdir().unwrap();
    let taken = format!("[serve]\nunix_socket = {:?}\n", socket.display().to_string());
    let output = command(other.path(), &taken).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(74) && said.contains("another process answers there"), "{said}");

    service.child.kill().unwrap();
    service.child.wait().unwrap();
    assert!(socket.exists());
    let service = Service::start(dir.path(), config);
    assert_eq!(post().json()["made"], 1);
    assert_eq!(service.look("/v1/live")["tokens"]["live"], 2);
    assert_eq!(service.stop().0.code(), Some(0));
    wait_for("the socket to go", || !socket.exists());
    std::fs::write(&socket, "precious").unwrap();
    let output = command(dir.path(), config).output().unwrap();
    assert_eq!(output.status.code(), Some(74));
    assert_eq!(std::fs::read(&socket).unwrap(), b"precious");
}

#[test]
fn a_wrong_token_is_refused_where_none_is_needed() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("token"), format!("{TOKEN}\n")).unwrap();
    let service = Service::start(dir.path(), "[serve]\ntoken_file = \"token\"\nrequire_token = false\n");
    let mut client = Client::new(&service.gateway);
    let mut stats = |value: &str| {
        let headers: &[(&str, &str)] = if value.is_empty() { &[] } else { &[("Authorization", value)] };
        client.request("GET", "/v1/stats", headers, b"").status
    };
    assert_eq!((stats(""), stats("Bearer wrong"), stats(&format!("Bearer {TOKEN}"))), (200, 401, 200));
    let mut required = command(dir.path(), "");
    required.env("NEUROGRAPH_TOKEN", TOKEN).env("NG_WAL__DIR", dir.path().join("wal2"));
    let required = Service::of(required);
    let mut client = Client::new(&required.gateway);
    let reply = client.request("POST", "/v1/tokens", &[("Content-Type", NDJSON)], b"{}");
    assert_eq!(reply.status, 401);
}

#[test]
fn a_renewed_certificate_and_token_are_taken_while_connections_go_on_and_a_bad_one_is_not() {
    if !has("curl") || !has("openssl") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    certify(dir.path(), "old");
    certify(dir.path(), "new");
    // As a tool for certificates does it: each file is replaced, one after the other.
    let put = |from: &str, to: &str| {
        std::fs::copy(at(from), at("next")).unwrap();
        std::fs::rename(at("next"), at(to)).unwrap();
    };
    put("old.pem", "cert.pem");
    put("old-key.pem", "key.pem");
    std::fs::write(at("token"), TOKEN).unwrap();
    let config = "[serve]\ntls_cert = \"cert.pem\"\ntls_key = \"key.pem\"\ntoken_file = \"token\"\n\
                  config_watch_ms = 20\n";
    let service = Service::start(dir.path(), config);
    // What curl says to a caller who trusts this certificate alone and brings this token.
    let status = |trusted: &str, token: &str| {
        let (cert, header) = (at(trusted), format!("Authorization: Bearer {token}"));
        let url = format!("{}/v1/stats", service.gateway);
        let output = Command::new("curl")
            .args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", cert.to_str().unwrap()])
            .args(["-H", &header, &url])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!((status("old.pem", TOKEN), status("new.pem", TOKEN)), ("200".into(), "000".into()));

    // The certificate without its key is of no use: the old one stays, and it is said.
    put("new.pem", "cert.pem");
    service.wait_until_it_says("refused, the configuration before stays in force: serve.tls_cert");
    assert_eq!(status("old.pem", TOKEN), "200");
    put("new-key.pem", "key.pem");
    service.wait_until_it_says("read anew: the certificate");
    assert_eq!((status("new.pem", TOKEN), status("old.pem", TOKEN)), ("200".into(), "000".into()));

    let other = TOKEN.replace('0', "f");
    std::fs::write(at("token"), &other).unwrap();
    service.wait_until_it_says("read anew: the token");
    assert_eq!((status("new.pem", &other), status("new.pem", TOKEN)), ("200".into(), "401".into()));
    std::fs::write(at("token"), "short").unwrap();
    service.wait_until_it_says("the token of serve.token_file token: it has 5 characters");
    assert_eq!(status("new.pem", &other), "200");
    assert_eq!(service.stop().0.code(), Some(0));
}

#[test]
fn a_service_beyond_loopback_does_not_lose_its_token_and_tls_begins_with_a_restart() {
    if !has("openssl") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    certify(dir.path(), "cert");
    std::fs::write(at("token"), TOKEN).unwrap();
    let base = "[wal]\nsegment_mib = 2\nblock_kib = 64\n[serve]\n";
    let config = "[serve]\ntoken_file = \"token\"\n";
    let words = ["--listen", "0.0.0.0:0", "--admin", "127.0.0.1:0"];
    let service = Service::of(with(dir.path(), config, &words));
    std::fs::write(at("ng.toml"), base).unwrap();
    service.signal("HUP");
    service.wait_until_it_says("stays in force: serve.listen = 0.0.0.0:0 listens beyond loopback");
    let mut client = Client::new(&service.gateway);
    assert_eq!(client.request("GET", "/v1/stats", &[], b"").status, 401);

    let more = "token_file = \"token\"\ntls_cert = \"cert.pem\"\ntls_key = \"cert-key.pem\"\n";
    std::fs::write(at("ng.toml"), format!("{base}{more}")).unwrap();
    service.signal("HUP");
    service
        .wait_until_it_says("serve.tls_cert stays \"\", not \"cert.pem\": whether TLS is spoken is settled");
    assert_eq!(client.request("GET", "/v1/stats", &[], b"").status, 401);
    assert_eq!(service.stop().0.code(), Some(0));
}
