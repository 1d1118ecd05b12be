//! Tokens out again, in the forms that ingest reads.
//!
//! Ingesting what was written, with the default mapping, gives the same 64 bytes. That holds for
//! tokens that a store can hold: a NaN or infinite weight, or an entity type in the flags that is
//! not the id's, never gets into one. It never sorts: tokens come out in the caller's order.

use std::io::{self, ErrorKind, Write};

use ng_core::Token;
use ng_core::token::Space;

pub use crate::ingest::Format;
use crate::ingest::{Field, encode_token};

/// Why tokens can't be written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The output failed.
    #[error("can't write the export after {tokens} tokens")]
    Write {
        /// Tokens handed over before.
        tokens: u64,
        /// The system's reason.
        source: io::Error,
    },
}

/// How an export ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All were written and flushed.
    Complete {
        /// How many.
        tokens: u64,
    },
    /// The reader went away (`ng … | head`): no fault of ours, end quietly.
    ReaderGone {
        /// How many were handed over before.
        tokens: u64,
    },
}

/// Bytes gathered before a write.
const CHUNK: usize = 64 * 1024;

/// The columns, in the order in which they are written.
fn columns() -> impl Iterator<Item = Field> {
    [Field::Id, Field::Weight, Field::Timestamp, Field::Flags, Field::Radius, Field::Strength]
        .into_iter()
        .chain(Field::coords())
}

/// Writes all `tokens` to `out`: a header (CSV), then each.
///
/// # Errors
/// [`ExportError`] for anything but a reader that went away, which is an [`Outcome`].
pub fn write_all(
    format: Format,
    mut out: impl Write,
    tokens: impl IntoIterator<Item = Token>,
) -> Result<Outcome, ExportError> {
    let (mut buffer, mut count) = (Vec::with_capacity(2 * CHUNK), 0);
    write_header(format, &mut buffer);
    let put = || -> io::Result<()> {
        for token in tokens {
            write_token(format, &mut buffer, &token);
            count += 1;
            if buffer.len() >= CHUNK {
                out.write_all(&buffer)?;
                buffer.clear();
            }
        }
        out.write_all(&buffer)?;
        out.flush()
    };
    match put() {
        Ok(()) => Ok(Outcome::Complete { tokens: count }),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Outcome::ReaderGone { tokens: count }),
        Err(source) => Err(ExportError::Write { tokens: count, source }),
    }
}

/// Appends what stands before the first token: the column names of a CSV.
pub fn write_header(format: Format, out: &mut Vec<u8>) {
    if format == Format::Csv {
        for (number, field) in columns().enumerate() {
            out.extend_from_slice(if number == 0 { b"" } else { b"," });
            out.extend_from_slice(field.name().as_bytes());
        }
        out.push(b'\n');
    }
}

/// Appends one token: a CSV row, a JSON object on a line, or 64 bytes.
pub fn write_token(format: Format, out: &mut Vec<u8>, token: &Token) {
    match format {
        Format::Bin => out.extend_from_slice(&encode_token(token)),
        Format::Csv => {
            for (number, field) in columns().enumerate() {
                out.extend_from_slice(if number == 0 { b"" } else { b"," });
                write_value(out, token, field);
            }
            out.push(b'\n');
        }
        Format::Ndjson => {
            for (number, field) in columns().enumerate() {
                out.extend_from_slice(if number == 0 { b"{\"" } else { b",\"" });
                out.extend_from_slice(field.name().as_bytes());
                out.extend_from_slice(b"\":");
                write_value(out, token, field);
            }
            out.extend_from_slice(b"}\n");
        }
    }
}

fn write_value(out: &mut Vec<u8>, token: &Token, field: Field) {
    match field {
        Field::Id => write_decimal(out, token.id().raw().into(), 0),
        Field::Domain => write_decimal(out, token.id().domain().into(), 0),
        Field::Entity => write_decimal(out, token.id().entity().into(), 0),
        // `{:?}` is the shortest text that parses to the same f32, with an exponent if that is long.
        Field::Weight => out.extend_from_slice(format!("{:?}", token.weight).as_bytes()),
        Field::Timestamp => write_decimal(out, token.timestamp.into(), 0),
        Field::Flags => write_decimal(out, token.flags.into(), 0),
        Field::Radius => write_decimal(out, token.radius_raw.into(), 2),
        // A step is 1/255, so three decimals (an error of at most 0.1275 steps) tell them apart.
        Field::Strength => write_decimal(out, (i64::from(token.strength_raw) * 1_000 + 127) / 255, 3),
        Field::Coord(space, axis) => {
            let steps = token.coords[space as usize][axis as usize];
            write_decimal(out, steps.into(), decimals(space));
        }
    }
}

/// How many decimals one step of a space has: the scales are powers of ten.
fn decimals(space: Space) -> u32 {
    match space {
        Space::Physical | Space::Temporal => 2,
        Space::Motor => 3,
        Space::Sensory | Space::Emotional | Space::Cognitive | Space::Social | Space::Abstract => 4,
    }
}

/// `value / 10^decimals`, exactly, without trailing zeros.
fn write_decimal(out: &mut Vec<u8>, value: i64, decimals: u32) {
    let mut digits = [0u8; 24];
    let (mut rest, mut left, mut at) = (value.unsigned_abs(), decimals, digits.len());
    while left > 0 && rest.is_multiple_of(10) {
        (rest, left) = (rest / 10, left - 1);
    }
    let point = left > 0;
    loop {
        at -= 1;
        let digit = (rest % 10) as u8;
        digits[at] = b'0' + digit;
        rest /= 10;
        if point && left == 1 {
            at -= 1;
            digits[at] = b'.';
        }
        // One digit at least before the point.
        if rest == 0 && left == 0 {
            break;
        }
        left = left.saturating_sub(1);
        if left == 0 && rest == 0 && !point {
            break;
        }
    }
    if value < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}
