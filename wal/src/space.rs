//! How much disk the log's segments take, what may go, and when no more may come.
//!
//! The limit is held where lanes take blocks, not where blocks are written: what was accepted
//! always finds its place. For that a reserve is kept for whatever is in memory, and a loan beyond
//! it: while a checkpoint begins, lanes that stand in the middle of an operation get one block each, and
//! again until each has ended its operation.

use crate::options::{AtLimit, LogOptions};

/// A segment that holds a part of the log's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) number: u32,
    pub(crate) first_lsn: u64,
    pub(crate) bytes: u64,
}

/// The log is at its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full {
    pub(crate) used: u64,
    pub(crate) limit: u64,
}

/// What the log's files take, for a metric or a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SpaceReport {
    /// Bytes of segments that hold records, the running one whole.
    pub held_bytes: u64,
    /// Bytes of segments that are ready to be used.
    pub spare_bytes: u64,
    /// Bytes of segments that wait to be used again.
    pub recycled_bytes: u64,
    /// The limit of them all; 0 for none.
    pub limit_bytes: u64,
    /// Whether lanes are held back by it now.
    pub full: bool,
    /// Bytes of segments begun since the last checkpoint.
    pub since_checkpoint_bytes: u64,
    /// The last checkpoint covers all records below this number; 0 without one.
    pub checkpoint_lsn: u64,
    /// Checkpoints made since the log was opened.
    pub checkpoints: u64,
    /// Segments used again since the log was opened.
    pub reused: u64,
    /// Segments removed since the log was opened.
    pub removed: u64,
}

/// The accounts, under the supply's lock.
#[derive(Debug, Default)]
pub(crate) struct Space {
    held: Vec<Held>,
    /// Files of segments outside the history: left behind by a torn tail, or of another size.
    junk: Vec<(u32, u64)>,
    /// Numbers that segments had which wait to be used again, and their lengths.
    pub(crate) pool: Vec<(u32, u64)>,
    /// Bytes of segments begun since the last checkpoint.
    begun: u64,
    limit: u64,
    reserve: u64,
    loan: u64,
    /// So much may be begun before a checkpoint is due; none is ever without it.
    due_after: Option<u64>,
    pub(crate) report: SpaceReport,
}

impl Space {
    pub(crate) fn new(
        options: &LogOptions,
        held: Vec<Held>,
        junk: Vec<(u32, u64)>,
        checkpoint_lsn: u64,
    ) -> Self {
        let covered = starts_at(&held, checkpoint_lsn);
        let begun = held.iter().skip(covered).map(|held| held.bytes).sum();
        let (reserve, loan) = (options.reserve_bytes(), options.loan_bytes());
        let usable = options.max_log_bytes.saturating_sub(reserve + loan);
        let by_limit = (options.max_log_bytes > 0 && options.at_limit == AtLimit::Checkpoint)
            .then(|| (usable / 2).max(options.segment_bytes));
        let by_wish = (options.checkpoint_bytes > 0).then_some(options.checkpoint_bytes);
        Self {
            held,
            junk,
            begun,
            limit: options.max_log_bytes,
            reserve,
            loan,
            due_after: by_limit.into_iter().chain(by_wish).min(),
            report: SpaceReport { checkpoint_lsn, ..SpaceReport::default() },
            ..Self::default()
        }
    }

    fn held_bytes(&self) -> u64 {
        let junk: u64 = self.junk.iter().map(|(_, bytes)| bytes).sum();
        junk + self.held.iter().map(|held| held.bytes).sum::<u64>()
    }

    fn pool_bytes(&self) -> u64 {
        self.pool.iter().map(|(_, bytes)| bytes).sum()
    }

    /// A segment is begun.
    pub(crate) fn begin(&mut self, held: Held) {
        self.held.push(held);
        self.begun += held.bytes;
    }

    pub(crate) fn add_junk(&mut self, number: u32, bytes: u64) {
        self.junk.push((number, bytes));
    }

    /// Whether lanes are to be held back, with what is told then.
    pub(crate) fn full(&self, ready: u64) -> Option<Full> {
        let full = self.limit > 0 && self.held_bytes() + self.reserve + self.loan > self.limit;
        full.then(|| Full { used: self.held_bytes() + ready + self.pool_bytes(), limit: self.limit })
    }

    /// Whether another file of a segment would be too many.
    pub(crate) fn crowded(&self, ready: u64, segment_bytes: u64) -> bool {
        self.limit > 0 && self.held_bytes() + ready + self.pool_bytes() + segment_bytes > self.limit
    }

    /// Whether it is time for a checkpoint.
    pub(crate) fn is_due(&self, ready: u64) -> bool {
        self.due_after
            .is_some_and(|after| self.begun >= after || (self.full(ready).is_some() && self.begun > 0))
    }

    /// What a checkpoint that begins now will have behind it.
    pub(crate) fn begun(&self) -> u64 {
        self.begun
    }

    /// A checkpoint at `lsn` is there; it began when `begun` bytes were.
    pub(crate) fn checkpointed(&mut self, lsn: u64, begun: u64) {
        self.begun = self.begun.saturating_sub(begun);
        self.report.checkpoint_lsn = lsn;
        self.report.checkpoints += 1;
    }

    /// Takes out the files that hold only records below `lsn`, in the order in which they must go:
    /// first those outside the history, then the history from its beginning on, so that at no time
    /// there is a hole in it.
    ///
    /// Records below `durable` are on the device. A segment from that number on may have no header
    /// there yet: let go of all before it, and a crash leaves a log in which nothing was ever
    /// written, beside a checkpoint that says there were records.
    pub(crate) fn release(&mut self, lsn: u64, durable: u64) -> Vec<(u32, u64)> {
        let mut start = starts_at(&self.held, lsn);
        while start > 0 && self.held.get(start).is_some_and(|held| held.first_lsn >= durable) {
            start -= 1;
        }
        let Some(first_kept) = self.held.get(start).map(|held| held.number) else { return Vec::new() };
        let (old, kept) = std::mem::take(&mut self.junk).into_iter().partition(|(n, _)| *n < first_kept);
        self.junk = kept;
        let mut gone: Vec<(u32, u64)> = old;
        gone.extend(self.held.drain(..start).map(|held| (held.number, held.bytes)));
        gone
    }

    pub(crate) fn report(&self, ready: u64) -> SpaceReport {
        SpaceReport {
            held_bytes: self.held_bytes(),
            spare_bytes: ready,
            recycled_bytes: self.pool_bytes(),
            limit_bytes: self.limit,
            full: self.full(ready).is_some(),
            since_checkpoint_bytes: self.begun,
            ..self.report
        }
    }

    /// Segments of the history from the one on in which `lsn` is.
    pub(crate) fn numbers_from(&self, lsn: u64) -> Vec<u32> {
        self.held.iter().skip(starts_at(&self.held, lsn)).map(|held| held.number).collect()
    }
}

/// As [`crate::recover::reader::starts_at`].
fn starts_at(held: &[Held], lsn: u64) -> usize {
    held.iter().rposition(|held| held.first_lsn <= lsn).unwrap_or(0)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn held(number: u32, first_lsn: u64) -> Held {
        Held { number, first_lsn, bytes: 10 }
    }

    #[test]
    fn only_what_a_checkpoint_covers_whole_is_let_go_and_never_the_last_segment() {
        let segments = vec![held(1, 0), held(3, 100), held(4, 100), held(6, 250)];
        let space = || Space { held: segments.clone(), junk: vec![(2, 10), (5, 10)], ..Space::default() };
        assert_eq!(space().release(99, 1_001), []);
        // Segment 3 has no record; those from 100 on are in 4.
        assert_eq!(space().release(100, 1_001), [(2, 10), (1, 10), (3, 10)]);
        assert_eq!(space().release(249, 1_001), [(2, 10), (1, 10), (3, 10)]);
        assert_eq!(space().release(1_000, 1_001), [(2, 10), (5, 10), (1, 10), (3, 10), (4, 10)]);
        assert_eq!(Space::default().release(5, 6), []);
        // The running segment has nothing on the device, perhaps not even its header.
        assert_eq!(space().release(250, 250), [(2, 10), (1, 10), (3, 10)]);
        assert_eq!(space().release(250, 251), [(2, 10), (5, 10), (1, 10), (3, 10), (4, 10)]);
    }

    #[test]
    fn the_limit_keeps_a_reserve_and_a_loan() {
        let mut space = Space { limit: 90, reserve: 20, loan: 40, due_after: Some(20), ..Space::default() };
        for number in 1..=3 {
            space.begin(held(number, 0));
            assert_eq!(space.full(10), None, "{number}");
        }
        space.begin(held(4, 0));
        assert_eq!(space.full(10), Some(Full { used: 50, limit: 90 }));
        assert!(space.is_due(10));
    }
}
