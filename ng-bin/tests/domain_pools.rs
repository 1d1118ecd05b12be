//! A domain's own quota: whoever makes or deletes its tokens, in whichever lane, takes from it and
//! gives back to it; a cleanup and a recovery too.
#![cfg(all(feature = "guardian", feature = "wal", feature = "telemetry", feature = "blackbox"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ng_core::TokenSpec;
use ng_core::lane::{BatchReport, CreateError};
use ng_core::token::{TokenId, flags};
use ng_stack::Stack;
use ng_stack::config::Loader;
use std::path::Path;
use std::time::Duration;

fn stack(dir: &Path, more: &str) -> Stack {
    let text = format!(
        "[guardian]\nmax_tokens = 10_000\ncleanup = false\n{more}\n\
         [guardian.quota.acme]\nparent = \"tokens\"\nlimit = 1_000\n\
         [guardian.quota.acme-three]\nparent = \"acme\"\ndomain = 3\n\
         [guardian.quota.acme-four]\nparent = \"acme\"\ndomain = 4\nlimit = 300\n\
         [wal]\ndir = \"{0}/wal\"\nsegment_mib = 4\n[tracing]\noutput = \"\"\n[blackbox]\ndir = \"{0}/rings\"\n",
        dir.display()
    );
    let loaded = Loader::new().text("ng.toml", text).load().unwrap();
    Stack::builder().loaded(loaded).build().unwrap()
}

/// Units in use and refused, as the metrics say.
fn figure(stack: &Stack, name: &str, pool: &str) -> f64 {
    let mut text = String::new();
    stack.metrics().render(&mut text);
    let line = format!("{name}{{pool=\"{pool}\"}} ");
    text.lines().find_map(|found| found.strip_prefix(&line)?.parse().ok()).unwrap_or(f64::NAN)
}

fn used(stack: &Stack) -> [f64; 4] {
    ["tokens", "tokens/acme", "tokens/acme/acme-three", "tokens/acme/acme-four"]
        .map(|pool| figure(stack, "neurograph_pool_used", pool))
}

#[test]
fn a_token_is_given_back_to_the_pool_of_its_domain_by_whoever_deletes_it() {
    let dir = tempfile::tempdir().unwrap();
    let stack = stack(dir.path(), "");
    let (mut plain, mut three, mut four) =
        (stack.lane("plain").unwrap(), stack.lane_in(3, "three").unwrap(), stack.lane_in(4, "four").unwrap());
    let mut report = BatchReport::default();
    let specs = vec![TokenSpec::new().with_weight(0.5); 800];
    plain.create_batch(&specs[..100], &mut report);
    three.create_batch(&specs, &mut report);
    assert_eq!(report.made(), 800);
    four.create_batch(&specs[..300], &mut report);
    assert_eq!((report.made(), report.refused().len()), (200, 100), "acme's own limit is 1,000");
    assert_eq!(used(&stack), [1_100.0, 1_000.0, 800.0, 200.0]);

    // A lane of domain 0 may bring an id of domain 3: it counts there, and is refused there.
    let own = TokenSpec::new().with_id(TokenId::from_slot((3 << 24) | 1_000_000, 0)).unwrap();
    let refusal = plain.create(&own).unwrap_err();
    let CreateError::Quota(refusal) = refusal else { panic!("{refusal}") };
    assert_eq!((refusal.limit, refusal.used), (1_000, 1_000));

    // Domain 0's lane deletes tokens of three domains, one by one and in a batch.
    let of = |domain: u8| -> Vec<_> {
        let live = stack.store().iter().filter(|(token, _)| token.id().domain() == domain);
        live.map(|(token, generation)| (token.id(), generation)).collect()
    };
    for (id, _) in &of(3)[..10] {
        plain.delete(*id).unwrap();
    }
    let mixed: Vec<_> = [&of(0)[..40], &of(3)[..90], &of(4)[..50], &of(3)[100..110]].concat();
    assert_eq!(plain.delete_batch(&mixed).deleted, 190);
    assert_eq!(used(&stack), [900.0, 840.0, 690.0, 150.0]);
    assert_eq!(stack.store().len(), 900);
    plain.create(&own).unwrap();
    assert_eq!(used(&stack), [901.0, 841.0, 691.0, 150.0]);
    // A taken id is given back where it was taken from.
    assert!(plain.create(&own).is_err());
    assert_eq!(used(&stack), [901.0, 841.0, 691.0, 150.0]);
    // Four's own limit: 150 more and not one beyond them.
    four.create_batch(&specs[..300], &mut report);
    assert_eq!(report.made(), 150);
    assert_eq!(figure(&stack, "neurograph_pool_limit", "tokens/acme/acme-four"), 300.0);
    assert!(figure(&stack, "neurograph_pool_refused_total", "tokens/acme/acme-four") >= 150.0);
}

#[test]
fn what_recovery_finds_counts_in_the_pool_of_its_domain_even_beyond_a_limit() {
    let dir = tempfile::tempdir().unwrap();
    let first = stack(dir.path(), "");
    let mut report = BatchReport::default();
    let specs = vec![TokenSpec::new(); 300];
    first.lane("plain").unwrap().create_batch(&specs, &mut report);
    first.lane_in(4, "four").unwrap().create_batch(&specs, &mut report);
    assert_eq!(report.made(), 300);
    first.shutdown(Duration::from_secs(20)).unwrap();

    // 200 tokens are allowed in all now, and 100 of them to domain 4.
    let second = {
        let dir = dir.path().display();
        let text = format!(
            "[guardian]\ncleanup = false\nmax_memory_bytes = 12_800\n[guardian.quota.four]\nparent = \"tokens\"\ndomain = 4\nlimit = 100\n\
             [wal]\ndir = \"{dir}/wal\"\nsegment_mib = 4\n[tracing]\noutput = \"\"\n[blackbox]\ndir = \"{dir}/rings\"\n"
        );
        let loaded = Loader::new().text("ng.toml", text).load().unwrap();
        Stack::builder().loaded(loaded).build().unwrap()
    };
    assert_eq!(second.store().len(), 600);
    assert_eq!((second.admission().stats().used, second.admission().stats().limit), (600, 200));
    assert_eq!(figure(&second, "neurograph_pool_used", "tokens/four"), 300.0);
    let mut four = second.lane_in(4, "four").unwrap();
    assert!(four.create(&specs[0]).is_err());
    let live: Vec<_> = second.store().iter().map(|(token, generation)| (token.id(), generation)).collect();
    let (of_four, others): (Vec<_>, Vec<_>) = live.into_iter().partition(|(id, _)| id.domain() == 4);
    assert_eq!(four.delete_batch(&others).deleted, 300);
    assert!(four.create(&specs[0]).is_err(), "300 of 200 in all, 300 of 100 in four");
    assert_eq!(four.delete_batch(&of_four[..200]).deleted, 200);
    assert!(four.create(&specs[0]).is_err(), "100 of 100");
    assert_eq!(four.delete_batch(&of_four[200..201]).deleted, 1);
    four.create(&specs[0]).unwrap();
    assert!(four.create(&specs[0]).is_err());
}

#[test]
fn a_tenant_above_its_own_mark_is_cleaned_up_and_the_others_tokens_stay() {
    let dir = tempfile::tempdir().unwrap();
    let text = format!(
        "[guardian]\nmax_tokens = 100_000\n\
         [guardian.quota.acme]\nparent = \"tokens\"\nlimit = 1_000\ncleanup_mark = 0.9\ncleanup_target = 0.5\n\
         [guardian.quota.acme-three]\nparent = \"acme\"\ndomain = 3\n\
         [guardian.quota.acme-four]\nparent = \"acme\"\ndomain = 4\n\
         [guardian.quota.beta]\nparent = \"tokens\"\nlimit = 1_000\ndomain = 5\n\
         [wal]\ndir = \"{0}/wal\"\nsegment_mib = 4\n[tracing]\noutput = \"\"\n[blackbox]\ndir = \"{0}/rings\"\n",
        dir.path().display()
    );
    let loaded = Loader::new().text("ng.toml", text).load().unwrap();
    let stack = Stack::builder().loaded(loaded).build().unwrap();
    let mut report = BatchReport::default();
    let light = vec![TokenSpec::new().with_weight(-5.0); 1_000];
    stack.lane_in(5, "beta").unwrap().create_batch(&light, &mut report);
    stack.lane("plain").unwrap().create_batch(&light, &mut report);
    let of = |domain: u8| stack.store().iter().filter(|(token, _)| token.id().domain() == domain).count();
    let cleanups = || figure(&stack, "neurograph_pool_cleanups_total", "tokens/acme");
    let wait_for = |n: f64| {
        for _ in 0..2_000 {
            if cleanups() >= n {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{} cleanups, not {n}", cleanups());
    };
    // Weights from 0 on in domain 3, above them in domain 4.
    let heavy: Vec<_> = (0..901).map(|i| TokenSpec::new().with_weight(i as f32)).collect();
    stack.lane_in(3, "three").unwrap().create_batch(&heavy[..700], &mut report);
    let mut four = stack.lane_in(4, "four").unwrap();
    four.create_batch(&heavy[700..900], &mut report);
    // The first above the mark.
    four.create(&heavy[900]).unwrap();
    wait_for(1.0);
    assert_eq!([of(0), of(5), of(3), of(4)], [1_000, 1_000, 299, 201], "the lightest of acme's");
    assert_eq!(figure(&stack, "neurograph_pool_cleanup_freed_total", "tokens/acme"), 401.0);
    assert_eq!(figure(&stack, "neurograph_pool_used", "tokens/acme"), 500.0);
    assert_eq!(figure(&stack, "neurograph_pool_used", "tokens/beta"), 1_000.0);
    assert_eq!(stack.admission().stats().cleanups, 1);

    // None may go: the refusal says so, and no other tenant's go instead.
    let kept: Vec<_> = light.iter().map(|spec| spec.with_flags(flags::ACTIVE | flags::PERSISTENT)).collect();
    four.create_batch(&kept[..400], &mut report);
    for _ in 0..40 {
        four.create_batch(&kept[..100], &mut report);
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(figure(&stack, "neurograph_pool_used", "tokens/acme"), 1_000.0);
    assert_eq!([of(0), of(5)], [1_000, 1_000]);
    let live =
        stack.store().iter().filter(|(token, _)| token.id().domain() != 5 && token.has(flags::PERSISTENT));
    assert_eq!(live.count(), 1_000, "what could go went");
    let mut said = String::new();
    for _ in 0..500 {
        said = four.create(&kept[0]).unwrap_err().to_string();
        if said.contains("the last cleanup of that pool could not free enough") {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(said.contains("the last cleanup of that pool could not free enough"), "{said}");
    stack.shutdown(Duration::from_secs(20)).unwrap();
}
