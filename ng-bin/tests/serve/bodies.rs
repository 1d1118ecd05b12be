//! What bodies become: each kind, each fault, each limit.

use serde_json::{Value, json};

use crate::service::{Client, NDJSON, Service, curl, gzip, has, post, raw};

#[test]
fn each_kind_of_body_makes_tokens_that_are_read_back_one_by_one() {
    if !has("curl") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path(), "");
    let rows = b"{\"id\":5,\"weight\":0.25}\n\n{\"id\":\"0:0:6\",\"weight\":2}\r\n{\"weight\":7}";
    let made = post(&service, NDJSON, "?durable=true", rows).json();
    assert_eq!((&made["read"], &made["made"], &made["refused"]), (&json!(3), &json!(3), &json!(0)), "{made}");
    assert_eq!((&made["durable"], &made["last_lsn"]), (&json!(true), &json!(2)), "{made}");

    let csv = b"price,lon\n1.5,2\n\"3\",4\n";
    let made = post(&service, "text/csv; charset=utf-8", "?map=weight%3Dprice&map=L1.x=lon", csv).json();
    assert_eq!(made["made"], 2, "{made}");
    assert_eq!((&made["durable"], &made["last_lsn"]), (&json!(false), &Value::Null), "{made}");
    let first = made["ids"][0]["first"].as_u64().unwrap();

    let made = post(&service, "application/octet-stream", "?durable", &raw(1_000..1_300)).json();
    assert_eq!(
        (&made["made"], &made["ids"]),
        (&json!(300), &json!([{"at": 0, "first": 1000, "count": 300}]))
    );
    let made = post(&service, "text/plain", "?format=bin&ids=any&durable=1", &raw(1_000..1_300)).json();
    assert_eq!(made["made"], 300, "the lane chooses the ids: {made}");

    let get = |id: &str, accept: &str| {
        curl(&["-H", &format!("Accept: {accept}"), &format!("{}/v1/tokens/{id}", service.gateway)], b"")
    };
    assert_eq!(get("5", "*/*").json()["weight"], 0.25);
    assert_eq!(get("0:0:6", "application/json").json()["weight"], 2.0);
    let second = get(&(first + 1).to_string(), "*/*").json();
    assert_eq!((&second["weight"], &second["L1.x"]), (&json!(3.0), &json!(4)));
    assert_eq!(get("0x3E8", "application/octet-stream").body.len(), 64);
    assert!(String::from_utf8(get("1000", "text/csv").body).unwrap().starts_with("id,weight,"));
    assert_eq!(get("999999", "*/*").status, 404);
    assert_eq!(get("x", "*/*").status, 400);

    let delete =
        |id: &str| curl(&["-X", "DELETE", &format!("{}/v1/tokens/{id}?durable=true", service.gateway)], b"");
    let gone = delete("5");
    assert_eq!((gone.status, &gone.json()["durable"]), (200, &json!(true)));
    assert_eq!(delete("5").status, 404);
    assert_eq!(get("5", "*/*").status, 404);

    let stats = curl(&[&format!("{}/v1/stats", service.gateway)], b"").json();
    assert_eq!(stats["tokens"]["live"], 604, "{stats}");
    assert_eq!(stats["tokens"]["made_total"], 605, "{stats}");
}

#[test]
fn rows_that_are_not_made_are_counted_by_reason_and_named_by_line() {
    if !has("curl") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let config = "[guardian]\ncleanup = false\nmax_tokens = 5\nmax_lease = 1\n[guardian.constitution]\nweight_max = 10\n\
                  [serve]\nmax_refusals = 3\n";
    let service = Service::start(dir.path(), config);
    let rows = "{\"weight\":1,\"id\":1}\n{\"weight\":\"x\"}\n{\"weight\":11}\n{\"id\":1}\nnonsense\n{\"weight\":2}\n";
    let reply = post(&service, NDJSON, "", rows.as_bytes());
    let made = reply.json();
    assert_eq!((reply.status, &made["made"], &made["refused"]), (200, &json!(2), &json!(4)), "{made}");
    assert_eq!(made["refused_by"], json!({"malformed": 2, "constitution": 1, "taken": 1}));
    let lines: Vec<_> = made["refusals"].as_array().unwrap().iter().map(|row| row["line"].clone()).collect();
    assert_eq!(
        (lines, &made["refusals_left_off"]),
        (vec![json!(2), json!(3), json!(4)], &json!(1)),
        "{made}"
    );
    assert_eq!(made["refusals"][0]["column"], "weight");

    // The quota: what there is room for is made, the rest is refused; then nothing is.
    let rows = "{\"weight\":1}\n".repeat(10);
    let made = post(&service, NDJSON, "?durable=true", rows.as_bytes()).json();
    assert_eq!((&made["made"], &made["refused_by"]), (&json!(3), &json!({"quota": 7})), "{made}");
    let reply = post(&service, NDJSON, "", rows.as_bytes());
    assert_eq!((reply.status, reply.header("retry-after")), (429, Some("1")), "{reply:?}");
    let reply = post(&service, NDJSON, "", b"{\"weight\":11}\n");
    assert_eq!(reply.status, 422, "{reply:?}");
}

#[test]
fn a_body_that_is_not_utf8_or_ends_within_a_record_loses_only_that_row() {
    if !has("curl") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path(), "");
    let made = post(&service, NDJSON, "", b"{\"weight\":1}\n{\"weight\":\"\xff\"}\n{\"weight\":3}\n").json();
    assert_eq!((&made["made"], &made["refusals"][0]["line"]), (&json!(2), &json!(2)), "{made}");
    let made = post(&service, "text/csv", "", b"weight\n1\n\xff\n3\n").json();
    assert_eq!((&made["made"], &made["refusals"][0]["line"]), (&json!(2), &json!(3)), "{made}");
    let reply = post(&service, "text/csv", "", b"we\xffight\n1\n");
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (400, &json!("bad_header")));
    let made = post(&service, "application/octet-stream", "", &raw(900..903)[..150]).json();
    assert_eq!((&made["made"], &made["refusals"][0]["byte"]), (&json!(2), &json!(128)), "{made}");
    let reply = post(&service, "text/csv", "", b"");
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (400, &json!("bad_header")));
    let reply = post(&service, NDJSON, "", b"");
    assert_eq!((reply.status, &reply.json()["read"]), (200, &json!(0)));
}

#[test]
fn what_can_not_be_meant_is_refused_with_what_to_write() {
    if !has("curl") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path(), "");
    let code = |reply: crate::service::Reply| {
        let code = reply.json()["error"]["code"].as_str().unwrap().to_owned();
        (reply.status, code)
    };
    let expected = |status: u16, code: &str| (status, code.to_owned());
    let post = |kind: &str, query: &str| code(post(&service, kind, query, b"weight\n1\n"));
    assert_eq!(post("text/plain", ""), expected(415, "bad_content_type"));
    assert_eq!(post("text/csv", "?durabel=true"), expected(400, "bad_query"));
    assert_eq!(post("text/csv", "?map=wieght=weight"), expected(400, "bad_map"));
    assert_eq!(post("text/csv", "?map=weight=mass"), expected(400, "bad_header"));
    let send = |words: &[&str]| {
        let mut words = words.to_vec();
        let url = format!("{}{}", service.gateway, words.pop().unwrap());
        words.push(&url);
        code(curl(&words, b""))
    };
    assert_eq!(send(&["/v1/nothing"]), expected(404, "no_such_path"));
    assert_eq!(send(&["/v1/tokens"]), expected(405, "wrong_method"));
    assert_eq!(send(&["-X", "PUT", "/v1/tokens/1"]), expected(405, "wrong_method"));
    assert_eq!(send(&["-X", "DELETE", "/v1/tokens/1?durabel"]), expected(400, "bad_query"));
    assert_eq!(
        send(&["-H", "Content-Encoding: br", "-H", "Content-Type: text/csv", "-d", "x", "/v1/tokens"]),
        expected(415, "bad_encoding")
    );
    assert_eq!(send(&["-H", "Origin: http://evil.example", "/v1/stats"]), expected(403, "foreign_origin"));
    // A name that was bent to this machine makes the two agree.
    let bent = ["-H", "Origin: http://evil.example", "-H", "Host: evil.example", "/v1/stats"];
    assert_eq!(send(&bent), expected(403, "foreign_host"));
    let own = format!("Origin: {}", service.gateway);
    assert_eq!(curl(&["-H", &own, &format!("{}/v1/stats", service.gateway)], b"").status, 200);
}

#[test]
fn a_gzip_body_is_what_it_was_before_and_a_bad_one_is_refused_where_it_breaks() {
    if !has("curl") || !has("gzip") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path(), "[serve]\nmax_body_mib = 4\n");
    let send = |body: &[u8]| {
        let url = format!("{}/v1/tokens?durable=true&ids=any", service.gateway);
        let headers = ["-H", "Content-Encoding: gzip", "-H", "Content-Type: application/octet-stream"];
        curl(&[&headers[..], &["--data-binary", "@-", &url]].concat(), body)
    };
    let packed = gzip(&raw(0..20_000));
    let reply = send(&packed);
    assert_eq!((reply.status, &reply.json()["made"]), (200, &json!(20_000)));
    // Two members are one stream.
    let reply = send(&[packed.clone(), gzip(&raw(0..10))].concat());
    assert_eq!(reply.json()["made"], 20_010, "{reply:?}");

    let cut = send(&packed[..packed.len() / 2]);
    assert_eq!((cut.status, &cut.json()["error"]["code"]), (400, &json!("bad_gzip")), "{cut:?}");
    let mut wrong = packed.clone();
    let at = wrong.len() - 6;
    wrong[at] ^= 1;
    let wrong = send(&wrong);
    let answer = wrong.json();
    assert_eq!((wrong.status, &answer["error"]["code"]), (400, &json!("bad_gzip")), "{wrong:?}");
    assert_eq!(
        answer["durable"],
        answer["made"].as_u64().unwrap() > 0,
        "what was made first is durable: {answer}"
    );
    assert_eq!(send(b"weight\n1\n").status, 400);
    assert_eq!(send(b"").status, 400);

    // 64 MiB of zeros in 64 KiB: the limit is on what comes out.
    let bomb = send(&gzip(&vec![0; 64 << 20]));
    assert_eq!((bomb.status, &bomb.json()["error"]["code"]), (413, &json!("too_large")));
    let resident = service.look("/v1/live")["memory"]["rss_bytes"].as_u64().unwrap();
    assert!(resident < 200 << 20, "{resident}");
}

#[test]
fn a_body_beyond_the_limit_is_refused_before_it_is_read_or_as_soon_as_it_shows() {
    if !has("curl") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path(), "[serve]\nmax_body_mib = 1\nmax_row_kib = 1\n");
    let large = raw(0..20_000);
    let reply = post(&service, "application/octet-stream", "?durable=true", &large);
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (413, &json!("too_large")), "{reply:?}");
    // With the body on the way, the answer is not lost to a reset.
    for _ in 0..10 {
        let mut client = Client::new(&service.gateway);
        let reply = client.try_request("POST", "/v1/tokens?format=bin", &[], &large);
        assert_eq!(reply.unwrap().status, 413);
    }
    let url = format!("{}/v1/tokens?format=bin&durable=true", service.gateway);
    let reply =
        curl(&["-H", "Transfer-Encoding: chunked", "-X", "POST", "--data-binary", "@-", &url], &large);
    let answer = reply.json();
    assert_eq!((reply.status, &answer["error"]["code"]), (413, &json!("too_large")));
    let made = answer["made"].as_u64().unwrap();
    assert!(made > 0 && made < 20_000 && answer["durable"] == true, "{answer}");
    assert_eq!(service.look("/v1/live")["tokens"]["live"], made);

    // One row without an end.
    let row = format!("{{\"weight\":1,\"x\":\"{}\"}}\n{{\"weight\":2}}\n", "y".repeat(100_000));
    let made = post(&service, NDJSON, "", row.as_bytes()).json();
    assert_eq!((&made["made"], &made["refusals"][0]["line"]), (&json!(1), &json!(1)), "{made}");
}

#[test]
fn nothing_is_called_durable_that_is_not() {
    let dir = tempfile::tempdir().unwrap();
    for (config, why) in [
        ("every = 10\n", "wal.every"),
        ("mode = \"os\"\n", "wal.mode"),
        ("kind = \"off\"\n", "wal.kind"),
        ("on_full = \"drop\"\n", "wal.on_full"),
        ("on_failure = \"continue\"\n", "wal.on_failure"),
    ] {
        let service = Service::start(dir.path(), config);
        let mut client = Client::new(&service.gateway);
        let post = |client: &mut Client, query: &str| {
            client.request(
                "POST",
                &format!("/v1/tokens{query}"),
                &[("Content-Type", NDJSON)],
                b"{\"weight\":1}",
            )
        };
        let reply = post(&mut client, "?durable=true");
        assert_eq!(reply.status, 409, "{why}");
        assert!(reply.json()["error"]["message"].as_str().unwrap().contains(why));
        let reply = post(&mut client, "");
        assert_eq!((reply.status, &reply.json()["durable"]), (200, &json!(false)), "{why}");
        assert_eq!(service.stop().0.code(), Some(0), "{why}");
    }
}
