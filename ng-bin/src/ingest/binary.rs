//! The raw binary form: one token a record, 64 bytes as they lie in memory, little endian.
//!
//! | bytes | 0–3 | 4–7 | 8–11 | 12–13 | 14 | 15 | 16–63 |
//! |---|---|---|---|---|---|---|---|
//! | | id | weight | timestamp | flags | radius | strength | 8 × 3 coordinates, `i16` |
//!
//! It has no frame and no checksum: a file that lost one byte is wrong from there on, which shows
//! as records whose entity types disagree.

use ng_core::token::{TOKEN_BYTES, TokenError};
use ng_core::{Token, TokenId, TokenSpec};

use super::decode::{Decode, Step};
use super::fault::{Fault, RowFault};

/// A token's 64 bytes in a file.
#[must_use]
pub fn encode(token: &Token) -> [u8; TOKEN_BYTES] {
    let mut bytes = [0; TOKEN_BYTES];
    bytes[0..4].copy_from_slice(&token.id().raw().to_le_bytes());
    bytes[4..8].copy_from_slice(&token.weight.to_le_bytes());
    bytes[8..12].copy_from_slice(&token.timestamp.to_le_bytes());
    bytes[12..14].copy_from_slice(&token.flags.to_le_bytes());
    bytes[14] = token.radius_raw;
    bytes[15] = token.strength_raw;
    for (place, steps) in bytes[16..].chunks_exact_mut(2).zip(token.coords.as_flattened()) {
        place.copy_from_slice(&steps.to_le_bytes());
    }
    bytes
}

/// The token that 64 bytes of a file are; any are one, sound or not.
#[must_use]
pub fn decode(bytes: &[u8; TOKEN_BYTES]) -> Token {
    let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let mut token = Token::default();
    token.set_id(TokenId::from_raw(word(0)));
    token.weight = f32::from_bits(word(4));
    token.timestamp = word(8);
    token.flags = u16::from_le_bytes([bytes[12], bytes[13]]);
    token.radius_raw = bytes[14];
    token.strength_raw = bytes[15];
    for (steps, pair) in token.coords.as_flattened_mut().iter_mut().zip(bytes[16..].chunks_exact(2)) {
        *steps = i16::from_le_bytes([pair[0], pair[1]]);
    }
    token
}

pub(super) struct Binary;

fn row(token: Token) -> Result<TokenSpec, TokenError> {
    token.validate()?;
    TokenSpec::new().with_id(token.id())?.with_timestamp(token.timestamp)?;
    Ok(TokenSpec::of(token))
}

impl Decode for Binary {
    fn next(&mut self, data: &[u8], _ended: bool) -> Step {
        let Some(bytes) = data.first_chunk() else { return Step::Dry };
        // The field's name is in these errors, and a binary record has no column to name it.
        let row = row(decode(bytes)).map_err(|error| Box::new(RowFault::of_row(Fault::Unsound(error))));
        Step::Row { len: TOKEN_BYTES, lines: 0, row }
    }

    fn cut(&mut self, data: &[u8], _limit: usize) -> (usize, Fault) {
        (data.len(), Fault::CutOff { found: data.len() })
    }
}
