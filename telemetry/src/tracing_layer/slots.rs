//! Spans under way, each in a slot that its id leads to: what is known when a span begins, in plain
//! numbers that any thread reads without a lock.
//!
//! The registry's extensions would keep it too, at the price of a lock, a look-up in a map and an
//! allocation. A span that finds no slot, and what is said of one later (events, texts, links), goes
//! there.
//!
//! Whoever begins a span takes a free slot by one exchange; whoever closes it is the last one that has
//! its id, and frees it by a store. A span that is never closed keeps its slot.

use ng_core::{
    sampling::Reason,
    spans::{MAX_ATTRIBUTES, SpanId, TraceId, Value},
};

use crate::sync::{AtomicU64, Ordering, fence};

/// Slots of a layer: 48 KiB.
const SLOTS: usize = if cfg!(loom) { 1 } else { 256 };
/// How many slots a span may lie in.
const TRIES: usize = if cfg!(loom) { 1 } else { 4 };

/// No span has this id.
const FREE: u64 = 0;
/// Nor this one.
const TAKEN: u64 = u64::MAX;

/// A span as it begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Begun {
    /// The callsite.
    pub(super) key: usize,
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
    pub(super) parent: Option<SpanId>,
    pub(super) start_ns: u64,
    pub(super) reason: Reason,
    pub(super) probability: f64,
    /// Attributes in use.
    count: usize,
    /// The number of the field, with the kind of the value above 32 bits; the value.
    attributes: [[u64; 2]; MAX_ATTRIBUTES],
}

impl Begun {
    pub(super) const fn new(
        key: usize,
        (trace, span): (TraceId, SpanId),
        parent: Option<SpanId>,
        (reason, probability): (Reason, f64),
        start_ns: u64,
    ) -> Self {
        let attributes = [[0; 2]; MAX_ATTRIBUTES];
        Self { key, trace, span, parent, start_ns, reason, probability, count: 0, attributes }
    }

    /// As its children need it.
    pub(super) const fn seen(&self) -> Seen {
        let Self { trace, span, reason, probability, .. } = *self;
        Seen { trace, span, reason, probability, has_more: false }
    }

    /// How many attributes it has.
    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// Adds an attribute; whether there was room. A text has none.
    #[inline]
    pub(super) fn add(&mut self, field: usize, value: Value) -> bool {
        let (kind, value) = match value {
            Value::U64(n) => (0, n),
            Value::F64(n) => (1, n.to_bits()),
            Value::Bool(truth) => (2, u64::from(truth)),
            Value::Str(_) => return false,
        };
        let Some(place) = self.attributes.get_mut(self.count) else { return false };
        *place = [field as u64 & 0xffff_ffff | kind << 32, value];
        self.count += 1;
        true
    }

    /// The attributes, by the numbers of their fields.
    #[inline]
    pub(super) fn attributes(&self) -> impl Iterator<Item = (usize, Value)> {
        self.attributes.iter().take(self.count).map(|&[field, value]| {
            let kept = match field >> 32 {
                0 => Value::U64(value),
                1 => Value::F64(f64::from_bits(value)),
                _ => Value::Bool(value != 0),
            };
            let field = (field & 0xffff_ffff) as usize;
            (field, kept)
        })
    }
}

/// Words of a slot besides attributes.
const HEAD: usize = 8;

/// A slot. Aligned to a cache line, since several threads begin spans.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Slot {
    /// The id that the subscriber gave, [`FREE`] or [`TAKEN`].
    id: AtomicU64,
    /// Whether the extensions have more of it.
    has_more: AtomicU64,
    /// Count of attributes, reason, whether there is a parent; trace (2); span; probability; start;
    /// parent; callsite.
    head: [AtomicU64; HEAD],
    attributes: [[AtomicU64; 2]; MAX_ATTRIBUTES],
}

impl Slot {
    fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            id: zero(),
            has_more: zero(),
            head: std::array::from_fn(|_| zero()),
            attributes: std::array::from_fn(|_| [zero(), zero()]),
        }
    }

    #[inline(always)]
    fn write(&self, begun: &Begun, has_more: bool) {
        let flags = begun.count as u64 | (begun.reason as u64) << 8 | u64::from(begun.parent.is_some()) << 16;
        #[expect(clippy::cast_possible_truncation, reason = "the two halves of a trace id")]
        let (high, low) = ((begun.trace.0 >> 64) as u64, begun.trace.0 as u64);
        let parent = begun.parent.map_or(0, |parent| parent.0);
        let (bits, key) = (begun.probability.to_bits(), begun.key as u64);
        let head = [flags, high, low, begun.span.0, bits, begun.start_ns, parent, key];
        for (word, value) in self.head.iter().zip(head) {
            word.store(value, Ordering::Relaxed);
        }
        for (words, values) in self.attributes.iter().zip(&begun.attributes).take(begun.count) {
            words[0].store(values[0], Ordering::Relaxed);
            words[1].store(values[1], Ordering::Relaxed);
        }
        self.has_more.store(u64::from(has_more), Ordering::Relaxed);
    }

    #[inline(always)]
    fn word(&self, at: usize) -> u64 {
        self.head[at].load(Ordering::Relaxed)
    }

    #[inline(always)]
    fn seen(&self) -> Seen {
        let reason = (self.word(0) >> 8 & 0xff) as usize;
        Seen {
            trace: TraceId(u128::from(self.word(1)) << 64 | u128::from(self.word(2))),
            span: SpanId(self.word(3)),
            reason: Reason::ALL.get(reason).copied().unwrap_or(Reason::Rate),
            probability: f64::from_bits(self.word(4)),
            has_more: self.has_more(),
        }
    }

    /// Whether the extensions have more of the span.
    #[inline(always)]
    pub(super) fn has_more(&self) -> bool {
        self.has_more.load(Ordering::Relaxed) != 0
    }

    /// Lets another span have the slot. Only who closes the span may call it.
    #[inline(always)]
    pub(super) fn free(&self) {
        self.id.store(FREE, Ordering::Release);
    }

    /// The span.
    #[inline(always)]
    pub(super) fn read(&self) -> Begun {
        let (flags, Seen { trace, span, reason, probability, .. }) = (self.word(0), self.seen());
        let parent = (flags >> 16 & 1 == 1).then(|| SpanId(self.word(6)));
        #[expect(clippy::cast_possible_truncation, reason = "it was a usize")]
        let key = self.word(7) as usize;
        let mut begun = Begun::new(key, (trace, span), parent, (reason, probability), self.word(5));
        begun.count = (flags & 0xff) as usize;
        for (values, words) in begun.attributes.iter_mut().zip(&self.attributes).take(begun.count) {
            *values = [words[0].load(Ordering::Relaxed), words[1].load(Ordering::Relaxed)];
        }
        begun
    }
}

/// A span under way, as its children need it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Seen {
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
    pub(super) reason: Reason,
    pub(super) probability: f64,
    /// Whether the extensions have more of it.
    pub(super) has_more: bool,
}

/// The slots of a layer.
#[derive(Debug)]
pub(super) struct Slots(Box<[Slot; SLOTS]>);

impl Default for Slots {
    fn default() -> Self {
        Self(Box::new(std::array::from_fn(|_| Slot::new())))
    }
}

impl Slots {
    /// Where a span may lie.
    #[inline(always)]
    fn near(&self, id: u64) -> impl Iterator<Item = &Slot> {
        // The registry gives a thread's spans small numbers again and again; the thread's own number
        // and a generation lie above. Whatever another one does costs at most the way past a slot.
        let first = (id ^ id >> 38 << 4) as usize;
        (0..TRIES).map(move |n| &self.0[first.wrapping_add(n) % SLOTS])
    }

    /// The slot of a span, if it has one.
    #[inline(always)]
    pub(super) fn find(&self, id: u64) -> Option<&Slot> {
        self.near(id).find(|slot| slot.id.load(Ordering::Acquire) == id)
    }

    /// Keeps a span until its slot is freed; `false` if there is no room for it.
    #[inline(always)]
    pub(super) fn put(&self, id: u64, begun: &Begun, has_more: bool) -> bool {
        let free = self.near(id).find(|slot| {
            slot.id.load(Ordering::Relaxed) == FREE
                && slot.id.compare_exchange(FREE, TAKEN, Ordering::Acquire, Ordering::Relaxed).is_ok()
        });
        let Some(slot) = free else { return false };
        slot.write(begun, has_more);
        slot.id.store(id, Ordering::Release);
        true
    }

    /// A span that is here, unless it is closed meanwhile.
    #[inline(always)]
    pub(super) fn get(&self, id: u64) -> Option<Seen> {
        let slot = self.find(id)?;
        let seen = slot.seen();
        fence(Ordering::Acquire);
        (slot.id.load(Ordering::Relaxed) == id).then_some(seen)
    }

    /// The extensions have more of a span from now on: how many attributes it has here, if it is here.
    /// Only who holds the lock of its extensions may call it.
    pub(super) fn say_more(&self, id: u64) -> Option<usize> {
        let slot = self.find(id)?;
        slot.has_more.store(1, Ordering::Relaxed);
        Some((slot.word(0) & 0xff) as usize)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn begun(n: u64) -> Begun {
        let ids = (TraceId(u128::from(n) << 64 | u128::from(!n)), SpanId(n));
        let parent = n.is_multiple_of(2).then_some(SpanId(n + 1));
        let reason = Reason::ALL[n as usize % Reason::ALL.len()];
        let mut begun = Begun::new(n as usize * 8, ids, parent, (reason, 0.25), n);
        let values = [Value::U64(n), Value::F64(-0.5), Value::Bool(true)];
        for field in 0..n as usize % (MAX_ATTRIBUTES + 1) {
            assert!(begun.add(field, values[field % values.len()]));
        }
        begun
    }

    #[test]
    fn a_span_is_what_was_put_until_it_is_freed_and_a_full_neighbourhood_refuses() {
        let slots = Slots::default();
        // Of one neighbourhood: they differ where the registry keeps its generation.
        let ids: Vec<u64> = (1..=TRIES as u64 + 1).map(|n| n << 51 | 9).collect();
        for (n, id) in ids.iter().enumerate() {
            assert_eq!(slots.put(*id, &begun(n as u64), n == 1), n < TRIES);
        }
        for (n, id) in ids.iter().enumerate().take(TRIES) {
            let seen = slots.get(*id).unwrap();
            assert_eq!(seen, Seen { has_more: n == 1, ..begun(n as u64).seen() });
            assert_eq!(slots.say_more(*id), Some(begun(n as u64).count()));
            let slot = slots.find(*id).unwrap();
            assert_eq!((slot.read(), slot.has_more()), (begun(n as u64), true));
        }
        slots.find(ids[0]).unwrap().free();
        assert!(slots.get(ids[0]).is_none());
        assert!(slots.put(ids[TRIES], &begun(7), false));
        assert_eq!(slots.get(ids[TRIES]), Some(begun(7).seen()));
    }

    #[test]
    fn a_span_takes_as_many_attributes_as_there_is_room_for_and_no_text() {
        let mut begun = begun(MAX_ATTRIBUTES as u64);
        assert!(!begun.add(9, Value::U64(1)));
        let values: Vec<(usize, Value)> = begun.attributes().collect();
        assert_eq!(values.len(), MAX_ATTRIBUTES);
        assert_eq!(values[..2], [(0, Value::U64(6)), (1, Value::F64(-0.5))]);
        assert_eq!(values[5], (5, Value::Bool(true)));
        let mut empty = self::begun(0);
        assert!(!empty.add(0, Value::Str("x")) && empty.count() == 0);
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use std::sync::Arc;

    use super::*;

    /// A span whose words all say the same.
    fn begun(n: u64) -> Begun {
        let ids = (TraceId(u128::from(n) << 64 | u128::from(n)), SpanId(n));
        Begun::new(n as usize, ids, None, (Reason::Rate, n as f64), n)
    }

    #[test]
    fn loom_one_of_two_spans_has_the_slot_and_nobody_sees_a_mixture() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(2);
        model.check(|| {
            let slots = Arc::new(Slots::default());
            let other = Arc::clone(&slots);
            let thread = loom::thread::spawn(move || {
                let has = other.put(2, &begun(2), false);
                if let Some(slot) = other.find(2) {
                    assert!(has);
                    assert_eq!(slot.read(), begun(2));
                    slot.free();
                }
            });
            let has = slots.put(1, &begun(1), false);
            if let Some(seen) = slots.get(2) {
                assert_eq!(seen, begun(2).seen());
            }
            assert_eq!(slots.get(1), has.then(|| begun(1).seen()));
            thread.join().unwrap();
        });
    }
}
