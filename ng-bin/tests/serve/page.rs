//! `docs/service.md` says what the service does: its examples are run, in their order.

use std::process::Command;

use serde_json::Value;

use crate::service::{Service, has};

/// The blocks of the page: what stands behind the fence, and the text.
fn blocks(page: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in page.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(kind)) => open = Some((kind.trim().to_owned(), String::new())),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some((_, text)), None) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, None) => {}
        }
    }
    blocks
}

/// Everything but the names of an object's fields and the length of what the page shows is taken out.
fn shape(shown: &Value, value: &Value) -> Value {
    match (shown, value) {
        (Value::Object(shown), Value::Object(fields)) => fields
            .iter()
            .map(|(name, value)| (name.clone(), shape(shown.get(name).unwrap_or(&Value::Null), value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        (Value::Array(shown), Value::Array(values)) => {
            shown.iter().zip(values).map(|(shown, value)| shape(shown, value)).collect::<Vec<_>>().into()
        }
        _ => Value::Null,
    }
}

#[test]
fn the_examples_of_the_page_do_what_it_says() {
    if !has("curl") || !has("gzip") {
        return;
    }
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/service.md")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    // One lane, so that the ids of what is sent follow from the order in which it is sent.
    let service = Service::start(dir.path(), "[serve]\nlanes = 1\n");
    let blocks = blocks(&page);
    let mut ran = 0;
    for (at, (kind, text)) in blocks.iter().enumerate() {
        if kind != "sh" {
            continue;
        }
        let script = text
            .replace("http://127.0.0.1:7700", &service.gateway)
            .replace("http://127.0.0.1:9464", &service.admin);
        // A status that is no success fails the example.
        let script = script.replace("curl -s", "curl -q -sS --noproxy '*' --fail-with-body");
        let output = Command::new("bash").args(["-o", "pipefail", "-c", &script]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}\n{said}\n{}", String::from_utf8_lossy(&output.stderr));
        ran += 1;
        let Some((kind, shown)) = blocks.get(at + 1).filter(|(kind, _)| kind.starts_with("json")) else {
            continue;
        };
        let shown: Value = serde_json::from_str(shown).unwrap_or_else(|error| panic!("{error}:\n{shown}"));
        let value: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}:\n{said}"));
        if kind == "json" {
            assert_eq!(shown, value, "{text}");
        } else {
            assert_eq!(shape(&shown, &shown), shape(&shown, &value), "{text}\n{value:#}");
        }
    }
    assert!(ran >= 9, "{ran} examples");
}

#[test]
fn the_page_names_every_key_that_bounds_something() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/service.md")).unwrap();
    for key in "max_connections max_in_flight max_body_mib max_refusals body_timeout_ms request_timeout_ms \
        durable_timeout_ms drain_ms token_file require_token insecure trust_wishes tls_cert tls_key unix_socket"
        .split_whitespace()
    {
        assert!(page.contains(key), "{key}");
    }
}
