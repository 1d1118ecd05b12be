//! The suite of [`crate::wal`].
//!
//! A subject is a fresh sink and a way to read back what it kept. A sink that keeps nothing, as
//! [`crate::wal::NoWal`], says so by having none, and is held to the rest.

use crate::wal::{AppendError, RecordKind, Ticket, WalSink};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Long enough for any disk; nothing here waits that long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(60);
const KIND: RecordKind = RecordKind(0x0100);
const OTHER: RecordKind = RecordKind(0x0101);

/// Records in the order of the log, the sink's own (kind 0) left out.
pub type Kept = Vec<(RecordKind, Vec<u8>)>;

/// A fresh sink to be tested.
pub struct Subject {
    /// The sink; takes at least 4,000 bytes in one record.
    pub sink: Box<dyn WalSink>,
    /// Reads what the sink kept. Called after the sink was dropped. `None` for a sink that keeps
    /// nothing.
    pub read: Option<Box<dyn FnOnce() -> Kept>>,
}

impl std::fmt::Debug for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subject").field("keeps", &self.read.is_some()).finish_non_exhaustive()
    }
}

impl Subject {
    /// Closes and drops the sink, and reads.
    fn finish(self) -> Option<Kept> {
        self.sink.close(PATIENCE).unwrap();
        drop(self.sink);
        self.read.map(|read| read())
    }
}

/// Runs the whole suite; each part gets a sink of its own.
pub fn assert_contract(make: &mut dyn FnMut() -> Subject) {
    records_come_back_as_they_went_in(make());
    a_run_is_its_records_in_order(make());
    tickets_of_a_lane_never_fall(make());
    a_flush_covers_open_blocks_of_every_lane(make());
    a_waited_ticket_is_durable(make());
    what_caused_a_record_is_before_it_or_with_it(make());
    a_lane_that_ends_takes_nothing_with_it(make());
    a_closed_sink_takes_nothing(make());
    a_payload_that_can_never_fit_is_refused_and_harms_nothing(make());
}

fn records_come_back_as_they_went_in(subject: Subject) {
    let mut lane = subject.sink.lane().unwrap();
    let mut expected = Kept::new();
    for (i, length) in [0, 1, 64, 64, 63, 0, 0, 4000, 64, 7, 7].into_iter().enumerate() {
        let kind = if i % 3 == 0 { OTHER } else { KIND };
        let payload: Vec<u8> = (0..length).map(|byte| (byte + i) as u8).collect();
        lane.append(kind, &payload).unwrap();
        expected.push((kind, payload));
    }
    drop(lane);
    if let Some(kept) = subject.finish() {
        assert_eq!(kept, expected, "one lane's records come back in order, byte by byte");
    }
}

fn a_run_is_its_records_in_order(subject: Subject) {
    let mut lane = subject.sink.lane().unwrap();
    let payload: Vec<u8> = (0..64_000_u32).map(|i| (i / 7) as u8).collect();
    lane.append_run(KIND, 64, &[]).unwrap();
    lane.append_run(KIND, 64, &payload).unwrap();
    lane.append(KIND, &payload[..64]).unwrap();
    lane.append_run(OTHER, 1, b"abc").unwrap();
    drop(lane);
    let records = subject.sink.flush(PATIENCE).map(|_| subject.sink.stats().records).unwrap();
    if let Some(kept) = subject.finish() {
        let mut expected: Kept = payload.chunks(64).map(|record| (KIND, record.to_vec())).collect();
        expected.push((KIND, payload[..64].to_vec()));
        expected.extend(b"abc".iter().map(|byte| (OTHER, vec![*byte])));
        assert_eq!(kept, expected, "a run is its records, one by one");
        assert_eq!(records, expected.len() as u64, "each record is counted once");
    }
}

fn tickets_of_a_lane_never_fall(subject: Subject) {
    let mut lane = subject.sink.lane().unwrap();
    let mut last = Ticket::default();
    for i in 0_u32..5_000 {
        let ticket = lane.append(KIND, &i.to_le_bytes()).unwrap();
        assert!(ticket >= last, "ticket {ticket:?} after {last:?}");
        last = ticket;
        if i % 500 == 0 {
            subject.sink.flush(PATIENCE).unwrap();
        }
    }
    drop(lane);
    subject.finish();
}

fn a_flush_covers_open_blocks_of_every_lane(subject: Subject) {
    let keeps = subject.read.is_some();
    let mut lanes: Vec<_> = (0..3).map(|_| subject.sink.lane().unwrap()).collect();
    for (i, lane) in lanes.iter_mut().enumerate() {
        let ticket = lane.append(KIND, &[i as u8; 64]).unwrap();
        let flushed = subject.sink.flush(PATIENCE).unwrap();
        if keeps {
            assert!(flushed >= ticket, "the flush {flushed:?} covers {ticket:?}");
            assert!(subject.sink.durable() >= ticket, "what was flushed is durable");
            assert_eq!(subject.sink.stats().durable_records, i as u64 + 1);
        }
    }
    // Nothing new: nothing to wait for.
    subject.sink.flush(PATIENCE).unwrap();
    drop(lanes);
    subject.finish();
}

fn a_waited_ticket_is_durable(subject: Subject) {
    let keeps = subject.read.is_some();
    let mut lane = subject.sink.lane().unwrap();
    for i in 0..20 {
        let ticket = lane.append(KIND, &[i; 64]).unwrap();
        subject.sink.wait_durable(ticket, PATIENCE).unwrap();
        assert!(!keeps || subject.sink.durable() >= ticket);
    }
    subject.sink.wait_durable(Ticket::default(), PATIENCE).unwrap();
    drop(lane);
    subject.finish();
}

/// Two threads pass a counter back and forth by a shared variable: each record is caused by the
/// one before it, on the other lane, so its ticket is no smaller.
fn what_caused_a_record_is_before_it_or_with_it(subject: Subject) {
    const ROUNDS: u64 = 4_000;
    let (turn, highest) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for me in 0..2 {
            let mut lane = subject.sink.lane().unwrap();
            let (turn, highest) = (&turn, &highest);
            scope.spawn(move || {
                for round in (me..ROUNDS).step_by(2) {
                    while turn.load(Ordering::Acquire) != round {
                        std::thread::yield_now();
                    }
                    let ticket = lane.append(KIND, &round.to_le_bytes()).unwrap();
                    let before = highest.swap(ticket.0, Ordering::Relaxed);
                    assert!(ticket.0 >= before, "record {round} has {ticket:?}, its cause {before}");
                    turn.store(round + 1, Ordering::Release);
                }
            });
        }
    });
    if let Some(kept) = subject.finish() {
        let mut rounds: Vec<_> =
            kept.iter().map(|(_, round)| u64::from_le_bytes(round[..].try_into().unwrap())).collect();
        rounds.sort_unstable();
        assert_eq!(rounds, (0..ROUNDS).collect::<Vec<_>>(), "each record once");
    }
}

fn a_lane_that_ends_takes_nothing_with_it(subject: Subject) {
    let lanes = 40_u8;
    for i in 0..lanes {
        let mut lane = subject.sink.lane().unwrap();
        lane.append(KIND, &[i; 3]).unwrap();
        if i % 2 == 0 {
            // Not even one that is never dropped.
            std::mem::forget(lane);
        }
    }
    if let Some(kept) = subject.finish() {
        let mut seen: Vec<_> = kept.iter().map(|(_, payload)| payload[0]).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..lanes).collect::<Vec<_>>());
    }
}

fn a_closed_sink_takes_nothing(subject: Subject) {
    let keeps = subject.read.is_some();
    let mut lane = subject.sink.lane().unwrap();
    lane.append(KIND, b"before").unwrap();
    subject.sink.close(PATIENCE).unwrap();
    subject.sink.close(PATIENCE).unwrap();
    if keeps {
        assert_eq!(lane.append(KIND, b"after"), Err(AppendError::Closed));
        let error = lane.append_run(KIND, 1, b"after").unwrap_err();
        assert_eq!((error.appended, error.ticket, error.source), (0, None, AppendError::Closed));
        assert!(matches!(subject.sink.lane().err(), Some(AppendError::Closed)));
        subject.sink.flush(PATIENCE).unwrap();
    }
    drop(lane);
    if let Some(kept) = subject.finish() {
        assert_eq!(kept, [(KIND, b"before".to_vec())]);
    }
}

fn a_payload_that_can_never_fit_is_refused_and_harms_nothing(subject: Subject) {
    let keeps = subject.read.is_some();
    let mut lane = subject.sink.lane().unwrap();
    lane.append(KIND, b"before").unwrap();
    let huge = vec![0; 32 << 20];
    if keeps {
        let error = lane.append(KIND, &huge).unwrap_err();
        assert!(
            matches!(error, AppendError::TooLarge { bytes, limit } if bytes == huge.len() && limit >= 4000)
        );
        let error = lane.append_run(KIND, huge.len(), &huge).unwrap_err();
        assert!(matches!(error.source, AppendError::TooLarge { .. }));
    }
    lane.append(KIND, b"after").unwrap();
    drop(lane);
    if let Some(kept) = subject.finish() {
        assert_eq!(kept, [(KIND, b"before".to_vec()), (KIND, b"after".to_vec())]);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::wal::NoWal;

    #[test]
    fn the_log_that_is_off_keeps_the_contract() {
        assert_contract(&mut || Subject { sink: Box::new(NoWal), read: None });
    }
}
