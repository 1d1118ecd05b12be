//! The contract of the flight recorder: small typed events that outlive the process.
//!
//! Recording never blocks, never allocates and never reads a clock. Rare events have a tier of
//! their own, so that the firehose can't evict them. Events of one's own are declared with
//! [`event!`](crate::event).

mod typed;

pub use typed::{EventSchema, Field, FieldType, FieldValue, TypedEvent, is_name, layout};

/// Which ring an event goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Tier {
    /// Every operation: a short history of the firehose.
    Operation = 0,
    /// Sampled operations.
    Sampled = 1,
    /// Errors, quotas, configuration, lifecycle: kept longest.
    Rare = 2,
}

impl Tier {
    /// All tiers, busiest first.
    pub const ALL: [Self; 3] = [Self::Operation, Self::Sampled, Self::Rare];

    /// In words.
    #[must_use]
    pub const fn label(self) -> &'static str {
        ["operation", "sampled", "rare"][self as usize]
    }
}

/// What happened. Up to `0x00ff` are the workspace's own; a user's begin at [`EventKind::USER`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventKind(pub u16);

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $label:literal, $a:literal, $b:literal;)*) => {
        impl EventKind {
            $($(#[$doc])* pub const $name: Self = Self($number);)*

            /// Each kind of the workspace with its label and the names of its two numbers: the
            /// schema that a recorder writes beside its rings.
            pub const SCHEMA: &'static [(Self, &'static str, &'static str, &'static str)] =
                &[$((Self::$name, $label, $a, $b)),*];
        }
    };
}

kinds! {
    /// Tokens were made at `count` slots from `first_id` on.
    TOKENS_CREATED = 1, "tokens_created", "first_id", "count";
    /// A token was deleted.
    TOKEN_DELETED = 2, "token_deleted", "id", "generation";
    /// The constitution refused a token.
    VALIDATION_FAILED = 3, "validation_failed", "index_in_batch", "version";
    /// A quota refused tokens.
    QUOTA_EXCEEDED = 4, "quota_exceeded", "asked", "limit";
    /// A cleanup began.
    CLEANUP_BEGUN = 5, "cleanup_begun", "used", "target";
    /// A cleanup ended.
    CLEANUP_ENDED = 6, "cleanup_ended", "freed", "micros";
    /// A thread panicked.
    PANIC = 7, "panic", "line", "count";
    /// The log made records durable: each below `durable_lsn` is.
    WAL_WRITTEN = 8, "wal_written", "durable_lsn", "ticket";
    /// A log was replayed.
    REPLAYED = 9, "replayed", "records", "tokens";
    /// The stack started.
    STARTED = 10, "started", "pid", "config_hash";
    /// The stack stopped in good order.
    STOPPED = 11, "stopped", "tokens", "durable_records";
    /// The log refused or lost a record.
    WAL_FAILED = 12, "wal_failed", "records", "unused";
    /// A sampled operation ended.
    OPERATION = 13, "operation", "tokens", "duration_ns";
    /// The constitution changed.
    CONSTITUTION = 14, "constitution", "version", "previous";
    /// The store was full.
    STORE_FULL = 15, "store_full", "domain", "capacity";
    /// The rings of a process that had died were found.
    DEAD_FOUND = 16, "dead_found", "pid", "durable_lsn";
    /// Use rose above a mark of the quota.
    MARK_CROSSED = 64, "mark_crossed", "used", "limit";
    /// The real memory left the counted one behind.
    MEMORY_DRIFT = 65, "memory_drift", "drift_bytes", "resident_bytes";
    /// The real memory came near its limit: no further token takes new memory.
    MEMORY_SHORT = 66, "memory_short", "held_bytes", "limit_bytes";
    /// The real memory is short no more.
    MEMORY_EASED = 67, "memory_eased", "held_bytes", "limit_bytes";
    /// An operation that nobody sampled was slow, by the tick.
    SLOW_OPERATION = 72, "slow_operation", "began_unix_ns", "ended_unix_ns";
    /// The configuration was read again: changes in force, and those that are not.
    CONFIG_RELOADED = 80, "config_reloaded", "changed", "waiting";
    /// The configuration was read again and has faults: the one before stays in force.
    CONFIG_REFUSED = 81, "config_refused", "faults", "unused";
}

impl EventKind {
    /// The first kind that a user may give a meaning.
    pub const USER: Self = Self(0x0100);

    /// The label, if the kind is one of the workspace's own.
    #[must_use]
    pub fn label(self) -> Option<&'static str> {
        Self::SCHEMA.iter().find(|row| row.0 == self).map(|row| row.1)
    }
}

/// One event: fixed in size, two numbers whose names are the kind's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// Which ring.
    pub tier: Tier,
    /// First number.
    pub a: u64,
    /// Second number.
    pub b: u64,
}

impl Event {
    /// An event of the operation tier.
    #[must_use]
    #[inline(always)]
    pub const fn operation(kind: EventKind, a: u64, b: u64) -> Self {
        Self { kind, tier: Tier::Operation, a, b }
    }

    /// An event of the rare tier.
    #[must_use]
    pub const fn rare(kind: EventKind, a: u64, b: u64) -> Self {
        Self { kind, tier: Tier::Rare, a, b }
    }
}

/// What a recorder counts. Counts never go backwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecorderStats {
    /// Events recorded, by [`Tier`].
    pub recorded: [u64; 3],
    /// Events that were overwritten by later ones of their tier.
    pub overwritten: [u64; 3],
    /// Events that could not be recorded at all, because there was no ring for their thread.
    pub dropped: u64,
    /// Rings in use.
    pub rings: u64,
}

/// The shared side of the flight recorder: one per stack.
pub trait EventRecorder: Send + Sync {
    /// A new lane, for one thread, shown as `name`.
    fn lane(&self, name: &str) -> Box<dyn EventLane>;

    /// Records from any thread, with a note of up to 200 bytes (cut there). For what happens
    /// seldom: it may take a lock.
    fn record_rare(&self, event: Event, note: &str);

    /// What it counts.
    fn stats(&self) -> RecorderStats;
}

/// An event of a lane's own past, with the time that is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecentEvent {
    /// What was recorded.
    pub event: Event,
    /// Not before this, in nanoseconds since 1970.
    pub earliest_unix_ns: u64,
    /// Not after this.
    pub latest_unix_ns: u64,
}

/// One thread's side of the flight recorder.
pub trait EventLane: Send {
    /// Records one event.
    fn record(&mut self, event: Event);

    /// Shows the lane's own last events of the operation tier to `see`, the latest first, at most
    /// `most`; says how many there were. Whoever finds after the fact that an operation failed or was
    /// slow makes a span of them. Not for the hot path: it reads the clock. A lane that keeps no
    /// history shows none.
    fn recent(&self, most: usize, see: &mut dyn FnMut(RecentEvent)) -> usize {
        let _ = (most, see);
        0
    }
}

impl<L: EventLane + ?Sized> EventLane for Box<L> {
    #[inline]
    fn record(&mut self, event: Event) {
        (**self).record(event);
    }

    fn recent(&self, most: usize, see: &mut dyn FnMut(RecentEvent)) -> usize {
        (**self).recent(most, see)
    }
}

/// An operation that has ended, as a ring of the operation tier remembers it. Its times have the
/// tick's resolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PastOperation {
    /// What it was.
    pub event: Event,
    /// When it began, in nanoseconds since 1970; the end of the one before it on its lane, where
    /// nothing better is known.
    pub start_ns: u64,
    /// When it ended, in nanoseconds since 1970.
    pub end_ns: u64,
    /// Whether it failed.
    pub failed: bool,
}

/// Who remembers what lanes did lately, so that errors and slow operations can be looked at after
/// the fact though nobody sampled them.
pub trait OperationHistory: Send + Sync {
    /// Gives each operation that ended since the last call, as far as it has not been overwritten;
    /// one caller at a time.
    fn since_last(&self, each: &mut dyn FnMut(&PastOperation));
}

/// The recorder that is switched off.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoRecorder;

impl EventRecorder for NoRecorder {
    fn lane(&self, _name: &str) -> Box<dyn EventLane> {
        Box::new(Self)
    }

    fn record_rare(&self, _event: Event, _note: &str) {}

    fn stats(&self) -> RecorderStats {
        RecorderStats::default()
    }
}

impl EventLane for NoRecorder {
    #[inline(always)]
    fn record(&mut self, _event: Event) {}
}
