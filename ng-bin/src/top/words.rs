//! Figures for people, short enough for a terminal.

/// What is not known.
pub(super) const UNKNOWN: &str = "–";

/// Three digits.
fn digits(value: f64) -> String {
    let size = value.abs();
    if size >= 100.0 || value == 0.0 {
        format!("{value:.0}")
    } else if size >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

fn scaled(value: Option<f64>, step: f64, units: &[&str]) -> String {
    let Some(mut value) = value.filter(|value| value.is_finite()) else { return UNKNOWN.to_owned() };
    let mut unit = 0;
    // 999.6 would be shown as 1000.
    while value.abs() >= step - 0.5 && unit + 1 < units.len() {
        value /= step;
        unit += 1;
    }
    let gap = if units[unit].is_empty() || units[unit].len() == 1 && step == 1000.0 { "" } else { " " };
    format!("{}{gap}{}", digits(value), units[unit])
}

/// A count, by thousands: `3.21M`.
pub(super) fn count(value: Option<f64>) -> String {
    match value {
        Some(value) if value.abs() < 10_000.0 => format!("{value:.0}"),
        value => scaled(value, 1000.0, &["", "k", "M", "G", "T"]),
    }
}

/// Bytes: `33.9 KiB`.
pub(super) fn bytes(value: Option<f64>) -> String {
    scaled(value, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB"])
}

/// A time given in µs: `1.48 ms`.
pub(super) fn micros(value: Option<f64>) -> String {
    match value {
        Some(us) if us >= 999_500.0 => format!("{} s", digits(us / 1e6)),
        Some(us) if us >= 999.5 => format!("{} ms", digits(us / 1e3)),
        Some(us) => format!("{} µs", digits(us)),
        None => UNKNOWN.to_owned(),
    }
}

/// A share given as a part of 1: `76.5 %`.
pub(super) fn share(value: Option<f64>) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), |value| format!("{} %", digits(value * 100.0)))
}

/// Seconds: `1 h 12 min`.
pub(super) fn span(seconds: Option<f64>) -> String {
    let Some(seconds) = seconds.filter(|seconds| *seconds >= 0.0) else { return UNKNOWN.to_owned() };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast of a float saturates"
    )]
    let seconds = seconds as u64;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// The time of day, UTC: `05:54:19`.
pub(super) fn clock(unix_ms: Option<u64>) -> String {
    let Some(ms) = unix_ms else { return UNKNOWN.to_owned() };
    let seconds = ms / 1_000 % 86_400;
    format!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

/// Text of others in one line of a terminal: control characters could steer it.
pub(super) fn line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_what_is_not_known_is_a_dash() {
        assert_eq!(count(Some(3_211_000.0)), "3.21M");
        assert_eq!(count(Some(9_999.0)), "9999");
        assert_eq!(count(Some(0.0)), "0");
        assert_eq!(count(None), "–");
        assert_eq!(bytes(Some(34_688.0)), "33.9 KiB");
        assert_eq!(bytes(Some(12.0)), "12.0 B");
        assert_eq!(micros(Some(1_480.0)), "1.48 ms");
        assert_eq!(micros(Some(2_500_000.0)), "2.50 s");
        assert_eq!(share(Some(0.01)), "1.00 %");
        assert_eq!(span(Some(4_321.0)), "1 h 12 min");
        assert_eq!(clock(Some(1_764_050_059_000)), "05:54:19");
        assert_eq!(bytes(Some(f64::NAN)), "–");
    }

    #[test]
    fn what_others_wrote_steers_no_terminal() {
        assert_eq!(line("a\x1b[2Jb\r\nc"), "a [2Jb  c");
    }
}
