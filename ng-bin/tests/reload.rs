//! A configuration that is read again while the stack works.
#![cfg(all(feature = "guardian", feature = "telemetry", feature = "blackbox"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on fails")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use ng_core::TokenSpec;
use ng_core::events::Tier;
use ng_core::lane::CreateError;
use ng_stack::Stack;
use ng_stack::config::{Loaded, Loader, LogLevel, StackConfig};
use ng_stack::reload::{Cause, Outcome, Part, Prepared, Reloader};

struct House {
    dir: tempfile::TempDir,
    stack: Stack,
    reloader: Reloader,
    levels: Arc<Mutex<Vec<LogLevel>>>,
}

impl House {
    /// A stack without a log, of the keys in `text`, dotted, a line each.
    fn with(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ng.toml");
        write(&file, dir.path(), text);
        let load = move || Loader::new().file(&file).load();
        let loaded: Loaded = load().unwrap();
        let stack = Stack::builder().loaded(loaded.clone()).build().unwrap();
        let levels: Arc<Mutex<Vec<LogLevel>>> = Arc::default();
        let kept = Arc::clone(&levels);
        let reloader = Reloader::new(loaded, load)
            .watch(dir.path().join("ng.toml"))
            .on_level(move |level| kept.lock().unwrap().push(level));
        reloader.register(stack.metrics()).unwrap();
        Self { dir, stack, reloader, levels }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("ng.toml")
    }

    fn write(&self, text: &str) {
        write(&self.file(), self.dir.path(), text);
    }

    fn reload(&self, text: &str) -> Outcome {
        self.write(text);
        self.reloader.reload(&self.stack, Cause::Asked)
    }

    fn scrape(&self) -> String {
        let mut text = String::new();
        self.stack.metrics().render(&mut text);
        text
    }

    /// Whether a token of this weight is made.
    fn makes(&self, weight: f32) -> bool {
        let mut lane = self.stack.lane("asker").unwrap();
        let made = lane.create(&TokenSpec::new().with_weight(weight));
        made.is_ok_and(|made| lane.delete(made.id).is_ok())
    }

    fn rare(&self) -> u64 {
        self.stack.events().stats().recorded[Tier::Rare as usize]
    }
}

fn write(file: &Path, dir: &Path, text: &str) {
    let base = format!(
        "wal.kind = \"off\"\ntracing.output = \"\"\nblackbox.dir = {:?}\n{text}\n",
        dir.join("rings")
    );
    std::fs::write(file, base).unwrap();
}

/// Keys in force and keys that wait.
fn keys(outcome: &Outcome) -> (Vec<&str>, Vec<&str>) {
    let Outcome::Applied { changed, waiting, .. } = outcome else { panic!("{outcome}") };
    (
        changed.iter().map(|one| one.key.as_str()).collect(),
        waiting.iter().map(|one| one.difference.key.as_str()).collect(),
    )
}

#[test]
fn live_keys_are_in_force_at_once_and_others_are_named() {
    let house = House::with("");
    assert!(house.makes(5.0));
    let outcome = house.reload(
        "tracing.rate = 0.25\nguardian.constitution.weight_max = 1.0\nguardian.max_tokens = 3\n\
         log.level = \"warn\"\nengine.domain = 2\nguardian.rearm = 0.1",
    );
    let (changed, waiting) = keys(&outcome);
    assert_eq!(
        changed,
        ["guardian.max_tokens", "guardian.constitution.weight_max", "tracing.rate", "log.level"]
    );
    assert_eq!(waiting, ["engine.domain", "guardian.rearm"]);
    let said = outcome.to_string();
    assert!(said.starts_with("4 changes in force, 2 changes not\n"), "{said}");
    assert!(said.contains("guardian.max_tokens = 3 (was 10000000)  # "), "{said}");
    assert!(said.contains("engine.domain stays 0, not 2: it needs a restart"), "{said}");

    assert!((house.stack.sampler().rate() - 0.25).abs() < 1e-12);
    assert!(!house.makes(5.0) && house.makes(0.5));
    assert_eq!(house.stack.admission().stats().limit, 3);
    assert_eq!(*house.levels.lock().unwrap(), [LogLevel::Warn]);
    let in_force = house.reloader.in_force();
    assert_eq!(in_force.config.engine.domain, 0);
    assert_eq!(in_force.origin("tracing.rate").unwrap().to_string(), format!("{}:4", house.file().display()));

    let text = house.scrape();
    assert!(text.contains("neurograph_config_reloads_total{result=\"applied\"} 1"), "{text}");
    assert!(text.contains("neurograph_config_changes_waiting 2"), "{text}");
    // What waits goes on to be told, and what is taken back is in force no longer.
    let (changed, waiting) = (house.reload("engine.domain = 2"), house.reload("engine.domain = 2"));
    assert_eq!(keys(&changed).0.len(), 4);
    assert_eq!(keys(&waiting), (vec![], vec!["engine.domain"]));
    assert!(house.makes(5.0));
    assert_eq!(house.reload(""), Outcome::Unchanged);
    assert!(house.scrape().contains("neurograph_config_changes_waiting 0"));
}

#[test]
fn a_bad_file_leaves_everything_as_it_was_and_says_so_three_times() {
    let house = House::with("tracing.rate = 0.5");
    let before = house.rare();
    let outcome = house.reload("tracing.rate = 0.25\nguardian.max_tokens = 0");
    let Outcome::Refused(errors) = &outcome else { panic!("{outcome}") };
    assert_eq!(errors.count(), 1);
    assert!(outcome.to_string().contains("`guardian.max_tokens` can't be 0"), "{outcome}");
    assert!((house.stack.sampler().rate() - 0.5).abs() < 1e-12, "half of it was applied");
    assert_eq!(house.rare(), before + 1);
    let text = house.scrape();
    assert!(text.contains("neurograph_config_reloads_total{result=\"refused\"} 1"), "{text}");
    assert!(text.contains("neurograph_config_file_refused 1"), "{text}");

    std::fs::remove_file(house.file()).unwrap();
    let gone = house.reloader.reload(&house.stack, Cause::Asked);
    assert!(gone.to_string().contains("there is no such file"), "{gone}");
    assert_eq!(keys(&house.reload("tracing.rate = 0.75")).0, ["tracing.rate"]);
    assert!(house.scrape().contains("neurograph_config_file_refused 0"));
}

#[test]
fn a_layer_that_refuses_its_part_takes_the_other_parts_back() {
    let house = House::with("");
    let before = house.reloader.in_force().config;
    let mut after = before.clone();
    after.guardian.constitution.weight_max = 1.0;
    after.tracing.rate = 0.5;
    // No file gets as far as this: a token takes 64 bytes.
    after.guardian.max_memory_bytes = 1;
    assert!(house.stack.follow(&before, &after).is_err());
    assert!(house.makes(5.0), "the bounds stayed");
    assert!((house.stack.sampler().rate() - 0.01).abs() < 1e-12);
    assert_eq!(house.stack.admission().stats().limit, 10_000_000);
}

#[test]
fn what_something_else_decides_is_said_to_be_so() {
    let dir = tempfile::tempdir().unwrap();
    let history = format!("guardian.cdna_dir = {:?}\ntracing.target_per_second = 100\n", dir.path());
    let house = House::with(&history);
    let outcome =
        house.reload(&format!("{history}guardian.constitution.weight_max = 1.0\ntracing.rate = 0.5"));
    assert_eq!(keys(&outcome), (vec![], vec!["guardian.constitution.weight_max", "tracing.rate"]));
    let said = outcome.to_string();
    assert!(said.contains("use `ng cdna`") && said.contains("tracing.target_per_second steers"), "{said}");
    assert!(house.makes(5.0));
}

/// Values of every type, of which each key takes one that is not its default.
const OTHERS: &str = "1 2 8 128 4096 0.02 0.07 0.9 true false \"off\" \"warn\" \"json\" \"std\" \"each\" \
\"drop\" \"block\" \"continue\" \"oldest\" \"chrome\" \"grpc\" \"/tmp/ng-elsewhere\"";

#[test]
fn exactly_the_keys_that_the_reference_calls_live_come_in_force() {
    let house = House::with("");
    let plain = Loader::new().load().unwrap();
    let layers = ["wal.kind", "tracing.output", "blackbox.dir", "profile"];
    // A certificate and its key come together or not at all.
    let pair = ["serve.tls_cert", "serve.tls_key"];
    for setting in house.reloader.in_force().settings() {
        if layers.iter().chain(&pair).any(|key| *key == setting.key) {
            continue;
        }
        // What of the service is live is the service's to follow, and here is none.
        let live = house.reloader.in_force().explain(&setting.key).unwrap()[0].live
            && !setting.key.starts_with("serve.");
        // Another value that the key and the rules take.
        let other = OTHERS
            .split_whitespace()
            .find(|other| {
                let text = format!("{} = {other}", setting.key);
                Loader::new().text("x", text).load().is_ok_and(|loaded| plain.diff(&loaded).len() == 1)
            })
            .unwrap_or_else(|| panic!("no other value for {}", setting.key));
        let outcome = house.reload(&format!("{} = {other}", setting.key));
        let (changed, waiting) = keys(&outcome);
        let key = setting.key.as_str();
        let wanted = if live { (vec![key], vec![]) } else { (vec![], vec![key]) };
        assert_eq!((changed, waiting), wanted, "{other}");
        let _ = house.reload("");
    }
}

/// Two tenants and a quota on something else, each key a line of its own.
const QUOTAS: &str = "\
guardian.quota.acme.parent = \"tokens\"
guardian.quota.acme.domain = 3
guardian.quota.acme.limit = 100
guardian.quota.files.limit = 10
guardian.quota.files.max_lease = 1
";

/// Makes tokens in domain 3 until one is refused: how many it made.
fn fill(house: &House) -> usize {
    let mut lane = house.stack.lane_in(3, "filler").unwrap();
    (0..1_000).take_while(|_| lane.create(&TokenSpec::new()).is_ok()).count()
}

#[test]
fn a_named_quota_follows_its_file_up_and_down_in_a_running_stack() {
    let house = House::with(QUOTAS);
    assert_eq!(fill(&house), 100);
    let outcome = house.reload(&QUOTAS.replace("limit = 100", "limit = 150"));
    assert_eq!(keys(&outcome), (vec!["guardian.quota.acme.limit"], vec![]));
    assert!(outcome.to_string().contains("guardian.quota.acme.limit = 150 (was 100)  # "), "{outcome}");
    assert_eq!(fill(&house), 50);
    let in_force = house.reloader.in_force();
    let line = in_force.origin("guardian.quota.acme.limit").unwrap().to_string();
    assert_eq!(line, format!("{}:6", house.file().display()));

    // Below use: nothing new until it has sunk.
    let sunk = QUOTAS.replace("limit = 100", "limit = 120");
    assert_eq!(keys(&house.reload(&sunk)).0, ["guardian.quota.acme.limit"]);
    let ids: Vec<_> = house.stack.store().iter().map(|(token, _)| token.id()).collect();
    let mut lane = house.stack.lane("deleter").unwrap();
    for (i, id) in ids.iter().enumerate().take(40) {
        assert_eq!(fill(&house), 0, "after {i} of 30");
        if i == 30 {
            break;
        }
        lane.delete(*id).unwrap();
    }
    lane.delete(ids[30]).unwrap();
    assert_eq!(fill(&house), 1);

    // A rate, marks; and a limit that is left to what it is in.
    let rated = sunk.replace("domain = 3\n", "domain = 3\nguardian.quota.acme.rate_per_second = 1\nguardian.quota.acme.rate_burst = 7\nguardian.quota.acme.soft_mark = 0.5\n");
    let rated = rated.replace("guardian.quota.acme.limit = 120\n", "");
    assert_eq!(
        keys(&house.reload(&rated)).0,
        ["limit", "rate_burst", "rate_per_second", "soft_mark"]
            .map(|key| format!("guardian.quota.acme.{key}"))
    );
    assert_eq!(fill(&house), 7);
    assert!(house.scrape().contains("neurograph_pool_limit{pool=\"tokens/acme\"} 4503599627370496"));
    assert_eq!(keys(&house.reload(QUOTAS)).0.len(), 4, "and back");
    assert_eq!(house.reload(QUOTAS), Outcome::Unchanged);
}

#[test]
fn what_of_a_named_quota_needs_a_restart_is_named_with_both_values() {
    let house = House::with(QUOTAS);
    let other = "\
guardian.quota.acme.parent = \"tokens\"
guardian.quota.acme.domain = 4
guardian.quota.acme.limit = 50
guardian.quota.files.limit = 20
guardian.quota.files.max_lease = 2
guardian.quota.new.limit = 5
";
    let outcome = house.reload(other);
    let (changed, waiting) = keys(&outcome);
    assert_eq!(changed, ["guardian.quota.acme.limit", "guardian.quota.files.limit"]);
    assert_eq!(waiting[..2], ["guardian.quota.acme.domain", "guardian.quota.files.max_lease"]);
    assert!(waiting[2..].iter().all(|key| key.starts_with("guardian.quota.new.")), "{waiting:?}");
    let said = outcome.to_string();
    assert!(said.contains("guardian.quota.acme.domain stays 3, not 4: it needs a restart"), "{said}");
    assert!(said.contains("guardian.quota.new.limit stays unset, not 5: it needs a restart"), "{said}");
    assert_eq!(fill(&house), 50, "domain 3 still counts there");
    // One that is gone from the file stays in force.
    let gone = house.reload("guardian.quota.files.limit = 20\nguardian.quota.files.max_lease = 1");
    let (changed, waiting) = keys(&gone);
    assert!(
        changed.is_empty() && waiting.iter().all(|key| key.starts_with("guardian.quota.acme.")),
        "{gone}"
    );
    assert!(gone.to_string().contains("guardian.quota.acme.limit stays 50, not unset"), "{gone}");
    assert_eq!(house.reloader.in_force().config.guardian.named.iter().count(), 2);
}

#[test]
fn a_quota_that_is_refused_takes_limits_and_bounds_back() {
    let house = House::with(QUOTAS);
    let before = house.reloader.in_force().config;
    let loaded = Loader::new()
        .text("x", format!("{QUOTAS}guardian.quota.acme.soft_mark = 0.03\nguardian.rearm = 0.02"))
        .load()
        .unwrap();
    let mut after = before.clone();
    after.guardian.named = loaded.config.guardian.named;
    after.guardian.max_tokens = 5_000;
    after.guardian.constitution.weight_max = 1.0;
    // Sound in the file, beside a `rearm` that waits; not beside the one in force.
    let error = house.stack.follow(&before, &after).unwrap_err();
    assert!(error.to_string().contains("soft_mark = 0.03 is no mark"), "{error}");
    assert!(house.makes(5.0), "the bounds stayed");
    assert_eq!(house.stack.admission().stats().limit, 10_000_000);
    assert_eq!(fill(&house), 100);
}

#[test]
fn a_changed_file_is_seen_by_a_look_once_it_rests() {
    let house = House::with("");
    assert!(house.reloader.look(&house.stack).is_none());
    house.write("tracing.rate = 0.125");
    assert!(house.reloader.look(&house.stack).is_none());
    assert_eq!(keys(&house.reloader.look(&house.stack).unwrap()).0, ["tracing.rate"]);
    assert!(house.reloader.look(&house.stack).is_none());
}

#[test]
fn under_load_no_token_is_refused_that_both_configurations_let_in_and_none_is_lost() {
    let house = House::with("guardian.max_tokens = 1_000_000");
    let (stop, made, forbidden) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for maker in 0..2 {
            let mut lane = house.stack.lane("maker").unwrap();
            let (stop, made, forbidden) = (&stop, &made, &forbidden);
            scope.spawn(move || {
                // One keeps within both bounds, the other only within the wider ones.
                let weight = if maker == 0 { 0.5 } else { 5.0 };
                while !stop.load(Ordering::Relaxed) {
                    match lane.create(&TokenSpec::new().with_weight(weight)) {
                        Ok(token) => {
                            made.fetch_add(1, Ordering::Relaxed);
                            lane.delete(token.id).unwrap();
                        }
                        Err(CreateError::Forbidden(_)) if maker == 1 => {
                            forbidden.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(other) => panic!("{other}"),
                    }
                }
            });
        }
        for round in 0..200_u32 {
            let (max, rate) = if round % 2 == 0 { ("1.0", "0.5") } else { ("10.0", "0.001") };
            let outcome = house.reload(&format!(
                "guardian.max_tokens = {}\ntracing.rate = {rate}\nguardian.constitution.weight_max = {max}",
                1_000 + round
            ));
            assert_eq!(keys(&outcome).0.len(), 3, "{outcome}");
            if round % 5 == 0 {
                assert!(!house.reload("guardian.max_tokens = 0").is_good());
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(made.into_inner() > 1_000 && forbidden.into_inner() > 0);
    assert_eq!(house.stack.store().len(), 0);
    assert_eq!(house.stack.admission().stats().used, 0);
    assert_eq!(house.stack.admission().stats().limit, 1_199);
}

/// A part that reads a secret from `serve.token_file` and refuses an empty one.
struct Secret {
    in_force: Arc<Mutex<String>>,
}

impl Part for Secret {
    fn files(&self, config: &StackConfig) -> Vec<PathBuf> {
        config.serve.token_file.iter().cloned().collect()
    }

    fn prepare(&self, after: &StackConfig) -> Result<Prepared, String> {
        let file = after.serve.token_file.as_ref().ok_or("serve.token_file is empty")?;
        let next = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
        if next.is_empty() {
            return Err(format!("{} is empty", file.display()));
        }
        let in_force = Arc::clone(&self.in_force);
        let renewed = if *in_force.lock().unwrap() == next { vec![] } else { vec!["the secret"] };
        let commit = Box::new(move || *in_force.lock().unwrap() = next);
        Ok(Prepared { overruled: Vec::new(), renewed, commit })
    }
}

#[test]
fn a_part_of_the_program_follows_with_the_stack_or_neither_does() {
    let house = House::with("serve.max_body_mib = 5");
    // Nobody serves: the key waits.
    assert_eq!(keys(&house.reload("serve.max_body_mib = 6")), (vec![], vec!["serve.max_body_mib"]));

    let secret = house.dir.path().join("secret");
    std::fs::write(&secret, "one").unwrap();
    let in_force = Arc::new(Mutex::new("one".to_owned()));
    let text = |rest: &str| format!("serve.token_file = {secret:?}\n{rest}");
    house.write(&text(""));
    let file = house.file();
    let load = move || Loader::new().file(&file).load();
    let part = Secret { in_force: Arc::clone(&in_force) };
    let House { dir, stack, .. } = house;
    let reloader = Reloader::new(load().unwrap(), load).watch(dir.path().join("ng.toml")).with_part(part);

    // The file that the configuration names, and not the configuration, has changed.
    std::fs::write(&secret, "two").unwrap();
    assert_eq!(reloader.look(&stack), None, "it may be half written");
    let outcome = reloader.look(&stack).unwrap();
    assert_eq!(outcome.to_string(), "read anew: the secret");
    assert_eq!(*in_force.lock().unwrap(), "two");
    assert_eq!(reloader.look(&stack), None);

    // While one of two files still moves, neither is read.
    write(&dir.path().join("ng.toml"), dir.path(), &text("tracing.rate = 0.5"));
    assert_eq!(reloader.look(&stack), None);
    std::fs::write(&secret, "three").unwrap();
    assert_eq!(reloader.look(&stack), None, "the configuration rests, the secret does not");
    let outcome = reloader.look(&stack).unwrap();
    assert_eq!(keys(&outcome), (vec!["tracing.rate"], vec![]));
    assert_eq!(*in_force.lock().unwrap(), "three");

    // What the part refuses, the stack does not follow either; and the other way round.
    std::fs::write(&secret, "").unwrap();
    write(&dir.path().join("ng.toml"), dir.path(), &text("tracing.rate = 0.25"));
    let outcome = reloader.reload(&stack, Cause::Asked);
    assert!(outcome.to_string().ends_with("secret is empty"), "{outcome}");
    assert!((stack.sampler().rate() - 0.5).abs() < 1e-12);
    std::fs::write(&secret, "four").unwrap();
    write(&dir.path().join("ng.toml"), dir.path(), &text("tracing.rate = 7"));
    assert!(matches!(reloader.reload(&stack, Cause::Asked), Outcome::Refused(_)));
    assert_eq!(*in_force.lock().unwrap(), "three");

    // Once both are sound, a mended file is enough.
    write(&dir.path().join("ng.toml"), dir.path(), &text("tracing.rate = 0.25\nserve.max_body_mib = 6"));
    let outcome = reloader.reload(&stack, Cause::Asked);
    assert_eq!(keys(&outcome), (vec!["tracing.rate", "serve.max_body_mib"], vec![]));
    assert_eq!(*in_force.lock().unwrap(), "four");
}

#[test]
fn marks_and_the_rate_of_the_quota_on_tokens_follow_their_file() {
    let house = House::with("guardian.max_tokens = 1000");
    let mut lane = house.stack.lane("maker").unwrap();
    for _ in 0..600 {
        lane.create(&TokenSpec::new().with_weight(0.5)).unwrap();
    }
    // What is in use stands above the new mark, and nothing more is made: the change itself is seen.
    let lower = "guardian.max_tokens = 1000\nguardian.soft_mark = 0.4\nguardian.cleanup_mark = 0.5\n\
                 guardian.cleanup_target = 0.3";
    let outcome = house.reload(lower);
    let keys_in_force = ["guardian.soft_mark", "guardian.cleanup_mark", "guardian.cleanup_target"];
    assert_eq!(keys(&outcome), (keys_in_force.to_vec(), vec![]));
    let begun = std::time::Instant::now();
    while house.stack.store().len() > 300 {
        assert!(begun.elapsed().as_secs() < 20, "{} tokens are left", house.stack.store().len());
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    assert_eq!(house.stack.store().len(), 300);

    // Marks that contradict each other are a faulty file.
    let wrong = house.reload(&lower.replace("cleanup_target = 0.3", "cleanup_target = 0.6"));
    assert!(matches!(wrong, Outcome::Refused(_)), "{wrong}");

    let rated = format!("{lower}\nguardian.rate_per_second = 1\nguardian.rate_burst = 2");
    assert_eq!(keys(&house.reload(&rated)).1, Vec::<&str>::new());
    let made = (0..5).filter(|_| lane.create(&TokenSpec::new().with_weight(0.5)).is_ok()).count();
    assert!((2..=3).contains(&made), "{made} of 5 at one a second, two at once");
    assert_eq!(keys(&house.reload(lower)).1, Vec::<&str>::new());
    assert!((0..100).all(|_| lane.create(&TokenSpec::new().with_weight(0.5)).is_ok()), "no rate is left");
}
