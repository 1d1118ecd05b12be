//! Which tokens go first: the order of a policy, and where in it the line falls. It deletes
//! nothing.
//!
//! One pass over the store finds them. A random sample before it says between which two keys the
//! line is almost surely: what is below both goes at once, while its memory is at hand; what is
//! between them is kept in a list, from which exactly the missing number is chosen at the end.

use ng_core::TokenStore;
use ng_core::store::DomainSet;
use ng_core::token::{TokenId, flags};

use crate::config::CleanupPolicy;

/// Tokens in a sample: the line is then known to about 3 % of what is asked for.
const SAMPLE: u64 = 1 << 16;

/// How many standard deviations of the sample lie between the line and each of the two keys: one
/// cleanup in a hundred million takes a token from beyond the line.
const DEVIATIONS: f64 = 6.0;

/// A token's place in the order; the lowest goes first.
pub(super) type Key = u32;

/// A token as it was seen: whatever else is at that id later is spared.
pub(super) type Seen = (TokenId, u32);

/// The key of a token under a policy.
pub(super) const fn key(policy: CleanupPolicy, weight: f32, timestamp: u32) -> Key {
    match policy {
        CleanupPolicy::LowestWeight => weight_key(weight),
        CleanupPolicy::Oldest => timestamp,
    }
}

/// A number that orders as the weight does. Weights in a store are finite.
const fn weight_key(weight: f32) -> u32 {
    let bits = weight.to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

/// Whether a cleanup may delete a token with these flags.
pub(super) const fn removable(flags: u16) -> bool {
    flags & (flags::PERSISTENT | flags::LOCKED) == 0
}

/// Two keys between which the line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bracket {
    /// Below this all go.
    pub(super) sure: Key,
    /// Above this none goes.
    pub(super) top: Key,
}

/// How many tokens shall go, and whence.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sought {
    pub(super) domains: DomainSet,
    /// About how many live there.
    pub(super) live: u64,
    pub(super) wanted: u64,
}

impl Bracket {
    /// Says nothing.
    pub(super) const OPEN: Self = Self { sure: 0, top: Key::MAX };

    /// From a sample of the store.
    pub(super) fn of(store: &TokenStore, policy: CleanupPolicy, sought: Sought, seed: u64) -> Self {
        let Sought { domains, live, wanted } = sought;
        let step = usize::try_from(live / SAMPLE).unwrap_or(usize::MAX).max(1);
        let mut sampled = 0_u64;
        let mut keys: Vec<_> = store
            .sample(domains, step, seed)
            .inspect(|_| sampled += 1)
            .filter(|(token, _)| removable(token.flags))
            .map(|(token, _)| key(policy, token.weight, token.timestamp))
            .collect();
        if step == 1 || live == 0 {
            return Self::OPEN;
        }
        keys.sort_unstable();
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let line = wanted as f64 * sampled as f64 / live as f64;
        let margin = DEVIATIONS * line.sqrt() + DEVIATIONS;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a float's cast saturates, and below 0 means the first"
        )]
        let at = |rank: f64| keys.get(rank as usize).copied();
        let sure = if line > margin { at(line - margin).unwrap_or(0) } else { 0 };
        Self { sure, top: at(line + margin).unwrap_or(Key::MAX) }
    }
}

/// The lowest so many of whatever is pushed, in twice their memory.
#[derive(Debug)]
pub(super) struct Lowest {
    wanted: usize,
    kept: Vec<(Key, Seen)>,
}

impl Lowest {
    pub(super) const fn new(wanted: usize) -> Self {
        Self { wanted, kept: Vec::new() }
    }

    pub(super) fn push(&mut self, key: Key, seen: Seen) {
        if self.kept.len() >= self.wanted.saturating_mul(2).max(1 << 10) {
            self.trim(self.wanted);
        }
        self.kept.push((key, seen));
    }

    /// The lowest `n`, at most as many as were wanted, by id.
    pub(super) fn take(mut self, n: usize) -> Vec<Seen> {
        self.trim(n.min(self.wanted));
        let mut seen: Vec<_> = self.kept.into_iter().map(|(_, seen)| seen).collect();
        seen.sort_unstable_by_key(|(id, _)| id.slot());
        seen
    }

    fn trim(&mut self, n: usize) {
        if n < self.kept.len() {
            self.kept.select_nth_unstable_by_key(n, |(key, _)| *key);
            self.kept.truncate(n);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_key_orders_as_the_weight_does() {
        let weights = [-1e30f32, -2.0, -1.0, -1e-40, 0.0, 1e-40, 0.5, 1.0, 3e38];
        assert!(weights.windows(2).all(|pair| weight_key(pair[0]) < weight_key(pair[1])));
    }

    proptest! {
        #[test]
        fn the_lowest_are_those_that_sorting_finds(
            mut keys in prop::collection::vec(0..500_u32, 0..6_000),
            (wanted, n) in (0..900_usize, 0..900_usize),
        ) {
            let mut lowest = Lowest::new(wanted);
            for (i, key) in (0..).zip(&keys) {
                lowest.push(*key, (TokenId::from_slot(i, 0), 1));
            }
            let mut found: Vec<_> = lowest.take(n).iter().map(|(id, _)| keys[id.slot() as usize]).collect();
            found.sort_unstable();
            keys.sort_unstable();
            keys.truncate(wanted.min(n));
            prop_assert_eq!(found, keys);
        }
    }
}
