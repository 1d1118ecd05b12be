//! What an event's two numbers hold, by the schema of the file's own header.

use ng_core::events::{FieldType, FieldValue};
use serde::Serialize;

use super::{KindSchema, RecordedEvent};

/// A field's value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// A whole number that has no sign.
    Unsigned(u64),
    /// A whole number.
    Signed(i64),
    /// A floating-point number; JSON has none that is not finite, and gets `null` for it.
    Float(f64),
    /// A truth value.
    Bool(bool),
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unsigned(value) => value.fmt(f),
            Self::Signed(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Bool(value) => value.fmt(f),
        }
    }
}

impl RecordedEvent {
    /// Each field's name and value; `a` and `b` if the kind is not in `schema`.
    pub fn values<'a>(&self, schema: &'a [KindSchema]) -> impl Iterator<Item = (&'a str, Value)> {
        let kind = schema.iter().find(|kind| kind.kind == self.kind);
        let (a, b) = (self.a, self.b);
        let fields = kind.map_or(&[][..], |kind| &kind.fields).iter().map(move |field| {
            let word = if field.at < 8 { a } else { b };
            (field.name.as_str(), value(field.ty, word >> (field.at % 8 * 8)))
        });
        let unknown = [("a", a), ("b", b)].map(|(name, word)| (name, Value::Unsigned(word)));
        fields.chain(unknown.into_iter().filter(move |_| kind.is_none()))
    }

    /// The value of the field with this name, if it is a whole number that has no sign.
    #[must_use]
    pub fn number(&self, schema: &[KindSchema], name: &str) -> Option<u64> {
        self.values(schema).find_map(|(field, value)| match value {
            Value::Unsigned(value) if field == name => Some(value),
            _ => None,
        })
    }
}

fn value(ty: FieldType, bits: u64) -> Value {
    match ty {
        FieldType::Unsigned(1) => Value::Unsigned(u8::from_bits(bits).into()),
        FieldType::Unsigned(2) => Value::Unsigned(u16::from_bits(bits).into()),
        FieldType::Unsigned(4) => Value::Unsigned(u32::from_bits(bits).into()),
        FieldType::Unsigned(_) => Value::Unsigned(bits),
        FieldType::Signed(1) => Value::Signed(i8::from_bits(bits).into()),
        FieldType::Signed(2) => Value::Signed(i16::from_bits(bits).into()),
        FieldType::Signed(4) => Value::Signed(i32::from_bits(bits).into()),
        FieldType::Signed(_) => Value::Signed(i64::from_bits(bits)),
        FieldType::Float(4) => Value::Float(f32::from_bits(bits as u32).into()),
        FieldType::Float(_) => Value::Float(f64::from_bits(bits)),
        FieldType::Bool => Value::Bool(bool::from_bits(bits)),
    }
}
