//! What several test files need: a recorder that keeps what it hears, and waiting with an end.

#![allow(dead_code, clippy::unwrap_used, reason = "not every file uses all of it; a test fails by panicking")]

use ng_core::events::{Event, EventKind, EventLane, EventRecorder, NoRecorder, RecorderStats};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Keeps rare events and their notes.
#[derive(Default)]
pub(crate) struct Heard(Mutex<Vec<(Event, String)>>);

impl Heard {
    /// The events of a kind, in order.
    pub(crate) fn of(&self, kind: EventKind) -> Vec<(Event, String)> {
        self.0.lock().unwrap().iter().filter(|heard| heard.0.kind == kind).cloned().collect()
    }
}

impl EventRecorder for Heard {
    fn lane(&self, name: &str) -> Box<dyn EventLane> {
        NoRecorder.lane(name)
    }

    fn record_rare(&self, event: Event, note: &str) {
        self.0.lock().unwrap().push((event, note.to_owned()));
    }

    fn stats(&self) -> RecorderStats {
        RecorderStats::default()
    }
}

/// Waits for the guardian's thread; a test that waits in vain fails.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(20), "in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
