//! `traceparent`: the caller's trace, span and decision in 55 characters.
//!
//! Format: <https://www.w3.org/TR/trace-context/#traceparent-header>. It allocates nothing and
//! never panics, whatever comes in.

use std::{fmt, str::FromStr};

use ng_core::{
    sampling::Parent,
    spans::{SpanId, TraceId},
};

/// A parsed `traceparent`.
///
/// ```
/// use ng_telemetry::context::TraceParent;
///
/// let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// let parent: TraceParent = text.parse()?;
/// assert!(parent.sampled());
/// assert_eq!(parent.to_string(), text);
/// # Ok::<(), ng_telemetry::context::TraceParentError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace; not 0.
    pub trace: TraceId,
    /// The caller's span; not 0.
    pub span: SpanId,
    /// Bit 0: sampled. Bit 1: the trace id's low 56 bits are random (Trace Context level 2).
    pub flags: u8,
}

/// Why a `traceparent` is none. It is ignored then, as W3C says, and a new trace begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TraceParentError {
    /// It is shorter than 55 characters, or longer where its version allows none more.
    #[error("traceparent has {0} characters; version 00 has 55")]
    Length(usize),
    /// Version `ff`, or no version at all.
    #[error("traceparent has no version that can be: two of 0-9a-f, not ff")]
    Version,
    /// A dash is missing, or a digit is not of 0–9 and a–f.
    #[error("traceparent is not VERSION-TRACE-SPAN-FLAGS in lower-case hex at character {0}")]
    Character(usize),
    /// The trace's or the span's id is 0.
    #[error("traceparent has an id of 0")]
    ZeroId,
}

impl TraceParent {
    /// The flag of a sampled parent.
    pub const SAMPLED: u8 = 1;
    /// The flag of a trace id whose low 56 bits are random.
    pub const RANDOM: u8 = 2;

    /// Whether the caller records its span.
    #[must_use]
    pub const fn sampled(&self) -> bool {
        self.flags & Self::SAMPLED != 0
    }

    /// As a sampler takes it.
    #[must_use]
    pub const fn parent(&self) -> Parent {
        Parent { trace: self.trace, span: self.span, sampled: self.sampled() }
    }
}

/// Reads lower-case hex digits from `at` on.
fn hex(text: &[u8], at: usize, digits: usize) -> Result<u128, TraceParentError> {
    let mut value = 0;
    for (offset, byte) in text[at..at + digits].iter().enumerate() {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return Err(TraceParentError::Character(at + offset)),
        };
        value = value << 4 | u128::from(digit);
    }
    Ok(value)
}

impl FromStr for TraceParent {
    type Err = TraceParentError;

    fn from_str(text: &str) -> Result<Self, TraceParentError> {
        let bytes = text.as_bytes();
        if bytes.len() < 55 {
            return Err(TraceParentError::Length(bytes.len()));
        }
        let version = hex(bytes, 0, 2).map_err(|_| TraceParentError::Version)?;
        if version == 0xff {
            return Err(TraceParentError::Version);
        }
        // What a later version adds comes behind a dash, and is not for us.
        if bytes.len() > 55 && (version == 0 || bytes[55] != b'-') {
            return Err(TraceParentError::Length(bytes.len()));
        }
        for dash in [2, 35, 52] {
            if bytes[dash] != b'-' {
                return Err(TraceParentError::Character(dash));
            }
        }
        let (trace, span, flags) = (hex(bytes, 3, 32)?, hex(bytes, 36, 16)?, hex(bytes, 53, 2)?);
        if trace == 0 || span == 0 {
            return Err(TraceParentError::ZeroId);
        }
        #[expect(clippy::cast_possible_truncation, reason = "16 and 2 digits")]
        let (span, flags) = (SpanId(span as u64), flags as u8);
        Ok(Self { trace: TraceId(trace), span, flags })
    }
}

/// Version 00; of the flags only those that it knows.
impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = self.flags & (Self::SAMPLED | Self::RANDOM);
        write!(f, "00-{}-{}-{flags:02x}", self.trace, self.span)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_w3c_calls_invalid_is_refused_with_the_reason() {
        for (text, error) in [
            ("", TraceParentError::Length(0)),
            (&GOOD[..54], TraceParentError::Length(54)),
            (&format!("{GOOD}-"), TraceParentError::Length(56)),
            (&GOOD.replacen("00", "ff", 1), TraceParentError::Version),
            (&GOOD.replacen("00", "0x", 1), TraceParentError::Version),
            (&GOOD.replace('b', "B"), TraceParentError::Character(4)),
            (&GOOD.replacen("-00f", "_00f", 1), TraceParentError::Character(35)),
            ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", TraceParentError::ZeroId),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", TraceParentError::ZeroId),
            (&format!("01{}x", &GOOD[2..]), TraceParentError::Length(56)),
        ] {
            assert_eq!(text.parse::<TraceParent>(), Err(error), "{text}");
        }
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let text = format!("cc{}-what-comes", &GOOD[2..].replace("-01", "-fd"));
        let parent: TraceParent = text.parse().unwrap();
        assert!(parent.sampled());
        assert_eq!(parent.to_string(), GOOD, "and goes on as version 00, with flags that it knows");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_never_panics(text in "\\PC{0,70}", bytes in "[0-9a-f-]{50,60}") {
            for text in [text, bytes] {
                if let Ok(parent) = text.parse::<TraceParent>() {
                    prop_assert_eq!(&parent.to_string()[3..52], &text[3..52]);
                }
            }
        }

        #[test]
        fn what_is_written_is_read_back(trace in 1..=u128::MAX, span in 1..=u64::MAX, flags in 0..4_u8) {
            let parent = TraceParent { trace: TraceId(trace), span: SpanId(span), flags };
            prop_assert_eq!(parent.to_string().parse(), Ok(parent));
        }

        #[test]
        fn one_wrong_character_anywhere_is_no_other_parent(at in 0..55_usize, c in "[^0-9a-f-]") {
            let mut text = GOOD.to_owned();
            text.replace_range(at..=at, &c);
            prop_assert!(text.parse::<TraceParent>().is_err());
        }
    }
}
