//! Typed events: the fields of a struct laid into an event's two numbers, and the schema that a
//! recorder writes beside its rings so that a reader gives them back by name.
//!
//! The layout is computed when the program is compiled: fields in the order of the struct, each
//! aligned to its size, 16 bytes together. Packing is a few shifts; nothing is formatted.

use super::{Event, EventKind};

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FieldType {
    /// An unsigned number of 1, 2, 4 or 8 bytes.
    Unsigned(u8),
    /// A signed number of 1, 2, 4 or 8 bytes.
    Signed(u8),
    /// A floating-point number of 4 or 8 bytes.
    Float(u8),
    /// A truth value, 1 byte.
    Bool,
}

impl FieldType {
    /// How many bytes it takes; it is aligned to as many.
    #[must_use]
    pub const fn bytes(self) -> u8 {
        match self {
            Self::Unsigned(bytes) | Self::Signed(bytes) | Self::Float(bytes) => bytes,
            Self::Bool => 1,
        }
    }

    /// Its name in a schema: that of the Rust type.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Unsigned(1) => "u8",
            Self::Unsigned(2) => "u16",
            Self::Unsigned(4) => "u32",
            Self::Unsigned(_) => "u64",
            Self::Signed(1) => "i8",
            Self::Signed(2) => "i16",
            Self::Signed(4) => "i32",
            Self::Signed(_) => "i64",
            Self::Float(4) => "f32",
            Self::Float(_) => "f64",
            Self::Bool => "bool",
        }
    }

    /// The type with this name.
    #[must_use]
    pub fn from_label(label: &str) -> Option<Self> {
        Some(match label {
            "u8" => Self::Unsigned(1),
            "u16" => Self::Unsigned(2),
            "u32" => Self::Unsigned(4),
            "u64" => Self::Unsigned(8),
            "i8" => Self::Signed(1),
            "i16" => Self::Signed(2),
            "i32" => Self::Signed(4),
            "i64" => Self::Signed(8),
            "f32" => Self::Float(4),
            "f64" => Self::Float(8),
            "bool" => Self::Bool,
            _ => return None,
        })
    }
}

/// A field and where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub ty: FieldType,
    /// The byte at which it begins, 0–15: the first number's come first, little-endian.
    pub at: u8,
}

/// What a reader must know of a kind of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventSchema {
    /// Its number, from [`EventKind::USER`] on.
    pub kind: EventKind,
    /// What it is called.
    pub label: &'static str,
    /// Its fields.
    pub fields: &'static [Field],
}

/// A struct that is recorded as an [`Event`]; made by [`event!`](crate::event).
pub trait TypedEvent: Sized {
    /// Its kind, its name, its fields.
    const SCHEMA: EventSchema;

    /// The event that holds it.
    fn event(&self) -> Event;

    /// What an event of this kind holds; `None` if it is of another kind.
    fn from_event(event: &Event) -> Option<Self>;
}

/// A type that a field can have: the numbers of up to 8 bytes, and `bool`.
pub trait FieldValue: Copy {
    /// What a schema calls it.
    const TYPE: FieldType;

    /// Its bits, in the low bytes.
    fn to_bits(self) -> u64;

    /// Back from its bits; higher ones are ignored.
    fn from_bits(bits: u64) -> Self;
}

macro_rules! field_values {
    ($($ty:ident as $bits:ident: $type:expr;)*) => {$(
        impl FieldValue for $ty {
            const TYPE: FieldType = $type;

            #[inline(always)]
            fn to_bits(self) -> u64 {
                <$bits>::from_ne_bytes(self.to_ne_bytes()).into()
            }

            #[inline(always)]
            #[allow(clippy::unnecessary_cast, reason = "one of them has 64 bits already")]
            fn from_bits(bits: u64) -> Self {
                Self::from_ne_bytes((bits as $bits).to_ne_bytes())
            }
        }
    )*};
}

field_values! {
    u8 as u8: FieldType::Unsigned(1);
    u16 as u16: FieldType::Unsigned(2);
    u32 as u32: FieldType::Unsigned(4);
    u64 as u64: FieldType::Unsigned(8);
    i8 as u8: FieldType::Signed(1);
    i16 as u16: FieldType::Signed(2);
    i32 as u32: FieldType::Signed(4);
    i64 as u64: FieldType::Signed(8);
    f32 as u32: FieldType::Float(4);
    f64 as u64: FieldType::Float(8);
}

impl FieldValue for bool {
    const TYPE: FieldType = FieldType::Bool;

    #[inline(always)]
    fn to_bits(self) -> u64 {
        self.into()
    }

    #[inline(always)]
    fn from_bits(bits: u64) -> Self {
        bits & 0xff != 0
    }
}

/// Where fields of these types begin.
///
/// # Panics
/// If they take more than 16 bytes together: an error of the compiler's in [`event!`](crate::event).
#[must_use]
pub const fn layout<const N: usize>(types: [FieldType; N]) -> [u8; N] {
    let (mut at, mut end, mut i) = ([0; N], 0u8, 0);
    while i < N {
        let bytes = types[i].bytes();
        at[i] = end.next_multiple_of(bytes);
        end = at[i] + bytes;
        assert!(end <= 16, "the fields of an event take at most 16 bytes");
        i += 1;
    }
    at
}

/// Declares events of one's own: structs with a kind, a name and a tier.
///
/// ```
/// use ng_core::events::{EventKind, Tier, TypedEvent};
///
/// ng_core::event! {
///     /// Two orders met.
///     #[derive(Debug, PartialEq)]
///     pub struct Matched = 0x0100, "matched", Operation {
///         /// Which order.
///         pub order: u32,
///         /// How many.
///         pub lots: u16,
///         /// Whether the rest stays in the book.
///         pub rests: bool,
///         /// At what price.
///         pub price: f64,
///     }
/// }
///
/// let matched = Matched { order: 7, lots: 3, rests: true, price: 12.5 };
/// let event = matched.event(); // for `EventLane::record`
/// assert_eq!((event.kind, event.tier), (EventKind(0x0100), Tier::Operation));
/// assert_eq!(Matched::from_event(&event), Some(matched));
/// assert_eq!(Matched::SCHEMA.fields[3].at, 8); // for the recorder's options
/// ```
///
/// Fields have types of [`FieldValue`](crate::events::FieldValue) and take 16 bytes together; more
/// is an error, and so is a kind of the workspace's own:
///
/// ```compile_fail
/// ng_core::event! { struct Long = 0x0100, "long", Rare { a: u64, b: u64, c: u8, } }
/// ```
/// ```compile_fail
/// ng_core::event! { struct Taken = 7, "taken", Rare { a: u64, } }
/// ```
#[macro_export]
macro_rules! event {
    ($(
        $(#[$meta:meta])*
        $vis:vis struct $name:ident = $kind:literal, $label:literal, $tier:ident {
            $($(#[$field_meta:meta])* $field_vis:vis $field:ident: $ty:ty,)+
        }
    )+) => {$(
        $(#[$meta])*
        $vis struct $name {
            $($(#[$field_meta])* $field_vis $field: $ty,)+
        }

        const _: () = {
            use $crate::events as __events;

            const TYPES: [__events::FieldType; [$(stringify!($field)),+].len()] =
                [$(<$ty as __events::FieldValue>::TYPE),+];
            const AT: [u8; TYPES.len()] = __events::layout(TYPES);
            const NAMES: [&str; TYPES.len()] = [$(stringify!($field)),+];
            const FIELDS: [__events::Field; TYPES.len()] = {
                let mut fields = [__events::Field { name: "", ty: TYPES[0], at: 0 }; TYPES.len()];
                let mut i = 0;
                while i < fields.len() {
                    fields[i] = __events::Field { name: NAMES[i], ty: TYPES[i], at: AT[i] };
                    i += 1;
                }
                fields
            };
            const KIND: __events::EventKind = __events::EventKind($kind);
            const _: () = assert!($kind >= __events::EventKind::USER.0, "kinds below 0x0100 are taken");

            impl __events::TypedEvent for $name {
                const SCHEMA: __events::EventSchema =
                    __events::EventSchema { kind: KIND, label: $label, fields: &FIELDS };

                #[inline(always)]
                fn event(&self) -> __events::Event {
                    let mut words = [0u64; 2];
                    let mut at = AT.iter();
                    $(if let Some(&at) = at.next() {
                        let bits = __events::FieldValue::to_bits(self.$field);
                        words[(at / 8) as usize] |= bits << (at % 8 * 8);
                    })+
                    let [a, b] = words;
                    __events::Event { kind: KIND, tier: __events::Tier::$tier, a, b }
                }

                fn from_event(event: &__events::Event) -> Option<Self> {
                    if event.kind != KIND {
                        return None;
                    }
                    let words = [event.a, event.b];
                    let mut at = AT.iter();
                    Some(Self {
                        $($field: {
                            let at = at.next()?;
                            __events::FieldValue::from_bits(words[(at / 8) as usize] >> (at % 8 * 8))
                        },)+
                    })
                }
            }
        };
    )+};
}

/// A label as the rings' header keeps it is a line's part: no tabs, no line ends, not empty.
#[must_use]
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_control() || c == ':')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Tier;

    crate::event! {
        /// Every type there is, in an order that needs gaps.
        #[derive(Debug, Clone, Copy, PartialEq)]
        struct Mixed = 0x0101, "mixed", Sampled { a: u8, b: i32, c: bool, d: i16, e: f32, }

        #[derive(Debug, Clone, Copy, PartialEq)]
        struct Wide = 0x0102, "wide", Rare { a: i64, b: f64, }
    }

    #[test]
    fn fields_come_back_and_lie_where_the_schema_says() {
        let mixed = Mixed { a: 200, b: -5, c: true, d: -300, e: 1.5 };
        let event = mixed.event();
        assert_eq!((event.kind, event.tier), (EventKind(0x0101), Tier::Sampled));
        assert_eq!(Mixed::from_event(&event), Some(mixed));
        assert_eq!(Wide::from_event(&event), None);
        let at: Vec<_> = Mixed::SCHEMA.fields.iter().map(|field| (field.name, field.at)).collect();
        assert_eq!(at, [("a", 0), ("b", 4), ("c", 8), ("d", 10), ("e", 12)]);
        assert_eq!(event.a & 0xff, 200);
        let wide = Wide { a: i64::MIN, b: f64::NEG_INFINITY };
        assert_eq!(Wide::from_event(&wide.event()), Some(wide));
    }

    #[test]
    fn each_type_is_found_by_its_name() {
        for ty in Mixed::SCHEMA.fields.iter().chain(Wide::SCHEMA.fields).map(|field| field.ty) {
            assert_eq!(FieldType::from_label(ty.label()), Some(ty));
        }
        assert_eq!(FieldType::from_label("string"), None);
        assert!(is_name("lots") && !is_name("") && !is_name("a\tb") && !is_name("a:b"));
    }
}
