//! The quota under fire: 8 threads ask for more than there is, then a cleanup makes room.

use std::time::{Duration, Instant};

use ng_core::lane::CreateError;

use super::bench::{On, config};
use super::{Options, StressError, work};
use crate::stack::Stack;

const THREADS: u64 = 8;

/// What was found.
#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
pub struct Quota {
    /// The limit in tokens.
    pub limit: u64,
    /// Tokens asked for.
    pub asked: u64,
    /// Tokens made.
    pub admitted: u64,
    /// Refusals that named the quota with its limit.
    pub refused_by_name: u64,
    /// Tokens that were refused though there was room.
    pub false_refusals: u64,
    /// Tokens made beyond the limit.
    pub overshoot: u64,
    /// Cleanups in the second part.
    pub cleanups: u64,
    /// Tokens that they freed.
    pub freed_tokens: u64,
}

pub(super) fn measure(options: &Options) -> Result<Quota, StressError> {
    let limit = (options.tokens / 10).max(1_000);
    let dir = options.dir.join("quota");
    let mut setup = config(options, On::only(&["guardian"]), 1, &dir);
    setup.guardian.max_tokens = limit;
    setup.guardian.cleanup = false;
    let stack = Stack::builder().config(setup.clone()).build()?;
    let share = limit / THREADS * 5 / 4;
    let outcomes: Result<Vec<(u64, u64)>, StressError> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let stack = &stack;
                scope.spawn(move || {
                    let mut lane = stack.lane(&format!("maker-{thread}"))?;
                    let (mut made, mut refused) = (0, 0);
                    for i in 0..share {
                        match lane.create(&work::spec(i)) {
                            Ok(_) => made += 1,
                            Err(CreateError::Quota(refusal)) if refusal.limit == limit => refused += 1,
                            Err(other) => return Err(StressError::Wrong(other.to_string())),
                        }
                    }
                    Ok((made, refused))
                })
            })
            .collect();
        let panicked = |_| Err(StressError::Wrong("a thread that made tokens panicked".to_owned()));
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(panicked)).collect()
    });
    let outcomes = outcomes?;
    let admitted: u64 = outcomes.iter().map(|outcome| outcome.0).sum();
    drop(stack);

    setup.guardian.cleanup = true;
    let stack = Stack::builder().config(setup).build()?;
    let mut lane = stack.lane("maker")?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share"
    )]
    let to_the_mark = (limit as f64 * 0.96) as u64;
    for i in 0..to_the_mark {
        // Near the mark a cleanup may be under way; a refusal here is not what is looked at.
        drop(lane.create(&work::spec(i)));
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    while stack.admission().stats().cleanups == 0 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(2));
    }
    let stats = stack.admission().stats();
    Ok(Quota {
        limit,
        asked: share * THREADS,
        admitted,
        refused_by_name: outcomes.iter().map(|outcome| outcome.1).sum(),
        false_refusals: limit.saturating_sub(admitted),
        overshoot: admitted.saturating_sub(limit),
        cleanups: stats.cleanups,
        freed_tokens: stats.freed,
    })
}
