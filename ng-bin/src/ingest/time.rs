//! Date and time as text, to seconds since 1970.
//!
//! The subset of RFC 3339 that a token's 32-bit whole seconds can hold: no fraction of a second,
//! no leap second. A time without an offset is taken as UTC. It never reads the local time zone.

/// Seconds since 1970 of `YYYY-MM-DD`, `T` or a space, `HH:MM:SS`, and nothing, `Z` or `±HH:MM`.
/// `None` if `text` is not of that form or names no real day or time; negative before 1970.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let (clock, offset) = bytes.split_at_checked(19)?;
    let marks = [(4, b"-".as_slice()), (7, b"-"), (10, b"Tt "), (13, b":"), (16, b":")];
    if marks.iter().any(|(at, allowed)| !allowed.contains(&clock[*at])) {
        return None;
    }
    let (year, month, day) = (number(&clock[..4])?, number(&clock[5..7])?, number(&clock[8..10])?);
    let (hour, minute, second) = (number(&clock[11..13])?, number(&clock[14..16])?, number(&clock[17..])?);
    if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    Some(seconds - offset_seconds(offset)?)
}

fn offset_seconds(offset: &[u8]) -> Option<i64> {
    match offset {
        [] | [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (number(&[*h1, *h2])?, number(&[*m1, *m2])?);
            let seconds = hours * 3_600 + minutes * 60;
            (hours < 24 && minutes < 60).then_some(if *sign == b'+' { seconds } else { -seconds })
        }
        _ => None,
    }
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`; for years
/// from 0 on.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times_come_out_right() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1969-12-31 23:59:59", -1),
            ("2000-02-29T12:00:00z", 951_825_600),
            ("2001-09-09T01:46:40", 1_000_000_000),
            ("2106-02-07T06:28:15Z", i64::from(u32::MAX)),
            ("2001-09-09T03:46:40+02:00", 1_000_000_000),
            ("2001-09-08t20:16:40-05:30", 1_000_000_000),
        ] {
            assert_eq!(parse(text), Some(seconds), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "2001-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2001-13-01T00:00:00Z",
            "2001-00-01T00:00:00Z",
            "2001-01-00T00:00:00Z",
            "2001-01-01T24:00:00Z",
            "2001-01-01T00:00:60Z",
            "2001-01-01T00:00:00.5Z",
            "2001-01-01T00:00:00+2:00",
            "2001-01-01T00:00",
            "2001-01-01",
            "20010101T000000Z",
            "+001-01-01T00:00:00Z",
            "2001-01-01T00:00:0é",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
