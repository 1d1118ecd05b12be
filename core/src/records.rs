//! What the log says of tokens: three record kinds, and how they are put back.
//!
//! A slot counts its creations and deletions in a *generation*: odd while it holds a token. A
//! record carries the generation that it made (a first creation needs none: it is 1), so that
//! records of one slot may be replayed in any order, and the youngest wins. That is what orders
//! two lanes' operations on one id within an epoch of the log.

use crate::token::{TOKEN_BYTES, Token, TokenId};
use crate::wal::RecordKind;
use zerocopy::{FromBytes, IntoBytes};

/// A slot's first token. Payload: the token, 64 bytes.
pub const TOKEN_FIRST: RecordKind = RecordKind(0x0001);
/// A token at a slot that was used before. Payload: the token, then the generation (`u32`, little
/// endian), 68 bytes.
pub const TOKEN_AGAIN: RecordKind = RecordKind(0x0002);
/// A deletion. Payload: the id and the generation (both `u32`, little endian), 8 bytes.
pub const TOKEN_DELETED: RecordKind = RecordKind(0x0003);

/// The size of a [`TOKEN_DELETED`] payload.
pub const DELETED_BYTES: usize = 8;

/// A record of one of the kinds above, read back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TokenRecord {
    /// A token was made.
    Created {
        /// The token.
        token: Token,
        /// Odd.
        generation: u32,
    },
    /// A token was deleted.
    Deleted {
        /// Its id.
        id: TokenId,
        /// Even.
        generation: u32,
    },
}

/// A record that has a token's kind and isn't one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a record of kind {kind:#06x} with {bytes} bytes and generation {generation} is no token record: the log was written by something else"
)]
pub struct BadRecord {
    /// Its kind.
    pub kind: u16,
    /// Its size.
    pub bytes: usize,
    /// The generation, if it was long enough to have one.
    pub generation: u32,
}

/// The size of a [`TOKEN_AGAIN`] payload.
pub const AGAIN_BYTES: usize = TOKEN_BYTES + 4;

/// The payload of [`TOKEN_AGAIN`].
#[must_use]
#[inline(always)]
pub fn encode_again(token: &Token, generation: u32) -> [u8; AGAIN_BYTES] {
    let mut payload = [0; AGAIN_BYTES];
    payload[..TOKEN_BYTES].copy_from_slice(token.as_bytes());
    payload[TOKEN_BYTES..].copy_from_slice(&generation.to_le_bytes());
    payload
}

/// The payload of [`TOKEN_DELETED`].
#[must_use]
pub fn encode_deleted(id: TokenId, generation: u32) -> [u8; DELETED_BYTES] {
    let mut payload = [0; DELETED_BYTES];
    payload[..4].copy_from_slice(&id.raw().to_le_bytes());
    payload[4..].copy_from_slice(&generation.to_le_bytes());
    payload
}

fn word(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |word| u32::from_le_bytes(*word))
}

/// Reads a record; `None` if its kind is not a token's.
///
/// # Errors
/// [`BadRecord`] if the kind is a token's and the payload is not.
pub fn decode(kind: RecordKind, payload: &[u8]) -> Result<Option<TokenRecord>, BadRecord> {
    let bad = |generation| BadRecord { kind: kind.0, bytes: payload.len(), generation };
    match kind {
        TOKEN_FIRST => {
            let token = Token::read_from_bytes(payload).map_err(|_| bad(1))?;
            Ok(Some(TokenRecord::Created { token, generation: 1 }))
        }
        TOKEN_AGAIN => {
            let (token, rest) = Token::read_from_prefix(payload).map_err(|_| bad(0))?;
            let generation = word(rest);
            if rest.len() != 4 || generation.is_multiple_of(2) {
                return Err(bad(generation));
            }
            Ok(Some(TokenRecord::Created { token, generation }))
        }
        TOKEN_DELETED => {
            let generation = word(payload.get(4..).unwrap_or_default());
            if payload.len() != 8 || !generation.is_multiple_of(2) || generation == 0 {
                return Err(bad(generation));
            }
            Ok(Some(TokenRecord::Deleted { id: TokenId::from_raw(word(payload)), generation }))
        }
        _ => Ok(None),
    }
}

#[cfg(target_endian = "big")]
compile_error!("the log stores tokens in little-endian order, as they lie in memory: port `records` first");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TokenSpec;

    #[test]
    fn each_kind_comes_back() {
        let token = TokenSpec::new().at(77, 5);
        assert_eq!(
            decode(TOKEN_FIRST, token.as_bytes()),
            Ok(Some(TokenRecord::Created { token, generation: 1 }))
        );
        assert_eq!(
            decode(TOKEN_AGAIN, &encode_again(&token, 3)),
            Ok(Some(TokenRecord::Created { token, generation: 3 }))
        );
        let id = token.id();
        assert_eq!(
            decode(TOKEN_DELETED, &encode_deleted(id, 4)),
            Ok(Some(TokenRecord::Deleted { id, generation: 4 }))
        );
        assert_eq!(decode(RecordKind::USER, b"anything"), Ok(None));
    }

    #[test]
    fn a_payload_of_another_shape_is_named() {
        assert!(decode(TOKEN_FIRST, &[0; 63]).is_err());
        assert!(decode(TOKEN_AGAIN, &[0; 64]).is_err());
        assert!(decode(TOKEN_AGAIN, &encode_again(&Token::default(), 2)).is_err());
        assert!(decode(TOKEN_DELETED, &encode_deleted(TokenId::from_raw(1), 3)).is_err());
        assert!(decode(TOKEN_DELETED, &[]).is_err());
    }
}
