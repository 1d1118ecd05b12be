//! Histories: every flipped byte, cut ends, crashes between two steps, and a guardian that obeys one.
#![allow(clippy::expect_used, clippy::panic, reason = "a test that can't go on fails")]

use super::*;
use crate::{Constitution, Guardian, GuardianError, GuardianOptions, Notice};
use ng_core::admission::{Admission, AdmissionLane};
use ng_core::token::Token;
use std::path::Path;
use std::time::Duration;

const NARROW: &str = "[bounds]\nweight = [-1.0, 1.0]\n";
const WIDE: &str = "profile = \"explorer\"\n";

fn filled(dir: &Path) -> HistoryWriter {
    let mut history = HistoryWriter::open(dir).unwrap();
    assert_eq!(history.stage(WIDE, "first").unwrap(), 1);
    history.activate(1, "").unwrap();
    assert_eq!(history.stage(NARROW, "tighter").unwrap(), 2);
    history.activate(2, "by hand").unwrap();
    history
}

#[test]
fn any_single_flipped_byte_of_the_history_or_its_head_is_found() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path()));
    for name in ["history", "history.head"] {
        let path = dir.path().join(name);
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            for flip in [0x01, 0x20, 0x80, 0xff, whole[at] ^ b'\n'] {
                if flip == 0 {
                    continue;
                }
                let mut bytes = whole.clone();
                bytes[at] ^= flip;
                std::fs::write(&path, &bytes).unwrap();
                let found = read_history(dir.path());
                assert!(
                    matches!(found, Err(HistoryError::Broken { .. } | HistoryError::Future { .. })),
                    "{name}: byte {at} flipped by {flip:#x} was not found"
                );
            }
        }
        std::fs::write(&path, &whole).unwrap();
        read_history(dir.path()).unwrap();
    }
}

#[test]
fn a_history_whose_end_was_cut_off_is_found_wherever_the_cut_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = filled(dir.path());
    history.stage(WIDE, "one more").unwrap();
    drop(history);
    let path = dir.path().join("history");
    let whole = std::fs::read(&path).unwrap();
    for len in 0..whole.len() {
        std::fs::write(&path, &whole[..len]).unwrap();
        assert!(matches!(read_history(dir.path()), Err(HistoryError::Broken { .. })), "cut at {len}");
    }
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(read_history(dir.path()), Err(HistoryError::Io { .. })), "the head says there was one");
}

#[test]
fn a_broken_place_is_named_and_a_history_from_the_future_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path()));
    let path = dir.path().join("history");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("by hand", "by Hand")).unwrap();
    let error = read_history(dir.path()).unwrap_err();
    let HistoryError::Broken { line: 5, offset, .. } = error else { panic!("{error}") };
    assert_eq!(offset, text.lines().take(4).map(|line| line.len() + 1).sum::<usize>());
    assert!(HistoryWriter::open(dir.path()).is_err(), "nothing is written after a break");
    std::fs::write(&path, text.replacen("cdna 1", "cdna 2", 1)).unwrap();
    let error = read_history(dir.path()).unwrap_err();
    assert!(matches!(error, HistoryError::Future { found: 2, .. }), "{error}");
    let options = GuardianOptions { cdna: Some(dir.path().into()), ..GuardianOptions::default() };
    assert!(matches!(Guardian::start(options), Err(GuardianError::History(_))), "nothing is started");
}

#[test]
fn a_crash_between_stage_and_activate_or_within_either_leaves_the_old_version_active() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path()));
    let files = |dir: &Path| ["history", "history.head"].map(|name| std::fs::read(dir.join(name)).unwrap());
    let before = files(dir.path());
    let mut history = HistoryWriter::open(dir.path()).unwrap();
    history.stage("profile = \"creative\"", "").unwrap();
    let staged = files(dir.path());
    history.activate(3, "").unwrap();
    let activated = files(dir.path());
    drop(history);
    // Each state that a crash can leave: either file old or new, the first one first.
    let states = [
        ([&before[0], &before[1]], 2, 2),
        ([&staged[0], &before[1]], 2, 3),
        ([&staged[0], &staged[1]], 2, 3),
        ([&activated[0], &staged[1]], 3, 3),
        ([&activated[0], &activated[1]], 3, 3),
    ];
    for ([history, head], active, versions) in states {
        std::fs::write(dir.path().join("history"), history).unwrap();
        std::fs::write(dir.path().join("history.head"), head).unwrap();
        std::fs::write(dir.path().join("history.new"), "half a rec").unwrap();
        let found = read_history(dir.path()).unwrap();
        assert_eq!((found.active(), found.versions().count()), (Some(active), versions));
        HistoryWriter::open(dir.path()).unwrap();
    }
}

#[test]
fn what_is_in_quarantine_or_unknown_is_not_activated() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = filled(dir.path());
    assert!(matches!(history.quarantine(2, ""), Err(HistoryError::InForce { version: 2 })));
    assert!(matches!(history.activate(9, ""), Err(HistoryError::NoVersion { version: 9 })));
    assert_eq!(history.rollback(None, "worse").unwrap(), 1);
    history.quarantine(2, "refuses too much").unwrap();
    assert!(matches!(history.activate(2, ""), Err(HistoryError::Quarantined { version: 2 })));
    assert!(matches!(history.rollback(None, ""), Err(HistoryError::NothingBefore)));
    history.release(2, "").unwrap();
    history.activate(2, "").unwrap();
    assert!(matches!(history.stage("profile = \"poet\"", ""), Err(HistoryError::Charter(_))));
    assert!(matches!(HistoryWriter::open(dir.path()), Err(HistoryError::Locked { .. })));
    let acts: Vec<_> = history.history().records().iter().map(|record| record.act).collect();
    assert_eq!(acts[4..], [Act::RolledBack, Act::Quarantined, Act::Released, Act::Activated]);
}

#[test]
fn a_bad_document_is_named_with_its_place() {
    let fault = |text: &str| Charter::parse(text).unwrap_err().to_string();
    let unknown = fault("profile = \"poet\"\n");
    assert!(
        unknown.contains("line 1") && unknown.contains("poet") && unknown.contains("explorer"),
        "{unknown}"
    );
    assert!(fault("[bounds]\nweigth = [0.0, 1.0]\n").contains("weigth"));
    assert!(fault("[bounds]\nweight = [nan, 1.0]\n").contains("constitution.weight"));
    assert!(fault("[bounds]\nradius = [1.0, 0.5]\n").contains("constitution.radius"));
    assert!(fault("[observability]\nsample_rate = 2.0\n").contains("0 to 1"));
    assert!(fault("[observability]\nlog_level = \"loud\"\n").contains("loud"));
    assert!(fault("[trial]\nrefusals = 0\n").contains("trial.refusals"));
    assert!(fault("[trial]\nfactor = nan\n").contains("trial.factor"));
    assert!(fault("profile = \"custom\"\n[bounds]\nweight = [0.0, 1.0]\n").contains("bounds.radius"));
    let (a, b) = (Charter::parse("").unwrap(), Charter::parse("profile = \"analyst\"").unwrap());
    let keys: Vec<_> = a.diff(&b).into_iter().map(|(key, ..)| key).collect();
    assert_eq!(keys, ["profile", "bounds.weight", "flags.mutation", "observability.sample_rate"]);
}

/// Waits for a notice of a change, past those of other things.
fn change(heard: &crate::Subscription) -> (u64, u64, Option<String>) {
    loop {
        match heard.next_within(Duration::from_secs(20)).expect("a change of the constitution") {
            Notice::ConstitutionChanged { version, previous, reason } => return (version, previous, reason),
            Notice::ConstitutionProblem(why) => panic!("{why}"),
            _ => {}
        }
    }
}

fn obeying(dir: &Path) -> Guardian {
    let memory_interval = Duration::from_millis(5);
    let options = GuardianOptions { cdna: Some(dir.into()), memory_interval, ..GuardianOptions::default() };
    Guardian::start(options).unwrap()
}

#[test]
fn a_running_guardian_follows_the_history_and_keeps_what_it_has_when_the_chain_breaks() {
    let dir = tempfile::tempdir().unwrap();
    let guardian = obeying(dir.path());
    assert_eq!(guardian.constitution(), Constitution::default(), "an empty history says nothing");
    let heard = guardian.subscribe(64);
    drop(filled(dir.path()));
    let mut last = 0;
    while last != 2 {
        last = change(&heard).0;
    }
    let mut lane = guardian.open_lane("lane");
    let mut token = Token::default();
    token.weight = 5.0;
    assert_eq!(lane.check(&token).unwrap_err().version, 2);
    HistoryWriter::open(dir.path()).unwrap().rollback(None, "by hand").unwrap();
    assert_eq!(change(&heard), (1, 2, None));
    lane.refresh();
    lane.check(&token).unwrap();
    let path = dir.path().join("history");
    let broken = std::fs::read_to_string(&path).unwrap().replace("by hand", "by band!");
    std::fs::write(&path, broken).unwrap();
    let problem = heard.next_within(Duration::from_secs(20));
    assert!(
        matches!(&problem, Some(Notice::ConstitutionProblem(why)) if why.contains("chain is broken")),
        "{problem:?}"
    );
    assert_eq!((guardian.constitution().version, guardian.report().constitution_problems), (1, 1));
}

#[test]
fn a_version_under_which_refusals_explode_is_taken_back_and_put_in_quarantine() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = HistoryWriter::open(dir.path()).unwrap();
    history.stage("", "good").unwrap();
    history.activate(1, "").unwrap();
    history.stage("[bounds]\nweight = [-1.0, 1.0]\n[trial]\nseconds = 60\nrefusals = 100\n", "bad").unwrap();
    drop(history);
    let guardian = obeying(dir.path());
    let heard = guardian.subscribe(64);
    HistoryWriter::open(dir.path()).unwrap().activate(2, "").unwrap();
    assert_eq!(change(&heard).0, 2);
    let mut lane = guardian.open_lane("lane");
    let mut token = Token::default();
    token.weight = 5.0;
    assert!((0..99).all(|_| lane.check(&token).is_err()));
    std::thread::sleep(Duration::from_millis(30));
    assert_eq!(guardian.constitution().version, 2, "not yet");
    assert!(lane.check(&token).is_err());
    let (version, previous, reason) = change(&heard);
    assert_eq!((version, previous), (1, 2));
    assert!(reason.unwrap().contains("100 tokens violated it"));
    lane.refresh();
    lane.check(&token).unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while !read_history(dir.path()).unwrap().version(2).unwrap().quarantined {
        assert!(std::time::Instant::now() < deadline, "it was not written down");
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(read_history(dir.path()).unwrap().active(), Some(1));
    assert_eq!(guardian.stats().violations, 100);
}
