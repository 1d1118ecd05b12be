//! Any configuration: an error, or a stack that makes a token and ends; never a panic.
#![cfg(all(feature = "wal", feature = "guardian", feature = "telemetry", feature = "blackbox"))]
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::path::Path;
use std::time::Duration;

use ng_core::TokenSpec;
use ng_stack::Stack;
use ng_stack::config::{Loader, render_schema};
use proptest::prelude::*;
use serde_json::Value;

/// SplitMix64 (<https://prng.di.unimi.it/splitmix64.c>).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides.max(1)
    }

    fn one_of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[usize::try_from(self.roll(all.len() as u64)).unwrap()]
    }
}

/// What costs memory, disk or time by its size stays small, so that many stacks can be made.
fn most(key: &str) -> u64 {
    match key.rsplit('.').next().unwrap() {
        "segment_mib" | "spare_segments" => 4,
        "buffers" | "max_rings" | "lanes" => 8,
        "block_kib" => 256,
        "populate_tokens" | "lane_spans" | "queue_spans" | "operation_events" | "sampled_events"
        | "rare_events" => 4096,
        key if key.ends_with("_ms") => 40,
        _ => u64::MAX,
    }
}

/// A value that the schema allows, mostly.
fn value(dice: &mut Dice, key: &str, schema: &Value, dir: &Path) -> String {
    if dice.roll(200) == 0 {
        return dice
            .one_of(&["-1", "\"\"", "nan", "[]", "1e300", "18446744073709551615", "\"\\u0000\""])
            .to_owned();
    }
    if let Some(names) = schema["enum"].as_array() {
        let fits: Vec<String> = names
            .iter()
            .filter(|one| one.as_u64().is_none_or(|n| n <= most(key)))
            .map(Value::to_string)
            .collect();
        return fits[usize::try_from(dice.roll(fits.len() as u64)).unwrap()].clone();
    }
    match schema["type"].as_str().unwrap() {
        "integer" => {
            let min = schema["minimum"].as_u64().unwrap();
            let max = schema["maximum"]
                .as_u64()
                .unwrap_or(u64::try_from(i64::MAX).unwrap())
                .min(most(key).max(min));
            let step = schema["multipleOf"].as_u64().unwrap_or(1);
            let n = match dice.roll(4) {
                0 => min,
                1 => max,
                // Mostly small, where the odd cases are.
                _ => min + dice.roll((max - min).min(1_000) + 1),
            };
            (n / step * step).to_string()
        }
        "number" => {
            let (min, max) = (schema["minimum"].as_f64().unwrap(), schema["maximum"].as_f64().unwrap());
            let share = dice.roll(101) as f64 / 100.0;
            format!("{:?}", (min * (1.0 - share) + max * share).clamp(min, max))
        }
        "boolean" => dice.one_of(&["true", "false"]).to_owned(),
        _ if key.contains("endpoint") => {
            dice.one_of(&["\"\"", "\"http://127.0.0.1:1\"", "\"nowhere\"", "\"http://\"", "\"ü\""]).to_owned()
        }
        _ if key.contains("rules") => {
            dice.one_of(&["\"\"", "\"create=0.5\"", "\"a.*=0.1, *=1\"", "\"=\"", "\"x=2\""]).to_owned()
        }
        _ => match dice.roll(40) {
            0 => "\"/proc/no/such\"".to_owned(),
            1 => "\"/dev/null/x\"".to_owned(),
            2 => "\"\"".to_owned(),
            _ => format!("{:?}", dir.join(key)),
        },
    }
}

/// Some keys with a value each, and the paths in `dir` for whatever is not among them.
fn text(seed: u64, dir: &Path) -> String {
    let schema: Value = serde_json::from_str(&render_schema()).unwrap();
    let mut dice = Dice(seed);
    let mut text = String::new();
    for setting in Loader::new().load().unwrap().settings() {
        let key = setting.key.as_str();
        let pinned = ["wal.dir", "blackbox.dir", "tracing.output", "wal.segment_mib", "blackbox.max_rings"]
            .contains(&key)
            || key == "tracing.shutdown_ms";
        if key == "profile" || (!pinned && dice.roll(10) > 0) {
            continue;
        }
        let schema = key.split('.').fold(&schema, |at, part| &at["properties"][part]);
        text += &format!("{key} = {}\n", value(&mut dice, key, schema, dir));
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_configuration_is_an_error_or_a_stack(seed in any::<u64>()) {
        let dir = tempfile::tempdir().unwrap();
        let text = text(seed, dir.path());
        let loaded = match Loader::new().text("any.toml", &text).load() {
            Ok(loaded) => loaded,
            Err(errors) => {
                prop_assert!(!errors.to_string().is_empty());
                return Ok(());
            }
        };
        match Stack::builder().loaded(loaded).build() {
            Err(error) => prop_assert!(error.to_string().len() > 10, "{}\n{}", error, text),
            Ok(stack) => {
                if let Ok(mut lane) = stack.lane("maker") {
                    // Refused or made, by whatever the bounds and the quota are.
                    drop(lane.create(&TokenSpec::new().with_weight(0.5)));
                }
                prop_assert!(stack.shutdown(Duration::from_secs(30)).is_ok(), "{}", text);
            }
        }
    }
}

#[test]
fn about_half_of_them_are_stacks() {
    let built = (0..40).filter(|seed| {
        let dir = tempfile::tempdir().unwrap();
        let loaded = Loader::new().text("any.toml", text(*seed, dir.path())).load();
        loaded.is_ok_and(|loaded| Stack::builder().loaded(loaded).build().is_ok())
    });
    let built = built.count();
    assert!((8..40).contains(&built), "{built} of 40: the property above would say little");
}
