//! The JSON Schema says what the loader says, by the word of a validator that nobody here wrote.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy knows the tests, and not what they share")]

use jsonschema::Validator;
use ng_stack::config::{Features, Loader, Profile, render_default, render_schema};
use proptest::prelude::*;
use serde_json::Value;

/// Rewrites the file instead of comparing: `UPDATE_DOCS=1 cargo test -p ng-stack --test config_schema`.
const UPDATE: &str = "UPDATE_DOCS";

fn schema() -> Validator {
    let schema: Value = serde_json::from_str(&render_schema()).unwrap();
    jsonschema::draft202012::meta::validate(&schema).unwrap();
    jsonschema::draft202012::new(&schema).unwrap()
}

/// A file as JSON; what TOML has and JSON has not is no configuration of ours anyway.
fn as_json(text: &str) -> Option<Value> {
    serde_json::to_value(toml::from_str::<toml::Table>(text).ok()?).ok()
}

fn loads(text: &str) -> bool {
    Loader::new().features(Features::ALL).text("any.toml", text).load().is_ok()
}

#[test]
fn the_shipped_schema_is_what_the_table_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/ng.schema.json");
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(path, render_schema()).unwrap();
    }
    let shipped = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        shipped == render_schema(),
        "docs/ng.schema.json is out of date: run this test once with {UPDATE}=1"
    );
}

#[test]
fn the_defaults_every_profile_and_the_shipped_example_pass_it() {
    let schema = schema();
    let mut texts = vec![("the default".to_owned(), render_default())];
    for profile in Profile::ALL {
        let loaded = Loader::new().features(Features::ALL).profile(*profile).load().unwrap();
        texts.push((profile.name().to_owned(), loaded.config.to_toml()));
    }
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/deploy/ng.toml");
    texts.push(("docs/deploy/ng.toml".to_owned(), std::fs::read_to_string(example).unwrap()));
    for (name, text) in texts {
        assert!(loads(&text), "{name}");
        if let Err(error) = schema.validate(&as_json(&text).unwrap()) {
            panic!("{name}: {error} at {}", error.instance_path());
        }
    }
}

#[test]
fn every_key_has_a_description_a_default_and_a_kind_in_it() {
    let schema: Value = serde_json::from_str(&render_schema()).unwrap();
    for setting in Loader::new().load().unwrap().settings() {
        let mut at = &schema;
        for part in setting.key.split('.') {
            at = &at["properties"][part];
        }
        assert!(at["description"].as_str().is_some_and(|about| about.len() > 20), "{}", setting.key);
        assert!(at["type"].is_string() && !at["default"].is_null(), "{}", setting.key);
    }
}

#[test]
fn what_an_editor_would_underline_is_refused_by_both() {
    let schema = schema();
    for text in [
        "profile = \"prod\"",
        "[wal]\nevry = 1",
        "[wal]\nevery = 0",
        "[wal]\nblock_kib = 9",
        "[wal]\ndir = \"\"",
        "[wal]\nkind = 1",
        "[blackbox]\nrare_events = 100",
        "[tracing]\nrate = 1.5",
        "[guardian]\ncleanup = \"yes\"",
        "[guardian.constitution]\nradius_max = 3",
        "[tracng]",
        "wal = 3",
    ] {
        assert!(!loads(text), "{text}");
        assert!(!schema.is_valid(&as_json(text).unwrap()), "{text}");
    }
}

/// Keys whose values a rule binds to those of other keys: a schema can't say it, so that there the
/// loader alone may refuse. Each of the rules has a test of its own beside it.
const BOUND_TO_OTHERS: [&str; 10] = [
    "guardian.cleanup_mark",
    "guardian.cleanup_target",
    "guardian.memory_rearm",
    "guardian.rearm",
    "guardian.soft_mark",
    "serve.tls_cert",
    "serve.tls_key",
    "wal.block_kib",
    "wal.max_log_mib",
    "wal.segment_mib",
];

/// What the schema takes and the loader refuses is one of these: a whole number with `.0`, which is
/// an integer to JSON, a name that this build lacks, or a value at odds with another key's.
fn only_the_loader_knows(key: &str, value: &str) -> bool {
    value.ends_with(".0")
        || value == "\"mmap\""
        || BOUND_TO_OTHERS.contains(&key)
        || key.starts_with("guardian.constitution.") && (key.ends_with("_min") || key.ends_with("_max"))
}

proptest! {
    #[test]
    fn a_value_is_taken_by_both_or_by_none_whatever_the_key(
        value in "(-?[0-9]{1,12}|[0-9]\\.[0-9]|true|false|\"(off|log|auto|std|mmap|json|info|file|http|/x|)\")",
    ) {
        let schema = schema();
        for setting in Loader::new().load().unwrap().settings() {
            let key = &setting.key;
            let text = format!("{key} = {value}");
            // A number with leading zeros is no TOML.
            let Some(json) = as_json(&text) else { continue };
            let (valid, loads) = (schema.is_valid(&json), loads(&text));
            prop_assert!(valid == loads || valid && only_the_loader_knows(key, &value), "{}", text);
        }
    }
}
