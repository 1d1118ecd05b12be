//! What is said of a bad configuration, word for word.
#![expect(clippy::unwrap_used, clippy::panic, reason = "clippy knows the tests, and not what they share")]

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use ng_stack::config::{ConfigErrors, EX_CONFIG, Features, Finding, Loader, Place, Severity};

fn refused(text: &str) -> ConfigErrors {
    Loader::new().features(Features::ALL).text("ng.toml", text).load().unwrap_err()
}

fn refused_variable(name: &str, value: &str) -> String {
    Loader::new().features(Features::ALL).env([(name, value)]).load().unwrap_err().to_string()
}

/// Message and first help of the only fault.
fn only(errors: &ConfigErrors) -> (&str, &str) {
    assert_eq!(errors.count(), 1, "{errors}");
    let finding = &errors.findings()[0];
    (&finding.message, &finding.help[0])
}

#[test]
fn all_faults_are_shown_at_once_with_line_column_mark_and_what_was_meant() {
    let text = "\
[wal]
evry = 1000
mode = \"gruop\"
every = 0

[tracng]
rate = 1.5
[tracing]
rate = 1.5
";
    let expected = "\
error: there is no key `evry` in [wal]
 --> ng.toml:2:1
  |
2 | evry = 1000
  | ^^^^
  = help: did you mean `every`?

error: `wal.mode` can't be \"gruop\"
 --> ng.toml:3:8
  |
3 | mode = \"gruop\"
  |        ^^^^^^^
  = help: did you mean \"group\"?
  = help: write \"group\", \"each\" or \"os\"; the default is \"group\"

error: `wal.every` can't be 0
 --> ng.toml:4:9
  |
4 | every = 0
  |         ^
  = help: write a whole number, 1 or more; the default is 1

error: there is no section [tracng]
 --> ng.toml:6:2
  |
6 | [tracng]
  |  ^^^^^^
  = help: did you mean [tracing]?

error: `tracing.rate` can't be 1.5
 --> ng.toml:9:8
  |
9 | rate = 1.5
  |        ^^^
  = help: write a number from 0.0 to 1.0; the default is 0.01

5 errors in the configuration";
    assert_eq!(refused(text).to_string(), expected);
}

#[test]
fn a_fault_of_the_environment_names_the_variable() {
    let expected = "\
error: `wal.every` can't be 0
 --> environment variable NG_WAL__EVERY
  |
  | NG_WAL__EVERY=0
  |               ^
  = help: write a whole number, 1 or more; the default is 1

1 error in the configuration";
    assert_eq!(refused_variable("NG_WAL__EVERY", "0"), expected);

    let expected = "\
error: NG_WAL__EVRY sets no key
 --> environment variable NG_WAL__EVRY
  |
  | NG_WAL__EVRY=1
  |              ^
  = help: did you mean NG_WAL__EVERY?

1 error in the configuration";
    assert_eq!(refused_variable("NG_WAL__EVRY", "1"), expected);
}

#[test]
fn a_thrift_address_is_refused_with_the_address_to_write_instead() {
    let expected = "\
error: this is an address of the Jaeger collector's own protocol, not of OTLP
 --> environment variable JAEGER_ENDPOINT
  |
  | JAEGER_ENDPOINT=http://jaeger:14268/api/traces
  |                 ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  = help: Jaeger takes OTLP since 1.35: write http://jaeger:4318/v1/traces, or unset it

1 error in the configuration";
    assert_eq!(refused_variable("JAEGER_ENDPOINT", "http://jaeger:14268/api/traces"), expected);
    assert!(refused_variable("JAEGER_ENDPOINT", "agent:6831").contains("Thrift over UDP"));
    assert!(refused_variable("JAEGER_ENDPOINT", "jaeger").contains("no http or https URL"));
}

#[test]
fn an_otlp_address_sets_the_exporter_or_says_that_there_is_none() {
    let load = |value| Loader::new().env([("JAEGER_ENDPOINT", value)]).load().unwrap();
    let loaded = load("http://jaeger:4318");
    if cfg!(feature = "otlp") {
        let tracing = &loaded.config.tracing;
        assert_eq!(loaded.warnings, []);
        assert_eq!((tracing.exporter.name(), &*tracing.endpoint), ("otlp", "http://jaeger:4318"));
        assert_eq!(tracing.protocol.name(), "http");
        assert_eq!(load("http://jaeger:4317/").config.tracing.protocol.name(), "grpc");
        assert_eq!(
            loaded.origin("tracing.endpoint"),
            Some(ng_stack::config::Origin::Variable("JAEGER_ENDPOINT".into()))
        );
        return;
    }
    let [warning] = loaded.warnings.as_slice() else { panic!("{:?}", loaded.warnings) };
    assert_eq!(warning.severity, Severity::Warning);
    let expected = "\
warning: no spans are sent there: this program has no OTLP exporter
 --> environment variable JAEGER_ENDPOINT
  |
  | JAEGER_ENDPOINT=http://jaeger:4318
  |                 ^^^^^^^^^^^^^^^^^^
  = help: build ng-stack with the Cargo feature `otlp`, or unset JAEGER_ENDPOINT to silence this
";
    assert_eq!(warning.render(false), expected);
}

#[test]
fn the_seeds_variables_set_their_keys_or_are_refused() {
    let kind = |value| {
        let loaded = Loader::new().features(Features::ALL).env([("ENABLE_TRACING", value)]).load();
        loaded.unwrap().config.tracing.kind.name()
    };
    assert_eq!((kind("false"), kind("0"), kind("FALSE")), ("off", "off", "off"));
    let without = Loader::new().env([("ENABLE_TRACING", ""), ("WAL_BATCH_SIZE", "")]).load().unwrap();
    assert_eq!(without, Loader::new().load().unwrap());
    assert!(refused_variable("ENABLE_TRACING", "yes").contains("write true or false"));
    assert!(
        refused_variable("WAL_BATCH_SIZE", "many")
            .contains("`wal.batch_records` can't be the string \"many\"")
    );
    assert!(refused_variable("WAL_BATCH_SIZE", "-1").contains("can't be -1"));
}

#[test]
fn a_variable_with_one_underscore_too_few_is_warned_of() {
    let loaded = Loader::new().env([("NG_WAL_EVERY", "5")]).load().unwrap();
    assert_eq!(loaded.config.wal.every, 1);
    assert_eq!(loaded.warnings[0].message, "NG_WAL_EVERY is ignored");
    assert_eq!(loaded.warnings[0].help, ["did you mean NG_WAL__EVERY?"]);
}

#[test]
fn a_variable_that_is_not_utf8_is_refused_and_those_of_others_are_not_looked_at() {
    let bad = OsString::from_vec(vec![b'x', 0xff]);
    assert!(Loader::new().env([("OTHER", bad.clone())]).load().is_ok());
    assert!(Loader::new().env([(bad.clone(), "1")]).load().is_ok());
    let errors = Loader::new().env([("NG_WAL__DIR", bad)]).load().unwrap_err();
    assert_eq!(only(&errors).0, "NG_WAL__DIR is not UTF-8");
}

#[test]
fn values_that_can_not_be_are_refused_with_what_can() {
    for (text, message, help) in [
        ("wal.every = -1", "`wal.every` can't be -1", "write a whole number, 1 or more; the default is 1"),
        ("wal.every = 1.0", "`wal.every` can't be 1.0", "write a whole number, 1 or more; the default is 1"),
        (
            "wal.every = 99999999999999999999999999999999999999999999",
            "`wal.every` can't be a number of so many digits",
            "write a whole number, 1 or more; the default is 1",
        ),
        (
            "wal.every = 9223372036854775808",
            "`wal.every` can't be 9223372036854775808",
            "write a whole number, 1 or more; the default is 1",
        ),
        (
            "wal.every = [1]",
            "`wal.every` can't be an array",
            "write a whole number, 1 or more; the default is 1",
        ),
        (
            "wal.buffers = \"32\"",
            "`wal.buffers` can't be the string \"32\"",
            "did you mean 32, without quotes?",
        ),
        (
            "guardian.cleanup = \"yes\"",
            "`guardian.cleanup` can't be the string \"yes\"",
            "write true or false; the default is true",
        ),
        ("guardian.cleanup = 1", "`guardian.cleanup` can't be 1", "write true or false; the default is true"),
        (
            "wal.block_kib = 6",
            "`wal.block_kib` can't be 6",
            "write a multiple of 4 from 8 to 16384; the default is 1024",
        ),
        (
            "blackbox.rare_events = 1000",
            "`blackbox.rare_events` can't be 1000",
            "write a power of two from 64 to 65536; the default is 2048",
        ),
        (
            "tracing.rate = nan",
            "`tracing.rate` can't be nan",
            "write a number from 0.0 to 1.0; the default is 0.01",
        ),
        (
            "tracing.rate = 1e999",
            "`tracing.rate` can't be inf",
            "write a number from 0.0 to 1.0; the default is 0.01",
        ),
        (
            "engine.domain = 16",
            "`engine.domain` can't be 16",
            "write a whole number from 0 to 15; the default is 0",
        ),
        (
            "wal.dir = \"\"",
            "`wal.dir` can't be \"\": the path is empty",
            "write a path in quotes; the default is \"ng-data/wal\"",
        ),
        (
            "wal.dir = \"a\\u0000\"",
            "`wal.dir` can't be \"a\u{fffd}\": no path contains a NUL character",
            "write a path in quotes; the default is \"ng-data/wal\"",
        ),
        ("profile = \"sead\"", "`profile` can't be \"sead\"", "did you mean \"seed\"?"),
        ("wal.kind = \"of\"", "`wal.kind` can't be \"of\"", "did you mean \"off\"?"),
        ("wal = 5", "`wal` is a section, and can't be 5", "begin it with a line `[wal]`"),
        ("[[log]]", "`log` is a section, and can't be an array", "begin it with a line `[log]`"),
    ] {
        assert_eq!(only(&refused(text)), (message, help), "{text}");
    }
}

/// Each with its line, and none of them starts anything: a configuration is whole or it is none.
#[test]
fn a_bad_limit_mark_bound_or_pool_of_the_guardian_is_named_with_its_line() {
    let cases = [
        ("max_tokens = -5", "`guardian.max_tokens` can't be -5"),
        ("max_tokens = 0", "`guardian.max_tokens` can't be 0"),
        ("max_memory_bytes = 63", "`guardian.max_memory_bytes` can't be 63"),
        ("max_memory_bytes = -1", "`guardian.max_memory_bytes` can't be -1"),
        ("max_lease = 0", "`guardian.max_lease` can't be 0"),
        ("soft_mark = nan", "`guardian.soft_mark` can't be nan"),
        ("cleanup_mark = 1.5", "`guardian.cleanup_mark` can't be 1.5"),
        ("memory_mark = -0.5", "`guardian.memory_mark` can't be -0.5"),
        ("soft_mark = 0.97", "`soft_mark` is 0.97, not below `cleanup_mark`, which is 0.95"),
        ("cleanup_target = 0.96", "`cleanup_target` is 0.96, not below `cleanup_mark`, which is 0.95"),
        ("constitution.weight_min = nan", "`guardian.constitution.weight_min` can't be nan"),
        ("constitution.radius_max = 2.56", "`guardian.constitution.radius_max` can't be 2.56"),
        ("constitution.weight_min = inf", "`guardian.constitution.weight_min` can't be inf"),
        ("quota.a.limit = 0", "`guardian.quota.a.limit` can't be 0"),
        ("quota.a.limit = -1", "`guardian.quota.a.limit` can't be -1"),
        ("quota.a = { limit = 5, soft_mark = nan }", "`guardian.quota.a.soft_mark` can't be nan"),
    ];
    for (line, said) in cases {
        let errors = refused(&format!("[guardian]\n{line}\n"));
        assert_eq!(only(&errors).0, said, "{line}");
        assert!(errors.to_string().contains("ng.toml:2"), "{errors}");
    }
}

#[test]
fn a_back_end_that_is_not_compiled_in_is_named_with_its_feature() {
    for (backend, compiled) in [("uring", cfg!(feature = "uring")), ("mmap", cfg!(feature = "mmap"))] {
        let text = format!("[wal]\nbackend = \"{backend}\"");
        if compiled {
            assert_eq!(
                Loader::new().text("ng.toml", text).load().unwrap().config.wal.backend.name(),
                backend
            );
            continue;
        }
        let errors = refused(&text);
        let (message, help) = only(&errors);
        assert_eq!(
            message,
            format!(
                "`wal.backend` can't be \"{backend}\": it needs the Cargo feature `{backend}`, and this \
                 program was built without it"
            )
        );
        assert!(help.starts_with("write \"auto\"") && !help.contains(backend), "{help}");
    }
}

#[test]
fn a_key_in_the_wrong_place_is_told_where_it_belongs() {
    for (text, message, help) in [
        ("every = 5", "there is no key `every` at the top of the file", "`every` belongs to [wal]"),
        ("[metrics]\nrate = 0.5", "there is no key `rate` in [metrics]", "`rate` belongs to [tracing]"),
        ("[constitution]", "there is no section [constitution]", "the section is [guardian.constitution]"),
        (
            "[guardian.limits]",
            "there is no section [guardian.limits]",
            "what can stand here is [guardian.constitution]",
        ),
        (
            "[log]\ncolour = 1",
            "there is no key `colour` in [log]",
            "what can stand here is level, format, per_second",
        ),
        ("[guardain]", "there is no section [guardain]", "did you mean [guardian]?"),
    ] {
        assert_eq!(only(&refused(text)), (message, help), "{text}");
    }
}

#[test]
fn keys_that_contradict_each_other_are_refused_at_the_one_given_last() {
    let expected = "\
error: a segment of 3 MiB does not hold two blocks of 2048 KiB
 --> ng.toml:3:15
  |
3 | segment_mib = 3
  |               ^
  = help: write a `segment_mib` of 4 or more, or a `block_kib` of at most 1536

error: `soft_mark` is 0.99, not below `cleanup_mark`, which is 0.95
 --> ng.toml:5:13
  |
5 | soft_mark = 0.99
  |             ^^^^
  = help: write a `soft_mark` below `cleanup_mark`

error: `weight_min` is 2.0, above `weight_max`, which is 1.0
 --> environment variable NG_GUARDIAN__CONSTITUTION__WEIGHT_MAX
  |
  | NG_GUARDIAN__CONSTITUTION__WEIGHT_MAX=1
  |                                       ^
  = help: write a `weight_min` of at most `weight_max`

3 errors in the configuration";
    let text =
        "[wal]\nblock_kib = 2048\nsegment_mib = 3\n[guardian]\nsoft_mark = 0.99\nconstitution.weight_min = 2";
    let loader = Loader::new().features(Features::ALL).text("ng.toml", text);
    let errors = loader.env([("NG_GUARDIAN__CONSTITUTION__WEIGHT_MAX", "1")]).load().unwrap_err();
    assert_eq!(errors.to_string(), expected);

    for pair in ["radius", "strength"] {
        let text = format!("[guardian.constitution]\n{pair}_min = 0.5\n{pair}_max = 0.25");
        assert!(only(&refused(&text)).0.starts_with(&format!("`{pair}_min` is 0.5, above")));
    }
}

#[test]
fn a_value_that_was_refused_is_not_compared_with_another() {
    assert_eq!(
        only(&refused("[guardian]\nsoft_mark = 1\ncleanup_mark = 2")).0,
        "`guardian.cleanup_mark` can't be 2"
    );
}

#[test]
fn mistakes_of_the_grammar_are_shown_in_the_same_way_and_with_all_others() {
    let text = "[wal]\nevery = \nmode = group\non_full = \"block\nbuffers = 2\nbuffers = 3\n[wal]\n[log\n[engine]\ndomain = 99\n";
    let expected = "\
error: the value is missing
 --> ng.toml:2:9
  |
2 | every = 
  |         ^
  = help: write one after the `=`, or remove the line

error: `group` is no value
 --> ng.toml:3:8
  |
3 | mode = group
  |        ^^^^^
  = help: write \"group\"

error: this is not TOML: invalid basic string, expected `\"`
 --> ng.toml:4:17
  |
4 | on_full = \"block
  |                 ^
  = help: a line is `key = value`, a section begins with `[name]`, strings are in quotes

error: `buffers` is set twice
 --> ng.toml:6:1
  |
6 | buffers = 3
  | ^^^^^^^
  = help: keep one of the two

error: [wal] begins a second time
 --> ng.toml:7:2
  |
7 | [wal]
  |  ^^^
  = help: write all its keys below one header

error: this is not TOML: unclosed table, expected `]`
 --> ng.toml:8:5
  |
8 | [log
  |     ^
  = help: a line is `key = value`, a section begins with `[name]`, strings are in quotes

error: `engine.domain` can't be 99
  --> ng.toml:10:10
   |
10 | domain = 99
   |          ^^
   = help: write a whole number from 0 to 15; the default is 0

7 errors in the configuration";
    assert_eq!(refused(text).to_string(), expected);
}

#[test]
fn a_byte_order_mark_is_no_fault_and_moves_no_column() {
    let errors = refused("\u{feff}profil = \"seed\"");
    let Place::Text(at) = &errors.findings()[0].place else { panic!("{errors}") };
    assert_eq!((at.line, at.column, at.shown.as_str()), (1, 1, "profil = \"seed\""));
}

#[test]
fn a_layer_that_is_not_compiled_in_is_named_with_its_feature() {
    let text = "[wal]\nevery = 1\n[metrics]\nkind = \"sharded\"\n[blackbox]\nkind = \"off\"\n[guardian.constitution]\n";
    let loader = Loader::new().text("ng.toml", text).env([("ENABLE_TRACING", "true")]);
    let expected = "\
error: this program was built without what [wal] configures
 --> ng.toml:1:2
  |
1 | [wal]
  |  ^^^
  = help: build ng-stack with the Cargo feature `wal`, or write kind = \"off\"

error: this program was built without what [metrics] configures
 --> ng.toml:4:8
  |
4 | kind = \"sharded\"
  |        ^^^^^^^^^
  = help: build ng-stack with the Cargo feature `telemetry`, or write kind = \"off\"

error: this program was built without what [guardian] configures
 --> ng.toml:7:2
  |
7 | [guardian.constitution]
  |  ^^^^^^^^
  = help: build ng-stack with the Cargo feature `guardian`, or write kind = \"off\"

error: this program was built without what [tracing] configures
 --> environment variable ENABLE_TRACING
  |
  | ENABLE_TRACING=true
  |                ^^^^
  = help: build ng-stack with the Cargo feature `telemetry`, or unset ENABLE_TRACING

4 errors in the configuration";
    assert_eq!(loader.features(Features::NONE).load().unwrap_err().to_string(), expected);
}

#[test]
fn a_layer_that_is_not_compiled_in_is_off_unless_asked_for() {
    let config =
        Loader::new().features(Features::NONE).text("ng.toml", "profile = \"seed\"").load().unwrap().config;
    let kinds = [
        config.wal.kind.name(),
        config.guardian.kind.name(),
        config.metrics.kind.name(),
        config.tracing.kind.name(),
        config.blackbox.kind.name(),
    ];
    assert_eq!(kinds, ["off"; 5]);
}

#[test]
fn a_file_that_can_not_be_read_is_refused_with_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |name: &str| Loader::new().file(dir.path().join(name)).load().unwrap_err();
    let write = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();

    assert_eq!(
        refused("missing.toml").to_string(),
        format!(
            "error: there is no such file\n --> {}\n  = help: check the path; `ng config default` prints \
             a complete file to start from\n\n1 error in the configuration",
            dir.path().join("missing.toml").display()
        )
    );
    assert_eq!(only(&refused("")).0, "this is a directory");
    write("latin1.toml", b"[log]\nlevel = \"\xe9\"\n");
    assert_eq!(only(&refused("latin1.toml")).0, "line 2 is not UTF-8, from byte 15 of the file");
    write("utf16.toml", &[0xff, 0xfe, b'a', 0]);
    assert_eq!(only(&refused("utf16.toml")), ("the file is UTF-16", "save it as UTF-8"));
    write("long.toml", &vec![b'#'; (1 << 20) + 1]);
    assert_eq!(only(&refused("long.toml")).0, "the file is longer than 1 MiB, the most that is read");
    write("most.toml", &vec![b'#'; 1 << 20]);
    assert!(Loader::new().file(dir.path().join("most.toml")).load().is_ok());
}

#[test]
fn a_file_full_of_faults_is_answered_with_the_first_hundred_and_their_number() {
    let errors = refused(&"x\n".repeat(100_000));
    assert_eq!((errors.findings().len(), errors.count()), (100, 100_000));
    assert!(errors.to_string().ends_with("100000 errors in the configuration, 99900 of them not shown"));
    let keys: String = (0..50_000).map(|n| format!("k{n} = 1\n")).collect();
    assert_eq!(refused(&keys).count(), 50_000);
    assert!(refused(&format!("k = {}", "[".repeat(100_000))).count() > 0);
    assert!(refused(&format!("[wal]\nmode = \"{}\"", "x".repeat(1_000_000))).to_string().len() < 1000);
}

#[test]
fn colours_come_only_if_asked_for_and_change_no_letter() {
    let errors = refused("[wal]\nevry = 1");
    assert!(!errors.render(false).contains('\u{1b}'));
    let coloured = errors.render(true);
    assert!(coloured.starts_with("\u{1b}[1;31merror\u{1b}[0m: "));
    let mut plain = String::new();
    for (at, part) in coloured.split('\u{1b}').enumerate() {
        plain.push_str(if at == 0 { part } else { part.split_once('m').unwrap().1 });
    }
    assert_eq!(plain, errors.render(false));
}

#[test]
fn the_exit_code_is_that_of_sysexits() {
    assert_eq!(EX_CONFIG, 78);
}

mod any_text {
    use ng_stack::config::render_default;
    use proptest::prelude::*;

    use super::*;

    /// Every fault points into the text, is explained, and prints nothing that moves a cursor.
    fn well_said(text: &str, finding: &Finding) {
        let Place::Text(at) = &finding.place else { panic!("{finding:?}") };
        assert!(at.line <= text.split('\n').count(), "{finding:?}");
        assert!(!finding.message.is_empty() && !finding.help.is_empty(), "{finding:?}");
        assert!(finding.render(false).chars().all(|c| c == '\n' || !c.is_control()), "{finding:?}");
    }

    fn load(text: &str) {
        match Loader::new().text("any", text).load() {
            Ok(loaded) => {
                let again = Loader::new().text("again", loaded.config.to_toml()).load().unwrap();
                assert_eq!(again.config, loaded.config);
            }
            Err(errors) => errors.findings().iter().for_each(|finding| well_said(text, finding)),
        }
    }

    proptest! {
        #[test]
        fn is_a_configuration_or_is_refused(text in "(?s).{0,200}") {
            load(&text);
        }

        #[test]
        fn that_looks_like_one_is_a_configuration_or_is_refused(
            lines in prop::collection::vec(
                "(\\[{0,2}(wal|log|guardian|guardian\\.constitution|tracng)\\]{0,2}|(every|kind|rate|level|dir|wal\\.mode) ?= ?(\"(off|info|x)\"|-?[0-9]{1,25}|[0-9]\\.[0-9]|true|nan|\\[1,?|\\{ ?a|'''|\"\"\"|))",
                0..12,
            ),
        ) {
            load(&lines.join("\n"));
        }

        #[test]
        fn that_is_the_default_with_a_slip_is_a_configuration_or_is_refused(
            at: prop::sample::Index,
            cut in 0..3usize,
            put in "[\\PC\n\"=\\[\\]]{0,3}",
        ) {
            let mut chars: Vec<char> = render_default().chars().collect();
            let from = at.index(chars.len());
            let to = (from + cut).min(chars.len());
            chars.splice(from..to, put.chars());
            load(&chars.into_iter().collect::<String>());
        }

        #[test]
        fn of_the_environment_is_a_value_or_is_refused(
            name in "(NG_(WAL|LOG|GUARDIAN|X)__[A-Z_]{0,12}|NG_WAL__EVERY|NG_TRACING__RATE|ENABLE_TRACING|JAEGER_ENDPOINT|WAL_BATCH_SIZE)",
            value in "((?s).{0,20}|-?[0-9]{1,40}|(https?://)?[a-z@:/\\[\\]0-9]{0,20})",
        ) {
            if let Err(errors) = Loader::new().features(Features::ALL).env([(name, value)]).load() {
                let said = errors.render(false);
                prop_assert!(said.contains("environment variable"));
                prop_assert!(said.chars().all(|c| c == '\n' || !c.is_control()), "{}", said);
            }
        }
    }
}
