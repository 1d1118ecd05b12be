//! A snapshot of the registry as OTLP has it: cumulative sums, gauges, exponential histograms with
//! exemplars. Data model: <https://opentelemetry.io/docs/specs/otel/metrics/data-model/>.

use ng_core::metrics::{Exemplar, HistogramSnapshot, Scale};
use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
    metrics::v1::{
        self as otlp, AggregationTemporality, ExponentialHistogramDataPoint, NumberDataPoint,
        ResourceMetrics, ScopeMetrics, exemplar, exponential_histogram_data_point::Buckets, metric::Data,
        number_data_point,
    },
    resource::v1::Resource,
};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;

use crate::metrics::snapshot::{FamilySnapshot, SeriesSnapshot, SeriesValue};
use crate::metrics::{Kind, read_labels};

/// The finest scale: 8 buckets to each power of two, half as fine as what is counted.
const FINEST: i32 = 3;
/// The most buckets of a point, as OpenTelemetry's own SDKs have it.
const MOST_BUCKETS: i32 = 160;

/// From when to when, in nanoseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) start_ns: u64,
    pub(super) now_ns: u64,
}

/// The request that carries it all.
pub(super) fn request(
    families: &[FamilySnapshot],
    resource: &ResourceAttributesWithSchema,
    window: Window,
) -> ExportMetricsServiceRequest {
    let scope = InstrumentationScope {
        name: "neurograph".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let metrics = families.iter().map(|family| metric(family, window)).collect();
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(Resource { attributes: resource.attributes.0.clone(), ..Resource::default() }),
            scope_metrics: vec![ScopeMetrics { scope: Some(scope), metrics, ..ScopeMetrics::default() }],
            ..ResourceMetrics::default()
        }],
    }
}

fn label(key: String, value: String) -> KeyValue {
    let value = Some(AnyValue { value: Some(any_value::Value::StringValue(value)) });
    KeyValue { key, value, ..KeyValue::default() }
}

fn labels(series: &SeriesSnapshot) -> Vec<KeyValue> {
    read_labels(&series.shown).into_iter().map(|(key, value)| label(key, value)).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a scaled value is a float to whoever reads it")]
fn in_unit(steps: u64, scale: Scale) -> f64 {
    steps as f64 / scale.steps()
}

fn metric(family: &FamilySnapshot, window: Window) -> otlp::Metric {
    let temporality = AggregationTemporality::Cumulative as i32;
    let number = |series: &SeriesSnapshot| NumberDataPoint {
        attributes: labels(series),
        start_time_unix_nano: window.start_ns,
        time_unix_nano: window.now_ns,
        value: Some(match series.value {
            SeriesValue::Count(n) if family.scale == Scale::One => {
                number_data_point::Value::AsInt(i64::try_from(n).unwrap_or(i64::MAX))
            }
            SeriesValue::Count(n) => number_data_point::Value::AsDouble(in_unit(n, family.scale)),
            SeriesValue::Level(level) => number_data_point::Value::AsDouble(level),
            SeriesValue::Histogram(_) => number_data_point::Value::AsInt(0),
        }),
        ..NumberDataPoint::default()
    };
    let data = match family.kind {
        Kind::Counter => Data::Sum(otlp::Sum {
            data_points: family.series.iter().map(number).collect(),
            aggregation_temporality: temporality,
            is_monotonic: true,
        }),
        Kind::Gauge | Kind::Info => {
            Data::Gauge(otlp::Gauge { data_points: family.series.iter().map(number).collect() })
        }
        Kind::Histogram => {
            let point = |series: &SeriesSnapshot| match &series.value {
                SeriesValue::Histogram(told) => {
                    Some(histogram(&told.0, &told.1, family.scale, labels(series), window))
                }
                SeriesValue::Count(_) | SeriesValue::Level(_) => None,
            };
            Data::ExponentialHistogram(otlp::ExponentialHistogram {
                data_points: family.series.iter().filter_map(point).collect(),
                aggregation_temporality: temporality,
            })
        }
    };
    // UCUM, as OpenTelemetry writes units.
    let unit = match family.unit {
        "seconds" => "s",
        "bytes" => "By",
        "ratio" => "1",
        other => other,
    };
    otlp::Metric {
        name: family.name.to_string(),
        description: family.help.to_string(),
        unit: unit.to_owned(),
        data: Some(data),
        ..otlp::Metric::default()
    }
}

fn histogram(
    value: &HistogramSnapshot,
    exemplars: &[Exemplar],
    scale: Scale,
    attributes: Vec<KeyValue>,
    window: Window,
) -> ExponentialHistogramDataPoint {
    let zero_count = value.buckets.first().filter(|(bound, _)| *bound == 0).map_or(0, |(_, n)| *n);
    let (fineness, positive) = buckets(value, scale);
    ExponentialHistogramDataPoint {
        attributes,
        start_time_unix_nano: window.start_ns,
        time_unix_nano: window.now_ns,
        count: value.count,
        sum: Some(in_unit(value.sum, scale)),
        scale: fineness,
        zero_count,
        positive: Some(positive),
        exemplars: exemplars
            .iter()
            .map(|e| otlp::Exemplar {
                time_unix_nano: e.unix_ns,
                span_id: e.span.0.to_be_bytes().to_vec(),
                trace_id: e.trace.0.to_be_bytes().to_vec(),
                value: Some(exemplar::Value::AsDouble(in_unit(e.value, scale))),
                ..otlp::Exemplar::default()
            })
            .collect(),
        ..ExponentialHistogramDataPoint::default()
    }
}

/// The finest scale that fits, and the buckets at it. Bucket i at scale s holds what is above
/// 2^(i/2ˢ) and at most 2^((i+1)/2ˢ). What is counted has linear buckets within each power of two;
/// each goes whole where its middle lies, so a value is off by half of its own bucket and one of
/// these, 12 % at most.
fn buckets(value: &HistogramSnapshot, scale: Scale) -> (i32, Buckets) {
    let index = |bound: u64| {
        #[expect(clippy::cast_precision_loss, reason = "a bucket's middle need not be exact")]
        let middle = if bound < 32 { bound as f64 } else { bound as f64 * (1.0 - 1.0 / 32.0) };
        let exact = (middle / scale.steps()).log2() * f64::from(1 << FINEST);
        #[expect(clippy::cast_possible_truncation, reason = "a few hundred")]
        let index = exact.ceil() as i32 - 1;
        index
    };
    let at: Vec<(i32, u64)> =
        value.buckets.iter().filter(|(bound, _)| *bound > 0).map(|&(bound, n)| (index(bound), n)).collect();
    let (Some((first, _)), Some((last, _))) = (at.first(), at.last()) else {
        return (FINEST, Buckets::default());
    };
    let coarser = (0..).find(|shift| (last >> shift) - (first >> shift) < MOST_BUCKETS).unwrap_or(0);
    let offset = first >> coarser;
    let mut counts = Vec::new();
    for (index, n) in &at {
        let place = usize::try_from((index >> coarser) - offset).unwrap_or(0);
        if counts.len() <= place {
            counts.resize(place + 1, 0);
        }
        counts[place] += n;
    }
    (FINEST - coarser, Buckets { offset, bucket_counts: counts })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use ng_core::metrics::{MetricDesc, MetricLane, MetricSink};
    use proptest::prelude::*;

    use super::*;
    use crate::{Registry, RegistryOptions};

    proptest! {
        #[test]
        fn an_exponential_histogram_counts_all_and_its_quantiles_are_near(
            mut values in prop::collection::vec(prop_oneof![0u64..100, 1u64..1_000_000_000_000, any::<u64>()], 1..200),
        ) {
            let registry = Registry::new(&RegistryOptions::default());
            let id = registry.histogram(&MetricDesc::new("h", "")).unwrap();
            let mut lane = registry.open_lane();
            for &value in &values {
                lane.observe(id, value, 1);
            }
            let window = Window { start_ns: 1, now_ns: 2 };
            let point = histogram(&registry.histogram_value(id), &[], Scale::One, Vec::new(), window);
            let positive = point.positive.unwrap();
            let counted = point.zero_count + positive.bucket_counts.iter().sum::<u64>();
            prop_assert_eq!(counted, values.len() as u64);
            prop_assert!(positive.bucket_counts.len() <= 160);
            values.sort_unstable();
            // The median, as a reader of the point would have it.
            let rank = values.len().div_ceil(2) as u64;
            let truth = values[rank as usize - 1] as f64;
            let base = 2.0_f64.powf(2.0_f64.powi(-point.scale));
            let mut seen = point.zero_count;
            let mut read = 0.0;
            for (at, n) in positive.bucket_counts.iter().enumerate() {
                if seen >= rank {
                    break;
                }
                seen += n;
                read = base.powi(positive.offset + at as i32 + 1);
            }
            prop_assert!(read <= truth * base * 1.07 + 1e-9 && read * base * 1.07 + 1e-9 >= truth,
                "{} for {} at scale {}", read, truth, point.scale);
        }
    }
}
