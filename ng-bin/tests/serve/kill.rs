//! SIGKILL in the middle of a load: what was acknowledged is there after the restart.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use serde_json::json;

use crate::service::{Client, NDJSON, Service, curl, has, ng, post, raw, signal, wait_for};

#[test]
fn every_token_acknowledged_as_durable_is_there_after_sigkill_and_restart() {
    if !has("curl") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path(), "");
    let acknowledged = Mutex::new(BTreeSet::new());
    let deleted = Mutex::new(BTreeSet::new());
    let (next, over) = (AtomicU32::new(0), AtomicBool::new(false));
    let pid = service.child.id();
    std::thread::scope(|scope| {
        // Raw bodies over connections that stay open, each with a deletion after it.
        for _ in 0..3 {
            scope.spawn(|| {
                let mut client = Client::new(&service.gateway);
                while !over.load(Ordering::Relaxed) {
                    let first = next.fetch_add(500, Ordering::Relaxed);
                    let path = "/v1/tokens?format=bin&durable=true";
                    let Ok(reply) = client.try_request("POST", path, &[], &raw(first..first + 500)) else {
                        return;
                    };
                    if reply.status != 200 {
                        return;
                    }
                    assert_eq!(reply.json()["made"], 500);
                    assert_eq!(reply.json()["durable"], true);
                    acknowledged.lock().unwrap().extend(first..first + 500);
                    let path = format!("/v1/tokens/{first}?durable=true");
                    // From the moment that it is asked for, it may be gone.
                    acknowledged.lock().unwrap().remove(&first);
                    let Ok(reply) = client.try_request("DELETE", &path, &[], b"") else { return };
                    if reply.status == 200 {
                        assert_eq!(reply.json()["durable"], true);
                        deleted.lock().unwrap().insert(first);
                    }
                }
            });
        }
        // And curl, one process a request.
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let first = next.fetch_add(500, Ordering::Relaxed);
                let rows: String = (first..first + 20).map(|id| format!("{{\"id\":{id}}}\n")).collect();
                let url = format!("{}/v1/tokens?durable=true", service.gateway);
                let sent = std::panic::catch_unwind(|| {
                    curl(
                        &["-H", &format!("Content-Type: {NDJSON}"), "--data-binary", "@-", &url],
                        rows.as_bytes(),
                    )
                });
                let Ok(reply) = sent else { return };
                if serde_json::from_slice::<serde_json::Value>(&reply.body)
                    .is_ok_and(|answer| answer["durable"] == true && answer["made"] == 20)
                {
                    acknowledged.lock().unwrap().extend(first..first + 20);
                }
            }
        });
        wait_for("some load", || {
            deleted.lock().unwrap().len() >= 40 && acknowledged.lock().unwrap().len() > 20_000
        });
        signal(pid, "KILL");
        over.store(true, Ordering::Relaxed);
    });
    drop(service);
    let (acknowledged, deleted) = (acknowledged.into_inner().unwrap(), deleted.into_inner().unwrap());

    let service = Service::start(dir.path(), "");
    assert!(service.said().contains("recovered "), "{}", service.said());
    assert!(service.said().contains("nothing that was durable is missing"), "{}", service.said());
    let mut client = Client::new(&service.gateway);
    let mut status = |id: u32| client.request("GET", &format!("/v1/tokens/{id}"), &[], b"").status;
    let missing: Vec<_> = acknowledged.iter().filter(|id| status(**id) != 200).collect();
    assert!(missing.is_empty(), "{} of {} are gone: {missing:?}", missing.len(), acknowledged.len());
    let back: Vec<_> = deleted.iter().filter(|id| status(**id) != 404).collect();
    assert!(back.is_empty(), "{} of {} came back: {back:?}", back.len(), deleted.len());
    // It goes on where it was.
    let made = post(&service, NDJSON, "?durable=true", b"{\"weight\":1}\n").json();
    assert_eq!((&made["made"], &made["durable"]), (&json!(1), &json!(true)), "{made}");
    let (ended, said) = service.stop();
    assert_eq!(ended.code(), Some(0), "{said}");
    let verified = ng(dir.path()).args(["wal", "verify", "wal"]).output().unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}
