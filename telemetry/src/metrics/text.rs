//! The Prometheus text format, version 0.0.4.
//!
//! It writes what it is given and reads nothing itself. Format:
//! <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>.

use std::fmt::Write;

use ng_core::metrics::HistogramSnapshot;

/// How many buckets a histogram shows below `+Inf`: `le="2ᵏ − 1"` for k from 0 to 40 (in
/// nanoseconds, up to 18 minutes). They are the same for each histogram at any time, as rates over
/// buckets need, and each is a bound of the finer buckets within, so the counts are exact.
pub const HISTOGRAM_BOUNDS: usize = 41;

/// How many series a histogram is: its buckets, `+Inf`, `_sum` and `_count`.
pub const HISTOGRAM_SERIES: usize = HISTOGRAM_BOUNDS + 3;

/// Labels as they are shown between braces.
pub(crate) fn shown_labels(labels: &[(String, String)]) -> String {
    let mut out = String::new();
    for (name, value) in labels {
        if !out.is_empty() {
            out.push(',');
        }
        out.push_str(name);
        out.push_str("=\"");
        escape(&mut out, value, true);
        out.push('"');
    }
    out
}

/// What stands once above all series of a name.
pub(crate) fn write_head(out: &mut String, name: &str, kind: &str, help: &str) {
    if !help.is_empty() {
        out.push_str("# HELP ");
        out.push_str(name);
        out.push(' ');
        escape(out, help, false);
        out.push('\n');
    }
    line(out, format_args!("# TYPE {name} {kind}"));
}

/// A counter's line.
pub(crate) fn write_count(out: &mut String, name: &str, labels: &str, value: u64) {
    if labels.is_empty() {
        line(out, format_args!("{name} {value}"));
    } else {
        line(out, format_args!("{name}{{{labels}}} {value}"));
    }
}

/// A gauge's line.
pub(crate) fn write_level(out: &mut String, name: &str, labels: &str, value: f64) {
    let value = if value == f64::INFINITY {
        "+Inf".to_owned()
    } else if value == f64::NEG_INFINITY {
        "-Inf".to_owned()
    } else {
        value.to_string()
    };
    if labels.is_empty() {
        line(out, format_args!("{name} {value}"));
    } else {
        line(out, format_args!("{name}{{{labels}}} {value}"));
    }
}

/// A histogram's lines.
pub(crate) fn write_histogram(out: &mut String, name: &str, labels: &str, value: &HistogramSnapshot) {
    let comma = if labels.is_empty() { "" } else { "," };
    let mut buckets = value.buckets.iter().peekable();
    let mut cumulative = 0_u64;
    for k in 0..HISTOGRAM_BOUNDS {
        let bound = (1_u64 << k) - 1;
        while let Some((_, n)) = buckets.next_if(|(upper, _)| *upper <= bound) {
            cumulative = cumulative.wrapping_add(*n);
        }
        line(out, format_args!("{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {cumulative}"));
    }
    line(out, format_args!("{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {}", value.count));
    let (open, close) = if labels.is_empty() { ("", "") } else { ("{", "}") };
    line(out, format_args!("{name}_sum{open}{labels}{close} {}", value.sum));
    line(out, format_args!("{name}_count{open}{labels}{close} {}", value.count));
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String has no way to fail.
    let _ = writeln!(out, "{text}");
}

fn escape(out: &mut String, text: &str, quoted: bool) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quoted => out.push_str("\\\""),
            _ => out.push(c),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn levels_are_written_as_prometheus_reads_them() {
        let mut out = String::new();
        for value in [1.5, -2.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            write_level(&mut out, "x", "", value);
        }
        assert_eq!(out, "x 1.5\nx -2\nx NaN\nx +Inf\nx -Inf\n");
    }

    #[test]
    fn a_quote_is_escaped_in_a_label_and_not_in_help() {
        let mut out = String::new();
        write_head(&mut out, "x", "gauge", "a \"b\"\\\n");
        assert_eq!(out, "# HELP x a \"b\"\\\\\\n\n# TYPE x gauge\n");
        assert_eq!(shown_labels(&[("l".into(), "a \"b\"\\\n".into())]), "l=\"a \\\"b\\\"\\\\\\n\"");
    }
}
