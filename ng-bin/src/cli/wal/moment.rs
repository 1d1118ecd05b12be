//! Moments as words: RFC 3339 in, with or without a fraction, or seconds since 1970; RFC 3339 in
//! UTC out.

use crate::ingest::time;

const SECOND: u64 = 1_000_000_000;

/// Nanoseconds since 1970 of `2026-01-31T12:00:00Z`, `2026-01-31 12:00:00.25` or `1769860800.25`.
pub(super) fn parse(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no moment: write 2026-01-31T12:00:00Z or seconds since 1970");
    // A fraction stands before the offset: digits behind the only point.
    let (whole, fraction, offset) = match text.split_once('.') {
        None => (text, "", ""),
        Some((whole, rest)) => {
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            (whole, &rest[..end], &rest[end..])
        }
    };
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanoseconds: u64 = digits.parse().map_err(|_| wrong())?;
    let seconds = match whole.parse::<u64>() {
        Ok(seconds) if offset.is_empty() => seconds,
        _ => time::parse(&format!("{whole}{offset}"))
            .and_then(|seconds| u64::try_from(seconds).ok())
            .ok_or_else(wrong)?,
    };
    seconds.checked_mul(SECOND).and_then(|whole| whole.checked_add(nanoseconds)).ok_or_else(wrong)
}

/// `2026-01-31T12:00:00.250000Z`.
pub(super) fn show(unix_ns: u64) -> String {
    let (seconds, micros) = (unix_ns / SECOND, unix_ns % SECOND / 1_000);
    let (days, clock) = (seconds / 86_400, seconds % 86_400);
    // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (clock / 3_600, clock / 60 % 60, clock % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_comes_back_as_it_went_in() {
        for text in [
            "1970-01-01T00:00:00.000000Z",
            "2000-02-29T23:59:59.000001Z",
            "2026-11-25T03:04:05.250000Z",
            "2100-03-01T00:00:00.999999Z",
        ] {
            assert_eq!(show(parse(text).unwrap()), text);
        }
    }

    #[test]
    fn both_ways_of_writing_are_read() {
        assert_eq!(parse("1.5"), Ok(1_500_000_000));
        assert_eq!(parse("1000000000"), parse("2001-09-09T01:46:40Z"));
        assert_eq!(parse("2001-09-09 03:46:40.25+02:00"), Ok(1_000_000_000_250_000_000));
        for text in ["", "soon", "-1", "1e9", "2001-02-30T00:00:00Z", "1.2.3", "99999999999999999999"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
