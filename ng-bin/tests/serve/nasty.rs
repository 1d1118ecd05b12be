//! Callers that mean harm, or know no better.

use std::io::Write;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::service::{Client, NDJSON, Service, raw, wait_for};

/// Whether the service still does its work.
#[track_caller]
fn assert_well(service: &Service) {
    let mut client = Client::new(&service.gateway);
    let reply =
        client.request("POST", "/v1/tokens?durable=true", &[("Content-Type", NDJSON)], b"{\"weight\":1}");
    assert_eq!((reply.status, &reply.json()["made"]), (200, &json!(1)));
}

#[test]
fn who_shuts_down_its_side_gets_the_answer_or_is_told_that_the_body_broke_off() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path(), "");
    let head =
        "POST /v1/tokens?format=bin&durable=true HTTP/1.1\r\nHost: localhost\r\nContent-Length: 640\r\n\r\n";
    let mut whole = Client::new(&service.gateway);
    whole.send(&[head.as_bytes(), &raw(0..10)].concat()).unwrap();
    whole.stream.get_ref().shutdown(Shutdown::Write).unwrap();
    let reply = whole.reply().unwrap();
    assert_eq!(
        (reply.status, &reply.json()["made"], &reply.json()["durable"]),
        (200, &json!(10), &json!(true))
    );

    let mut half = Client::new(&service.gateway);
    half.send(&[head.as_bytes(), &raw(10..15)].concat()).unwrap();
    half.stream.get_ref().shutdown(Shutdown::Write).unwrap();
    let reply = half.reply().unwrap();
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (400, &json!("body_broken")));

    // And one that is gone altogether.
    let mut gone = Client::new(&service.gateway);
    gone.send(&[head.as_bytes(), &raw(20..25)].concat()).unwrap();
    drop(gone);
    wait_for("it to be forgotten", || service.look("/v1/live")["http"]["in_flight"] == 1);
    assert_well(&service);
}

#[test]
fn a_flood_of_headers_or_garbage_ends_its_connection_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path(), "");
    let many: String = (0..200).map(|i| format!("x-{i}: y\r\n")).collect();
    let mut client = Client::new(&service.gateway);
    client.send(format!("GET /v1/stats HTTP/1.1\r\n{many}\r\n").as_bytes()).unwrap();
    assert_eq!(client.reply().unwrap().status, 431);
    let mut client = Client::new(&service.gateway);
    // It may be cut off while it is still sent.
    drop(client.send(format!("GET /v1/stats HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(1 << 20)).as_bytes()));
    let answer = client.rest();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    for garbage in ["\x16\x03\x01\x02\0\x01", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\0\0\0\0\r\n\r\n"] {
        let mut client = Client::new(&service.gateway);
        client.send(garbage.as_bytes()).unwrap();
        client.stream.get_ref().shutdown(Shutdown::Write).unwrap();
        let answer = client.rest();
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.1 5"),
            "{answer}"
        );
    }
    // Two lengths that disagree are how requests are smuggled past a proxy.
    let mut client = Client::new(&service.gateway);
    client
        .send(b"POST /v1/tokens?format=bin HTTP/1.1\r\nHost: localhost\r\nContent-Length: 64\r\nContent-Length: 6\r\n\r\n")
        .unwrap();
    assert!(client.rest().starts_with("HTTP/1.1 400"));
    assert_well(&service);
}

#[test]
fn who_sends_too_slowly_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let config = "[serve]\nheader_timeout_ms = 400\nbody_timeout_ms = 400\nrequest_timeout_ms = 1500\nmax_in_flight = 1\n";
    let service = Service::start(dir.path(), config);
    // A head that trickles.
    let began = Instant::now();
    let mut client = Client::new(&service.gateway);
    client.send(b"GET /v1/stats HTTP/1.1\r\n").unwrap();
    let mut stream = client.stream.get_ref().try_clone().unwrap();
    let trickle = std::thread::spawn(move || {
        while began.elapsed() < Duration::from_secs(5) && stream.write_all(b"x: y\r\n").is_ok() {
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    client.rest();
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    trickle.join().unwrap();
    // A connection without a request.
    let began = Instant::now();
    Client::new(&service.gateway).rest();
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    // A body that stops.
    let head = b"POST /v1/tokens?format=bin HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6400\r\n\r\n";
    let mut stops = Client::new(&service.gateway);
    stops.send(&[&head[..], &raw(0..10)].concat()).unwrap();
    // The only permit is free meanwhile: a slow body holds no lane.
    assert_well(&service);
    let reply = stops.reply().unwrap();
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (408, &json!("body_timeout")));
    // A body that trickles for longer than a whole one may take.
    let mut trickles = Client::new(&service.gateway);
    let began = Instant::now();
    trickles.send(head).unwrap();
    let mut stream = trickles.stream.get_ref().try_clone().unwrap();
    let trickle = std::thread::spawn(move || {
        while began.elapsed() < Duration::from_secs(5) && stream.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    assert_eq!(trickles.reply().unwrap().status, 408);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    drop(trickles);
    trickle.join().unwrap();
    assert_well(&service);
}

#[test]
fn who_takes_no_answers_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path(), "[serve]\nwrite_timeout_ms = 300\n");
    let mut client = Client::new(&service.admin);
    client.stream.get_ref().set_write_timeout(Some(Duration::from_secs(10))).unwrap();
    // Answers of some 15 KiB each, until the sockets' buffers are full, and no one reads.
    let request = "GET /v1/config HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(200);
    let began = Instant::now();
    let mut cut_off = false;
    while began.elapsed() < Duration::from_secs(20) {
        if client.send(request.as_bytes()).is_err() {
            cut_off = true;
            break;
        }
        if service.look("/v1/live")["http"]["connections"] == 1 {
            cut_off = true;
            break;
        }
    }
    assert!(cut_off, "it was served for {:?}", began.elapsed());
    assert_well(&service);
}

#[test]
fn a_thousand_connections_are_served_and_what_is_beyond_the_limit_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path(), "[serve]\nmax_connections = 1000\n");
    let mut clients = Vec::new();
    for _ in 0..1_000 {
        match Client::try_new(&service.gateway) {
            Ok(client) => clients.push(client),
            Err(error) => {
                println!("skipped: this process can't have 1,000 connections: {error}");
                return;
            }
        }
    }
    wait_for("all of them", || service.look("/v1/live")["http"]["connections"] == 1_001);
    for (id, client) in (0_u32..).zip(&mut clients) {
        let body = raw(id..id + 1);
        let reply = client.request("POST", "/v1/tokens?format=bin", &[], &body);
        assert_eq!(reply.status, 200, "{id}: {:?}", reply.json());
    }
    let mut beyond = Client::new(&service.gateway);
    let answer = beyond.rest();
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("Retry-After: 1"), "{answer:?}");
    let live = service.look("/v1/live");
    assert_eq!(
        (&live["tokens"]["live"], &live["http"]["rejected_total"]),
        (&json!(1_000), &json!(1)),
        "{live}"
    );
    drop(clients);
    wait_for("room", || service.look("/v1/live")["http"]["connections"] == 1);
    assert_well(&service);
}

#[test]
fn more_work_than_may_be_under_way_is_turned_away_with_a_time_to_try_again() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path(), "[serve]\nmax_in_flight = 1\nlanes = 1\n");
    let body = raw(0..40_000);
    let (mut made, mut busy) = (0, 0);
    let began = Instant::now();
    while (busy == 0 || made == 0) && began.elapsed() < Duration::from_secs(20) {
        let replies: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16)
                .map(|_| {
                    scope.spawn(|| {
                        Client::new(&service.gateway).try_request(
                            "POST",
                            "/v1/tokens?format=bin&ids=any",
                            &[],
                            &body,
                        )
                    })
                })
                .collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap().ok()).collect()
        });
        for reply in replies {
            match reply.status {
                200 => made += 1,
                429 => {
                    assert_eq!(reply.header("retry-after"), Some("1"));
                    assert_eq!(reply.json()["error"]["code"], "busy");
                    busy += 1;
                }
                other => panic!("{other}: {}", reply.json()),
            }
        }
    }
    assert!(made > 0 && busy > 0, "{made} made, {busy} turned away");
    assert_eq!(service.look("/v1/live")["tokens"]["live"], made * 40_000, "one is made whole or not at all");
}

/// A load by a program that nobody here wrote, while the log goes on and someone looks.
#[test]
fn a_load_by_wrk_is_served_and_each_success_is_a_batch_of_durable_tokens() {
    if !crate::service::has("wrk") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let service =
        Service::start(dir.path(), "[guardian]\nmax_tokens = 16000000\nmax_memory_bytes = 2000000000\n");
    // One token with any id, twenty times: the file is Lua, whose strings take decimal escapes.
    let token: String = raw(0..1).iter().map(|byte| format!("\\{byte:03}")).collect();
    let script = format!("wrk.method = \"POST\"\nwrk.body = (\"{token}\"):rep(20)\n");
    std::fs::write(dir.path().join("post.lua"), script).unwrap();
    let url = format!("{}/v1/tokens?format=bin&ids=any&durable=true", service.gateway);
    let load = std::process::Command::new("wrk")
        .current_dir(dir.path())
        .args(["-t", "1", "-c", "32", "-d", "20s", "-s", "post.lua", &url])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut scrapes = 0;
    let looked = std::thread::scope(|scope| {
        let looker = scope.spawn(|| {
            let mut client = Client::new(&service.admin);
            let until = Instant::now() + Duration::from_secs(19);
            while Instant::now() < until {
                assert_eq!(client.request("GET", "/metrics", &[], b"").status, 200);
                assert_eq!(client.request("GET", "/v1/live", &[], b"").status, 200);
                scrapes += 1;
            }
        });
        let output = load.wait_with_output().unwrap();
        looker.join().unwrap();
        String::from_utf8(output.stdout).unwrap()
    });
    assert!(!looked.contains("Non-2xx") && !looked.contains("Socket errors"), "{looked}");
    let done: u64 =
        looked.lines().find_map(|line| line.trim().split_once(" requests in")?.0.parse().ok()).unwrap();
    let tokens = service.look("/v1/live")["tokens"]["live"].as_u64().unwrap();
    // What wrk cut off at its end was made and is not in its count.
    assert!(done > 1_000 && (done * 20..=(done + 32) * 20).contains(&tokens), "{tokens} tokens: {looked}");
    assert!(scrapes > 100, "{scrapes}");
}
