//! What a composed stack promises: each layer on or off by itself, and nothing lost in between.

use std::time::Duration;

use ng_core::TokenSpec;
use ng_core::lane::BatchReport;

use super::Stack;
use crate::config::{BlackboxKind, GuardianKind, MetricsKind, StackConfig, TracingKind, WalKind};

/// The bare store.
pub(crate) fn all_off() -> StackConfig {
    let mut config = StackConfig::default();
    config.wal.kind = WalKind::Off;
    config.guardian.kind = GuardianKind::Off;
    config.metrics.kind = MetricsKind::Off;
    config.tracing.kind = TracingKind::Off;
    config.blackbox.kind = BlackboxKind::Off;
    config
}

fn specs(n: usize) -> Vec<TokenSpec> {
    (0..n).map(|i| TokenSpec::new().with_weight(i as f32)).collect()
}

#[test]
fn a_stack_without_layers_is_the_bare_store() {
    let stack = Stack::builder().config(all_off()).build().unwrap();
    assert!(stack.layers().iter().all(|(_, on)| !on));
    let mut lane = stack.lane("test").unwrap();
    let mut report = BatchReport::default();
    lane.create_batch(&specs(1_000), &mut report);
    assert_eq!((report.made(), stack.store().len()), (1_000, 1_000));
    let mut text = String::new();
    stack.metrics().render(&mut text);
    assert_eq!(text, "");
    stack.shutdown(Duration::from_secs(10)).unwrap();
}

#[cfg(all(feature = "wal", feature = "guardian", feature = "telemetry", feature = "blackbox"))]
mod full {
    use super::*;
    use ng_core::wal::WalLane;

    fn everything_in(dir: &std::path::Path) -> StackConfig {
        let mut config = StackConfig::default();
        config.wal.dir = dir.join("wal");
        config.wal.segment_mib = 4;
        config.tracing.rate = 0.1;
        config.tracing.output = Some(dir.join("spans.jsonl"));
        config.blackbox.dir = dir.join("rings");
        config.blackbox.keep_on_exit = true;
        config
    }

    /// No checkpoint of the store can hold them, so nobody ever makes room.
    #[test]
    fn an_engine_whose_records_are_no_tokens_is_refused_at_the_logs_limit_and_not_held_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = everything_in(dir.path());
        config.wal.max_log_mib = 96;
        let stack = Stack::builder().config(config).build().unwrap();
        let mut lane = stack.lane("test").unwrap();
        let payload = [7; 4096];
        let refused = (0..48 << 10)
            .find_map(|_| lane.layers().wal.append(ng_core::wal::RecordKind::USER, &payload).err());
        let error = refused.unwrap();
        assert!(matches!(error, ng_core::wal::AppendError::NoRoom { .. }), "{error}");
        drop(lane);
        stack.shutdown(Duration::from_secs(60)).unwrap();
    }

    #[test]
    fn with_every_layer_on_each_token_is_counted_sampled_recorded_and_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let config = everything_in(dir.path());
        let stack = Stack::builder().config(config.clone()).build().unwrap();
        assert!(stack.layers().iter().all(|(_, on)| *on));
        assert!(stack.recovered().is_none());
        let mut lane = stack.lane("test").unwrap();
        let mut report = BatchReport::default();
        lane.create_batch(&specs(20_000), &mut report);
        assert_eq!(report.made(), 20_000);
        let gone = lane.create(&TokenSpec::new()).unwrap();
        lane.delete(gone.id).unwrap();
        stack.wal().wait_durable(lane.last_ticket(), Duration::from_secs(30)).unwrap();
        assert_eq!(stack.wal().stats().durable_records, 20_002);
        assert_eq!(stack.admission().stats().used, 20_000);
        let mut text = String::new();
        stack.metrics().render(&mut text);
        for line in [
            "neurograph_tokens_created_total 20001",
            "neurograph_tokens_deleted_total 1",
            "neurograph_wal_durable_records_total 20002",
            "neurograph_tokens 20000",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        let sampled = stack.sampler().stats().by_reason[0];
        assert!((1_500..2_500).contains(&sampled), "{sampled} of 20,002 at 10 %");
        assert!(stack.spans().flush(Duration::from_secs(30)));
        assert_eq!(stack.spans().stats().recorded, sampled);
        let mut open = String::new();
        assert!(stack.metrics().render_open_metrics(&mut open));
        let exemplar = open.split("trace_id=\"").nth(1).and_then(|rest| rest.split('"').next());
        let exemplar = exemplar.unwrap_or_else(|| panic!("no exemplar in\n{open}")).to_owned();
        let events = stack.events().stats();
        assert!(events.recorded[0] > 0 && events.recorded[2] > 0, "{events:?}");
        drop(lane);
        let before: Vec<_> = stack.store().iter().collect();
        stack.shutdown(Duration::from_secs(30)).unwrap();
        let spans = std::fs::read_to_string(dir.path().join("spans.jsonl")).unwrap();
        assert_eq!(spans.lines().count() as u64, sampled);
        assert!(spans.contains(&exemplar), "the exemplar {exemplar} points at no span");

        let again = Stack::builder().config(config).build().unwrap();
        let recovered = again.recovered().unwrap();
        assert_eq!((recovered.records, recovered.torn.as_deref()), (20_002, None));
        assert_eq!(again.store().iter().collect::<Vec<_>>(), before);
        assert_eq!(again.admission().stats().used, 20_000);
    }

    #[test]
    fn cleanup_frees_through_the_log_and_recovery_agrees() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = everything_in(dir.path());
        config.guardian.max_tokens = 10_000;
        let stack = Stack::builder().config(config.clone()).build().unwrap();
        let mut lane = stack.lane("test").unwrap();
        let mut report = BatchReport::default();
        lane.create_batch(&specs(9_900), &mut report);
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while stack.admission().stats().cleanups == 0 {
            assert!(std::time::Instant::now() < deadline, "no cleanup: {:?}", stack.admission().stats());
            std::thread::sleep(Duration::from_millis(5));
        }
        let stats = stack.admission().stats();
        assert!(stats.freed >= 1_000, "{stats:?}");
        let left = stack.store().len();
        assert_eq!((left, stats.used), (9_900 - stats.freed, left));
        let lightest = stack.store().iter().map(|(token, _)| token.weight as u64).min().unwrap();
        assert_eq!(lightest, stats.freed, "the lightest went first");
        drop(lane);
        let before: Vec<_> = stack.store().iter().collect();
        stack.shutdown(Duration::from_secs(30)).unwrap();
        let again = Stack::builder().config(config).build().unwrap();
        assert_eq!(again.store().iter().collect::<Vec<_>>(), before);
    }

    #[test]
    fn a_quota_below_what_was_recovered_lets_nothing_new_in() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = everything_in(dir.path());
        let stack = Stack::builder().config(config.clone()).build().unwrap();
        let mut lane = stack.lane("test").unwrap();
        lane.create_batch(&specs(1_000), &mut BatchReport::default());
        drop(lane);
        stack.shutdown(Duration::from_secs(30)).unwrap();
        config.guardian.max_tokens = 500;
        config.guardian.cleanup = false;
        let stack = Stack::builder().config(config).build().unwrap();
        assert_eq!(stack.store().len(), 1_000);
        let mut lane = stack.lane("test").unwrap();
        let refused = lane.create(&TokenSpec::new()).unwrap_err();
        assert!(refused.to_string().contains("limit of 500 (in use 1000)"), "{refused}");
    }

    #[test]
    fn a_log_that_is_in_use_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let config = everything_in(dir.path());
        let _first = Stack::builder().config(config.clone()).build().unwrap();
        let error = Stack::builder().config(config).build().unwrap_err();
        assert!(error.to_string().starts_with("wal: "), "{error}");
        assert_eq!(error.exit_code(), 74);
    }
}
