//! A lane's ring of finished spans: one thread writes, the export thread reads, neither waits.
//!
//! A span takes as many words as it has something to say, 9 and 3 for each attribute, so that a
//! sampled operation touches two or three cache lines and not a whole [`FinishedSpan`]. Words are
//! atomics written with relaxed stores, which are plain moves on the machines we know; `head` and
//! `tail` publish them. It never overwrites: a full ring refuses.
//!
//! | word | holds |
//! |---|---|
//! | 0 | bits 0–31 length of the name, 32–39 attributes, 40–47 reason, 48 failed, 49 has a parent |
//! | 1, 2 | trace id, high and low |
//! | 3, 4 | span id, parent's |
//! | 5 | address of the name |
//! | 6, 7 | start, end |
//! | 8 | bits of the probability |
//! | then for each attribute | address of the key; bits 0–31 length of a text, 32–59 of the key, 60–63 type; value |

use ng_core::{
    sampling::Reason,
    spans::{FinishedSpan, MAX_ATTRIBUTES, SpanId, TraceId, Value},
};

use super::record::SpanRecord;
use crate::sync::{AtomicU64, Ordering};

/// Words of a span without attributes.
const HEAD_WORDS: usize = 9;
/// Words of an attribute.
const ATTRIBUTE_WORDS: usize = 3;
/// Words of the longest span.
const MOST_WORDS: usize = HEAD_WORDS + ATTRIBUTE_WORDS * MAX_ATTRIBUTES;
/// Words of a span with two attributes, the usual one: what sizes a ring.
pub(super) const USUAL_WORDS: usize = HEAD_WORDS + ATTRIBUTE_WORDS * 2;

/// The ring.
#[derive(Debug)]
pub(super) struct Ring {
    words: Box<[AtomicU64]>,
    /// Words written since the beginning.
    head: AtomicU64,
    /// Words read since the beginning. On a line of its own: the reader writes it.
    tail: Apart,
}

#[derive(Debug)]
#[repr(align(128))]
struct Apart(AtomicU64);

/// What the writing thread keeps of the ring for itself.
#[derive(Debug, Default)]
pub(super) struct Writer {
    head: u64,
    /// The tail as last read: the true one is this or further.
    tail: u64,
}

/// A span without its attributes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line {
    pub(crate) trace: TraceId,
    pub(crate) id: SpanId,
    pub(crate) parent: Option<SpanId>,
    pub(crate) name: &'static str,
    pub(crate) start_ns: u64,
    pub(crate) end_ns: u64,
    pub(crate) failed: bool,
    pub(crate) reason: Reason,
    pub(crate) probability: f64,
}

impl Line {
    /// That of a span which has its ids.
    #[inline(always)]
    pub(super) const fn of(trace: TraceId, id: SpanId, span: &FinishedSpan) -> Self {
        Self {
            trace,
            id,
            parent: span.parent,
            name: span.name,
            start_ns: span.start_ns,
            end_ns: span.end_ns,
            failed: span.failed,
            reason: span.reason,
            probability: span.probability,
        }
    }
}

/// What came of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It is in the ring.
    In,
    /// It is in the ring, and with it the ring has become half full.
    Half,
    /// There was no room.
    Full,
}

impl Ring {
    /// Room for about so many spans of two attributes.
    pub(super) fn with_room_for(spans: usize) -> Self {
        let words = (spans * USUAL_WORDS).max(2 * MOST_WORDS).next_power_of_two();
        Self {
            words: (0..words).map(|_| AtomicU64::new(0)).collect(),
            head: AtomicU64::new(0),
            tail: Apart(AtomicU64::new(0)),
        }
    }

    fn get(&self, at: u64) -> u64 {
        let mask = self.words.len() - 1;
        #[expect(clippy::cast_possible_truncation, reason = "masked")]
        let at = at as usize & mask;
        self.words[at].load(Ordering::Relaxed)
    }

    /// Whether a span finds room. Only the thread that has the `writer` may call it.
    #[inline(always)]
    pub(super) fn has_room(&self, writer: &mut Writer) -> bool {
        let room = self.words.len() as u64;
        if room - (writer.head - writer.tail) >= MOST_WORDS as u64 {
            return true;
        }
        writer.tail = self.tail.0.load(Ordering::Acquire);
        room - (writer.head - writer.tail) >= MOST_WORDS as u64
    }

    /// Writes a span, with the first [`MAX_ATTRIBUTES`] attributes. Only the thread that has the `writer`
    /// may call it.
    #[inline(always)]
    pub(super) fn push(
        &self,
        writer: &mut Writer,
        span: Line,
        attributes: impl Iterator<Item = (&'static str, Value)>,
    ) -> Pushed {
        if !self.has_room(writer) {
            return Pushed::Full;
        }
        let room = self.words.len() as u64;
        let was_full = writer.head - writer.tail >= room / 2;
        let mask = self.words.len() - 1;
        #[expect(clippy::cast_possible_truncation, reason = "masked")]
        let first = writer.head as usize & mask;
        // Most spans lie in one piece, and then no word needs to be looked for.
        let whole = self.words.get(first..).and_then(<[AtomicU64]>::first_chunk::<MOST_WORDS>);
        let words = match whole {
            Some(words) => encode(&span, attributes, |at, word| {
                if let Some(place) = words.get(at) {
                    place.store(word, Ordering::Relaxed);
                }
            }),
            None => encode(&span, attributes, |at, word| {
                self.words[(first + at) & mask].store(word, Ordering::Relaxed);
            }),
        };
        let at = writer.head + words as u64;
        writer.head = at;
        self.head.store(at, Ordering::Release);
        if !was_full && at - writer.tail >= room / 2 { Pushed::Half } else { Pushed::In }
    }

    /// Whether everything written was taken.
    pub(super) fn is_empty(&self) -> bool {
        self.head.load(Ordering::Acquire) == self.tail.0.load(Ordering::Acquire)
    }

    /// Takes what was written before this call, in order. Only one thread may call it at a time.
    pub(super) fn drain(&self, mut each: impl FnMut(SpanRecord)) -> u64 {
        let head = self.head.load(Ordering::Acquire);
        let mut tail = self.tail.0.load(Ordering::Relaxed);
        let mut spans = 0;
        while tail < head {
            let (record, words) = self.read(tail);
            tail += words;
            spans += 1;
            // At once, so that a lane finds room again while a long drain is at work.
            self.tail.0.store(tail, Ordering::Release);
            each(record);
        }
        spans
    }

    fn read(&self, first: u64) -> (SpanRecord, u64) {
        let word = |at: u64| self.get(first + at);
        let (head, count) = (word(0), word(0) >> 32 & 0xff);
        let mut attributes = [None; MAX_ATTRIBUTES];
        for (n, slot) in (0..count).zip(&mut attributes) {
            let at = (HEAD_WORDS + ATTRIBUTE_WORDS * n as usize) as u64;
            let (kind, value) = (word(at + 1), word(at + 2));
            let key = text(word(at), kind >> 32 & 0xfff_ffff);
            let value = match kind >> 60 {
                0 => Value::U64(value),
                1 => Value::F64(f64::from_bits(value)),
                2 => Value::Str(text(value, kind & 0xffff_ffff)),
                _ => Value::Bool(value != 0),
            };
            *slot = Some((key, value));
        }
        let reason = Reason::ALL.get((head >> 40 & 0xff) as usize).copied().unwrap_or(Reason::Rate);
        let record = SpanRecord {
            trace: TraceId(u128::from(word(1)) << 64 | u128::from(word(2))),
            id: SpanId(word(3)),
            span: FinishedSpan {
                trace: None,
                parent: (head >> 49 & 1 == 1).then(|| SpanId(word(4))),
                name: text(word(5), head & 0xffff_ffff),
                start_ns: word(6),
                end_ns: word(7),
                failed: head >> 48 & 1 == 1,
                reason,
                probability: f64::from_bits(word(8)),
                attributes,
            },
            details: None,
        };
        (record, (HEAD_WORDS as u64) + ATTRIBUTE_WORDS as u64 * count)
    }
}

/// Gives `set` each word of a span, and says how many they are.
#[inline(always)]
fn encode(
    span: &Line,
    attributes: impl Iterator<Item = (&'static str, Value)>,
    mut set: impl FnMut(usize, u64),
) -> usize {
    let mut at = HEAD_WORDS;
    for (key, value) in attributes.take(MAX_ATTRIBUTES) {
        let (kind, text, value) = match value {
            Value::U64(n) => (0, 0, n),
            Value::F64(n) => (1, 0, n.to_bits()),
            Value::Str(text) => (2, short(text.len(), 32), address(text)),
            Value::Bool(truth) => (3, 0, u64::from(truth)),
        };
        set(at, address(key));
        set(at + 1, text | short(key.len(), 28) << 32 | kind << 60);
        set(at + 2, value);
        at += ATTRIBUTE_WORDS;
    }
    let count = ((at - HEAD_WORDS) / ATTRIBUTE_WORDS) as u64;
    let flags = u64::from(span.failed) | u64::from(span.parent.is_some()) << 1;
    set(0, short(span.name.len(), 32) | count << 32 | (span.reason as u64) << 40 | flags << 48);
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of a trace id")]
    let (high, low) = ((span.trace.0 >> 64) as u64, span.trace.0 as u64);
    set(1, high);
    set(2, low);
    set(3, span.id.0);
    set(4, span.parent.map_or(0, |parent| parent.0));
    set(5, address(span.name));
    set(6, span.start_ns);
    set(7, span.end_ns);
    set(8, span.probability.to_bits());
    at
}

#[inline(always)]
fn address(text: &'static str) -> u64 {
    text.as_ptr().expose_provenance() as u64
}

/// A length that fits so many bits; a longer text is cut away whole rather than in the middle of a
/// character.
#[inline(always)]
const fn short(len: usize, bits: u32) -> u64 {
    let len = len as u64;
    if len < 1 << bits { len } else { 0 }
}

/// The text that [`address`] and [`short`] were taken of.
#[expect(unsafe_code, reason = "a fixed text crosses the ring as its address and length")]
fn text(address: u64, len: u64) -> &'static str {
    #[expect(clippy::cast_possible_truncation, reason = "they were usizes")]
    let (address, len) = (address as usize, len as usize);
    // SAFETY: the words were written by `encode` from one `&'static str`, whose provenance was
    // exposed, and read after an acquire of the head that was released after them, so the address
    // and the length belong together. The length is the whole text's, or 0.
    unsafe {
        let bytes = std::slice::from_raw_parts(std::ptr::with_exposed_provenance::<u8>(address), len);
        std::str::from_utf8_unchecked(bytes)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use ng_core::testing::spans::sample_span;

    use super::*;

    fn push(ring: &Ring, writer: &mut Writer, trace: TraceId, id: SpanId, span: &FinishedSpan) -> Pushed {
        let attributes = span.attributes.iter().map_while(|attribute| *attribute);
        ring.push(writer, Line::of(trace, id, span), attributes)
    }

    fn full_span(n: u64) -> FinishedSpan {
        let mut span = sample_span("full");
        span.attributes = [
            Some(("a", Value::U64(n))),
            Some(("bb", Value::F64(-0.5))),
            Some(("", Value::Str("\u{4e16}"))),
            Some(("dddd", Value::Bool(true))),
            Some(("e", Value::Str(""))),
            Some(("f", Value::Bool(false))),
        ];
        span
    }

    #[test]
    fn a_span_comes_out_as_it_went_in_however_often_the_ring_wraps() {
        let ring = Ring::with_room_for(1);
        let mut writer = Writer::default();
        for n in 0..1_000 {
            let mut span = if n % 3 == 0 { full_span(n) } else { sample_span("short") };
            span.parent = (n % 2 == 0).then_some(SpanId(n));
            span.failed = n % 5 == 0;
            span.reason = Reason::ALL[usize::try_from(n).unwrap() % Reason::ALL.len()];
            let (trace, id) = (TraceId(u128::MAX - u128::from(n)), SpanId(n + 1));
            assert_ne!(push(&ring, &mut writer, trace, id, &span), Pushed::Full);
            let mut out = Vec::new();
            assert_eq!(ring.drain(|record| out.push(record)), 1);
            let expected = FinishedSpan { trace: None, ..span };
            assert_eq!(out, [SpanRecord { trace, id, span: expected, details: None }]);
        }
    }

    #[test]
    fn a_full_ring_refuses_and_half_is_told_once() {
        let ring = Ring::with_room_for(16);
        let mut writer = Writer::default();
        let mut push = || push(&ring, &mut writer, TraceId(1), SpanId(1), &sample_span("x"));
        let pushed: Vec<Pushed> = (0..100).map(|_| push()).collect();
        assert_eq!(pushed.iter().filter(|p| **p == Pushed::Half).count(), 1);
        let fits = pushed.iter().filter(|p| **p != Pushed::Full).count();
        assert!((14..=17).contains(&fits), "{fits}");
        assert_eq!(ring.drain(|_| ()), fits as u64);
        assert_eq!(push(), Pushed::In, "a drained ring takes spans again");
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use ng_core::testing::spans::sample_span;
    use std::sync::Arc;

    #[test]
    fn loom_what_is_drained_is_whole_and_in_order_and_nothing_is_lost() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(2);
        model.check(|| {
            let ring = Arc::new(Ring::with_room_for(1));
            let writing = Arc::clone(&ring);
            let thread = loom::thread::spawn(move || {
                let mut writer = Writer::default();
                let push = |writer: &mut Writer, n: u64| {
                    let span = FinishedSpan { start_ns: n, ..sample_span("x") };
                    let attributes = span.attributes.iter().map_while(|attribute| *attribute);
                    writing.push(writer, Line::of(TraceId(u128::from(n)), SpanId(n), &span), attributes)
                };
                (1..=2_u64).filter(|n| push(&mut writer, *n) != Pushed::Full).count()
            });
            let mut seen = Vec::new();
            let mut each = |record: SpanRecord| {
                assert_eq!(
                    (record.trace.0, record.id.0),
                    (u128::from(record.span.start_ns), record.span.start_ns)
                );
                assert_eq!(record.span.name, "x");
                seen.push(record.id.0);
            };
            ring.drain(&mut each);
            let pushed = thread.join().unwrap();
            ring.drain(&mut each);
            assert_eq!(seen.len(), pushed);
            assert!(seen.is_sorted());
        });
    }
}
