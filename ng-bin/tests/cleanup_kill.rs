//! A process that is killed in the middle of a cleanup: what comes back is one truth for the
//! store, the log and the quota.
#![cfg(all(feature = "wal", feature = "guardian"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test reports by panicking")]

use ng_core::events::{Event, EventKind, EventLane, EventRecorder, NoRecorder, RecorderStats};
use ng_core::lane::BatchReport;
use ng_core::{TokenSpec, TokenStore};
use ng_stack::config::{BlackboxKind, GuardianKind, Loader, MetricsKind, StackConfig, TracingKind, WalKind};
use ng_stack::{Stack, StackLane};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

const CHILD: &str = "NG_STACK_TEST_CLEANUP_DIR";
const TENANTS: &str = "NG_STACK_TEST_CLEANUP_TENANTS";
const AFTER: &str = "NG_STACK_TEST_CLEANUP_AFTER";
const LIMIT: u64 = 400_000;
const MARK: u64 = 380_000;
const TARGET: u64 = 100_000;
const BETA: u64 = 50_000;

fn config(dir: &Path, cleanup: bool) -> StackConfig {
    let mut config = StackConfig::default();
    config.wal.kind = WalKind::Log;
    config.wal.dir = dir.to_path_buf();
    config.wal.segment_mib = 8;
    config.guardian.kind = GuardianKind::Leases;
    config.guardian.max_tokens = LIMIT;
    config.guardian.cleanup = cleanup;
    config.guardian.cleanup_mark = MARK as f64 / LIMIT as f64;
    config.guardian.cleanup_target = TARGET as f64 / LIMIT as f64;
    config.guardian.soft_mark = 0.5;
    config.metrics.kind = MetricsKind::Off;
    config.tracing.kind = TracingKind::Off;
    config.blackbox.kind = BlackboxKind::Off;
    config
}

/// A tenant in domain 1 with the marks that the whole has in [`config`], one in domain 2 without any, and
/// a whole that is far from its own.
fn tenants(dir: &Path, cleanup: bool) -> StackConfig {
    let mark = MARK as f64 / LIMIT as f64;
    let target = TARGET as f64 / LIMIT as f64;
    let text = format!(
        "[guardian.quota.acme]\nparent = \"tokens\"\ndomain = 1\nlimit = {LIMIT}\n\
         cleanup_mark = {mark}\ncleanup_target = {target}\n\
         [guardian.quota.beta]\nparent = \"tokens\"\ndomain = 2\nlimit = {BETA}\n"
    );
    let named = Loader::new().text("ng.toml", text).load().unwrap().config.guardian.named;
    let mut config = config(dir, cleanup);
    config.guardian.max_tokens = 4 * LIMIT;
    config.guardian.named = named;
    config
}

/// Stands still for good after so many deletions, and says so on standard output: whoever cleans
/// up is then in the middle of it, however the machine is loaded.
struct StandsStill {
    after: u64,
}

struct Counts {
    left: u64,
}

impl EventRecorder for StandsStill {
    fn lane(&self, name: &str) -> Box<dyn EventLane> {
        if name == "cleanup" { Box::new(Counts { left: self.after }) } else { NoRecorder.lane(name) }
    }

    fn record_rare(&self, _event: Event, _note: &str) {}

    fn stats(&self) -> RecorderStats {
        RecorderStats::default()
    }
}

impl EventLane for Counts {
    fn record(&mut self, event: Event) {
        self.left -= u64::from(event.kind == EventKind::TOKEN_DELETED);
        if self.left == 0 {
            // Standard output of a test is captured unless it goes around the macro.
            let mut out = std::io::stdout();
            writeln!(out, "in the middle").unwrap();
            loop {
                std::thread::park();
            }
        }
    }
}

/// Not a test of its own: the process that
/// [`a_kill_in_the_middle_of_a_cleanup_leaves_quota_log_and_store_agreed`] kills, and that of one pool.
#[test]
fn child_that_cleans_up_until_it_is_killed() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    let after = std::env::var(AFTER).unwrap().parse().unwrap();
    let events = Arc::new(StandsStill { after });
    let of_tenants = std::env::var_os(TENANTS).is_some();
    let make = if of_tenants { tenants } else { config };
    let stack = Stack::builder().config(make(Path::new(&dir), true)).events(events).build().unwrap();
    let mut report = BatchReport::default();
    if of_tenants {
        // Of the lowest weight there is: the whole's cleanup would take them first.
        let low = vec![TokenSpec::new().with_weight(-1e6); BETA as usize];
        stack.lane_in(2, "beta").unwrap().create_batch(&low, &mut report);
        // What is not durable may be gone after a kill, and nobody deleted it.
        stack.wal().wait_durable(report.ticket(), Duration::from_secs(60)).unwrap();
    }
    let mut lane = stack.lane_in(u8::from(of_tenants), "maker").unwrap();
    for round in 0.. {
        let specs: Vec<_> =
            (0..1_000_u32).map(|i| TokenSpec::new().with_weight((i * 7 % 1_000 + round) as f32)).collect();
        lane.create_batch(&specs, &mut report);
        if report.made() == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Runs the child until it stands still in the middle of a cleanup, later in each round, and kills it.
fn run_and_kill(dir: &Path, round: u64, of_tenants: bool) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "child_that_cleans_up_until_it_is_killed", "--nocapture"])
        .env(CHILD, dir)
        .env(AFTER, (30_000 * (round + 1)).to_string())
        .stdout(Stdio::piped());
    if of_tenants {
        command.env(TENANTS, "1");
    }
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut middle = lines.map_while(Result::ok).filter(|line| line.contains("in the middle"));
    assert!(middle.next().is_some(), "a cleanup comes to its middle");
    // Of a few rounds some leave a slow disk the time to have the deletions.
    std::thread::sleep(Duration::from_millis(round * if of_tenants { 60 } else { 3 }));
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Makes tokens until one is refused: how many.
fn fill(lane: &mut StackLane) -> u64 {
    let (mut report, mut made) = (BatchReport::default(), 0);
    loop {
        lane.create_batch(&[TokenSpec::new(); 1_000], &mut report);
        made += report.made() as u64;
        if report.made() < 1_000 {
            return made;
        }
    }
}

#[test]
fn a_kill_in_the_middle_of_a_cleanup_leaves_quota_log_and_store_agreed() {
    let mut in_the_middle = 0;
    for round in 0..8_u64 {
        let dir = tempfile::tempdir().unwrap();
        run_and_kill(dir.path(), round, false);

        let alone = TokenStore::new();
        let found = ng_stack::stack::replay(dir.path(), &alone).unwrap().unwrap();
        let deleted = found.applied + found.superseded - alone.len();
        in_the_middle += u64::from(deleted > 0 && alone.len() > TARGET);
        let stack = Stack::builder().config(config(dir.path(), false)).build().unwrap();
        let tokens: Vec<_> = stack.store().iter().collect();
        assert_eq!(tokens, alone.iter().collect::<Vec<_>>(), "round {round}: the log says it twice alike");
        assert_eq!(stack.admission().stats().used, tokens.len() as u64, "round {round}");
        let mut lane = stack.lane("after").unwrap();
        let made = fill(&mut lane);
        assert_eq!(made + tokens.len() as u64, LIMIT, "round {round}: exact to the token");
        assert_eq!(stack.store().len(), LIMIT);
        drop(lane);
        stack.shutdown(Duration::from_secs(30)).unwrap();
    }
    assert!(in_the_middle > 0, "no kill fell into a cleanup");
}

#[test]
fn a_kill_in_the_middle_of_a_pools_cleanup_leaves_its_quota_log_and_store_agreed_and_the_others_whole() {
    let mut in_the_middle = 0;
    for round in [0, 3, 7] {
        let dir = tempfile::tempdir().unwrap();
        run_and_kill(dir.path(), round, true);
        let alone = TokenStore::new();
        let found = ng_stack::stack::replay(dir.path(), &alone).unwrap().unwrap();
        let deleted = found.applied + found.superseded - alone.len();
        let stack = Stack::builder().config(tenants(dir.path(), false)).build().unwrap();
        let tokens: Vec<_> = stack.store().iter().collect();
        assert_eq!(tokens, alone.iter().collect::<Vec<_>>(), "round {round}: the log says it twice alike");
        let of = |domain| tokens.iter().filter(|(token, _)| token.id().domain() == domain).count() as u64;
        assert_eq!(of(2), BETA, "round {round}: its tokens are the lightest, and another's");
        in_the_middle += u64::from(deleted > 0 && of(1) > TARGET);
        assert_eq!(stack.admission().stats().used, of(1) + BETA, "round {round}");
        let mut lane = stack.lane_in(1, "after").unwrap();
        let made = fill(&mut lane);
        assert_eq!(made + of(1), LIMIT, "round {round}: exact to the token");
        stack.lane_in(2, "beta").unwrap().create(&TokenSpec::new()).unwrap_err();
        assert_eq!(stack.store().len(), LIMIT + BETA);
        drop(lane);
        stack.shutdown(Duration::from_secs(30)).unwrap();
    }
    assert!(in_the_middle > 0, "no kill fell into a cleanup");
}
