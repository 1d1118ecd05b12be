//! The work: the same tokens in the same batches as in `ng stress`, for every system.

use ng_core::TokenSpec;
use ng_core::token::{Coords, Token, flags};

/// Tokens in a batch.
pub(crate) const BATCH: u64 = 100_000;

/// The limit on live tokens that all systems keep: above what is made, by the seed's proportion.
pub(crate) const fn limit(tokens: u64) -> u64 {
    tokens * 10_000_000 / 9_500_000 + 1
}

/// The spec of token number `i`.
#[inline]
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "below 2^24")]
pub(crate) fn spec(i: u64) -> TokenSpec {
    let step = (i % 30_000) as i16;
    let mut coords: Coords = [[0; 3]; 8];
    coords[0] = [step, -step, 7];
    coords[7] = [1, 2, step];
    let mut token = Token::default();
    token.weight = (i % 10_000) as f32 * 0.0001;
    token.timestamp = 1_700_000_000;
    token.flags = flags::ACTIVE;
    token.radius_raw = 100;
    token.strength_raw = 255;
    token.coords = coords;
    TokenSpec::of_any(token)
}

/// Calls `make` with each batch of specs, built anew in one vector, and the number of its first.
pub(crate) fn in_batches(
    tokens: u64,
    mut make: impl FnMut(u64, &[TokenSpec]) -> Result<(), String>,
) -> Result<(), String> {
    let mut specs = Vec::with_capacity(BATCH as usize);
    let mut next = 0;
    while next < tokens {
        let end = tokens.min(next + BATCH);
        specs.clear();
        specs.extend((next..end).map(spec));
        make(next, &specs)?;
        next = end;
    }
    Ok(())
}

/// A vector for the rivals' tokens whose memory was touched before, as our store's was.
pub(crate) fn touched(tokens: u64) -> Vec<Token> {
    let mut store = vec![Token::default(); tokens as usize];
    // Zeros may be had without a touch; a one may not.
    store.iter_mut().for_each(|token| token.weight = 1.0);
    store.clear();
    store
}
