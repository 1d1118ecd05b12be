//! Cleanup: the lowest weights go first, persistent and locked tokens never.
//!
//! Deletions go through a lane, so the log has them and a recovered store agrees. Three passes
//! over the store find the exact weight to stop at, in constant memory; lanes go on meanwhile.

use std::sync::{Arc, Mutex, PoisonError};

use ng_core::admission::Reclaim;
use ng_core::lane::DeleteError;
use ng_core::token::{Token, flags};

use super::StackLane;

const HALF: usize = 1 << 16;

/// Frees tokens for a guardian, on the guardian's thread.
#[derive(Debug)]
pub struct Cleaner {
    lane: Mutex<StackLane>,
    store: Arc<ng_core::TokenStore>,
}

impl Cleaner {
    pub(super) const fn new(lane: StackLane, store: Arc<ng_core::TokenStore>) -> Self {
        Self { lane: Mutex::new(lane), store }
    }
}

/// A number that orders as the weight does. Weights in a store are finite.
const fn key(weight: f32) -> u32 {
    let bits = weight.to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

fn removable(token: &Token) -> bool {
    token.flags & (flags::PERSISTENT | flags::LOCKED) == 0
}

/// The first of `counts` at which the sum reaches `wanted`, and the sum before it.
fn reach(counts: &[u64], wanted: u64) -> Option<(usize, u64)> {
    let mut before = 0;
    for (i, &n) in counts.iter().enumerate() {
        if before + n >= wanted {
            return Some((i, before));
        }
        before += n;
    }
    None
}

impl Cleaner {
    /// All removable tokens whose key is below the answer go, and so many with just that key.
    fn boundary(&self, tokens: u64) -> (u32, u64) {
        let keys =
            || self.store.iter().filter(|(token, _)| removable(token)).map(|(token, _)| key(token.weight));
        let mut high = vec![0u64; HALF];
        keys().for_each(|key| high[(key >> 16) as usize] += 1);
        let Some((bucket, before)) = reach(&high, tokens) else { return (u32::MAX, u64::MAX) };
        let mut low = vec![0u64; HALF];
        keys().filter(|key| (key >> 16) as usize == bucket).for_each(|key| low[(key & 0xffff) as usize] += 1);
        #[expect(clippy::cast_possible_truncation, reason = "two halves of a u32")]
        match reach(&low, tokens - before) {
            Some((rest, inside)) => ((bucket << 16 | rest) as u32, tokens - before - inside),
            // Some went since they were counted.
            None => ((bucket << 16 | 0xffff) as u32, u64::MAX),
        }
    }
}

impl Reclaim for Cleaner {
    fn reclaim(&self, tokens: u64) -> u64 {
        if tokens == 0 {
            return 0;
        }
        let (boundary, mut at_boundary) = self.boundary(tokens);
        let mut lane = self.lane.lock().unwrap_or_else(PoisonError::into_inner);
        let mut freed = 0;
        for (token, _) in self.store.iter().filter(|(token, _)| removable(token)) {
            let key = key(token.weight);
            if key > boundary || key == boundary && at_boundary == 0 {
                continue;
            }
            match lane.delete(token.id()) {
                Ok(_) => {
                    freed += 1;
                    at_boundary -= u64::from(key == boundary);
                }
                Err(DeleteError::NotFound(_)) => {}
                // Without its record a deletion must not happen; the guardian hears how few went.
                Err(_) => break,
            }
            if freed == tokens {
                break;
            }
        }
        freed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::Stack;
    use ng_core::TokenSpec;

    #[test]
    fn a_key_orders_as_the_weight_does() {
        let weights = [-1e30f32, -2.0, -1.0, -1e-40, 0.0, 1e-40, 0.5, 1.0, 3e38];
        assert!(weights.windows(2).all(|pair| key(pair[0]) < key(pair[1])));
    }

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
        let cleaner = Cleaner::new(stack.lane("cleanup").unwrap(), Arc::clone(stack.store()));
        assert_eq!(cleaner.reclaim(95), 95);
        let mut left: Vec<_> = stack.store().iter().map(|(token, _)| token).collect();
        assert_eq!(left.len(), 905);
        assert_eq!(left.iter().filter(|token| token.has(flags::PERSISTENT)).count(), 100);
        left.retain(removable);
        // 90 of each hundred are removable, ten of each weight: weights −49 … −41 are gone, and
        // five of −39 (−40 is persistent).
        assert_eq!(left.iter().filter(|token| token.weight < -39.0).count(), 0);
        assert_eq!(left.iter().filter(|token| token.weight == -39.0).count(), 5);
        assert_eq!(cleaner.reclaim(10_000), 805, "only what may go");
        assert_eq!(cleaner.reclaim(1), 0);
    }
}
