//! One thread's side: the hot path, four plain stores an event.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ng_core::clock::precise_unix_ns;
use ng_core::events::{Event, EventKind, EventLane, RecentEvent, Tier};

use crate::format::{self, live};
use crate::ring::{RareWriter, SlotWriter};
use crate::ring_file::RingFile;
use crate::ticks;

/// A thread's lane: it alone writes its ring. When it is dropped the ring stays readable until a
/// later lane needs its place.
#[derive(Debug)]
pub struct RecorderLane(State);

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one a thread, and the large one is the usual one")]
enum State {
    Ring(LaneRing),
    /// There was no ring for it: this lane's own count of what it could not record.
    Ringless(Arc<AtomicU64>),
}

#[derive(Debug)]
struct LaneRing {
    operation: SlotWriter<{ format::BLOCK[0] }>,
    sampled: SlotWriter<{ format::BLOCK[1] }>,
    rare: RareWriter,
    file: Arc<RingFile>,
}

/// Kind and tier as the third word of a slot.
#[inline(always)]
pub(crate) const fn meta(event: Event) -> u64 {
    event.kind.0 as u64 | (event.tier as u64) << 16
}

impl RecorderLane {
    pub(crate) fn with_ring(file: Arc<RingFile>) -> Self {
        let [operation, sampled, rare] = file.tiers.clone();
        Self(State::Ring(LaneRing {
            operation: SlotWriter::new(operation),
            sampled: SlotWriter::new(sampled),
            rare: RareWriter::new(rare),
            file,
        }))
    }

    pub(crate) fn without_ring(dropped: Arc<AtomicU64>) -> Self {
        Self(State::Ringless(dropped))
    }

    /// Whether it has a ring, and so keeps what it is given.
    #[must_use]
    pub fn has_ring(&self) -> bool {
        matches!(self.0, State::Ring(_))
    }

    /// Records one event. About 1 ns in the operation tier, 15 ns in the others, which read the
    /// clock for each event.
    #[inline(always)]
    pub fn record(&mut self, event: Event) {
        let State::Ring(ring) = &mut self.0 else { return self.count_dropped() };
        match event.tier {
            Tier::Operation => ring.operation.push(meta(event), event.a, event.b),
            Tier::Sampled => ring.sampled.push(meta(event), event.a, event.b),
            Tier::Rare => ring.rare.push(meta(event), event.a, event.b, &[]),
        }
    }

    /// Records one event in the rare tier, whatever its own, with a note of up to 200 bytes (cut
    /// there).
    pub fn record_with_note(&mut self, event: Event, note: &str) {
        let State::Ring(ring) = &mut self.0 else { return self.count_dropped() };
        let event = Event { tier: Tier::Rare, ..event };
        let note = format::cut(note, format::NOTE_BYTES);
        ring.rare.push(meta(event), event.a, event.b, note.as_bytes());
    }

    #[cold]
    fn count_dropped(&self) {
        if let State::Ringless(dropped) = &self.0 {
            // This lane is its only writer.
            dropped.store(dropped.load(Ordering::Relaxed) + 1, Ordering::Release);
        }
    }
}

impl EventLane for RecorderLane {
    #[inline(always)]
    fn record(&mut self, event: Event) {
        Self::record(self, event);
    }

    /// Times are as close as the clock was read: once in 32 events.
    fn recent(&self, most: usize, see: &mut dyn FnMut(RecentEvent)) -> usize {
        let State::Ring(ring) = &self.0 else { return 0 };
        let (now, now_ns) = (ticks::now(), precise_unix_ns());
        let (then, then_ns) = ring.file.created();
        let unix_ns = |when: u64| {
            let before = u128::from(now.saturating_sub(when)) * u128::from(now_ns.saturating_sub(then_ns))
                / u128::from(now.saturating_sub(then).max(1));
            now_ns.saturating_sub(u64::try_from(before).unwrap_or(u64::MAX))
        };
        let mut shown = 0;
        for own in ring.operation.recent(most) {
            let (began, ended) = own.ticks;
            #[expect(clippy::cast_possible_truncation, reason = "the low 16 bits are the kind")]
            let event = Event::operation(EventKind(own.meta as u16), own.a, own.b);
            see(RecentEvent {
                event,
                earliest_unix_ns: unix_ns(began),
                latest_unix_ns: ended.map_or(now_ns, unix_ns),
            });
            shown += 1;
        }
        shown
    }
}

impl Drop for RecorderLane {
    fn drop(&mut self) {
        if let State::Ring(ring) = &self.0 {
            ring.file.set_state(live::ENDED);
        }
    }
}
