//! Which spans show what a histogram's values were about: the latest for each shown bucket.
//!
//! A lane writes a slot without a lock while a scrape may read it, so each slot is a sequence lock:
//! the sequence is odd while the slot is being written, and a reader that sees it change tries no
//! more; one exemplar less in one scrape is no loss. One lane owns a slot. Protocol and fences:
//! Boehm, *Can seqlocks get along with programming language memory models?* (2012).

use ng_core::metrics::Exemplar;
use ng_core::spans::{SpanId, TraceId};

use super::text::HISTOGRAM_BOUNDS;
use crate::sync::{AtomicU64, Ordering, fence};

/// Slots: one for each shown bucket, `+Inf` included.
const SLOTS: usize = if cfg!(loom) { 1 } else { HISTOGRAM_BOUNDS + 1 };

/// One lane's exemplars of one histogram.
#[derive(Debug)]
pub(crate) struct ExemplarCells([Slot; SLOTS]);

#[derive(Debug)]
struct Slot {
    sequence: AtomicU64,
    /// Value, trace (high, low), span, time.
    words: [AtomicU64; 5],
}

/// The shown bucket that `value` falls into: the k-th holds what is below 2ᵏ.
fn slot_of(value: u64) -> usize {
    let k = (u64::BITS - value.leading_zeros()) as usize;
    k.min(SLOTS - 1)
}

impl ExemplarCells {
    /// None yet. 2 KiB.
    pub(crate) fn new() -> Self {
        Self(std::array::from_fn(|_| Slot {
            sequence: AtomicU64::new(0),
            words: std::array::from_fn(|_| AtomicU64::new(0)),
        }))
    }

    /// Keeps `exemplar`. Only the owner may call it.
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of a trace id")]
    pub(crate) fn put(&self, exemplar: &Exemplar) {
        let slot = &self.0[slot_of(exemplar.value)];
        let sequence = slot.sequence.load(Ordering::Relaxed);
        slot.sequence.store(sequence + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        let trace = exemplar.trace.0;
        let values = [exemplar.value, (trace >> 64) as u64, trace as u64, exemplar.span.0, exemplar.unix_ns];
        for (word, value) in slot.words.iter().zip(values) {
            word.store(value, Ordering::Relaxed);
        }
        slot.sequence.store(sequence + 2, Ordering::Release);
    }

    /// Adds these to `newest`, which keeps the latest for each bucket.
    pub(crate) fn merge_into(&self, newest: &mut Vec<Exemplar>) {
        for exemplar in self.0.iter().filter_map(Slot::read) {
            keep_newest(newest, exemplar);
        }
    }
}

impl Slot {
    fn read(&self) -> Option<Exemplar> {
        let before = self.sequence.load(Ordering::Acquire);
        if before == 0 || before % 2 == 1 {
            return None;
        }
        let [value, high, low, span, unix_ns] =
            std::array::from_fn(|i| self.words[i].load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        (self.sequence.load(Ordering::Relaxed) == before).then(|| Exemplar {
            value,
            trace: TraceId(u128::from(high) << 64 | u128::from(low)),
            span: SpanId(span),
            unix_ns,
        })
    }
}

/// Puts `exemplar` in place of an older one of its bucket.
pub(crate) fn keep_newest(newest: &mut Vec<Exemplar>, exemplar: Exemplar) {
    match newest.iter_mut().find(|kept| slot_of(kept.value) == slot_of(exemplar.value)) {
        Some(kept) if kept.unix_ns <= exemplar.unix_ns => *kept = exemplar,
        Some(_) => {}
        None => newest.push(exemplar),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn exemplar(value: u64, unix_ns: u64) -> Exemplar {
        Exemplar { value, trace: TraceId(u128::from(value) << 70 | 5), span: SpanId(unix_ns), unix_ns }
    }

    #[test]
    fn the_latest_of_each_bucket_is_kept() {
        let (one, other) = (ExemplarCells::new(), ExemplarCells::new());
        for (cells, value, at) in [(&one, 5, 1), (&one, 7, 2), (&other, 4, 3), (&other, u64::MAX, 1)] {
            cells.put(&exemplar(value, at));
        }
        let mut newest = Vec::new();
        one.merge_into(&mut newest);
        other.merge_into(&mut newest);
        assert_eq!(newest, [exemplar(4, 3), exemplar(u64::MAX, 1)]);
    }

    #[test]
    fn a_slot_is_the_shown_bucket_of_its_value() {
        use super::super::text::shown_bound;
        for k in 0..HISTOGRAM_BOUNDS {
            assert_eq!(slot_of(shown_bound(k)), k);
            assert_eq!(slot_of(shown_bound(k) + 1), k + 1);
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn loom_a_reader_sees_a_whole_exemplar_or_none() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let cells = Arc::new(ExemplarCells::new());
            let writing = Arc::clone(&cells);
            let writer = loom::thread::spawn(move || {
                for n in [1, 2] {
                    let (trace, span) = (TraceId(u128::from(n) << 64 | u128::from(n)), SpanId(n));
                    writing.put(&Exemplar { value: n, trace, span, unix_ns: n });
                }
            });
            if let Some(seen) = cells.0[0].read() {
                let n = seen.value;
                assert_eq!(seen.trace, TraceId(u128::from(n) << 64 | u128::from(n)));
                assert_eq!((seen.span, seen.unix_ns), (SpanId(n), n));
            }
            writer.join().unwrap();
            assert_eq!(cells.0[0].read().unwrap().value, 2);
        });
    }
}
