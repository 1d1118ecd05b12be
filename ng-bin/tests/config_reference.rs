//! What the table of keys promises: the reference page, the printed files and the variables agree
//! with what is read.

use ng_stack::config::{Features, Loader, Origin, Profile, StackConfig, render_default, render_reference};

/// Rewrites the page instead of comparing: `UPDATE_DOCS=1 cargo test -p ng-stack --test config_reference`.
const UPDATE: &str = "UPDATE_DOCS";

#[test]
fn the_reference_page_is_what_the_table_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(path, render_reference()).unwrap();
    }
    let page = std::fs::read_to_string(path).unwrap();
    assert!(
        page == render_reference(),
        "docs/configuration.md is out of date: run this test once with {UPDATE}=1"
    );
}

#[test]
fn the_printed_default_is_read_back_as_the_default() {
    let loaded = Loader::new().text("default.toml", render_default()).load().unwrap();
    assert_eq!(loaded.config, StackConfig::default());
    assert_eq!(loaded.warnings, []);
}

#[test]
fn an_empty_file_is_the_default() {
    for text in ["", "\n", "# nothing\n", "\u{feff}"] {
        let loaded = Loader::new().text("ng.toml", text).load().unwrap();
        assert_eq!(loaded.config, StackConfig::default());
        assert!(loaded.settings().iter().all(|setting| setting.origin == Origin::Default));
    }
}

#[test]
fn every_profile_keeps_every_rule_and_is_read_back() {
    for profile in Profile::ALL {
        let loaded = Loader::new().profile(*profile).features(Features::ALL).load().unwrap();
        assert_eq!(loaded.config.profile, *profile);
        let again =
            Loader::new().text("again", loaded.config.to_toml()).features(Features::ALL).load().unwrap();
        assert_eq!(again.config, loaded.config);
        assert_eq!(again.fingerprint(), loaded.fingerprint());
    }
}

#[test]
fn the_seed_profile_is_the_stress_of_v0_44_1() {
    let loaded = Loader::new().text("ng.toml", "profile = \"seed\"").load().unwrap();
    let config = &loaded.config;
    assert_eq!((config.wal.every, config.wal.batch_records), (1000, 10_000));
    assert_eq!((config.guardian.max_tokens, config.guardian.max_memory_bytes), (10_000_000, 1_000_000_000));
    assert_eq!((config.guardian.cleanup_mark, config.guardian.cleanup), (0.95, true));
    assert_eq!(loaded.origin("wal.every"), Some(Origin::Profile(Profile::Seed)));
}

#[test]
fn every_key_can_be_set_by_its_variable() {
    for setting in
        Loader::new().features(Features::ALL).profile(Profile::Development).load().unwrap().settings()
    {
        let name = format!("NG_{}", setting.key.replace('.', "__").to_uppercase());
        let value = setting.value.trim_matches('"');
        let loaded = Loader::new().features(Features::ALL).env([(&name, value)]).load().unwrap();
        assert_eq!(loaded.origin(&setting.key), Some(Origin::Variable(name)), "{}", setting.key);
        let now = loaded.settings().into_iter().find(|now| now.key == setting.key).unwrap();
        assert_eq!(now.value, setting.value);
    }
}

#[test]
fn every_key_refuses_a_value_of_another_type() {
    for setting in Loader::new().load().unwrap().settings() {
        for wrong in ["[]", "1979-05-27", "{}"] {
            let refused = Loader::new()
                .features(Features::ALL)
                .text("ng.toml", format!("{} = {wrong}", setting.key))
                .load()
                .unwrap_err();
            assert_eq!(refused.count(), 1, "{refused}");
            assert!(refused.findings()[0].message.starts_with(&format!("`{}` can't be", setting.key)));
        }
    }
}

#[test]
fn the_environment_overrides_the_file_which_overrides_the_profile_which_overrides_the_default() {
    let loaded = Loader::new()
        .features(Features::ALL)
        .text("ng.toml", "profile = \"seed\"\n[wal]\nbatch_records = 5\nbuffers = 32\n")
        .env([("WAL_BATCH_SIZE", "6"), ("NG_WAL__BUFFERS", "64"), ("PATH", "/bin"), ("NG_OTHER", "x")])
        .load()
        .unwrap();
    let wal = &loaded.config.wal;
    assert_eq!((wal.segment_mib, wal.every, wal.batch_records, wal.buffers), (64, 1000, 6, 64));
    let origin = |key| loaded.origin(key).unwrap().to_string();
    assert_eq!(origin("wal.segment_mib"), "default");
    assert_eq!(origin("wal.every"), "profile seed");
    assert_eq!(origin("wal.batch_records"), "WAL_BATCH_SIZE");
    assert_eq!(origin("wal.buffers"), "NG_WAL__BUFFERS");
    assert_eq!(origin("profile"), "ng.toml:1");
    assert_eq!(loaded.origin("wal.evry"), None);
}

#[test]
fn the_profile_of_the_environment_overrides_that_of_the_file() {
    let loaded = Loader::new()
        .profile(Profile::Development)
        .text("ng.toml", "profile = \"seed\"")
        .env([("NG_PROFILE", "production")])
        .load()
        .unwrap();
    assert_eq!(loaded.config.profile, Profile::Production);
    assert_eq!(loaded.config.wal.every, 1);
    assert_eq!(loaded.config.log.format.name(), "json");
}

#[test]
fn an_own_name_overrides_the_seeds_in_whichever_order_they_come() {
    let seed = ("WAL_BATCH_SIZE", "6");
    let own = ("NG_WAL__BATCH_RECORDS", "7");
    for variables in [[seed, own], [own, seed]] {
        assert_eq!(Loader::new().env(variables).load().unwrap().config.wal.batch_records, 7);
    }
}

#[test]
fn the_fingerprint_follows_the_values_and_not_where_they_are_from() {
    let of = |text: &str| Loader::new().text("ng.toml", text).load().unwrap().fingerprint();
    assert_eq!(of(""), of("[engine]\ndomain = 0\n"));
    assert_eq!(of(""), Loader::new().env([("NG_ENGINE__DOMAIN", "0")]).load().unwrap().fingerprint());
    assert_ne!(of(""), of("[engine]\ndomain = 1\n"));
    // FNV-1a over "key=value\n" of every key, worked out by a program of its own.
    let by_hand = Loader::new().load().unwrap().settings();
    let lines: String = by_hand
        .iter()
        .filter(|setting| setting.key != "profile")
        .map(|setting| format!("{}={}\n", setting.key, setting.value))
        .collect();
    let mut hash: u128 = 14_695_981_039_346_656_037;
    for byte in lines.bytes() {
        hash = ((hash ^ u128::from(byte)) * 1_099_511_628_211) % (1 << 64);
    }
    assert_eq!(u128::from(of("")), hash);
}

#[test]
fn relative_and_dotted_and_inline_ways_of_writing_are_the_same() {
    let of = |text: &str| Loader::new().features(Features::ALL).text("ng.toml", text).load().unwrap().config;
    let wanted = of("[guardian]\ncleanup = false\n[guardian.constitution]\nstrict = false\n");
    assert_eq!(of("guardian.cleanup = false\nguardian.constitution.strict = false\n"), wanted);
    assert_eq!(of("guardian = { cleanup = false, constitution = { strict = false } }\n"), wanted);
    assert_eq!(of("[guardian.constitution]\nstrict = false\n[guardian]\ncleanup = false\r\n"), wanted);
    assert_eq!(of("[wal]\nblock_kib = 0x40\nevery = 1_000\n").wal.block_kib, 64);
}
