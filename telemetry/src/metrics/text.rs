//! The Prometheus text format, version 0.0.4.
//!
//! It writes what it is given and reads nothing itself. Format:
//! <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>.

use std::fmt::Write;

use ng_core::metrics::{HistogramSnapshot, Scale};

use super::{
    catalog::Kind,
    snapshot::{FamilySnapshot, SeriesValue},
};

/// How many buckets a histogram shows below `+Inf`: `le="2ᵏ − 1"` for k from 0 to 40 (in
/// nanoseconds, up to 18 minutes). They are the same for each histogram at any time, as rates over
/// buckets need, and each is a bound of the finer buckets within, so the counts are exact.
pub const HISTOGRAM_BOUNDS: usize = 41;

/// How many series a histogram is: its buckets, `+Inf`, `_sum` and `_count`.
pub const HISTOGRAM_SERIES: usize = HISTOGRAM_BOUNDS + 3;

/// Labels as they are shown between braces, by their names: one text for each set of labels.
pub(crate) fn shown_labels(labels: &[(String, String)]) -> String {
    let mut sorted: Vec<_> = labels.iter().collect();
    sorted.sort_unstable();
    let mut out = String::new();
    for (name, value) in sorted {
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

/// The labels that [`shown_labels`] has shown.
#[cfg(any(feature = "otlp", all(test, not(loom))))]
pub(crate) fn read_labels(shown: &str) -> Vec<(String, String)> {
    let mut labels = Vec::new();
    let mut rest = shown;
    while let Some((name, after)) = rest.split_once("=\"") {
        let (mut value, mut escaped) = (String::new(), false);
        let end = after.find(|c| match (std::mem::take(&mut escaped), c) {
            (false, '"') => true,
            (false, '\\') => {
                escaped = true;
                false
            }
            (was_escaped, c) => {
                value.push(if was_escaped && c == 'n' { '\n' } else { c });
                false
            }
        });
        labels.push((name.trim_start_matches(',').to_owned(), value));
        rest = end.map_or("", |end| &after[end + 1..]);
    }
    labels
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

/// All of a scrape.
pub(crate) fn write(out: &mut String, families: &[FamilySnapshot]) {
    for family in families {
        write_head(out, &family.name, family.kind.label(), &family.help);
        for series in &family.series {
            let labels = &*series.shown;
            match &series.value {
                SeriesValue::Count(n) => write_value(out, &family.name, labels, &scaled(*n, family.scale)),
                SeriesValue::Level(level) => write_value(out, &family.name, labels, &number(*level)),
                SeriesValue::Histogram(told) => {
                    write_histogram(out, &family.name, labels, &told.0, family.scale);
                }
            }
        }
    }
    debug_assert!(families.iter().all(|f| f.kind != Kind::Info || f.name.ends_with("_info")));
}

/// A count as it is shown: whole unless a step is a part of the unit.
pub(crate) fn scaled(n: u64, scale: Scale) -> String {
    if scale == Scale::One {
        return n.to_string();
    }
    #[expect(clippy::cast_precision_loss, reason = "a sample is a float to whoever reads it")]
    let value = n as f64 / scale.steps();
    number(value)
}

/// A float as Prometheus reads it.
pub(crate) fn number(value: f64) -> String {
    if value == f64::INFINITY {
        "+Inf".to_owned()
    } else if value == f64::NEG_INFINITY {
        "-Inf".to_owned()
    } else {
        value.to_string()
    }
}

/// The greatest value of the `k`-th shown bucket, in steps.
pub(crate) const fn shown_bound(k: usize) -> u64 {
    (1 << k) - 1
}

/// A sample's line.
pub(crate) fn write_value(out: &mut String, name: &str, labels: &str, value: &str) {
    out.push_str(name);
    if !labels.is_empty() {
        out.push('{');
        out.push_str(labels);
        out.push('}');
    }
    out.push(' ');
    out.push_str(value);
    out.push('\n');
}

/// Cumulative counts of the shown buckets, without `+Inf`.
pub(crate) fn cumulative(value: &HistogramSnapshot) -> [u64; HISTOGRAM_BOUNDS] {
    let mut buckets = value.buckets.iter().peekable();
    let mut sum = 0_u64;
    std::array::from_fn(|k| {
        while let Some((_, n)) = buckets.next_if(|(upper, _)| *upper <= shown_bound(k)) {
            sum = sum.wrapping_add(*n);
        }
        sum
    })
}

/// A histogram's lines.
fn write_histogram(out: &mut String, name: &str, labels: &str, value: &HistogramSnapshot, scale: Scale) {
    let comma = if labels.is_empty() { "" } else { "," };
    for (k, n) in cumulative(value).into_iter().enumerate() {
        let bound = scaled(shown_bound(k), scale);
        line(out, format_args!("{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {n}"));
    }
    line(out, format_args!("{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {}", value.count));
    let (open, close) = if labels.is_empty() { ("", "") } else { ("{", "}") };
    line(out, format_args!("{name}_sum{open}{labels}{close} {}", scaled(value.sum, scale)));
    line(out, format_args!("{name}_count{open}{labels}{close} {}", value.count));
}

pub(crate) fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String has no way to fail.
    let _ = writeln!(out, "{text}");
}

pub(crate) fn escape(out: &mut String, text: &str, quoted: bool) {
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
            write_value(&mut out, "x", "", &number(value));
        }
        assert_eq!(out, "x 1.5\nx -2\nx NaN\nx +Inf\nx -Inf\n");
    }

    #[test]
    fn counted_steps_are_shown_in_their_unit() {
        assert_eq!(scaled(1_500_000_000, Scale::Nano), "1.5");
        assert_eq!(scaled(1_023, Scale::Nano), "0.000001023");
        assert_eq!(scaled(u64::MAX, Scale::One), "18446744073709551615");
    }

    proptest::proptest! {
        #[test]
        fn shown_labels_are_read_back_whatever_they_say(
            labels in proptest::collection::btree_map("[a-z_]{1,4}", "[\"\\\\\n,=a{}\u{e4}]{0,6}", 0..4),
        ) {
            let labels: Vec<(String, String)> = labels.into_iter().collect();
            proptest::prop_assert_eq!(&read_labels(&shown_labels(&labels)), &labels);
            let backwards: Vec<_> = labels.iter().rev().cloned().collect();
            proptest::prop_assert_eq!(shown_labels(&backwards), shown_labels(&labels));
        }
    }

    #[test]
    fn a_quote_is_escaped_in_a_label_and_not_in_help() {
        let mut out = String::new();
        write_head(&mut out, "x", "gauge", "a \"b\"\\\n");
        assert_eq!(out, "# HELP x a \"b\"\\\\\\n\n# TYPE x gauge\n");
        assert_eq!(shown_labels(&[("l".into(), "a \"b\"\\\n".into())]), "l=\"a \\\"b\\\"\\\\\\n\"");
    }
}
