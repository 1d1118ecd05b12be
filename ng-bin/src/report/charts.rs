//! Which charts there are, and what each bar of them says. Nothing is drawn here.

use super::figures::{Quartiles, Rivals, Run, Stress};
use super::seed;

/// Whose figure a bar is. Its colour follows; its label says it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// This stack's.
    Ours,
    /// The seed's, or a rival's.
    Theirs,
    /// The machine's.
    Machine,
}

/// One bar.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// What it is of.
    pub label: String,
    /// How long it is, in the chart's unit.
    pub value: f64,
    /// From where to where the figure is spread.
    pub spread: Option<(f64, f64)>,
    /// Whose it is.
    pub whose: Whose,
    /// What stands at its end, where the figure alone would not do.
    pub words: Option<String>,
}

/// How the axis is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// By equal steps.
    Linear,
    /// By factors of ten; the title says so.
    Logarithmic,
}

/// A chart of bars that lie one under the other.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// The file's name without its end, and the anchor on the page.
    pub name: &'static str,
    /// What it shows.
    pub title: String,
    /// What one must know to read it.
    pub note: String,
    /// The unit of the values.
    pub unit: &'static str,
    /// How the axis is divided.
    pub scale: Scale,
    /// The bars, the first on top.
    pub bars: Vec<Bar>,
}

impl Chart {
    /// A value with its unit, for people.
    #[must_use]
    pub fn words(&self, value: f64) -> String {
        format!("{} {}", number(value), self.unit)
    }
}

/// A number for people: grouped by thousands from 100 up, three digits below.
#[must_use]
pub fn number(value: f64) -> String {
    let size = value.abs();
    let text = if size >= 100.0 {
        format!("{size:.0}")
    } else if size >= 10.0 {
        format!("{size:.1}")
    } else {
        format!("{size:.2}")
    };
    let (whole, part) =
        text.split_once('.').map_or((text.as_str(), None), |(whole, part)| (whole, Some(part)));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let sign = if value < 0.0 && text.chars().any(|digit| ('1'..='9').contains(&digit)) { "−" } else { "" };
    part.map_or_else(|| format!("{sign}{grouped}"), |part| format!("{sign}{grouped}.{part}"))
}

/// The charts that the documents have figures for, in the order of the page.
#[must_use]
pub fn charts(stress: &Stress, rivals: Option<&Rivals>) -> Vec<Chart> {
    let made = [
        runs(stress),
        rivals.and_then(beside),
        ablation(stress),
        disk(stress),
        latency(stress),
        memory(stress),
    ];
    made.into_iter().flatten().filter(|chart| !chart.bars.is_empty()).collect()
}

fn spread(quartiles: Option<Quartiles>) -> Option<(f64, f64)> {
    quartiles.map(|quartiles| (quartiles.lower, quartiles.upper))
}

#[expect(clippy::cast_precision_loss, reason = "tokens of a run")]
fn runs(stress: &Stress) -> Option<Chart> {
    let theirs = |label: &str, value: f64, spread: Option<(f64, f64)>| Bar {
        label: label.to_owned(),
        value,
        spread,
        whose: Whose::Theirs,
        words: None,
    };
    let [low, high] = seed::BASELINE_RERUN_MS;
    let [full_low, full_high] = seed::FULL_RERUN_MS;
    let at_its_scale = stress.tokens == seed::TOKENS;
    // Times of fewer tokens are none that the seed's can stand beside; by token they can.
    let scale = if at_its_scale { 1.0 } else { seed::TOKENS as f64 / stress.tokens as f64 };
    let ours = |label: &str, run: &Run| Bar {
        label: label.to_owned(),
        value: run.wall_ms * scale,
        spread: spread(run.wall_spread_ms).map(|(low, high)| (low * scale, high * scale)),
        whose: Whose::Ours,
        words: None,
    };
    let mut bars = vec![
        theirs("seed as published, nothing on", seed::BASELINE_PUBLISHED_MS, None),
        theirs("seed as published, full stack", seed::FULL_PUBLISHED_MS, None),
        theirs("seed re-run, nothing on", low, Some((low, high))),
        theirs("seed re-run, full stack", full_low, Some((full_low, full_high))),
    ];
    let own = [
        ("here, nothing on", &stress.baseline),
        ("here, full stack, logged now and then", &stress.full_sampled_wal),
        ("here, full stack, every token durable", &stress.full_every_token),
    ];
    if own.iter().all(|(_, run)| run.is_none()) {
        return None;
    }
    bars.extend(own.into_iter().filter_map(|(label, run)| run.as_ref().map(|run| ours(label, run))));
    let scaled = if at_its_scale {
        String::new()
    } else {
        format!(" Ours made {} tokens; their times are scaled up to 9,500,000.", number(stress.tokens as f64))
    };
    Some(Chart {
        name: "runs",
        title: "9.5 million tokens, wall time".to_owned(),
        note: format!(
            "Milliseconds on a logarithmic axis: each line is ten times the one before. The stroke across a bar \
             is from quartile to quartile of {} rounds, of the seed's re-run from one run to the other. The \
             seed's full stack logged each 1,000th token, as ours does in the run that logs now and then.{scaled}",
            stress.rounds
        ),
        unit: "ms",
        scale: Scale::Logarithmic,
        bars,
    })
}

fn beside(rivals: &Rivals) -> Option<Chart> {
    let bars = rivals.rows.iter().map(|row| Bar {
        label: match row.wal_every {
            1 => format!("{}, every token logged", row.system),
            every => format!("{}, each {}th", row.system, number(every as f64)),
        },
        value: row.ns_per_token,
        spread: Some((row.ns_per_token - row.spread_ns / 2.0, row.ns_per_token + row.spread_ns / 2.0)),
        whose: if row.ours { Whose::Ours } else { Whose::Theirs },
        words: None,
    });
    Some(Chart {
        name: "rivals",
        title: "The whole stack beside today's glue".to_owned(),
        note: "Nanoseconds a token on a logarithmic axis, every layer on, all that was logged durable at the end. \
               The usual glue: tracing-opentelemetry at a ParentBased 1 %, prometheus, raft-engine, a \
               compare-and-swap quota, a ring behind a mutex. Tuned by hand: the same crates in batches, \
               sampled before a span is made, with a thread for the log."
            .to_owned(),
        unit: "ns",
        scale: Scale::Logarithmic,
        bars: bars.collect(),
    })
}

fn ablation(stress: &Stress) -> Option<Chart> {
    let mut layers: Vec<_> = stress.layers.iter().collect();
    layers.sort_by(|a, b| b.1.removed_ns.total_cmp(&a.1.removed_ns));
    let bars = layers.into_iter().map(|(name, layer)| Bar {
        label: name.clone(),
        value: layer.removed_ns,
        spread: Some((layer.removed_ns - layer.spread_ns / 2.0, layer.removed_ns + layer.spread_ns / 2.0)),
        whose: Whose::Ours,
        words: Some(format!("{} ns, {}", number(layer.removed_ns), layer.verdict)),
    });
    Some(Chart {
        name: "ablation",
        title: "What each layer costs".to_owned(),
        note: "Nanoseconds a token that the full stack saves without the layer, every token durable. The stroke \
               is as long as the quartiles are apart; where it is longer than the bar, the cost is below the \
               machine's noise and called inconclusive."
            .to_owned(),
        unit: "ns",
        scale: Scale::Linear,
        bars: bars.collect(),
    })
}

fn disk(stress: &Stress) -> Option<Chart> {
    let able = stress.disk.seq_write_mb_s?;
    let run = stress.full_every_token?;
    let payload = run.payload_mb_s?;
    let spread = run.wall_spread_ms.map(|wall| {
        let by = |ms: f64| payload * run.wall_ms / ms;
        (by(wall.upper), by(wall.lower))
    });
    let bar = |label: &str, value, spread, whose, words| Bar {
        label: label.to_owned(),
        value,
        spread,
        whose,
        words,
    };
    let share = format!("{} MB/s, {:.0} %", number(payload), 100.0 * payload / able);
    Some(Chart {
        name: "disk",
        title: "Share of the disk".to_owned(),
        note: "Payload made durable in a second of the run with every token logged, beside sequential writes of \
               1 MiB with one sync at the end, in the same minutes."
            .to_owned(),
        unit: "MB/s",
        scale: Scale::Linear,
        bars: vec![
            bar("the disk itself", able, None, Whose::Machine, None),
            bar("the full stack's log", payload, spread, Whose::Ours, Some(share)),
        ],
    })
}

fn latency(stress: &Stress) -> Option<Chart> {
    let mut bars = Vec::new();
    for (label, run) in
        [("logged now and then", &stress.full_sampled_wal), ("every token", &stress.full_every_token)]
    {
        let Some(run) = run else { continue };
        let figures = [
            ("half within", run.durable_p50_us),
            ("99 of 100", run.durable_p99_us),
            ("the last", run.durable_max_us),
        ];
        bars.extend(figures.into_iter().filter_map(|(which, us)| {
            let value = us.filter(|us| *us > 0.0)? / 1_000.0;
            Some(Bar {
                label: format!("{label}: {which}"),
                value,
                spread: None,
                whose: Whose::Ours,
                words: None,
            })
        }));
    }
    (!bars.is_empty()).then(|| Chart {
        name: "latency",
        title: "Until a record is durable".to_owned(),
        note: "Milliseconds from an append until the device has acknowledged the record, on a logarithmic axis, at \
               full load. Counted by epoch, from its first append; a step of the histogram is 19 % wide."
            .to_owned(),
        unit: "ms",
        scale: Scale::Logarithmic,
        bars,
    })
}

#[expect(clippy::cast_precision_loss, reason = "bytes of a run")]
fn memory(stress: &Stress) -> Option<Chart> {
    const MIB: f64 = (1 << 20) as f64;
    let memory = &stress.memory;
    let own = [
        ("resident at most, every layer on", memory.rss_peak_bytes, Whose::Ours),
        (
            "of it 64 bytes a token",
            memory.rss_peak_bytes.map(|_| stress.tokens as f64 * 64.0),
            Whose::Machine,
        ),
        ("of it the program at its start", memory.rss_baseline_bytes, Whose::Machine),
        ("of it the stack", memory.stack_overhead_bytes, Whose::Ours),
        ("left after all was dropped, thrice", memory.leaked_bytes, Whose::Ours),
    ];
    let bars: Vec<_> = own
        .into_iter()
        .filter_map(|(label, bytes, whose)| {
            Some(Bar { label: label.to_owned(), value: bytes? / MIB, spread: None, whose, words: None })
        })
        .collect();
    (!bars.is_empty()).then(|| Chart {
        name: "memory",
        title: "Memory, as the operating system counts it".to_owned(),
        note: format!(
            "MiB resident{}. The seed's figure was never measured: it was tokens × 64.",
            memory
                .bytes_per_token
                .map_or_else(String::new, |bytes| format!("; {bytes:.2} bytes a token with nothing on"))
        ),
        unit: "MiB",
        scale: Scale::Linear,
        bars,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_short() {
        for (value, text) in [
            (417_843.0, "417,843"),
            (9_500_000.4, "9,500,000"),
            (343.2, "343"),
            (74.91, "74.9"),
            (7.885, "7.88"),
            (-4.157, "−4.16"),
            (0.0, "0.00"),
            (-0.001, "0.00"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
