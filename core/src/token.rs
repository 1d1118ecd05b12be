//! The token: 64 bytes, 8 coordinate spaces of 3 fixed-point axes, and what describes it.
//!
//! It is plain old data: any 64 bytes are some token, and [`Token::validate`] says whether it is
//! a sound one. It never reads a clock and never allocates.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The size of a token in memory and in the log, in bytes.
pub const TOKEN_BYTES: usize = 64;

/// One of the eight coordinate spaces, with its fixed-point scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Space {
    /// L1, scale 100.
    Physical = 0,
    /// L2, scale 10,000.
    Sensory = 1,
    /// L3, scale 1,000.
    Motor = 2,
    /// L4, scale 10,000.
    Emotional = 3,
    /// L5, scale 10,000.
    Cognitive = 4,
    /// L6, scale 10,000.
    Social = 5,
    /// L7, scale 100.
    Temporal = 6,
    /// L8, scale 10,000.
    Abstract = 7,
}

impl Space {
    /// All spaces, in the order in which a token stores them.
    pub const ALL: [Self; 8] = [
        Self::Physical,
        Self::Sensory,
        Self::Motor,
        Self::Emotional,
        Self::Cognitive,
        Self::Social,
        Self::Temporal,
        Self::Abstract,
    ];

    /// How many steps of the stored `i16` make 1.0 (NeuroGraph v0.44.1, `token_v2`).
    #[must_use]
    pub const fn scale(self) -> f32 {
        match self {
            Self::Physical | Self::Temporal => 100.0,
            Self::Motor => 1_000.0,
            Self::Sensory | Self::Emotional | Self::Cognitive | Self::Social | Self::Abstract => 10_000.0,
        }
    }

    /// `"L1"` … `"L8"`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        ["L1", "L2", "L3", "L4", "L5", "L6", "L7", "L8"][self as usize]
    }

    /// The space called `label` (`"L1"` … `"L8"`, either case).
    #[must_use]
    pub fn from_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|space| space.label().eq_ignore_ascii_case(label))
    }
}

/// One axis of a space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Axis {
    /// First axis.
    X = 0,
    /// Second axis.
    Y = 1,
    /// Third axis.
    Z = 2,
}

impl Axis {
    /// All axes, in the order in which a token stores them.
    pub const ALL: [Self; 3] = [Self::X, Self::Y, Self::Z];

    /// `"x"`, `"y"`, `"z"`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        ["x", "y", "z"][self as usize]
    }
}

/// 24 coordinates, `[space][axis]`, as the fixed-point steps that a token stores.
pub type Coords = [[i16; 3]; 8];

/// The scale of [`Token::radius`]: stored steps per 1.0.
pub const RADIUS_SCALE: f32 = 100.0;
/// The scale of [`Token::strength`]: stored steps per 1.0.
pub const STRENGTH_SCALE: f32 = 255.0;

/// Bits of [`Token::flags`].
pub mod flags {
    /// The token takes part in the field.
    pub const ACTIVE: u16 = 1 << 0;
    /// Cleanup never removes it.
    pub const PERSISTENT: u16 = 1 << 1;
    /// Its coordinates may be changed after it was made.
    pub const MUTABLE: u16 = 1 << 2;
    /// Kept in step with other engines.
    pub const SYNCHRONIZED: u16 = 1 << 3;
    /// Its payload is compressed.
    pub const COMPRESSED: u16 = 1 << 4;
    /// Its payload is encrypted.
    pub const ENCRYPTED: u16 = 1 << 5;
    /// Changed since the last checkpoint of its owner.
    pub const DIRTY: u16 = 1 << 6;
    /// In use by someone: cleanup never removes it.
    pub const LOCKED: u16 = 1 << 7;
    /// Bits 8–11: the entity type, repeated from the id.
    pub const ENTITY_MASK: u16 = 0x0f00;
    /// Bits 12–15: the user's own.
    pub const USER_MASK: u16 = 0xf000;
}

/// A token's name, and its address: bits 0–23 local id, 24–27 entity type, 28–31 domain.
///
/// Domain and local id are the slot in the store; the entity type rides along. Two ids that
/// differ in nothing but the entity type name the same slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenId(u32);

impl TokenId {
    /// How many tokens one domain holds: 2²⁴.
    pub const LOCALS: u32 = 1 << 24;

    /// Puts an id together.
    ///
    /// Returns `None` if `domain` or `entity` is above 15, or `local` above 2²⁴ − 1.
    #[must_use]
    pub const fn new(domain: u8, entity: u8, local: u32) -> Option<Self> {
        if domain > 15 || entity > 15 || local >= Self::LOCALS {
            return None;
        }
        Some(Self((domain as u32) << 28 | (entity as u32) << 24 | local))
    }

    /// The id that is stored as `raw`; each `u32` is one.
    #[must_use]
    pub const fn from_raw(raw: u32) -> Self {
        Self(raw)
    }

    /// The stored form.
    #[must_use]
    pub const fn raw(self) -> u32 {
        self.0
    }

    /// 0–15.
    #[must_use]
    pub const fn domain(self) -> u8 {
        (self.0 >> 28) as u8
    }

    /// 0–15.
    #[must_use]
    pub const fn entity(self) -> u8 {
        (self.0 >> 24 & 0xf) as u8
    }

    /// 0–2²⁴ − 1.
    #[must_use]
    pub const fn local(self) -> u32 {
        self.0 & 0x00ff_ffff
    }

    /// The address: domain and local id in 28 bits, without the entity type.
    #[must_use]
    pub const fn slot(self) -> u32 {
        self.0 >> 4 & 0x0f00_0000 | self.local()
    }

    /// The id of `slot` with an entity type. Bits above the domain's and the type's are dropped.
    #[must_use]
    pub const fn from_slot(slot: u32, entity: u8) -> Self {
        Self((slot & 0x0f00_0000) << 4 | ((entity & 0xf) as u32) << 24 | slot & 0x00ff_ffff)
    }
}

impl std::fmt::Display for TokenId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.domain(), self.entity(), self.local())
    }
}

/// A token: exactly 64 bytes, aligned to 64, so that each lies in one cache line.
///
/// ```
/// use ng_core::token::{Axis, Space, Token};
/// use zerocopy::IntoBytes;
///
/// let mut token = Token::default();
/// token.set_coord(Space::Physical, Axis::X, 12.34).unwrap();
/// assert_eq!(token.coord(Space::Physical, Axis::X), 12.34);
/// assert_eq!(token.as_bytes().len(), 64);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(64))]
pub struct Token {
    pub(crate) id: u32,
    /// Any finite number that the constitution allows.
    pub weight: f32,
    /// Seconds since 1970.
    pub timestamp: u32,
    /// See [`flags`].
    pub flags: u16,
    /// Field radius in steps of 1/[`RADIUS_SCALE`].
    pub radius_raw: u8,
    /// Field strength in steps of 1/[`STRENGTH_SCALE`].
    pub strength_raw: u8,
    /// `[space][axis]`, in steps of 1/[`Space::scale`].
    pub coords: Coords,
}

/// What is wrong with a token, or with a value meant for one.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum TokenError {
    /// The weight is NaN or infinite.
    #[error("weight is {0}: write a finite number")]
    WeightNotFinite(f32),
    /// The entity type in the flags is not the one in the id.
    #[error("entity type {in_flags} in the flags is not the id's {in_id}")]
    EntityMismatch {
        /// Bits 8–11 of the flags.
        in_flags: u8,
        /// Bits 24–27 of the id.
        in_id: u8,
    },
    /// A number does not fit its field.
    #[error("{field} = {value} is outside {min}..={max}")]
    OutOfRange {
        /// The field's name.
        field: &'static str,
        /// What was asked for.
        value: f64,
        /// The least that the field can hold.
        min: f64,
        /// The most that the field can hold.
        max: f64,
    },
}

/// `value × scale`, rounded to the nearest step, if it fits `min..=max` steps.
///
/// # Errors
/// [`TokenError::OutOfRange`] with the range in the caller's unit; NaN is outside every range.
pub fn to_steps(field: &'static str, value: f64, scale: f32, min: i32, max: i32) -> Result<i32, TokenError> {
    let scale = f64::from(scale);
    let steps = (value * scale).round();
    if steps >= f64::from(min) && steps <= f64::from(max) {
        // In range by the line above, and whole by `round`.
        #[expect(clippy::cast_possible_truncation, reason = "checked against an i32 range")]
        Ok(steps as i32)
    } else {
        Err(TokenError::OutOfRange { field, value, min: f64::from(min) / scale, max: f64::from(max) / scale })
    }
}

impl Token {
    /// The token's id.
    #[must_use]
    #[inline]
    pub const fn id(&self) -> TokenId {
        TokenId(self.id)
    }

    /// Gives the token an id, and its entity type to the flags as well.
    #[inline]
    pub const fn set_id(&mut self, id: TokenId) {
        self.id = id.raw();
        self.flags = self.flags & !flags::ENTITY_MASK | (id.entity() as u16) << 8;
    }

    /// One coordinate in its space's unit.
    #[must_use]
    pub fn coord(&self, space: Space, axis: Axis) -> f32 {
        f32::from(self.coords[space as usize][axis as usize]) / space.scale()
    }

    /// Sets one coordinate, rounded to the nearest step of its space.
    ///
    /// # Errors
    /// [`TokenError::OutOfRange`] if it does not fit; the token is unchanged then.
    pub fn set_coord(&mut self, space: Space, axis: Axis, value: f64) -> Result<(), TokenError> {
        self.coords[space as usize][axis as usize] = coord_steps(space, value)?;
        Ok(())
    }

    /// Field radius, 0–2.55.
    #[must_use]
    pub fn radius(&self) -> f32 {
        f32::from(self.radius_raw) / RADIUS_SCALE
    }

    /// Field strength, 0–1.
    #[must_use]
    pub fn strength(&self) -> f32 {
        f32::from(self.strength_raw) / STRENGTH_SCALE
    }

    /// Sets the field radius, 0–2.55, rounded to 0.01.
    ///
    /// # Errors
    /// [`TokenError::OutOfRange`] if it does not fit; the token is unchanged then.
    pub fn set_radius(&mut self, value: f64) -> Result<(), TokenError> {
        self.radius_raw = byte_steps("radius", value, RADIUS_SCALE)?;
        Ok(())
    }

    /// Sets the field strength, 0–1, rounded to 1/255.
    ///
    /// # Errors
    /// [`TokenError::OutOfRange`] if it does not fit; the token is unchanged then.
    pub fn set_strength(&mut self, value: f64) -> Result<(), TokenError> {
        self.strength_raw = byte_steps("strength", value, STRENGTH_SCALE)?;
        Ok(())
    }

    /// Whether all bits of `mask` are set. See [`flags`].
    #[must_use]
    pub const fn has(&self, mask: u16) -> bool {
        self.flags & mask == mask
    }

    /// Bits 12–15 of the flags, 0–15.
    #[must_use]
    pub const fn user_bits(&self) -> u8 {
        (self.flags >> 12) as u8
    }

    /// Whether the token is sound in itself. Bounds that an engine chooses are the constitution's
    /// business, not this function's.
    ///
    /// # Errors
    /// The first fault found.
    #[inline]
    pub fn validate(&self) -> Result<(), TokenError> {
        if !self.weight.is_finite() {
            return Err(TokenError::WeightNotFinite(self.weight));
        }
        let in_flags = (self.flags >> 8 & 0xf) as u8;
        let in_id = self.id().entity();
        if in_flags != in_id {
            return Err(TokenError::EntityMismatch { in_flags, in_id });
        }
        Ok(())
    }
}

/// A coordinate as the steps that a token stores.
///
/// # Errors
/// [`TokenError::OutOfRange`] if it does not fit an `i16` at this space's scale.
pub fn coord_steps(space: Space, value: f64) -> Result<i16, TokenError> {
    let steps = to_steps(space.label(), value, space.scale(), i16::MIN.into(), i16::MAX.into())?;
    #[expect(clippy::cast_possible_truncation, reason = "to_steps checked the range")]
    Ok(steps as i16)
}

/// A radius or a strength as the byte that a token stores.
///
/// # Errors
/// [`TokenError::OutOfRange`] if it does not fit a byte at this scale.
pub fn byte_steps(field: &'static str, value: f64, scale: f32) -> Result<u8, TokenError> {
    let steps = to_steps(field, value, scale, 0, u8::MAX.into())?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "to_steps checked the range")]
    Ok(steps as u8)
}

const _: () = assert!(size_of::<Token>() == TOKEN_BYTES && align_of::<Token>() == TOKEN_BYTES);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_parts_of_an_id_come_apart_again() {
        let id = TokenId::new(15, 3, 0x00ab_cdef).unwrap();
        assert_eq!((id.domain(), id.entity(), id.local()), (15, 3, 0x00ab_cdef));
        assert_eq!(TokenId::from_slot(id.slot(), 3), id);
        assert_eq!(TokenId::new(16, 0, 0), None);
        assert_eq!(TokenId::new(0, 16, 0), None);
        assert_eq!(TokenId::new(0, 0, 1 << 24), None);
    }

    #[test]
    fn a_value_that_does_not_fit_is_refused_and_changes_nothing() {
        let mut token = Token::default();
        token.set_coord(Space::Sensory, Axis::Y, 1.5).unwrap();
        let error = token.set_coord(Space::Sensory, Axis::Y, 3.5).unwrap_err();
        assert_eq!(error.to_string(), "L2 = 3.5 is outside -3.2768..=3.2767");
        assert_eq!(token.coord(Space::Sensory, Axis::Y), 1.5);
        assert!(token.set_radius(2.56).is_err());
        assert!(token.set_strength(-0.01).is_err());
        assert!(token.set_strength(f64::NAN).is_err());
    }

    #[test]
    fn validate_finds_a_bad_weight_and_a_mismatched_entity() {
        let mut token = Token { weight: f32::NAN, ..Token::default() };
        assert!(matches!(token.validate(), Err(TokenError::WeightNotFinite(_))));
        token.weight = 1.0;
        token.flags = 0x0300;
        assert_eq!(token.validate(), Err(TokenError::EntityMismatch { in_flags: 3, in_id: 0 }));
        token.set_id(TokenId::new(0, 3, 9).unwrap());
        assert_eq!(token.validate(), Ok(()));
    }

    proptest! {
        #[test]
        fn any_slot_and_entity_round_trip(slot in 0u32..1 << 28, entity in 0u8..16) {
            let id = TokenId::from_slot(slot, entity);
            prop_assert_eq!((id.slot(), id.entity()), (slot, entity));
        }

        #[test]
        fn a_coordinate_comes_back_within_half_a_step(space in 0usize..8, axis in 0usize..3, part in -1.0f64..1.0) {
            let (space, axis) = (Space::ALL[space], Axis::ALL[axis]);
            let value = part * 32767.0 / f64::from(space.scale());
            let mut token = Token::default();
            token.set_coord(space, axis, value).unwrap();
            let back = f64::from(token.coord(space, axis));
            prop_assert!((back - value).abs() <= 0.5001 / f64::from(space.scale()) + back.abs() * 1e-6);
        }
    }
}
