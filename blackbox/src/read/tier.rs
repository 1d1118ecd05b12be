//! One tier out of a copy of its words: which slots hold which record, and when.
//!
//! Given the head, each slot has exactly one record that it may hold; a slot is shown only if the
//! number under its seal is that one.

use ng_core::events::Tier;

use super::TierSummary;
use crate::format::{self, NOTE_BYTES};
use crate::seal;

/// An event whose time is still in ticks.
pub(super) struct RawEvent {
    pub(super) sequence: u64,
    pub(super) kind: u16,
    pub(super) a: u64,
    pub(super) b: u64,
    pub(super) note: String,
    pub(super) ticks: u64,
    /// The clock's readings around it.
    pub(super) between: (u64, Option<u64>),
}

/// What a tier says.
pub(super) struct TierRead {
    pub(super) summary: TierSummary,
    pub(super) events: Vec<RawEvent>,
    pub(super) damage: Option<String>,
}

struct Slots<'a> {
    tier: Tier,
    block: u64,
    capacity: u64,
    anchors: &'a [[u64; format::ANCHOR_WORDS]],
    slots: &'a [u64],
}

/// Takes a tier apart. `before` and `after` are its head as read before and after the copy.
pub(super) fn decode(
    tier: Tier,
    (anchors, slots): &(Vec<u64>, Vec<u64>),
    before: u64,
    after: u64,
) -> TierRead {
    let block = format::BLOCK[tier as usize] as u64;
    let capacity = (slots.len() / format::slot_words(tier)) as u64;
    let slots = Slots { tier, block, capacity, anchors: anchors.as_chunks().0, slots };
    let (head, damage) = slots.head(before, after);
    let (start, end) = (head.saturating_add(block).saturating_sub(capacity), head.saturating_add(block));
    let readings = slots.readings(start, end);
    let (mut events, mut torn, mut passed) = (Vec::new(), 0, 0);
    let mut recorded = head;
    // From here on a slot may hold the former lap: the writer had not come there yet.
    let unsettled = if before < after { before.min(head) } else { head };
    for sequence in start..end {
        match slots.number(sequence) {
            number if number == sequence => {
                recorded = recorded.max(sequence + 1);
                events.push(slots.event(sequence, &readings));
            }
            _ if slots.is_empty(sequence) => passed += u64::from(sequence < head),
            // What was there a lap ago: not written yet when it was copied. Only a writer that
            // went on during the copy leaves such a slot below its head.
            number if number.checked_add(capacity) == Some(sequence) && sequence >= unsettled => {
                passed += u64::from(sequence < head);
            }
            _ => torn += 1,
        }
    }
    let summary = TierSummary {
        tier,
        recorded,
        overwritten: start.min(recorded),
        shown: 0,
        torn,
        passed,
        from_unix_ns: None,
        to_unix_ns: None,
    };
    TierRead { summary, events, damage }
}

impl Slots<'_> {
    #[expect(clippy::cast_possible_truncation, reason = "less than the capacity")]
    fn slot(&self, sequence: u64) -> &[u64] {
        let words = format::slot_words(self.tier);
        let at = (sequence % self.capacity) as usize * words;
        &self.slots[at..at + words]
    }

    fn is_empty(&self, sequence: u64) -> bool {
        self.slot(sequence).iter().all(|&word| word == 0)
    }

    /// The number under the seal of the slot that `sequence` belongs to.
    fn number(&self, sequence: u64) -> u64 {
        let slot = self.slot(sequence);
        let sealed = slot[slot.len() - 1];
        if self.tier == Tier::Rare {
            seal::words(sealed, slot[..3 + note_length(slot[2]).div_ceil(8)].iter().copied())
        } else {
            seal::record(sealed, slot[0], slot[1], slot[2])
        }
    }

    /// When the block that begins with `sequence` began, if its anchor's seal holds.
    #[expect(clippy::cast_possible_truncation, reason = "less than the number of anchors")]
    fn anchor(&self, sequence: u64) -> Option<u64> {
        let at = (sequence / self.block) as usize % self.anchors.len();
        let [ticks, sealed] = self.anchors[at];
        (seal::words(sealed, [ticks]) == sequence).then_some(ticks)
    }

    /// The head, checked against anchors and records, and what is wrong if they don't agree.
    ///
    /// An anchor that a death tore holds any number, and one in as many as there are anchors even
    /// one that could stand there; so an anchor counts only if a record bears it out.
    fn head(&self, before: u64, after: u64) -> (u64, Option<String>) {
        if before < after && after.is_multiple_of(self.block) {
            // A writer that went on: the copied anchors may be older than the head.
            return (after, None);
        }
        let anchored = self
            .anchors
            .iter()
            .zip(0u64..)
            .filter(|(anchor, _)| **anchor != [0; format::ANCHOR_WORDS])
            .map(|([ticks, sealed], at)| (seal::words(*sealed, [*ticks]), at))
            .filter(|(number, at)| {
                number.is_multiple_of(self.block) && (number / self.block) % self.anchors.len() as u64 == *at
            })
            .map(|(number, _)| number);
        let borne_out = anchored.filter(|&number| self.witnessed(number)).max();
        match borne_out {
            // A writer stores the anchor first and the head next; it may have died between them.
            Some(anchor) if anchor == after || anchor == after.saturating_add(self.block) => (anchor, None),
            None if after == 0 => (0, None),
            // Of two that records bear out the later one is right: nothing later was written.
            Some(anchor) if anchor > after || !self.witnessed(after) => {
                (anchor, Some(format!("head {after} is damaged; {anchor} is taken, by the anchors")))
            }
            _ => (after, Some(format!("anchors do not agree with head {after}; it is taken"))),
        }
    }

    /// Whether a record next to this head bears it out.
    fn witnessed(&self, head: u64) -> bool {
        head.is_multiple_of(self.block)
            && (self.number(head) == head
                || head.checked_sub(1).is_some_and(|last| self.number(last) == last))
    }

    /// The clock's readings in the window: first record of the block, ticks. Ascending.
    fn readings(&self, start: u64, end: u64) -> Vec<(u64, u64)> {
        let mut readings: Vec<(u64, u64)> = (start..end)
            .step_by(usize::try_from(self.block).unwrap_or(1))
            .filter_map(|sequence| self.anchor(sequence).map(|ticks| (sequence, ticks)))
            .collect();
        // A counter that went back (a thread that moved between unsynchronised processors) must
        // not turn the order round.
        let mut latest = 0;
        for (_, ticks) in &mut readings {
            latest = latest.max(*ticks);
            *ticks = latest;
        }
        readings
    }

    fn event(&self, sequence: u64, readings: &[(u64, u64)]) -> RawEvent {
        let slot = self.slot(sequence);
        let (ticks, between) = ticks(sequence, readings);
        let note = if self.tier == Tier::Rare {
            let bytes: Vec<u8> = slot[3..].iter().flat_map(|word| word.to_le_bytes()).collect();
            String::from_utf8_lossy(&bytes[..note_length(slot[2])]).into_owned()
        } else {
            String::new()
        };
        #[expect(clippy::cast_possible_truncation, reason = "the low 16 bits are the kind")]
        let kind = slot[2] as u16;
        RawEvent { sequence, kind, a: slot[0], b: slot[1], note, ticks, between }
    }
}

fn note_length(meta: u64) -> usize {
    ((meta >> 32) as usize).min(NOTE_BYTES)
}

/// When a record was written, spread evenly between the readings around it; after the last one at
/// the pace of the block before.
fn ticks(sequence: u64, readings: &[(u64, u64)]) -> (u64, (u64, Option<u64>)) {
    let next = readings.partition_point(|&(first, _)| first <= sequence);
    let Some(&(first, began)) = next.checked_sub(1).and_then(|at| readings.get(at)) else {
        // Its anchor is damaged, and it is the window's first.
        let ticks = readings.first().map_or(0, |&(_, ticks)| ticks);
        return (ticks, (ticks, None));
    };
    if first == sequence {
        return (began, (began, Some(began)));
    }
    let spread = |from: (u64, u64), to: (u64, u64)| {
        let pace = u128::from(to.1 - from.1) * u128::from(sequence - first) / u128::from(to.0 - from.0);
        began.saturating_add(u64::try_from(pace).unwrap_or(u64::MAX))
    };
    match readings.get(next) {
        Some(&after) => (spread((first, began), after), (began, Some(after.1))),
        None => {
            let before = next.checked_sub(2).map(|at| readings[at]);
            (before.map_or(began, |before| spread(before, (first, began))), (began, None))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by a kill in 380: a torn anchor that happened to hold a number which could stand there.
    #[test]
    fn a_torn_anchor_that_looks_sound_moves_no_head() {
        let mut slots = vec![0u64; 64 * format::SLOT_WORDS];
        let mut anchors = vec![0u64; 64 * format::ANCHOR_WORDS];
        for sequence in 36..100u64 {
            let at = sequence as usize % 64;
            slots[at * 4..at * 4 + 4].copy_from_slice(&[
                sequence,
                7,
                1,
                seal::record(sequence, sequence, 7, 1),
            ]);
            anchors[at * 2..at * 2 + 2].copy_from_slice(&[sequence, seal::words(sequence, [sequence])]);
        }
        // The next block's anchor, which belongs to slot 36.
        let wild = (1 << 40) + 36;
        anchors[36 * 2..36 * 2 + 2].copy_from_slice(&[5, seal::words(wild, [5])]);
        let read = decode(Tier::Sampled, &(anchors, slots), 99, 99);
        assert_eq!(read.damage, None);
        assert_eq!((read.summary.recorded, read.events.len(), read.summary.torn), (100, 64, 0));
    }

    #[test]
    fn records_between_two_readings_are_spread_and_later_ones_keep_the_pace() {
        let readings = [(32, 1_000), (64, 4_200)];
        assert_eq!(ticks(32, &readings), (1_000, (1_000, Some(1_000))));
        assert_eq!(ticks(48, &readings), (2_600, (1_000, Some(4_200))));
        assert_eq!(ticks(66, &readings), (4_400, (4_200, None)));
        assert_eq!(ticks(5, &readings).0, 1_000);
        assert_eq!(ticks(5, &[]), (0, (0, None)));
    }
}
