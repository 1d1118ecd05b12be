//! Each system: how it is set up, how it records, what an event takes. Events are recorded in a loop
//! of the system's own, so that nothing is called through a pointer for each of them.

use std::collections::VecDeque;
use std::hint::black_box;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use crossbeam_queue::ArrayQueue;
use faultbox::shared_ring::SharedRing;
use ng_core::events::{Event, EventKind};
use tracing_subscriber::layer::SubscriberExt;
use zerocopy::{Immutable, IntoBytes};

/// What the seed kept, and what rivals are given unless they count in bytes.
pub(crate) const CAPACITY: usize = 1_000;

/// What is beside the numbers in the case `rare`.
pub(crate) const NOTE: &str = "quota of pool lane-7 is used up";

/// Which event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Operation,
    Rare,
}

impl Kind {
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Operation => "operation",
            Self::Rare => "rare",
        }
    }
}

/// Runs its argument, which records as many events as it is told.
pub(crate) type Timed<'a> = &'a mut dyn FnMut(&mut dyn FnMut(u64));

/// A recorder that threads share.
pub(crate) trait Shared: Send + Sync {
    /// Sets up a thread and hands the loop that records to `timed`.
    fn on_a_thread(&self, kind: Kind, timed: Timed<'_>);
}

/// A system.
pub(crate) struct System {
    pub(crate) name: &'static str,
    pub(crate) ours: bool,
    pub(crate) open: fn(&Path) -> Result<Box<dyn Shared>, String>,
    /// Events of a round; the fast ones need more for a figure.
    fast: bool,
    /// Bytes an event in either case, by the system's own layout.
    bytes: fn(Kind) -> f64,
}

impl System {
    pub(crate) const fn events(&self, quick: bool) -> u64 {
        let events = if self.fast { 4_000_000 } else { 200_000 };
        if quick { events / 20 } else { events }
    }

    pub(crate) fn bytes(&self, kind: Kind) -> f64 {
        (self.bytes)(kind)
    }
}

pub(crate) const SYSTEMS: &[System] = &[
    System {
        name: "ng-blackbox",
        ours: true,
        open: |dir| boxed(Ours::open(dir)?),
        fast: true,
        // format.rs: slots of 32 and 256 bytes, and an anchor of 16 each 32 events or each one.
        bytes: |kind| if kind == Kind::Operation { 32.5 } else { 272.0 },
    },
    System {
        name: "the seed's mutex, deque and strings",
        ours: false,
        open: |_| boxed(Seed::default()),
        fast: false,
        bytes: |kind| {
            let (label, detail) = entry(kind, 123_456);
            (size_of::<Entry>() + label.capacity() + detail.capacity()) as f64
        },
    },
    System {
        name: "crossbeam ArrayQueue",
        ours: false,
        open: |_| boxed(Queue(ArrayQueue::new(CAPACITY))),
        fast: false,
        // A slot is a stamp and the value.
        bytes: |_| (size_of::<usize>() + size_of::<Small>()) as f64,
    },
    System {
        name: "backbeat",
        ours: false,
        open: |_| boxed(Backbeat::open()),
        fast: false,
        // record.rs and ring.rs: time, id, fields, and a length of 4 bytes.
        bytes: |kind| 8.0 + 8.0 + 4.0 + if kind == Kind::Operation { 16.0 } else { 48.0 },
    },
    System {
        name: "faultbox",
        ours: false,
        open: |dir| {
            let path = dir.join(FAULTBOX);
            SharedRing::open(path, CAPACITY)
                .map_err(|error| error.to_string())
                .and_then(|ring| boxed(Faultbox(ring)))
        },
        fast: false,
        // shared_ring.rs: SLOT.
        bytes: |_| 256.0,
    },
    System {
        name: "tracing-flight-recorder",
        ours: false,
        open: |_| boxed(Tracing(tracing_flight_recorder::FlightRecorder::new(CAPACITY))),
        fast: false,
        bytes: tracing_bytes,
    },
];

/// Faultbox's file.
pub(crate) const FAULTBOX: &str = "faultbox.ring";

fn boxed(shared: impl Shared + 'static) -> Result<Box<dyn Shared>, String> {
    Ok(Box::new(shared))
}

struct Ours {
    recorder: ng_blackbox::Recorder,
}

impl Ours {
    fn open(dir: &Path) -> Result<Self, String> {
        let options = ng_blackbox::RecorderOptions::new(dir.join("rings"));
        let recorder = ng_blackbox::Recorder::create(options).map_err(|error| error.to_string())?;
        Ok(Self { recorder })
    }
}

impl Shared for Ours {
    fn on_a_thread(&self, kind: Kind, timed: Timed<'_>) {
        let mut lane = self.recorder.open_lane("maker");
        match kind {
            Kind::Operation => timed(&mut |events| {
                for n in 0..events {
                    lane.record(Event::operation(EventKind::TOKENS_CREATED, black_box(n), 1));
                }
            }),
            Kind::Rare => timed(&mut |events| {
                for n in 0..events {
                    lane.record_with_note(Event::rare(EventKind::QUOTA_EXCEEDED, black_box(n), 1), NOTE);
                }
            }),
        }
    }
}

/// What the seed kept of an event.
struct Entry {
    #[expect(dead_code, reason = "kept, as the seed keeps it")]
    at: SystemTime,
    #[expect(dead_code, reason = "kept, as the seed keeps it")]
    label: String,
    #[expect(dead_code, reason = "kept, as the seed keeps it")]
    detail: String,
}

fn entry(kind: Kind, n: u64) -> (String, String) {
    match kind {
        Kind::Operation => ("token_created".to_owned(), format!("id={n}")),
        Kind::Rare => ("quota_exceeded".to_owned(), format!("id={n} {NOTE}")),
    }
}

#[derive(Default)]
struct Seed(Mutex<VecDeque<Entry>>);

impl Shared for Seed {
    fn on_a_thread(&self, kind: Kind, timed: Timed<'_>) {
        timed(&mut |events| {
            for n in 0..events {
                let (label, detail) = entry(kind, black_box(n));
                let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                if entries.len() == CAPACITY {
                    entries.pop_front();
                }
                entries.push_back(Entry { at: SystemTime::now(), label, detail });
            }
        });
    }
}

/// What goes into the queue: time, kind and two numbers; the note as a reference that lives for ever.
#[derive(Debug, Clone, Copy)]
struct Small {
    _at: SystemTime,
    _numbers: [u64; 2],
    _note: Option<&'static str>,
}

struct Queue(ArrayQueue<Small>);

impl Shared for Queue {
    fn on_a_thread(&self, kind: Kind, timed: Timed<'_>) {
        let note = (kind == Kind::Rare).then_some(NOTE);
        timed(&mut |events| {
            for n in 0..events {
                let small = Small { _at: SystemTime::now(), _numbers: [black_box(n), 1], _note: note };
                let _evicted = self.0.force_push(small);
            }
        });
    }
}

/// Two numbers.
#[derive(backbeat::Event, IntoBytes, Immutable)]
#[event(namespace = "rivals")]
#[repr(C)]
struct Operation {
    /// Which.
    id: u64,
    /// How many.
    count: u64,
}

/// Two numbers and a message of fixed length.
#[derive(backbeat::Event, IntoBytes, Immutable)]
#[event(namespace = "rivals")]
#[repr(C)]
struct Quota {
    /// Which.
    id: u64,
    /// How many.
    count: u64,
    /// The message.
    note: [u8; 32],
}

struct Backbeat(backbeat::recorder::Recorder);

impl Backbeat {
    fn open() -> Self {
        let recorder = backbeat::recorder::Recorder::new(2, 1 << 20);
        recorder.set_enabled(true);
        Self(recorder)
    }
}

impl Shared for Backbeat {
    fn on_a_thread(&self, kind: Kind, timed: Timed<'_>) {
        match kind {
            Kind::Operation => timed(&mut |events| {
                (0..events).for_each(|n| self.0.record(&Operation { id: black_box(n), count: 1 }));
            }),
            Kind::Rare => timed(&mut |events| {
                (0..events).for_each(|n| self.0.record(&Quota { id: black_box(n), count: 1, note: [7; 32] }));
            }),
        }
    }
}

struct Faultbox(SharedRing);

impl Shared for Faultbox {
    fn on_a_thread(&self, kind: Kind, timed: Timed<'_>) {
        let (level, category, message) = match kind {
            Kind::Operation => (faultbox::breadcrumbs::Level::Info, "token.created", "1"),
            Kind::Rare => (faultbox::breadcrumbs::Level::Warn, "quota.exceeded", NOTE),
        };
        timed(&mut |events| {
            for _ in 0..events {
                self.0.record(level, category, black_box(message));
            }
        });
    }
}

struct Tracing(tracing_flight_recorder::FlightRecorder);

impl Tracing {
    fn with(&self, work: impl FnOnce()) {
        let layer = tracing_flight_recorder::FlightRecorderLayer::new(self.0.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
    }
}

impl Shared for Tracing {
    fn on_a_thread(&self, kind: Kind, timed: Timed<'_>) {
        self.with(|| match kind {
            Kind::Operation => timed(&mut |events| {
                (0..events).for_each(|n| tracing::info!(id = black_box(n), count = 1, "token_created"));
            }),
            Kind::Rare => timed(&mut |events| {
                (0..events).for_each(|n| {
                    tracing::warn!(id = black_box(n), count = 1, note = NOTE, "quota_exceeded")
                });
            }),
        });
    }
}

/// By what a kept event says of itself as JSON, which is less than it takes in memory.
fn tracing_bytes(kind: Kind) -> f64 {
    let system = Tracing(tracing_flight_recorder::FlightRecorder::new(CAPACITY));
    system.on_a_thread(kind, &mut |work| work(100));
    system.0.dump_to_json().map_or(0.0, |text| text.len() as f64 / 100.0)
}
