//! What can be wrong with a row, and where it was found.
//!
//! The texts are part of the program's interface: each says what was found or what to write
//! instead. Nothing here decides whether the run goes on.

use std::fmt;
use std::sync::Arc;

use ng_core::token::TokenError;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::field::Field;

/// Why a row can't become a token.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the message says what each variant and its values are")]
pub enum Fault {
    #[error("is not a number")]
    NotANumber,
    #[error("is not a finite number")]
    NotFinite,
    #[error("is not a whole number")]
    NotWhole,
    #[error("is outside {min}..={max}")]
    OutOfRange { min: f64, max: f64 },
    #[error("is not an id: write 0 to 4294967294, 0x and hexadecimal digits, or domain:entity:local")]
    NotAnId,
    #[error("is not a time: write seconds since 1970, or YYYY-MM-DDTHH:MM:SSZ")]
    NotATime,
    #[error("has no flag `{name}`{}: write a number, or names joined by |", .suggestion.map_or_else(String::new, |s| format!(" (did you mean `{s}`?)")))]
    UnknownFlag { name: String, suggestion: Option<&'static str> },
    #[error("says {here}, but the row's {other} says {there}")]
    Disagrees { here: u8, other: Field, there: u8 },
    #[error("needs an id: the lane chooses the domain of an id that it chooses")]
    DomainWithoutId,
    #[error("the row has {found} cells, the header {expected}")]
    Ragged { found: usize, expected: usize },
    #[error("is not UTF-8")]
    NotUtf8,
    #[error(
        "a quote opens here and is not closed within {limit} bytes or before the end; only this line was set aside"
    )]
    OpenQuote { limit: usize },
    #[error("the row is longer than {limit} bytes")]
    TooLong { limit: usize },
    #[error("not JSON: {0}")]
    NotJson(String),
    #[error("the row is not UTF-8")]
    RowNotUtf8,
    #[error("the row is {0}, not an object: each line must be one object")]
    NotAnObject(&'static str),
    #[error("is {0}: write a number or a string")]
    WrongKind(&'static str),
    #[error("appears twice in the row")]
    TwiceInRow,
    #[error("the file ends {found} bytes into a record of 64")]
    CutOff { found: usize },
    #[error("{0}")]
    Unsound(TokenError),
}

impl From<TokenError> for Fault {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::OutOfRange { min, max, .. } => Self::OutOfRange { min, max },
            other => Self::Unsound(other),
        }
    }
}

/// A fault within a row, before the row's place in its file is known.
#[derive(Debug)]
pub(super) struct RowFault {
    pub(super) fault: Fault,
    pub(super) field: Option<Field>,
    pub(super) column: Option<Column>,
    pub(super) value: String,
    /// Lines between the row's first and the fault's.
    pub(super) line_in_row: u64,
}

impl RowFault {
    pub(super) fn of_row(fault: Fault) -> Self {
        Self { fault, field: None, column: None, value: String::new(), line_in_row: 0 }
    }
}

/// Where in its row a fault is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Counted from 1: the CSV column. For NDJSON there is none: the name is the key.
    pub number: Option<usize>,
    /// The column's name or the key.
    pub name: String,
}

/// Where a row begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The line, counted from 1.
    Line(u64),
    /// The byte offset, counted from 0, in a binary file.
    Byte(u64),
}

/// A row that can't become a token.
///
/// Its text: `a.csv:12: column 3 (mass), weight: "abc" is not a number`.
#[derive(Debug, Clone, PartialEq)]
pub struct BadRow {
    /// The source's name.
    pub file: Arc<str>,
    /// Where the faulty cell's row begins.
    pub place: Place,
    /// The faulty cell, if it is one cell's fault.
    pub column: Option<Column>,
    /// The field that the cell was to fill.
    pub field: Option<Field>,
    /// The cell's text, cut to 80 characters.
    pub value: String,
    /// What is wrong.
    pub reason: Fault,
}

impl BadRow {
    pub(super) fn new(file: Arc<str>, place: Place, row: RowFault) -> Self {
        let place = match place {
            Place::Line(line) => Place::Line(line + row.line_in_row),
            Place::Byte(_) => place,
        };
        Self { file, place, column: row.column, field: row.field, value: cut(row.value), reason: row.fault }
    }
}

/// The most of a faulty value that a report shows, in characters.
const SHOWN: usize = 80;

fn cut(mut value: String) -> String {
    if let Some((end, _)) = value.char_indices().nth(SHOWN) {
        value.truncate(end);
        value.push('…');
    }
    value
}

impl fmt::Display for BadRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = &self.file;
        match self.place {
            Place::Line(line) => write!(f, "{file}:{line}: ")?,
            Place::Byte(byte) => write!(f, "{file}: byte {byte}: ")?,
        }
        match &self.column {
            Some(Column { number: Some(number), name }) => write!(f, "column {number} ({name})")?,
            Some(Column { number: None, name }) => write!(f, "key {name}")?,
            None => return write!(f, "{}", self.reason),
        }
        if let Some(field) = self.field {
            write!(f, ", {field}")?;
        }
        write!(f, ": {:?} {}", self.value, self.reason)
    }
}

impl Serialize for BadRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("file", &*self.file)?;
        match self.place {
            Place::Line(line) => map.serialize_entry("line", &line)?,
            Place::Byte(byte) => map.serialize_entry("byte", &byte)?,
        }
        if let Some(column) = &self.column {
            map.serialize_entry("column", &column.number)?;
            map.serialize_entry("name", &column.name)?;
            map.serialize_entry("field", &self.field.map(Field::name))?;
            map.serialize_entry("value", &self.value)?;
        }
        map.serialize_entry("reason", &self.reason.to_string())?;
        map.end()
    }
}
