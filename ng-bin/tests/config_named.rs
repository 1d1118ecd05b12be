//! Quotas and pools by name in the configuration: read, printed, and each fault named with its place.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ng_stack::config::{Features, Loader, Origin, QuotaConfig, render_default};

const TENANTS: &str = "\
[guardian.quota.acme]
parent = \"tokens\"
domain = 3
limit = 2_000_000
soft_mark = 0.8

[guardian.quota.importers]
parent = \"acme\"
limit = 500_000

[guardian.quota.\"open files\"]
limit = 1000
max_lease = 1
rate_per_second = 100
rate_burst = 200
";

fn loader(text: &str) -> Loader {
    Loader::new().features(Features::ALL).text("ng.toml", text)
}

/// The faults of a text, each as `line: message; help`.
fn faults(text: &str) -> Vec<String> {
    let errors = loader(text).load().unwrap_err();
    let shown = |finding: &ng_stack::config::Finding| {
        let line = match &finding.place {
            ng_stack::config::Place::Text(at) => at.line,
            _ => 0,
        };
        format!("{line}: {}; {}", finding.message, finding.help.join("; "))
    };
    errors.findings().iter().map(shown).collect()
}

#[test]
fn quotas_are_read_in_the_order_of_the_file_and_say_where_they_are_from() {
    let loaded = loader(TENANTS).load().unwrap();
    let quotas: Vec<&QuotaConfig> = loaded.config.guardian.named.iter().collect();
    assert_eq!(quotas.len(), 3);
    assert_eq!((quotas[0].name.as_str(), quotas[0].parent.as_deref()), ("acme", Some("tokens")));
    assert_eq!((quotas[0].domain, quotas[0].limit, quotas[0].soft_mark), (Some(3), 2_000_000, 0.8));
    assert_eq!((quotas[1].parent.as_deref(), quotas[1].max_lease), (Some("acme"), 1024));
    assert_eq!((quotas[2].name.as_str(), quotas[2].parent.as_deref()), ("open files", None));
    assert_eq!((quotas[2].rate_per_second, quotas[2].rate_burst, quotas[2].max_lease), (100, 200, 1));
    let at = |line| Some(Origin::File { name: "ng.toml".to_owned(), line });
    assert_eq!(loaded.origin("guardian.quota.acme.limit"), at(4));
    assert_eq!(loaded.origin("guardian.quota.acme.max_lease"), Some(Origin::Default));
    assert_eq!(loaded.origin("guardian.quota.nobody.limit"), None);
    let shown: Vec<_> = loaded.settings().into_iter().filter(|one| one.key.contains("open files")).collect();
    assert!(shown.iter().any(|one| one.key == "guardian.quota.\"open files\".limit" && one.value == "1000"));
}

#[test]
fn what_is_printed_is_read_back_and_the_fingerprint_follows() {
    let config = loader(TENANTS).load().unwrap().config;
    assert_eq!(loader(&config.to_toml()).load().unwrap().config, config);
    let other = TENANTS.replace("1000", "1001");
    assert_ne!(loader(&other).load().unwrap().config.fingerprint(), config.fingerprint());
    assert_ne!(loader("").load().unwrap().config.fingerprint(), config.fingerprint());
    // The example of the printed default is sound once its comments are taken away.
    let file = render_default();
    let example: String = file
        .lines()
        .skip_while(|line| !line.starts_with("# [guardian.quota."))
        .map(|line| format!("{}\n", line.trim_start_matches('#').trim_start()))
        .collect();
    assert_eq!(loader(&example).load().unwrap().config.guardian.named.iter().count(), 2);
}

#[test]
fn each_fault_of_a_named_quota_is_shown_at_its_place() {
    let one = |body: &str| {
        let found = faults(&format!("[guardian.quota.a]\n{body}\n"));
        assert_eq!(found.len(), 1, "{body}: {found:?}");
        found.into_iter().next().unwrap()
    };
    assert_eq!(one("limit = -1"), "2: `guardian.quota.a.limit` can't be -1; write a whole number, 1 or more");
    assert!(one("limit = 0").starts_with("2: `guardian.quota.a.limit` can't be 0"));
    assert!(one("limit = nan").starts_with("2: `guardian.quota.a.limit` can't be nan"));
    assert!(one("limit = 1\nsoft_mark = 1.5").starts_with("3: `guardian.quota.a.soft_mark` can't be 1.5"));
    assert!(one("limit = 1\nsoft_mark = 0.05").contains("not above `guardian.rearm`, which is 0.05"));
    assert!(one("limit = 1\nmax_lease = 0").starts_with("3: `guardian.quota.a.max_lease`"));
    assert!(one("limit = 1\nrate_burst = 0").starts_with("3: `guardian.quota.a.rate_burst`"));
    assert_eq!(one("limt = 1"), "2: there is no key `limt` in [guardian.quota.a]; did you mean `limit`?");
    assert!(one("").starts_with("1: [guardian.quota.a] has neither a `limit` nor a `parent`"));
    assert_eq!(
        one("parent = \"tokns\""),
        "2: there is no quota \"tokns\" for it to be in; did you mean \"tokens\"?"
    );
    assert!(one("parent = \"a\"").starts_with("2: a in a is a circle"));
    assert!(
        one("parent = \"tokens\"\nlimit = 10_000_001")
            .contains("above the guardian's own limit in tokens, which is 10000000")
    );
    assert!(one("limit = 1\ndomain = 2").contains("[guardian.quota.a] counts something else"));
    assert!(one("limit = 1\ndomain = 16").starts_with("3: `guardian.quota.a.domain` can't be 16"));
    assert!(one("[guardian.quota.b]\nlimit = 1").starts_with("1: [guardian.quota.a] has neither"));
}

#[test]
fn faults_between_quotas_are_all_found_at_once() {
    let found = faults(
        "[guardian.quota.a]\nparent = \"b\"\n[guardian.quota.b]\nparent = \"a\"\n\
         [guardian.quota.hanging]\nparent = \"a\"\n\
         [guardian.quota.c]\nparent = \"tokens\"\nlimit = 5\ndomain = 1\n\
         [guardian.quota.d]\nparent = \"c\"\nlimit = 6\ndomain = 1\n\
         [guardian.quota.tokens]\nlimit = 1\n[guardian.quota.\"x/y\"]\nlimit = 1\n",
    );
    let expected = [
        "2: a in b in a is a circle",
        "4: b in a in b is a circle",
        "13: `limit` is 6, above the limit of [guardian.quota.c], which is 5",
        "14: domain 1 is that of [guardian.quota.c] already",
        "15: `tokens` is the guardian's own quota",
        "17: \"x/y\" can't name a quota",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}");
    }
    assert!(faults("[guardian]\nquota = 3\n")[0].starts_with("2: a quota is a table, and can't be 3"));
    assert!(faults("[guardian.quota]\na = 3\n")[0].starts_with("2: a quota is a table"));
    assert!(faults("[guardian.quotas.a]\nlimit = 1\n")[0].contains("did you mean [guardian.quota]?"));
}

#[test]
fn a_mark_of_memory_below_its_own_margin_is_refused() {
    let found = faults("[guardian]\nmemory_mark = 0.04\n");
    assert!(
        found[0].starts_with("2: `memory_rearm` is 0.05, not below `memory_mark`, which is 0.04"),
        "{found:?}"
    );
    assert_eq!(loader("[guardian]\nmemory_mark = 0").load().unwrap().config.guardian.memory_mark, 0.0);
}
