//! Consistent probability sampling, as OpenTelemetry writes it into `tracestate`
//! (<https://opentelemetry.io/docs/specs/otel/trace/tracestate-probability-sampling/>).
//!
//! A trace has 56 bits of randomness R: `rv` of the `ot` entry if it is there, else the low bits of
//! the trace id. Who samples with the probability p has the threshold T = (1 − p)·2⁵⁶, keeps the
//! trace if R ≥ T, and says T as `th`: hex digits of which trailing zeros may be left out. So each
//! later sampler can tell what it has, and how many others a span stands for.

use super::tracestate::TraceState;
use crate::spans::{SpanRecord, is_by_lot};

/// 2⁵⁶: one more than the greatest R.
const RANGE: u64 = 1 << 56;
/// Hex digits of a threshold.
const DIGITS: i32 = 14;
/// Hex digits that carry meaning, below the leading `f`s of a small probability: its relative error
/// is then 2⁻¹⁶ at most.
const PRECISION: i32 = 5;

/// The threshold of a probability, at full precision; `None` if it lets nothing in: 0, below 2⁻⁵⁶,
/// or not a share.
#[must_use]
pub fn of(probability: f64) -> Option<u64> {
    if !(probability > 0.0 && probability <= 1.0) {
        return None;
    }
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "2^56 is a float, and the product lies between 0 and it"
    )]
    let kept = (probability * RANGE as f64).round() as u64;
    (kept > 0).then(|| RANGE - kept)
}

/// The `th` of a probability; `None` where [`of`] gives none.
///
/// ```
/// # use ng_telemetry::context::encode_threshold;
/// assert_eq!(encode_threshold(0.01).as_deref(), Some("fd70a4"));
/// assert_eq!(encode_threshold(1.0).as_deref(), Some("0"));
/// assert_eq!(encode_threshold(0.0), None);
/// ```
#[must_use]
pub fn encode(probability: f64) -> Option<String> {
    let exact = of(probability)?;
    // Digits that are f say nothing but that the probability is small.
    #[expect(clippy::cast_possible_wrap, reason = "at most 56")]
    let leading = ((RANGE - exact).leading_zeros() as i32 - 7) / 4;
    let digits = (PRECISION + leading).clamp(1, DIGITS);
    let cut = 4 * (DIGITS - digits);
    let rounded = if cut == 0 { exact } else { ((exact + (1 << (cut - 1))) >> cut) << cut };
    // Rounding up must not say that nothing was let in.
    let rounded = if rounded >= RANGE { exact } else { rounded };
    let text = format!("{rounded:014x}");
    let short = text.trim_end_matches('0');
    Some(if short.is_empty() { "0".to_owned() } else { short.to_owned() })
}

/// Reads a `th` or the digits of one; `None` if it is none.
#[must_use]
pub(crate) fn decode(text: &str) -> Option<u64> {
    let fits = (1..=14).contains(&text.len());
    let plain = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !fits || !plain {
        return None;
    }
    let value = u64::from_str_radix(text, 16).ok()?;
    Some(value << (4 * (14 - text.len())))
}

/// The `tracestate` of a decision of our own, where no caller gave one.
pub(crate) fn alone(probability: f64) -> Option<String> {
    encode(probability).map(|th| format!("ot=th:{th}"))
}

/// The `tracestate` that a span goes out with: the caller's members, and our threshold in `ot`. A
/// span whose sampling was no matter of chance has none, and takes a threshold of the caller's off,
/// unless it just followed its parent.
pub(crate) fn trace_state(record: &SpanRecord) -> Option<String> {
    let given = record.details.as_ref().and_then(|details| details.trace_state.as_deref());
    let by_lot = is_by_lot(record.span.reason);
    if given.is_none() {
        return by_lot.then(|| alone(record.span.probability)).flatten();
    }
    let mut state = TraceState::parse(given.unwrap_or_default()).unwrap_or_default();
    if by_lot {
        state.set_threshold(encode(record.span.probability).as_deref());
    } else if record.span.reason != ng_core::sampling::Reason::Parent {
        state.set_threshold(None);
    }
    let text = state.to_string();
    (!text.is_empty()).then_some(text)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn thresholds_of_the_specification() {
        // "1% → fd70a4", "10% → e666…", "25% → c", "50% → 8", "100% → 0".
        for (probability, th) in
            [(1.0, "0"), (0.5, "8"), (0.25, "c"), (0.1, "e6666"), (0.01, "fd70a4"), (0.001, "ffbe76d")]
        {
            let encoded = encode(probability).unwrap();
            assert!(encoded.starts_with(th) || th.starts_with(&encoded), "{probability}: {encoded}");
        }
        assert_eq!(encode(0.01).unwrap(), "fd70a4");
        for none in [0.0, -0.5, 1.5, f64::NAN, 1e-20] {
            assert_eq!(encode(none), None, "{none}");
        }
    }

    #[test]
    fn a_threshold_that_is_none_is_not_read() {
        for text in ["", "FD", "0x1", "123456789abcdef", "g", " 8", "-1"] {
            assert_eq!(decode(text), None, "{text:?}");
        }
        assert_eq!(decode("8"), Some(1 << 55));
        assert_eq!(decode("0"), Some(0));
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_read_back_within_the_precision(exponent in 0..40_i32, share in 0.5..=1.0_f64) {
            let probability = share * 2.0_f64.powi(-exponent);
            let read = decode(&encode(probability).unwrap()).unwrap();
            #[expect(clippy::cast_precision_loss, reason = "a share")]
            let again = (RANGE - read) as f64 / RANGE as f64;
            prop_assert!((again / probability - 1.0).abs() < 1e-3, "{} for {}", again, probability);
        }
    }
}
