//! Recovery: a child makes tokens and says which are durable; it panics in one run and is killed in
//! the other. The parent replays the log and compares every such token field by field.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ng_core::TokenStore;
use ng_core::token::TokenId;

use super::bench::{On, config};
use super::{Options, StressError, work};
use crate::stack::{Stack, replay};

const PATIENCE: Duration = Duration::from_secs(60);

/// Tokens between two reports of a child.
const STRIDE: u64 = 20_000;

/// How the child ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// By a panic of its own.
    Panic,
    /// By a signal that nothing can catch.
    Kill,
}

/// What was found, over both deaths.
#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
pub struct Recovery {
    /// Records replayed.
    pub records: u64,
    /// Records replayed in a second, checksums verified and tokens put back.
    pub records_per_s: f64,
    /// Tokens that the children had reported durable.
    pub acknowledged: u64,
    /// Of those, how many are not in the recovered store.
    pub lost_acknowledged: u64,
    /// Recovered tokens that are not the ones that were made, in any field.
    pub mismatched: u64,
    /// Children that died as they should: 2.
    pub deaths: u64,
}

pub(super) fn measure(options: &Options) -> Result<Recovery, StressError> {
    let mut found = Recovery::default();
    let mut seconds = 0.0;
    for death in [Death::Panic, Death::Kill] {
        let dir = options.dir.join(format!("recovery-{death:?}"));
        std::fs::create_dir_all(&dir).map_err(StressError::io("create the recovery's directory"))?;
        let acknowledged = run_child(options, death, &dir)?;
        let store = TokenStore::new();
        let began = Instant::now();
        let replayed = replay(&dir.join("wal"), &store)?;
        seconds += began.elapsed().as_secs_f64();
        found.records += replayed.map_or(0, |replayed| replayed.records);
        found.acknowledged += acknowledged;
        for i in 0..acknowledged {
            // One lane on an empty store fills slots in order.
            let slot = u32::try_from(i).unwrap_or(u32::MAX);
            match store.get(TokenId::from_slot(slot, 0)) {
                None => found.lost_acknowledged += 1,
                Some(token) => found.mismatched += u64::from(token != work::spec(i).at(slot, 0)),
            }
        }
        for (token, _) in store.iter().skip(usize::try_from(acknowledged).unwrap_or(usize::MAX)) {
            let slot = token.id().slot();
            found.mismatched += u64::from(token != work::spec(slot.into()).at(slot, 0));
        }
        found.deaths += 1;
        std::fs::remove_dir_all(&dir).map_err(StressError::io("remove the recovery's directory"))?;
    }
    #[expect(clippy::cast_precision_loss, reason = "records of a run")]
    let records = found.records as f64;
    found.records_per_s = records / seconds;
    Ok(found)
}

/// Starts a child, ends it, and returns how many tokens it had reported durable.
fn run_child(options: &Options, death: Death, dir: &Path) -> Result<u64, StressError> {
    let program = std::env::current_exe().map_err(StressError::io("find this program"))?;
    let mut child = Command::new(program)
        .arg("stress-child")
        .arg(dir)
        .arg(options.tokens.to_string())
        .arg(if death == Death::Panic { "panic" } else { "kill" })
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(StressError::io("start the child"))?;
    let Some(stdout) = child.stdout.take() else {
        return Err(StressError::Wrong("the child has no standard output".to_owned()));
    };
    let mut acknowledged = 0;
    let half = options.tokens / 2;
    for line in BufReader::new(stdout).lines() {
        let line = line.map_err(StressError::io("read from the child"))?;
        acknowledged = line.parse().map_err(|_| StressError::Wrong(format!("the child said {line:?}")))?;
        if death == Death::Kill && acknowledged >= half {
            child.kill().map_err(StressError::io("kill the child"))?;
            // What it said before it died counts; the pipe still holds it.
        }
    }
    let status = child.wait().map_err(StressError::io("wait for the child"))?;
    if status.success() || acknowledged == 0 {
        return Err(StressError::Wrong(format!(
            "the child was to die by a {death:?}, and ended with {status} after {acknowledged} tokens"
        )));
    }
    Ok(acknowledged)
}

/// The child: makes tokens with a log in `dir`/wal, writes after each stride how many are durable,
/// and never ends in good order.
///
/// # Errors
/// See [`StressError`].
///
/// # Panics
/// Half-way, if that is how it shall die.
pub fn child(dir: &Path, tokens: u64, death: Death) -> Result<(), StressError> {
    let options = Options {
        tokens,
        batch: 1_000,
        wal_every: 1,
        threads: 1,
        rounds: 1,
        dir: dir.to_path_buf(),
        layers: super::LAYERS.to_vec(),
        config: crate::config::StackConfig::default(),
    };
    let mut setup = config(&options, On::only(&["wal", "guardian", "metrics", "tracing"]), 1, dir);
    setup.wal.spare_segments = 1;
    let stack = Stack::builder().config(setup).build()?;
    let mut lane = stack.lane("child")?;
    let mut out = std::io::stdout().lock();
    let mut made = 0;
    while made < tokens {
        let end = tokens.min(made + STRIDE);
        work::make(&mut lane, made, end, options.batch)?;
        made = end;
        stack
            .wal()
            .wait_durable(lane.last_ticket(), PATIENCE)
            .map_err(|error| StressError::Wrong(error.to_string()))?;
        writeln!(out, "{made}")
            .and_then(|()| out.flush())
            .map_err(StressError::io("report to the parent"))?;
        if death == Death::Panic && made >= tokens / 2 {
            // What follows is appended and not waited for, as in life.
            work::make(&mut lane, made, tokens.min(made + STRIDE), options.batch)?;
            #[expect(clippy::panic, reason = "this is what the child is for")]
            {
                panic!("the panic that was asked for");
            }
        }
    }
    // Killed by now, or the parent is gone.
    std::thread::sleep(PATIENCE);
    Ok(())
}
