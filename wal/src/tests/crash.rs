//! Crashes against a plain vector: what was acknowledged is recovered, and what is recovered is a
//! causally closed prefix.

use super::*;
use crate::LogLane;
use ng_core::wal::{Ticket, WalLane, WalSink};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Append { lane: usize, records: u8 },
    Run { lane: usize, records: u8 },
    Flush,
    EndLane { lane: usize },
    PowerCut { seed: u64 },
    Kill,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3_usize, any::<u8>()).prop_map(|(lane, records)| Step::Append { lane, records }),
        4 => (0..3_usize, any::<u8>()).prop_map(|(lane, records)| Step::Run { lane, records }),
        2 => Just(Step::Flush),
        1 => (0..3_usize).prop_map(|lane| Step::EndLane { lane }),
        2 => any::<u64>().prop_map(|seed| Step::PowerCut { seed }),
        1 => Just(Step::Kill),
        1 => Just(Step::Reopen),
    ]
}

/// The log, and the vector that it is held to.
struct Model {
    disk: SimStorage,
    log: Log,
    lanes: Vec<Option<LogLane>>,
    /// Tickets by id, in the order of the appends; of earlier lives the smallest there is.
    appended: Vec<Ticket>,
}

/// Records of a run have one length.
const RUN_RECORD: u64 = 5;

impl Model {
    fn new() -> Self {
        let disk = SimStorage::default();
        Self { log: open(tiny(), &disk), disk, lanes: vec![None, None, None], appended: Vec::new() }
    }

    fn lane(&mut self, lane: usize) -> &mut LogLane {
        let log = &self.log;
        self.lanes[lane].get_or_insert_with(|| log.open_lane().unwrap())
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Append { lane, records } => {
                for _ in 0..records {
                    let record = numbered(self.appended.len() as u64);
                    let ticket = self.lane(lane).append(KIND, &record).unwrap();
                    self.appended.push(ticket);
                }
            }
            Step::Run { lane, records } => {
                // Ids of one residue have one length; the ones between go in as one run of one.
                for _ in 0..records / 16 {
                    while !(self.appended.len() as u64).is_multiple_of(RUN_RECORD) {
                        let record = numbered(self.appended.len() as u64);
                        let ticket = self.lane(lane).append_run(KIND, record.len(), &record).unwrap();
                        self.appended.push(ticket);
                    }
                    let record = numbered(self.appended.len() as u64);
                    let ticket = self.lane(lane).append_run(KIND, record.len(), &record).unwrap();
                    self.appended.push(ticket);
                }
            }
            Step::Flush => {
                let ticket = self.log.flush(PATIENCE).unwrap();
                assert!(self.appended.iter().all(|appended| *appended <= ticket));
            }
            Step::EndLane { lane } => self.lanes[lane] = None,
            Step::PowerCut { seed } => {
                let durable = self.log.durable();
                let disk = self.disk.power_cut(seed);
                self.restart(disk, durable);
            }
            Step::Kill => {
                let durable = self.log.durable();
                let disk = self.disk.killed();
                self.restart(disk, durable);
            }
            Step::Reopen => {
                self.lanes.fill_with(|| None);
                self.log.close(PATIENCE).unwrap();
                let all = self.appended.last().copied().unwrap_or_default();
                self.restart(self.disk.killed(), all);
            }
        }
    }

    /// Goes on with `disk`; each record with a ticket up to `durable` was acknowledged.
    fn restart(&mut self, disk: SimStorage, durable: Ticket) {
        self.lanes.fill_with(|| None);
        let acknowledged = self.appended.iter().take_while(|ticket| **ticket <= durable).count();
        let (records, report) = read(&disk).unwrap();
        let mut ids: Vec<u64> = records.iter().map(|record| id_of(record)).collect();
        ids.sort_unstable();
        assert!(ids.iter().copied().eq(0..ids.len() as u64), "not a prefix: {ids:?}");
        assert!(ids.len() >= acknowledged, "{} of {acknowledged} acknowledged: {report:?}", ids.len());
        assert!(ids.len() <= self.appended.len(), "dropped records came back");
        self.appended.truncate(ids.len());
        self.appended.fill(Ticket::default());
        self.log = open(tiny(), &disk);
        assert_eq!(self.log.first_lsn(), ids.len() as u64, "{report:?}");
        self.disk = disk;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn acknowledged_records_survive_and_the_recovered_are_a_prefix(
        steps in proptest::collection::vec(step(), 1..40),
    ) {
        let mut model = Model::new();
        steps.into_iter().for_each(|step| model.take(step));
        model.take(Step::Reopen);
    }
}

#[test]
fn a_recovered_record_has_its_causes_with_it() {
    for seed in 0..40 {
        let disk = SimStorage::default();
        hold_causes(&open(tiny(), &disk), &disk, 3, seed);
    }
}

#[test]
fn a_recovery_that_a_crash_interrupts_can_be_run_again() {
    let disk = SimStorage::default();
    let log = open(tiny(), &disk);
    let mut lane = log.open_lane().unwrap();
    (0..200).for_each(|id| assert!(lane.append(KIND, &numbered(id)).is_ok()));
    log.flush(PATIENCE).unwrap();
    let mut image = disk.power_cut(1);
    for seed in 0..5 {
        // Opened, perhaps with a segment begun, and cut again before anything was appended.
        let log = open(tiny(), &image);
        let cut = image.power_cut(seed);
        drop(log);
        let (records, _) = read(&cut).unwrap();
        assert_eq!(records.len(), 200);
        image = cut;
    }
}

/// The negative control: a log that says `durable` without a sync must lose records here.
#[test]
fn without_sync_a_power_cut_loses_what_was_called_durable() {
    let lost = (0..20).any(|seed| {
        let disk = SimStorage::default();
        let log = open(LogOptions { mode: crate::Mode::Os, ..tiny() }, &disk);
        let mut lane = log.open_lane().unwrap();
        (0..50).for_each(|id| assert!(lane.append(KIND, &numbered(id)).is_ok()));
        log.flush(PATIENCE).unwrap();
        let (records, _) = read(&disk.power_cut(seed)).unwrap();
        (records.len() as u64) < log.stats().durable_records
    });
    assert!(lost, "the crash test can't see a lost record");
}
