//! A cell's text to a field's value, and the fields of one row to a token spec.
//!
//! Rules for all text formats: spaces around a value are ignored, an empty value is the default.
//! Whole numbers are whole: `5.0` is not an id. It never guesses a unit, and it never clamps what
//! is a name rather than a quantity (ids, domains, entity types, flags).

use ng_core::token::{Coords, TokenError, TokenId, byte_steps, coord_steps};
use ng_core::token::{RADIUS_SCALE, STRENGTH_SCALE, flags};
use ng_core::{Token, TokenSpec};

use super::fault::Fault;
use super::field::{Field, nearest};
use super::time;

const FLAG_NAMES: [(&str, u16); 8] = [
    ("active", flags::ACTIVE),
    ("persistent", flags::PERSISTENT),
    ("mutable", flags::MUTABLE),
    ("synchronized", flags::SYNCHRONIZED),
    ("compressed", flags::COMPRESSED),
    ("encrypted", flags::ENCRYPTED),
    ("dirty", flags::DIRTY),
    ("locked", flags::LOCKED),
];

/// One row as it is read.
pub(super) struct Draft {
    id: Option<u32>,
    domain: Option<u8>,
    entity: Option<u8>,
    timestamp: Option<u32>,
    weight: f32,
    flags: u16,
    radius: u8,
    strength: u8,
    coords: Coords,
    clamp: bool,
}

impl Draft {
    /// A row whose every cell is empty. With `clamp`, a quantity that does not fit its field
    /// becomes the nearest that does.
    pub(super) fn new(clamp: bool) -> Self {
        let spec = TokenSpec::new();
        let Token { weight, flags, radius_raw, strength_raw, coords, .. } = *spec.draft();
        Self {
            id: None,
            domain: None,
            entity: None,
            timestamp: None,
            weight,
            flags,
            radius: radius_raw,
            strength: strength_raw,
            coords,
            clamp,
        }
    }

    /// Gives a field the value that `text` says; an empty one leaves the default.
    pub(super) fn set(&mut self, field: Field, text: &str) -> Result<(), Fault> {
        let text = text.trim_ascii();
        if text.is_empty() {
            return Ok(());
        }
        match field {
            Field::Id => self.id = Some(id(text)?),
            Field::Domain => self.domain = Some(nibble(text)?),
            Field::Entity => self.entity = Some(nibble(text)?),
            Field::Weight => self.weight = weight(text, self.clamp)?,
            Field::Timestamp => self.timestamp = Some(timestamp(text, self.clamp)?),
            Field::Flags => self.flags = flag_bits(text)?,
            Field::Radius => self.radius = self.byte("radius", text, RADIUS_SCALE)?,
            Field::Strength => self.strength = self.byte("strength", text, STRENGTH_SCALE)?,
            Field::Coord(space, axis) => {
                self.coords[space as usize][axis as usize] =
                    fit(real(text)?, self.clamp, |value| coord_steps(space, value))?;
            }
        }
        Ok(())
    }

    fn byte(&self, name: &'static str, text: &str, scale: f32) -> Result<u8, Fault> {
        fit(real(text)?, self.clamp, |value| byte_steps(name, value, scale))
    }

    /// The spec, or the field that contradicts the others.
    ///
    /// An id of domain 0 or entity type 0 takes those of the row's own columns; otherwise all
    /// that name one must name the same, the flags' bits 8–11 included. Without an id and an
    /// entity cell, those bits give the entity type.
    pub(super) fn finish(self) -> Result<TokenSpec, (Field, Fault)> {
        let in_flags = (self.flags >> 8 & 0xf) as u8;
        let given = self.id.map(TokenId::from_raw);
        let entity = agree(Field::Entity, self.entity, given.map(TokenId::entity))?;
        let entity = match entity {
            Some(entity) if in_flags != 0 && in_flags != entity => {
                let other = if given.is_some() { Field::Id } else { Field::Entity };
                return Err((Field::Flags, Fault::Disagrees { here: in_flags, other, there: entity }));
            }
            Some(entity) => entity,
            None => in_flags,
        };
        let mut spec = TokenSpec::new()
            .with_weight(self.weight)
            .with_flags(self.flags)
            .with_coords(self.coords)
            .with_entity(entity);
        if let Some(seconds) = self.timestamp {
            spec = spec.with_timestamp(seconds).map_err(|error| (Field::Timestamp, error.into()))?;
        }
        if let Some(id) = given {
            let domain = agree(Field::Domain, self.domain, Some(id.domain()))?.unwrap_or(0);
            let id = TokenId::new(domain, entity, id.local()).ok_or((Field::Id, Fault::NotAnId))?;
            spec = spec.with_id(id).map_err(|error| (Field::Id, error.into()))?;
        } else if self.domain.is_some() {
            return Err((Field::Domain, Fault::DomainWithoutId));
        }
        let mut token = *spec.draft();
        (token.radius_raw, token.strength_raw) = (self.radius, self.strength);
        Ok(TokenSpec::of(token))
    }
}

/// What a row's own column and its id say together; the id's 0 says nothing.
fn agree(field: Field, column: Option<u8>, in_id: Option<u8>) -> Result<Option<u8>, (Field, Fault)> {
    match (column, in_id) {
        (Some(here), Some(there)) if there != 0 && here != there => {
            Err((field, Fault::Disagrees { here, other: Field::Id, there }))
        }
        (Some(value), _) | (None, Some(value)) => Ok(Some(value)),
        (None, None) => Ok(None),
    }
}

/// A number; an infinite one stands for one that an `f64` can't hold.
fn real(text: &str) -> Result<f64, Fault> {
    let value: f64 = text.parse().map_err(|_| Fault::NotANumber)?;
    if value.is_finite() || has_digit(text) { Ok(value) } else { Err(Fault::NotFinite) }
}

/// Tells `1e999`, which is too large, from `inf` and `nan`, which the parser takes as well.
fn has_digit(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_digit())
}

fn fit<T>(value: f64, clamp: bool, steps: impl Fn(f64) -> Result<T, TokenError>) -> Result<T, Fault> {
    match steps(value) {
        Err(TokenError::OutOfRange { min, max, .. }) if clamp => Ok(steps(value.clamp(min, max))?),
        other => Ok(other?),
    }
}

/// Parsed as `f32` at once: by way of an `f64` it could be rounded twice.
fn weight(text: &str, clamp: bool) -> Result<f32, Fault> {
    let value: f32 = text.parse().map_err(|_| Fault::NotANumber)?;
    if value.is_finite() {
        Ok(value)
    } else if !has_digit(text) {
        Err(Fault::NotFinite)
    } else if clamp {
        Ok(value.clamp(f32::MIN, f32::MAX))
    } else {
        Err(Fault::OutOfRange { min: f32::MIN.into(), max: f32::MAX.into() })
    }
}

/// A whole number of 0 to `max`.
fn whole(text: &str, max: u32) -> Result<u32, Fault> {
    match text.parse::<u32>() {
        Ok(value) if value <= max => Ok(value),
        Ok(_) => Err(Fault::OutOfRange { min: 0.0, max: max.into() }),
        Err(_) => {
            real(text)?;
            let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
            if digits.bytes().all(|byte| byte.is_ascii_digit()) {
                Err(Fault::OutOfRange { min: 0.0, max: max.into() })
            } else {
                Err(Fault::NotWhole)
            }
        }
    }
}

fn nibble(text: &str) -> Result<u8, Fault> {
    #[expect(clippy::cast_possible_truncation, reason = "at most 15")]
    whole(text, 15).map(|value| value as u8)
}

/// `u32::MAX` stands for "any id" and "now" in a spec, so neither can be written.
const MAX: u32 = u32::MAX - 1;

fn hexadecimal(text: &str) -> Option<Option<u32>> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?;
    let sound = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    Some(sound.then(|| u32::from_str_radix(digits, 16).ok()).flatten())
}

fn id(text: &str) -> Result<u32, Fault> {
    if let Some(parsed) = hexadecimal(text) {
        let id = parsed.ok_or(Fault::NotAnId)?;
        return if id <= MAX { Ok(id) } else { Err(Fault::OutOfRange { min: 0.0, max: MAX.into() }) };
    }
    if text.contains(':') {
        let mut parts = text.split(':').map(|part| part.trim_ascii().parse::<u32>());
        let (Some(Ok(domain)), Some(Ok(entity)), Some(Ok(local)), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Fault::NotAnId);
        };
        let narrow = |part: u32| u8::try_from(part).map_err(|_| Fault::NotAnId);
        let id = TokenId::new(narrow(domain)?, narrow(entity)?, local).ok_or(Fault::NotAnId)?;
        return if id.raw() <= MAX { Ok(id.raw()) } else { Err(Fault::NotAnId) };
    }
    whole(text, MAX).map_err(|fault| if fault == Fault::NotANumber { Fault::NotAnId } else { fault })
}

/// The id that a text names, in one of the forms that a column takes.
///
/// # Errors
/// [`Fault::NotAnId`] and others of a number.
pub fn parse_id(text: &str) -> Result<TokenId, Fault> {
    id(text.trim_ascii()).map(TokenId::from_raw)
}

fn timestamp(text: &str, clamp: bool) -> Result<u32, Fault> {
    let range = Fault::OutOfRange { min: 0.0, max: MAX.into() };
    let looks_like_a_date = text.get(4..5) == Some("-");
    if !looks_like_a_date {
        return match whole(text, MAX) {
            Err(Fault::OutOfRange { .. }) if clamp => Ok(if text.starts_with('-') { 0 } else { MAX }),
            Err(Fault::NotANumber) => Err(Fault::NotATime),
            other => other,
        };
    }
    let seconds = time::parse(text).ok_or(Fault::NotATime)?;
    let held = seconds.clamp(0, MAX.into());
    if held != seconds && !clamp {
        return Err(range);
    }
    u32::try_from(held).map_err(|_| range)
}

fn flag_bits(text: &str) -> Result<u16, Fault> {
    let range = Fault::OutOfRange { min: 0.0, max: u16::MAX.into() };
    if let Some(parsed) = hexadecimal(text) {
        return u16::try_from(parsed.ok_or(Fault::NotANumber)?).map_err(|_| range);
    }
    if !text.starts_with(|first: char| first.is_ascii_alphabetic()) {
        return u16::try_from(whole(text, u16::MAX.into())?).map_err(|_| range);
    }
    text.split('|').map(str::trim_ascii).try_fold(0, |bits, name| {
        match FLAG_NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            Some((_, bit)) => Ok(bits | bit),
            None => Err(Fault::UnknownFlag {
                name: name.to_owned(),
                suggestion: nearest(name, FLAG_NAMES.iter().map(|(known, _)| *known)),
            }),
        }
    })
}
