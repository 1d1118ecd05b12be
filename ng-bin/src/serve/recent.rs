//! The last rare events, for whoever watches: read from the process's own rings when there are new
//! ones, and not more often than twice a second.

use std::sync::{Arc, Mutex, PoisonError};
#[cfg(feature = "blackbox")]
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::stack::Stack;

/// Events that are shown.
#[cfg(feature = "blackbox")]
const SHOWN: usize = 20;

/// The least time between two looks.
#[cfg(feature = "blackbox")]
const PAUSE: Duration = Duration::from_millis(500);

/// One event.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Seen {
    at_unix_ms: Option<u64>,
    kind: String,
    thread: String,
    text: String,
}

#[derive(Debug, Default)]
struct Kept {
    #[cfg(feature = "blackbox")]
    looked: Option<Instant>,
    #[cfg(feature = "blackbox")]
    recorded: u64,
    events: Arc<Vec<Seen>>,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<Kept>);

impl Recent {
    /// The last events, the latest first. It may read files.
    pub(super) fn events(&self, stack: &Stack) -> Arc<Vec<Seen>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        #[cfg(feature = "blackbox")]
        if let crate::stack::choice::EventChoice::Built(recorder) = stack.events_in_use() {
            use ng_core::events::Tier;
            let recorded = stack.events().stats().recorded[Tier::Rare as usize];
            let due = kept.looked.is_none_or(|looked| looked.elapsed() >= PAUSE);
            if due && (kept.looked.is_none() || recorded != kept.recorded) {
                kept.looked = Some(Instant::now());
                if let Some(events) = look(recorder.path()) {
                    (kept.recorded, kept.events) = (recorded, Arc::new(events));
                }
            }
        }
        #[cfg(not(feature = "blackbox"))]
        let _ = (stack, &mut kept);
        Arc::clone(&kept.events)
    }
}

#[cfg(feature = "blackbox")]
fn look(rings: &std::path::Path) -> Option<Vec<Seen>> {
    use ng_blackbox::read::{Filter, Snapshot};
    let mut snapshot = Snapshot::open(rings).ok()?;
    snapshot.retain(&Filter { tiers: vec![ng_core::events::Tier::Rare], ..Filter::default() });
    snapshot.keep_last(SHOWN);
    let text = |event: &ng_blackbox::read::RecordedEvent| {
        let values = event.values(&snapshot.schema).map(|(name, value)| format!("{name} {value}"));
        let mut parts: Vec<String> = values.collect();
        if !event.note.is_empty() {
            parts.push(event.note.clone());
        }
        parts.join(", ")
    };
    let events = snapshot.events.iter().rev().map(|event| Seen {
        at_unix_ms: event.unix_ns.map(|ns| ns / 1_000_000),
        kind: event.label.clone(),
        thread: snapshot.rings.get(event.ring).map_or_else(String::new, |ring| ring.thread.clone()),
        text: text(event),
    });
    Some(events.collect())
}
