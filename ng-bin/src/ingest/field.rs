//! The fields of a token that a column can fill, and their names.
//!
//! The names are the ones that `--map` takes, that an export writes as its header, and that a
//! file's own columns must have to be found without `--map`. It never parses a value.

use ng_core::token::{Axis, Space};

/// What a column can fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field {
    /// The token's id; without it the lane chooses one.
    Id,
    /// The domain (0–15) of an id that a column gives.
    Domain,
    /// The entity type, 0–15.
    Entity,
    /// The weight.
    Weight,
    /// Seconds since 1970.
    Timestamp,
    /// The flag bits.
    Flags,
    /// The field radius, 0–2.55.
    Radius,
    /// The field strength, 0–1.
    Strength,
    /// One coordinate, in its space's unit.
    Coord(Space, Axis),
}

const PLAIN: [(Field, &str); 8] = [
    (Field::Id, "id"),
    (Field::Domain, "domain"),
    (Field::Entity, "entity"),
    (Field::Weight, "weight"),
    (Field::Timestamp, "timestamp"),
    (Field::Flags, "flags"),
    (Field::Radius, "radius"),
    (Field::Strength, "strength"),
];

/// `L1.x` … `L8.z`, in the order in which a token stores them.
const COORDS: [[&str; 3]; 8] = [
    ["L1.x", "L1.y", "L1.z"],
    ["L2.x", "L2.y", "L2.z"],
    ["L3.x", "L3.y", "L3.z"],
    ["L4.x", "L4.y", "L4.z"],
    ["L5.x", "L5.y", "L5.z"],
    ["L6.x", "L6.y", "L6.z"],
    ["L7.x", "L7.y", "L7.z"],
    ["L8.x", "L8.y", "L8.z"],
];

impl Field {
    /// Every field, the coordinates last.
    pub fn all() -> impl Iterator<Item = Self> {
        PLAIN.iter().map(|&(field, _)| field).chain(Self::coords())
    }

    /// The 24 coordinates, in the order in which a token stores them.
    pub fn coords() -> impl Iterator<Item = Self> {
        Space::ALL.into_iter().flat_map(|space| Axis::ALL.map(|axis| Self::Coord(space, axis)))
    }

    /// The field's name: `"weight"`, `"L1.x"`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Coord(space, axis) => COORDS[space as usize][axis as usize],
            plain => PLAIN.iter().find(|(field, _)| *field == plain).map_or("", |(_, name)| name),
        }
    }

    /// The field called `name`, in either case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::all().find(|field| field.name().eq_ignore_ascii_case(name))
    }
}

impl std::fmt::Display for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The name among `names` that `typed` was probably meant to be.
pub(super) fn nearest<'a>(typed: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    /// Below this Jaro-Winkler likeness a suggestion misleads more often than it helps.
    const ALIKE: f64 = 0.8;
    let typed = typed.to_ascii_lowercase();
    names
        .map(|name| (strsim::jaro_winkler(&typed, &name.to_ascii_lowercase()), name))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_found_by_its_name() {
        assert_eq!(Field::all().count(), 32);
        for field in Field::all() {
            assert_eq!(Field::from_name(field.name()), Some(field));
            assert_eq!(Field::from_name(&field.name().to_ascii_uppercase()), Some(field));
        }
        assert_eq!(Field::from_name("L9.x"), None);
    }
}
