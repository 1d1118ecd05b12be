//! The end: in good order, under load, cut off; and what systemd is told.

use std::os::unix::net::UnixDatagram;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::service::{Client, Service, command, ng, raw, signal, wait_for};

#[test]
fn an_end_under_load_loses_nothing_that_was_answered() {
    let dir = tempfile::tempdir().unwrap();
    let mut service = Service::start(dir.path(), "");
    let made = Mutex::new(Vec::new());
    let (next, over) = (AtomicU32::new(0), AtomicBool::new(false));
    let pid = service.child.id();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = Client::new(&service.gateway);
                while !over.load(Ordering::Relaxed) {
                    let first = next.fetch_add(2_000, Ordering::Relaxed);
                    // Without waiting for durability: the end makes it so.
                    let path = "/v1/tokens?format=bin";
                    let Ok(reply) = client.try_request("POST", path, &[], &raw(first..first + 2_000)) else {
                        return;
                    };
                    if reply.status == 200 {
                        made.lock().unwrap().push(first);
                    }
                }
            });
        }
        wait_for("some load", || made.lock().unwrap().len() > 50);
        signal(pid, "TERM");
        over.store(false, Ordering::Relaxed);
    });
    assert_eq!(service.wait().code(), Some(0), "{}", service.said());
    assert!(service.said().contains("ended in good order"), "{}", service.said());
    let made = made.into_inner().unwrap();
    let output = ng(dir.path()).args(["recover", "--wal", "wal", "--export", "csv"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let ids: std::collections::HashSet<u32> =
        text.lines().skip(1).map(|line| line.split(',').next().unwrap().parse().unwrap()).collect();
    let missing = made.iter().flat_map(|first| *first..first + 2_000).filter(|id| !ids.contains(id)).count();
    assert_eq!(missing, 0, "of {} answered", made.len() * 2_000);
    assert!(String::from_utf8_lossy(&output.stderr).contains("ends in good order"));
}

#[test]
fn what_is_still_under_way_after_the_time_for_it_is_cut_off_with_a_code_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let mut service = Service::start(dir.path(), "[serve]\ndrain_ms = 500\n");
    let mut client = Client::new(&service.gateway);
    client
        .send(b"POST /v1/tokens?format=bin HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6400\r\n\r\n")
        .unwrap();
    client.send(&raw(0..10)).unwrap();
    wait_for("the request", || service.look("/v1/live")["http"]["in_flight"] == 2);
    let began = Instant::now();
    service.signal("TERM");
    wait_for("the state", || service.state() == (503, "stopping".to_owned()));
    // A new request is not begun: nobody listens any more.
    wait_for("the door to close", || {
        std::net::TcpStream::connect(service.gateway.strip_prefix("http://").unwrap()).is_err()
    });
    assert_eq!(service.wait().code(), Some(75), "{}", service.said());
    assert!(service.said().contains("1 requests were still under way"), "{}", service.said());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn a_request_that_ends_in_time_is_answered_though_the_end_has_begun() {
    let dir = tempfile::tempdir().unwrap();
    let mut service = Service::start(dir.path(), "");
    let mut client = Client::new(&service.gateway);
    client
        .send(b"POST /v1/tokens?format=bin&durable=true HTTP/1.1\r\nHost: localhost\r\nContent-Length: 640\r\n\r\n")
        .unwrap();
    wait_for("the request", || service.look("/v1/live")["http"]["in_flight"] == 2);
    service.signal("INT");
    wait_for("the state", || service.state().1 == "stopping");
    client.send(&raw(0..10)).unwrap();
    let reply = client.reply().unwrap();
    assert_eq!((reply.status, reply.json()["made"].as_u64()), (200, Some(10)), "{}", reply.json());
    assert_eq!(service.wait().code(), Some(0), "{}", service.said());
}

#[test]
fn idle_connections_do_not_hold_the_end_up() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path(), "");
    let mut idle: Vec<_> = (0..20).map(|_| Client::new(&service.gateway)).collect();
    for client in &mut idle[..10] {
        client.request("GET", "/v1/stats", &[], b"");
    }
    idle[15].send(b"GET /v1/st").unwrap();
    let began = Instant::now();
    assert_eq!(service.stop().0.code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn systemd_is_told_of_the_start_and_of_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut command = command(dir.path(), "");
    command.env("NOTIFY_SOCKET", &path);
    let service = Service::of(command);
    let told = |wanted: &str| {
        let mut seen = Vec::new();
        loop {
            let mut buffer = [0; 1024];
            let len =
                socket.recv(&mut buffer).unwrap_or_else(|error| panic!("no {wanted}: {error}, {seen:?}"));
            let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
            if text.contains(wanted) {
                return;
            }
            seen.push(text);
        }
    };
    told("READY=1");
    service.signal("TERM");
    told("STOPPING=1");
}
