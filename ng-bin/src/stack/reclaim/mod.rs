//! Cleanup: the first in a policy's order go, persistent and locked tokens never.
//!
//! Deletions go through a lane, so the log has them and a recovered store agrees; lanes go on
//! meanwhile. Memory: 32 bytes for each token asked for at the most, usually a thirtieth of that.

mod pace;
mod victims;

use std::sync::{Arc, Mutex, PoisonError};

use ng_core::admission::{PoolReclaim, Reclaim};
use ng_core::lane::DeletedBatch;
use ng_core::store::DomainSet;

use super::StackLane;
use crate::config::CleanupPolicy;
use pace::{Level, LevelNow, Pace};
use victims::{Bracket, Lowest, Seen, Sought, key, removable};

/// Tokens that are deleted at a time.
const BATCH: usize = 512;

/// Frees tokens for a guardian, on the guardian's thread.
pub struct Cleaner {
    lane: Mutex<StackLane>,
    store: Arc<ng_core::TokenStore>,
    policy: CleanupPolicy,
    level: Level,
}

impl std::fmt::Debug for Cleaner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cleaner").field("policy", &self.policy).finish_non_exhaustive()
    }
}

impl Cleaner {
    pub(super) fn new(lane: StackLane, store: Arc<ng_core::TokenStore>, policy: CleanupPolicy) -> Self {
        Self { lane: Mutex::new(lane), store, policy, level: Box::new(|| None) }
    }

    /// Rests between pieces while `level`, what is in use and of how many tokens, leaves room.
    pub(super) fn resting(self, level: impl Fn() -> Option<(u64, u64)> + Send + Sync + 'static) -> Self {
        Self { level: Box::new(level), ..self }
    }

    /// Frees tokens of some domains, as many as are wanted or there are. `live` is about how many live there.
    fn clean(&self, domains: DomainSet, live: u64, wanted: u64, level: LevelNow<'_>) -> u64 {
        if wanted == 0 {
            return 0;
        }
        let mut lane = self.lane.lock().unwrap_or_else(PoisonError::into_inner);
        let seed = u64::from(std::process::id()) ^ wanted.rotate_left(32);
        let bracket = Bracket::of(&self.store, self.policy, Sought { domains, live, wanted }, seed);
        let first = self.pass(&mut lane, domains, wanted, bracket, level);
        if !first.again {
            return first.freed;
        }
        // Lanes deleted some meanwhile, or the sample was unlucky: whatever is there now counts.
        first.freed + self.pass(&mut lane, domains, wanted - first.freed, Bracket::OPEN, level).freed
    }

    /// One pass. Returns how many it freed, and whether it is worth another.
    fn pass(
        &self,
        lane: &mut StackLane,
        domains: DomainSet,
        wanted: u64,
        bracket: Bracket,
        level: LevelNow<'_>,
    ) -> Pass {
        let mut work = Work { lane, freed: 0, batch: Vec::with_capacity(BATCH), stopped: false };
        let mut between = Lowest::new(usize::try_from(wanted).unwrap_or(usize::MAX));
        let mut pace = Pace::new(level, wanted);
        self.store.glance(domains, |seen| {
            pace.step();
            if !removable(seen.flags) {
                return true;
            }
            let key = key(self.policy, seen.weight, seen.timestamp);
            // A sample that was far off must not free more than was asked for.
            if key < bracket.sure && work.freed + (work.batch.len() as u64) < wanted {
                work.push((seen.id, seen.generation));
            } else if key <= bracket.top {
                between.push(key, (seen.id, seen.generation));
            }
            !work.stopped
        });
        work.flush();
        let missing = wanted.saturating_sub(work.freed);
        for seen in between.take(usize::try_from(missing).unwrap_or(usize::MAX)) {
            if work.stopped {
                break;
            }
            work.push(seen);
        }
        work.flush();
        Pass { freed: work.freed, again: !work.stopped && work.freed < wanted && bracket.top != u32::MAX }
    }
}

/// How a pass went.
struct Pass {
    freed: u64,
    again: bool,
}

/// Deletions under way.
struct Work<'a> {
    lane: &'a mut StackLane,
    freed: u64,
    batch: Vec<Seen>,
    /// Without its record a deletion must not happen; the guardian hears how few went.
    stopped: bool,
}

impl Work<'_> {
    fn push(&mut self, seen: Seen) {
        self.batch.push(seen);
        if self.batch.len() == BATCH {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let DeletedBatch { deleted, stopped, .. } = self.lane.delete_batch(&self.batch);
        self.freed += deleted as u64;
        self.stopped |= stopped.is_some();
        self.batch.clear();
    }
}

impl Reclaim for Cleaner {
    fn reclaim(&self, tokens: u64) -> u64 {
        self.clean(DomainSet::ALL, self.store.len(), tokens, &*self.level)
    }

    fn reclaim_in(&self, pool: &PoolReclaim<'_>) -> u64 {
        let (live, _) = (pool.level)();
        self.clean(pool.domains, live, pool.tokens, &|| Some((pool.level)()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::Stack;
    use ng_core::TokenSpec;
    use ng_core::lane::BatchReport;
    use ng_core::token::flags;

    #[test]
    fn the_lowest_weights_go_first_and_protected_tokens_never() {
        let stack = Stack::builder().config(crate::stack::tests::all_off()).build().unwrap();
        let mut lane = stack.lane("test").unwrap();
        for i in 0..1_000u32 {
            let mut spec = TokenSpec::new().with_weight((i % 100) as f32 - 50.0);
            if i % 10 == 0 {
                spec = spec.with_flags(flags::ACTIVE | flags::PERSISTENT);
            }
            lane.create(&spec).unwrap();
        }
        let cleaner = Cleaner::new(
            stack.lane("cleanup").unwrap(),
            Arc::clone(stack.store()),
            CleanupPolicy::LowestWeight,
        );
        assert_eq!(cleaner.reclaim(95), 95);
        let mut left: Vec<_> = stack.store().iter().map(|(token, _)| token).collect();
        assert_eq!(left.len(), 905);
        assert_eq!(left.iter().filter(|token| token.has(flags::PERSISTENT)).count(), 100);
        left.retain(|token| removable(token.flags));
        // 90 of each hundred are removable, ten of each weight: weights −49 … −41 are gone, and
        // five of −39 (−40 is persistent).
        assert_eq!(left.iter().filter(|token| token.weight < -39.0).count(), 0);
        assert_eq!(left.iter().filter(|token| token.weight == -39.0).count(), 5);
        assert_eq!(cleaner.reclaim(10_000), 805, "only what may go");
        assert_eq!(cleaner.reclaim(1), 0);
    }

    #[test]
    fn of_many_tokens_exactly_the_lowest_go_whatever_the_pattern() {
        let patterns: [fn(u32) -> f32; 4] =
            [|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32, |i| i as f32, |i| -(i as f32), |_| 0.5];
        for pattern in patterns {
            let stack = Stack::builder().config(crate::stack::tests::all_off()).build().unwrap();
            let mut lane = stack.lane("test").unwrap();
            let specs: Vec<_> = (0..200_000).map(|i| TokenSpec::new().with_weight(pattern(i))).collect();
            lane.create_batch(&specs, &mut BatchReport::default());
            let cleaner = Cleaner::new(
                stack.lane("cleanup").unwrap(),
                Arc::clone(stack.store()),
                CleanupPolicy::LowestWeight,
            );
            let mut weights: Vec<_> = (0..200_000).map(pattern).collect();
            weights.sort_by(f32::total_cmp);
            for wanted in [30_000_usize, 1_000, 100_000] {
                assert_eq!(cleaner.reclaim(wanted as u64), wanted as u64);
                weights.drain(..wanted);
                let mut left: Vec<_> = stack.store().iter().map(|(token, _)| token.weight).collect();
                left.sort_by(f32::total_cmp);
                assert_eq!(left, weights);
            }
        }
    }

    #[test]
    fn of_one_pool_exactly_its_lowest_go_whatever_lies_beside_them() {
        let stack = Stack::builder().config(crate::stack::tests::all_off()).build().unwrap();
        // Domain 2 is the largest and has the lowest weights of all; 3 and 4 are the pool's.
        for (domain, n, base) in
            [(2, 300_000, -1e9_f32), (3, 150_000, 0.0), (4, 60_000, 1.0), (9, 1_000, -1e9)]
        {
            let mut lane = stack.lane_in(domain, "test").unwrap();
            let weight = |i: u32| base + (i.wrapping_mul(2_654_435_761) >> 8) as f32;
            let specs: Vec<_> = (0..n).map(|i| TokenSpec::new().with_weight(weight(i))).collect();
            lane.create_batch(&specs, &mut BatchReport::default());
        }
        let weights = |domains: &[u8]| {
            let of = |id: ng_core::token::TokenId| domains.contains(&id.domain());
            let all = stack.store().iter().filter(|(token, _)| of(token.id()));
            let mut weights: Vec<_> = all.map(|(token, _)| token.weight).collect();
            weights.sort_by(f32::total_cmp);
            weights
        };
        let cleaner = Cleaner::new(
            stack.lane("cleanup").unwrap(),
            Arc::clone(stack.store()),
            CleanupPolicy::LowestWeight,
        );
        let (others, mut pools) = (weights(&[2, 9]), weights(&[3, 4]));
        for wanted in [50_000_u64, 77, 100_000, 1_000_000] {
            let live = pools.len() as u64;
            let domains = [3, 4].into_iter().collect();
            let level = || (live, 1_000_000);
            let pool = PoolReclaim { pool: "tokens/acme", domains, tokens: wanted, level: &level };
            let freed = wanted.min(live);
            assert_eq!(cleaner.reclaim_in(&pool), freed);
            pools.drain(..usize::try_from(freed).unwrap());
            assert_eq!(weights(&[3, 4]), pools, "the lowest {freed} of {live}");
        }
        assert_eq!(weights(&[2, 9]), others, "another's");
    }

    #[test]
    fn the_oldest_go_first_if_that_is_the_policy() {
        let stack = Stack::builder().config(crate::stack::tests::all_off()).build().unwrap();
        let mut lane = stack.lane("test").unwrap();
        for i in 0..1_000 {
            let spec = TokenSpec::new().with_timestamp(5_000 - i).unwrap().with_weight(i as f32);
            lane.create(&spec).unwrap();
        }
        let cleaner =
            Cleaner::new(stack.lane("cleanup").unwrap(), Arc::clone(stack.store()), CleanupPolicy::Oldest);
        assert_eq!(cleaner.reclaim(300), 300);
        let oldest = stack.store().iter().map(|(token, _)| token.timestamp).min();
        assert_eq!(oldest, Some(4_301));
    }
}
