//! What a caller asks for: a token that has no slot yet, and perhaps no id and no time.
//!
//! A spec is 64 bytes, like the token that it becomes, so that making one is a copy. It never
//! checks the constitution: the lane does.

use crate::token::{Axis, Coords, Space, Token, TokenError, TokenId, byte_steps, coord_steps};
use crate::token::{RADIUS_SCALE, STRENGTH_SCALE};

/// A token to be made.
///
/// ```
/// use ng_core::TokenSpec;
/// use ng_core::token::{Axis, Space};
///
/// let spec = TokenSpec::new()
///     .with_weight(0.5)
///     .with_coord(Space::Physical, Axis::X, 12.34)?;
/// assert_eq!(spec.id(), None); // the lane will choose one
/// # Ok::<(), ng_core::token::TokenError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenSpec {
    token: Token,
}

/// "The clock's time", as stored: the last second of the 32-bit range.
const NOW: u32 = u32::MAX;

/// The first of the two 32-bit fields of a word: the id of word 0, the time of word 1.
const LOW: u64 = 0xffff_ffff;

/// "Any id": domain 15, type 15, local 2²⁴ − 1. [`TokenSpec::with_id`] refuses it.
const ANY: TokenId = TokenId::from_raw(u32::MAX);

impl Default for TokenSpec {
    fn default() -> Self {
        Self::new()
    }
}

impl TokenSpec {
    /// An active token of weight 1, radius 1, strength 1, at the origin, with any id, now.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            token: Token {
                id: ANY.raw(),
                weight: 1.0,
                timestamp: NOW,
                flags: crate::token::flags::ACTIVE,
                radius_raw: 100,
                strength_raw: 255,
                coords: [[0; 3]; 8],
            },
        }
    }

    /// A spec that makes `token` again, at its own id and time.
    #[must_use]
    pub const fn of(token: Token) -> Self {
        Self { token }
    }

    /// A spec with all fields of `token` but its id, which the lane chooses. The entity type is the
    /// one in its flags.
    #[must_use]
    #[inline]
    pub const fn of_any(token: Token) -> Self {
        Self { token: Token { id: ANY.raw(), ..token } }
    }

    /// With an id of the caller's own. The one id that a caller can't have is `u32::MAX`, which
    /// stands for "any".
    ///
    /// # Errors
    /// [`TokenError::OutOfRange`] for that one.
    pub fn with_id(mut self, id: TokenId) -> Result<Self, TokenError> {
        if id == ANY {
            let max = f64::from(u32::MAX - 1);
            return Err(TokenError::OutOfRange { field: "id", value: f64::from(id.raw()), min: 0.0, max });
        }
        self.token.set_id(id);
        Ok(self)
    }

    /// With an entity type (0–15, higher bits are dropped) on an id that the lane chooses.
    #[must_use]
    pub const fn with_entity(mut self, entity: u8) -> Self {
        self.token.flags =
            self.token.flags & !crate::token::flags::ENTITY_MASK | ((entity & 0xf) as u16) << 8;
        if self.token.id().raw() != ANY.raw() {
            self.token.set_id(TokenId::from_slot(self.token.id().slot(), entity));
        }
        self
    }

    /// With a weight.
    #[must_use]
    pub const fn with_weight(mut self, weight: f32) -> Self {
        self.token.weight = weight;
        self
    }

    /// With a time in seconds since 1970, up to 2³² − 2.
    ///
    /// # Errors
    /// [`TokenError::OutOfRange`] for 2³² − 1, which stands for "now".
    pub fn with_timestamp(mut self, seconds: u32) -> Result<Self, TokenError> {
        if seconds == NOW {
            let max = f64::from(NOW - 1);
            return Err(TokenError::OutOfRange {
                field: "timestamp",
                value: f64::from(seconds),
                min: 0.0,
                max,
            });
        }
        self.token.timestamp = seconds;
        Ok(self)
    }

    /// With these flags; the entity type's bits (8–11) are kept as they are.
    #[must_use]
    pub const fn with_flags(mut self, flags: u16) -> Self {
        let entity = crate::token::flags::ENTITY_MASK;
        self.token.flags = self.token.flags & entity | flags & !entity;
        self
    }

    /// With a field radius, 0–2.55.
    ///
    /// # Errors
    /// [`TokenError::OutOfRange`] if it does not fit.
    pub fn with_radius(mut self, radius: f64) -> Result<Self, TokenError> {
        self.token.radius_raw = byte_steps("radius", radius, RADIUS_SCALE)?;
        Ok(self)
    }

    /// With a field strength, 0–1.
    ///
    /// # Errors
    /// [`TokenError::OutOfRange`] if it does not fit.
    pub fn with_strength(mut self, strength: f64) -> Result<Self, TokenError> {
        self.token.strength_raw = byte_steps("strength", strength, STRENGTH_SCALE)?;
        Ok(self)
    }

    /// With one coordinate.
    ///
    /// # Errors
    /// [`TokenError::OutOfRange`] if it does not fit its space.
    pub fn with_coord(mut self, space: Space, axis: Axis, value: f64) -> Result<Self, TokenError> {
        self.token.coords[space as usize][axis as usize] = coord_steps(space, value)?;
        Ok(self)
    }

    /// With all coordinates, in stored steps.
    #[must_use]
    pub const fn with_coords(mut self, coords: Coords) -> Self {
        self.token.coords = coords;
        self
    }

    /// The id that the caller chose, if it did.
    #[must_use]
    #[inline]
    pub const fn id(&self) -> Option<TokenId> {
        let id = self.token.id();
        if id.raw() == ANY.raw() { None } else { Some(id) }
    }

    /// The time that the caller chose, if it did.
    #[must_use]
    pub const fn timestamp(&self) -> Option<u32> {
        if self.token.timestamp == NOW { None } else { Some(self.token.timestamp) }
    }

    /// The entity type, from the id or from the flags.
    #[must_use]
    #[inline]
    pub const fn entity(&self) -> u8 {
        (self.token.flags >> 8 & 0xf) as u8
    }

    /// The token that this spec becomes at `slot`, made at `now` unless it has a time.
    #[must_use]
    #[inline(always)]
    pub const fn at(&self, slot: u32, now: u32) -> Token {
        // By whole words: a narrow store into a token that is copied right afterwards would make the
        // processor wait until it has left the store buffer.
        let mut words: [u64; 8] = zerocopy::transmute!(self.token);
        let id = TokenId::from_slot(slot, self.entity());
        words[0] = words[0] & !LOW | id.raw() as u64;
        if words[1] & LOW == NOW as u64 {
            words[1] = words[1] & !LOW | now as u64;
        }
        zerocopy::transmute!(words)
    }

    /// The fields as they are, for a check of their bounds. Its id and time may be placeholders.
    #[must_use]
    #[inline(always)]
    pub const fn draft(&self) -> &Token {
        &self.token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_is_as_large_as_its_token() {
        assert_eq!(size_of::<TokenSpec>(), size_of::<Token>());
    }

    #[test]
    fn the_lane_chooses_what_the_caller_leaves_open() {
        let token = TokenSpec::new().with_entity(5).at(0x0300_0007, 1_234);
        assert_eq!((token.id().domain(), token.id().entity(), token.id().local()), (3, 5, 7));
        assert_eq!(token.timestamp, 1_234);
        assert_eq!(token.validate(), Ok(()));
    }

    #[test]
    fn what_the_caller_chose_is_kept() {
        let id = TokenId::new(2, 4, 99).unwrap();
        let spec = TokenSpec::new().with_flags(0xf0ff).with_id(id).unwrap().with_timestamp(7).unwrap();
        assert_eq!((spec.id(), spec.timestamp(), spec.entity()), (Some(id), Some(7), 4));
        let token = spec.at(id.slot(), 1_234);
        assert_eq!((token.id(), token.timestamp, token.flags), (id, 7, 0xf4ff));
        assert_eq!(TokenSpec::of(token).at(id.slot(), 0), token);
    }

    #[test]
    fn the_two_placeholders_are_refused() {
        assert!(TokenSpec::new().with_id(TokenId::from_raw(u32::MAX)).is_err());
        assert!(TokenSpec::new().with_timestamp(u32::MAX).is_err());
    }
}
