//! Metrics, a sampler and a span sink of one's own: each third operation becomes a line in a list.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ng_core::TokenSpec;
use ng_core::metrics::{
    CounterId, GaugeId, HistogramId, HistogramSnapshot, MetricDesc, MetricLane, MetricSink, RegisterError,
};
use ng_core::sampling::{Decision, Outcome, Reason, SamplerLane, SamplerStats, SpanContext, SpanSampler};
use ng_core::spans::{FinishedSpan, SpanId, SpanLane, SpanSink, SpanStats, TraceId};
use ng_stack::{Stack, config::Loader};

/// Counters in one map behind a lock: simple, and good enough where operations are few.
#[derive(Default)]
struct Counts {
    names: Mutex<Vec<String>>,
    values: Arc<Mutex<BTreeMap<u32, u64>>>,
}

struct CountsLane(Arc<Mutex<BTreeMap<u32, u64>>>);

impl MetricLane for CountsLane {
    fn add(&mut self, counter: CounterId, n: u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(counter.0).or_default() += n;
    }

    fn observe(&mut self, _histogram: HistogramId, _value: u64, _times: u64) {}
}

impl Counts {
    fn register(&self, desc: &MetricDesc) -> u32 {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let name = format!("{}{:?}", desc.name, desc.labels);
        let at = names.iter().position(|known| *known == name).unwrap_or_else(|| {
            names.push(name);
            names.len() - 1
        });
        u32::try_from(at).unwrap_or(u32::MAX)
    }
}

impl MetricSink for Counts {
    fn counter(&self, desc: &MetricDesc) -> Result<CounterId, RegisterError> {
        Ok(CounterId(self.register(desc)))
    }

    fn histogram(&self, desc: &MetricDesc) -> Result<HistogramId, RegisterError> {
        Ok(HistogramId(self.register(desc)))
    }

    fn gauge(&self, desc: &MetricDesc) -> Result<GaugeId, RegisterError> {
        Ok(GaugeId(self.register(desc)))
    }

    fn counter_from(
        &self,
        _: &MetricDesc,
        _: Box<dyn Fn() -> u64 + Send + Sync>,
    ) -> Result<(), RegisterError> {
        Ok(())
    }

    fn gauge_from(&self, _: &MetricDesc, _: Box<dyn Fn() -> f64 + Send + Sync>) -> Result<(), RegisterError> {
        Ok(())
    }

    fn set(&self, _gauge: GaugeId, _value: f64) {}

    fn lane(&self) -> Box<dyn MetricLane> {
        Box::new(CountsLane(Arc::clone(&self.values)))
    }

    fn counter_value(&self, counter: CounterId) -> u64 {
        let values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        values.get(&counter.0).copied().unwrap_or(0)
    }

    fn histogram_value(&self, _histogram: HistogramId) -> HistogramSnapshot {
        HistogramSnapshot::default()
    }

    fn render(&self, _out: &mut String) {}
}

/// Samples each third operation.
struct EachThird;

struct Countdown(u64);

impl SpanSampler for EachThird {
    fn lane(&self) -> Box<dyn SamplerLane> {
        Box::new(Countdown(2))
    }

    fn rate(&self) -> f64 {
        1.0 / 3.0
    }

    fn set_rate(&self, _rate: f64) -> bool {
        false
    }

    fn stats(&self) -> SamplerStats {
        SamplerStats { rate: self.rate(), ..SamplerStats::default() }
    }
}

impl SamplerLane for Countdown {
    fn gate(&mut self, operations: u64) -> Option<u64> {
        if self.0 >= operations {
            self.0 -= operations;
            return None;
        }
        Some(std::mem::replace(&mut self.0, 2))
    }

    fn decide(&mut self, context: &SpanContext) -> Decision {
        Decision { sampled: context.forced, reason: Reason::Forced, probability: 1.0 }
    }

    fn probability(&self) -> f64 {
        1.0 / 3.0
    }

    fn outcome(&mut self, _outcome: Outcome) {}
}

/// Keeps spans in memory.
#[derive(Default)]
struct List(Arc<Mutex<Vec<FinishedSpan>>>);

struct ListLane(Arc<Mutex<Vec<FinishedSpan>>>);

impl SpanLane for ListLane {
    fn finish(&mut self, span: &FinishedSpan) -> Option<(TraceId, SpanId)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(*span);
        None
    }
}

impl SpanSink for List {
    fn lane(&self) -> Box<dyn SpanLane> {
        Box::new(ListLane(Arc::clone(&self.0)))
    }

    fn flush(&self, _timeout: Duration) -> bool {
        true
    }

    fn stats(&self) -> SpanStats {
        let recorded = self.0.lock().unwrap_or_else(PoisonError::into_inner).len() as u64;
        SpanStats { recorded, exported: recorded, dropped: 0 }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let counts = Arc::new(Counts::default());
    let off = "[wal]\nkind = \"off\"\n[guardian]\nkind = \"off\"\n[blackbox]\nkind = \"off\"";
    let stack = Stack::builder()
        .loaded(Loader::new().text("custom_telemetry", off).load()?)
        .metrics(Arc::clone(&counts) as Arc<dyn MetricSink>)
        .sampler(Arc::new(EachThird))
        .spans(Arc::new(List::default()))
        .build()?;
    let mut lane = stack.lane("maker")?;
    for _ in 0..9 {
        lane.create(&TokenSpec::new())?;
    }
    let created = counts.counter(&MetricDesc::new("neurograph_tokens_created_total", ""))?;
    assert_eq!((counts.counter_value(created), stack.spans().stats().recorded), (9, 3));
    Ok(())
}

#[test]
fn each_third_operation_is_in_the_list() {
    assert!(main().is_ok());
}
