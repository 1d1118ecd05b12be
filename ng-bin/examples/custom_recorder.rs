//! A flight recorder of one's own: counts events by kind.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use ng_core::TokenSpec;
use ng_core::events::{Event, EventKind, EventLane, EventRecorder, RecorderStats};
use ng_stack::{Stack, config::Loader};

type Tally = Arc<Mutex<BTreeMap<EventKind, u64>>>;

#[derive(Default)]
struct Counter(Tally);

struct CounterLane(Tally);

fn count(tally: &Tally, event: Event) {
    *tally.lock().unwrap_or_else(PoisonError::into_inner).entry(event.kind).or_default() += 1;
}

impl EventLane for CounterLane {
    fn record(&mut self, event: Event) {
        count(&self.0, event);
    }
}

impl EventRecorder for Counter {
    fn lane(&self, _name: &str) -> Box<dyn EventLane> {
        Box::new(CounterLane(Arc::clone(&self.0)))
    }

    fn record_rare(&self, event: Event, _note: &str) {
        count(&self.0, event);
    }

    fn stats(&self) -> RecorderStats {
        RecorderStats::default()
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tally = Tally::default();
    let off = "[wal]\nkind = \"off\"\n[guardian]\nkind = \"off\"\n[metrics]\nkind = \"off\"\n[tracing]\nkind = \"off\"";
    let loaded = Loader::new().text("custom_recorder", off).load()?;
    let stack = Stack::builder().loaded(loaded).events(Arc::new(Counter(Arc::clone(&tally)))).build()?;
    let mut lane = stack.lane("maker")?;
    let made = lane.create(&TokenSpec::new())?;
    lane.delete(made.id)?;
    let tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(tally.get(&EventKind::TOKENS_CREATED), Some(&1));
    assert_eq!(tally.get(&EventKind::TOKEN_DELETED), Some(&1));
    assert_eq!(tally.get(&EventKind::STARTED), Some(&1));
    Ok(())
}

#[test]
fn each_event_is_counted() {
    assert!(main().is_ok());
}
