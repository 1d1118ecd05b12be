//! The part of a token by which it is chosen, read without the rest: a pass over millions of them
//! takes what it needs of each cache line and goes on.

use super::slot::Slot;
use super::{DomainSet, TokenStore};
use crate::token::TokenId;

/// A live token's first 16 bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Glance {
    /// Its id.
    pub id: TokenId,
    /// Its slot's generation.
    pub generation: u32,
    /// Its weight.
    pub weight: f32,
    /// Seconds since 1970.
    pub timestamp: u32,
    /// See [`flags`](crate::token::flags).
    pub flags: u16,
}

impl TokenStore {
    /// Calls `see` for each live token of some domains, by slot, until it returns `false`. Tokens that are
    /// made or removed meanwhile may be missing or there; none is torn.
    pub fn glance(&self, domains: DomainSet, mut see: impl FnMut(Glance) -> bool) {
        for (first, slots) in self.chunks_of(domains) {
            for (slot, cell) in (first..).zip(slots) {
                if let Some(glance) = at(cell, slot)
                    && !see(glance)
                {
                    return;
                }
            }
        }
    }
}

#[inline(always)]
fn at(cell: &Slot, slot: u32) -> Option<Glance> {
    let (head, [first, second]) = cell.read_words()?;
    let [timestamp @ .., a, b, _, _] = second.to_le_bytes();
    Some(Glance {
        id: TokenId::from_slot(slot, head.entity()),
        generation: head.generation(),
        weight: f32::from_bits((first >> 32) as u32),
        timestamp: u32::from_le_bytes(timestamp),
        flags: u16::from_le_bytes([a, b]),
    })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use crate::store::DomainSet;
    use crate::{TokenSpec, TokenStore};
    use std::sync::Arc;

    #[test]
    fn a_glance_shows_what_the_whole_token_says() {
        let store = Arc::new(TokenStore::new());
        let mut writer = store.writer(5).unwrap();
        for i in 0..100u32 {
            let spec = TokenSpec::new()
                .with_entity((i % 15) as u8)
                .with_weight(i as f32 - 50.0)
                .with_flags((i * 3) as u16 & 0xf0ff)
                .with_timestamp(i + 7)
                .unwrap();
            let run = writer.reserve(1).unwrap();
            let slot = run.first();
            run.publish(1, |_| spec.at(slot, 0));
        }
        for slot in (5 << 24..(5 << 24) + 100).step_by(3) {
            let live = writer.look(store.iter().find(|(token, _)| token.id().slot() == slot).unwrap().0.id());
            assert!(writer.remove(live.unwrap()));
        }
        let mut whole = store.iter();
        store.glance(DomainSet::ALL, |glance| {
            let (token, generation) = whole.next().unwrap();
            assert_eq!((glance.id, glance.generation), (token.id(), generation));
            assert_eq!(
                (glance.weight, glance.timestamp, glance.flags),
                (token.weight, token.timestamp, token.flags)
            );
            true
        });
        assert!(whole.next().is_none(), "all are shown");
        let mut seen = 0;
        store.glance([5].into_iter().collect(), |_| {
            seen += 1;
            seen < 5
        });
        assert_eq!(seen, 5, "until it is told to end");
        store.glance([0, 4, 6].into_iter().collect(), |glance| panic!("{glance:?} is of domain 5"));
    }
}
