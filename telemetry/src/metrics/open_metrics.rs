//! The OpenMetrics text format, version 1.0.0, with exemplars.
//!
//! It writes what it is given and reads nothing itself. Format:
//! <https://prometheus.io/docs/specs/om/open_metrics_spec/>. A counter whose name has no `_total`
//! gets it here, as the format wants.

use ng_core::metrics::{Exemplar, Scale};

use super::{
    catalog::{Kind, without_total},
    snapshot::{FamilySnapshot, SeriesValue},
    text::{HISTOGRAM_BOUNDS, cumulative, escape, line, number, scaled, shown_bound, write_value},
};

/// All of a scrape, `# EOF` included.
pub(crate) fn write(out: &mut String, families: &[FamilySnapshot]) {
    for family in families {
        let name = match family.kind {
            Kind::Counter => without_total(&family.name),
            Kind::Info => family.name.strip_suffix("_info").unwrap_or(&family.name),
            Kind::Gauge | Kind::Histogram => &family.name,
        };
        write_head(out, name, family);
        for series in &family.series {
            let labels = &*series.shown;
            match &series.value {
                SeriesValue::Count(n) => {
                    write_value(out, &format!("{name}_total"), labels, &scaled(*n, family.scale));
                }
                SeriesValue::Level(_) if family.kind == Kind::Info => {
                    write_value(out, &format!("{name}_info"), labels, "1");
                }
                SeriesValue::Level(level) => write_value(out, name, labels, &number(*level)),
                SeriesValue::Histogram(told) => {
                    let (value, exemplars) = &**told;
                    write_buckets(
                        out,
                        name,
                        labels,
                        &cumulative(value),
                        value.count,
                        exemplars,
                        family.scale,
                    );
                    write_value(out, &format!("{name}_sum"), labels, &scaled(value.sum, family.scale));
                    write_value(out, &format!("{name}_count"), labels, &value.count.to_string());
                }
            }
        }
    }
    out.push_str("# EOF\n");
}

fn write_head(out: &mut String, name: &str, family: &FamilySnapshot) {
    let kind = if family.kind == Kind::Info { "info" } else { family.kind.label() };
    line(out, format_args!("# TYPE {name} {kind}"));
    if !family.unit.is_empty() {
        line(out, format_args!("# UNIT {name} {}", family.unit));
    }
    if !family.help.is_empty() {
        out.push_str("# HELP ");
        out.push_str(name);
        out.push(' ');
        // Unlike the older format, this one escapes quotes in a help too.
        escape(out, &family.help, true);
        out.push('\n');
    }
}

fn write_buckets(
    out: &mut String,
    name: &str,
    labels: &str,
    counts: &[u64; HISTOGRAM_BOUNDS],
    count: u64,
    exemplars: &[Exemplar],
    scale: Scale,
) {
    let comma = if labels.is_empty() { "" } else { "," };
    let mut below = None;
    for k in 0..=HISTOGRAM_BOUNDS {
        let (bound, n) = match counts.get(k) {
            Some(&n) => (float(&scaled(shown_bound(k), scale)), n),
            None => ("+Inf".to_owned(), count),
        };
        let upper = if k < HISTOGRAM_BOUNDS { shown_bound(k) } else { u64::MAX };
        let fits = |e: &&Exemplar| e.value <= upper && below.is_none_or(|below| e.value > below);
        let shown = exemplars.iter().find(fits).map(|e| shown_exemplar(e, scale)).unwrap_or_default();
        line(out, format_args!("{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {n}{shown}"));
        below = Some(upper);
    }
}

/// ` # {trace_id="…",span_id="…"} value seconds`.
fn shown_exemplar(exemplar: &Exemplar, scale: Scale) -> String {
    let Exemplar { value, trace, span, unix_ns } = exemplar;
    let (seconds, millis) = (unix_ns / 1_000_000_000, unix_ns / 1_000_000 % 1_000);
    let value = scaled(*value, scale);
    format!(" # {{trace_id=\"{trace}\",span_id=\"{span}\"}} {value} {seconds}.{millis:03}")
}

/// A bound is a float in this format, a whole one too.
fn float(number: &str) -> String {
    if number.contains('.') { number.to_owned() } else { format!("{number}.0") }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use ng_core::metrics::{HistogramSnapshot, MetricDesc, MetricSink};
    use ng_core::spans::{SpanId, TraceId};

    use super::*;
    use crate::{Registry, RegistryOptions, metrics::snapshot::SeriesSnapshot};

    #[test]
    fn each_kind_is_written_as_the_format_wants() {
        let registry = Registry::new(&RegistryOptions::default());
        registry.counter(&MetricDesc::new("a_total", "A \"q\".")).unwrap();
        registry.counter(&MetricDesc::new("b", "")).unwrap();
        registry.gauge(&MetricDesc::new("c_bytes", "C.").unit("bytes", Scale::One)).unwrap();
        registry.info(&MetricDesc::new("d_info", "D.").label("version", "1")).unwrap();
        let mut out = String::new();
        assert!(registry.render_open_metrics(&mut out));
        for part in [
            "# TYPE a counter\n# HELP a A \\\"q\\\".\na_total 0\n",
            "# TYPE b counter\nb_total 0\n",
            "# TYPE c_bytes gauge\n# UNIT c_bytes bytes\n# HELP c_bytes C.\nc_bytes 0\n",
            "# TYPE d info\n# HELP d D.\nd_info{version=\"1\"} 1\n",
        ] {
            assert!(out.contains(part), "{part} is missing in:\n{out}");
        }
        assert!(out.ends_with("\n# EOF\n"));
    }

    #[test]
    fn an_exemplar_stands_behind_the_bucket_that_its_value_is_in() {
        let exemplar = Exemplar { value: 2, trace: TraceId(0xab), span: SpanId(0xc), unix_ns: 1_500_000_000 };
        let value = HistogramSnapshot { count: 1, sum: 2, buckets: vec![(2, 1)] };
        let family = FamilySnapshot {
            name: "h_seconds".into(),
            kind: Kind::Histogram,
            help: "".into(),
            unit: "seconds",
            scale: Scale::Nano,
            series: vec![SeriesSnapshot {
                shown: "".into(),
                value: SeriesValue::Histogram(Box::new((value, vec![exemplar]))),
            }],
        };
        let mut out = String::new();
        write(&mut out, &[family]);
        let with: Vec<&str> = out.lines().filter(|line| line.contains(" # ")).collect();
        assert_eq!(
            with,
            ["h_seconds_bucket{le=\"0.000000003\"} 1 # {trace_id=\"000000000000000000000000000000ab\",\
              span_id=\"000000000000000c\"} 0.000000002 1.500"]
        );
    }
}
