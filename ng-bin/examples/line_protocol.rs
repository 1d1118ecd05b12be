//! An engine that makes no tokens: an ingester of InfluxDB's line protocol that logs each point,
//! counts, and has a span for one in a hundred.
//!
//! It puts three layers together by hand, without a configuration: each is one field of `Layers`,
//! whose type is known when the program is compiled, and those that are left out cost nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use ng_core::admission::NoAdmission;
use ng_core::lane::Layers;
use ng_core::metrics::{CounterId, MetricDesc, MetricLane as _, MetricSink as _};
use ng_core::wal::{RecordKind, Ticket, WalLane as _, WalSink as _};
use ng_telemetry::spans::JsonLines;
use ng_telemetry::{Gate, MetricShard, Registry, RegistryOptions, Sampler, SamplerOptions};
use ng_telemetry::{SpanOptions, SpanRing, SpanWriter};
use ng_wal::{Log, LogLane, LogOptions};

/// A point as it came, without its line's end.
const POINT: RecordKind = RecordKind::USER;

/// What became of a line.
#[derive(Debug, PartialEq)]
struct Point<'a> {
    /// Measurement and tags, as they were written.
    series: &'a str,
    fields: Vec<(&'a str, f64)>,
    /// Nanoseconds since 1970, if the line said.
    at: Option<i64>,
}

/// `measurement,tag=value field=1.5,other=2i 1465839830100400200`, with numbers for fields and
/// without escapes: the part of the protocol that sensors speak.
fn parse(line: &str) -> Result<Point<'_>, &'static str> {
    let mut words = line.split(' ');
    let series = words.next().filter(|series| !series.is_empty()).ok_or("there is no measurement")?;
    let mut fields = Vec::new();
    for field in words.next().ok_or("there are no fields")?.split(',') {
        let (name, value) = field.split_once('=').ok_or("a field has no value")?;
        let number = value.trim_end_matches('i').parse().map_err(|_| "a field is no number")?;
        fields.push((name, number));
    }
    let at = words.next().map(|at| at.parse().map_err(|_| "the time is no number")).transpose()?;
    if words.next().is_some() { Err("there is a word too many") } else { Ok(Point { series, fields, at }) }
}

/// One thread's ingester: no admission, no flight recorder.
struct Ingester {
    layers: Layers<NoAdmission, LogLane, MetricShard, Gate, SpanRing>,
    points: CounterId,
    bad: CounterId,
    latest: BTreeMap<String, f64>,
    last: Ticket,
}

impl Ingester {
    /// Takes one line: parsed, logged, kept, counted; as an operation, so that some become spans.
    fn line(&mut self, line: &str) -> Result<(), Box<dyn std::error::Error>> {
        let Self { layers, points, bad, latest, last } = self;
        layers.op("ingest.line", |layers| {
            let point = match parse(line) {
                Ok(point) => point,
                Err(why) => {
                    layers.metrics.add(*bad, 1);
                    return Err(why.into());
                }
            };
            *last = layers.wal.append(POINT, line.as_bytes())?;
            for (name, value) in point.fields {
                latest.insert(format!("{} {name}", point.series), value);
            }
            layers.metrics.add(*points, 1);
            Ok(())
        })
    }
}

/// Ingests a text in `dir`; the metrics at the end, and how many lines the log has.
fn ingest(dir: &Path, text: &str) -> Result<(String, u64), Box<dyn std::error::Error>> {
    let mut options = LogOptions::new(dir.join("wal"));
    options.segment_bytes = 2 << 20;
    options.block_bytes = 64 << 10;
    let log = Log::open(options)?;
    let registry = Registry::new(&RegistryOptions::default());
    let sampler = Sampler::start(SamplerOptions { rate: 0.01, ..SamplerOptions::default() })?;
    let spans = SpanWriter::start(SpanOptions::new(JsonLines::open(&dir.join("spans.jsonl"))?))?;

    let lines =
        |result: &str| MetricDesc::new("ingest_lines_total", "Lines, by result.").label("result", result);
    let mut ingester = Ingester {
        points: registry.counter(&lines("taken"))?,
        bad: registry.counter(&lines("bad"))?,
        layers: Layers {
            admission: NoAdmission,
            wal: log.open_lane()?,
            metrics: registry.open_lane(),
            sampler: sampler.open_lane(),
            spans: spans.open_lane(),
            events: ng_core::events::NoRecorder,
        },
        latest: BTreeMap::new(),
        last: Ticket::default(),
    };
    for line in text.lines() {
        // A bad line is counted; a log that takes no more is the end.
        if let Err(error) = ingester.line(line)
            && error.is::<ng_core::wal::AppendError>()
        {
            return Err(error);
        }
    }
    log.wait_durable(ingester.last, Duration::from_secs(10))?;
    drop(ingester);
    let mut figures = String::new();
    registry.render(&mut figures);
    let logged = log.stats().durable_records;
    log.close(Duration::from_secs(10))?;
    Ok((figures, logged))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::temp_dir().join(format!("ng-line-protocol-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let text = "weather,city=Ulm temperature=21.5,humidity=40i 1465839830100400200\nweather\n";
    let (figures, logged) = ingest(&dir, text)?;
    std::fs::remove_dir_all(&dir)?;
    assert_eq!(logged, 1);
    assert!(figures.contains("ingest_lines_total{result=\"bad\"} 1"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_point_or_says_why_not() {
        let point = parse("cpu,host=a load=0.5,n=3i 7").unwrap();
        assert_eq!(
            point,
            Point { series: "cpu,host=a", fields: vec![("load", 0.5), ("n", 3.0)], at: Some(7) }
        );
        for (line, why) in [
            ("", "measurement"),
            ("cpu", "fields"),
            ("cpu load", "value"),
            ("cpu load=high", "number"),
            ("cpu load=1 soon", "time"),
            ("cpu load=1 7 8", "too many"),
        ] {
            assert!(parse(line).unwrap_err().contains(why), "{line}");
        }
    }

    #[test]
    fn every_good_line_is_in_the_log_as_it_came_and_every_bad_one_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let mut text = String::new();
        for n in 0..2_000 {
            text += &if n % 10 == 0 { "bad line here\n".to_owned() } else { format!("m,n={n} v={n} {n}\n") };
        }
        let (figures, logged) = ingest(dir.path(), &text).unwrap();
        assert_eq!(logged, 1_800);
        assert!(figures.contains("ingest_lines_total{result=\"taken\"} 1800"), "{figures}");
        assert!(figures.contains("ingest_lines_total{result=\"bad\"} 200"), "{figures}");
        let mut lines = Vec::new();
        let reader = ng_wal::recover::Reader::open(&dir.path().join("wal")).unwrap();
        reader
            .for_each_run(|run| {
                lines.extend(run.records().map(|one| String::from_utf8(one.payload.to_vec())))
            })
            .unwrap();
        let good: Vec<_> = text.lines().filter(|line| line.starts_with("m,")).collect();
        assert_eq!(lines.into_iter().collect::<Result<Vec<_>, _>>().unwrap(), good);
    }
}
