//! The back end with several writes under way, on a device that finishes them in any order, in part
//! and with errors.

use super::*;
use crate::backend::sim;
use crate::storage::sim::Faults;
use ng_core::wal::{AppendError, WaitError, WalLane, WalSink};

fn open_direct(options: LogOptions, disk: &SimStorage, seed: u64) -> Log {
    Log::open_with(options, sim::prepared(disk, seed), None).unwrap()
}

#[test]
fn out_of_order_completions_never_acknowledge_a_hole() {
    for seed in 0..60 {
        let disk = SimStorage::default();
        hold_causes(&open_direct(LogOptions { buffers: 6, ..tiny() }, &disk, seed), &disk, 2, seed);
    }
}

#[test]
fn short_writes_are_resubmitted_as_whole_pages_and_nothing_is_lost() {
    for seed in 0..20 {
        let disk = SimStorage::default();
        let log = open_direct(tiny(), &disk, seed);
        let mut lane = log.open_lane().unwrap();
        (0..3_000).for_each(|id| assert!(lane.append(KIND, &numbered(id)).is_ok()));
        drop(lane);
        log.close(PATIENCE).unwrap();
        let (records, report) = read(&disk.power_cut(seed)).unwrap();
        let ids: Vec<_> = records.iter().map(|record| id_of(record)).collect();
        assert_eq!(ids, (0..3_000).collect::<Vec<_>>(), "seed {seed}");
        assert_eq!(report.torn, None, "seed {seed}");
    }
}

#[test]
fn a_write_that_fails_while_others_are_under_way_poisons_the_log_and_keeps_the_mark() {
    for seed in 0..20 {
        let disk = SimStorage::default();
        let log = open_direct(LogOptions { segment_bytes: 1 << 20, ..tiny() }, &disk, seed);
        assert!(log.wait_spares(PATIENCE));
        disk.set_faults(Faults { writes: Some((5, libc::EIO)), ..Faults::default() });
        let mut lane = log.open_lane().unwrap();
        let error = (0..).find_map(|id| lane.append(KIND, &numbered(id)).err()).unwrap();
        let AppendError::Poisoned(poison) = error else { panic!("{error}") };
        assert_eq!((poison.operation, poison.path.clone()), ("write", segment(1)), "seed {seed}");
        let durable = log.durable();
        assert!(matches!(log.flush(PATIENCE), Err(WaitError::Poisoned(again)) if again == poison));
        assert_eq!(log.durable(), durable, "the durable mark stays");
        let acknowledged = log.stats().durable_records;
        let (records, _) = read(&disk.power_cut(seed)).unwrap();
        assert!(records.len() as u64 >= acknowledged, "seed {seed}");
    }
}

#[test]
fn a_log_that_is_dropped_with_writes_under_way_waits_for_them() {
    for seed in 0..20 {
        let disk = SimStorage::default();
        let log = open_direct(tiny(), &disk, seed);
        let mut lane = log.open_lane().unwrap();
        (0..500).for_each(|id| assert!(lane.append(KIND, &numbered(id)).is_ok()));
        drop(lane);
        drop(log);
        let (records, report) = read(&disk.power_cut(seed)).unwrap();
        assert_eq!((records.len(), report.torn), (500, None), "seed {seed}");
    }
}

/// The negative control: a device that calls a write ended before it is durable must lose records.
#[test]
fn without_durable_writes_a_power_cut_loses_what_was_called_durable() {
    let lost = (0..20).any(|seed| {
        let disk = SimStorage::default();
        let log = open_direct(LogOptions { mode: crate::Mode::Os, ..tiny() }, &disk, seed);
        let mut lane = log.open_lane().unwrap();
        (0..50).for_each(|id| assert!(lane.append(KIND, &numbered(id)).is_ok()));
        log.flush(PATIENCE).unwrap();
        let (records, _) = read(&disk.power_cut(seed)).unwrap();
        (records.len() as u64) < log.stats().durable_records
    });
    assert!(lost, "the crash test can't see a lost record");
}

/// Nothing is in flight and no segment is begun, so that there is no file to name.
#[test]
fn a_device_that_fails_before_the_first_block_poisons_the_log_and_names_its_directory() {
    let disk = SimStorage::default();
    let log = Log::open_with(tiny(), sim::deaf(&disk), None).unwrap();
    let since = std::time::Instant::now();
    while !log.stats().poisoned {
        assert!(since.elapsed() < Duration::from_secs(10), "the log never noticed");
        std::thread::yield_now();
    }
    let Err(WaitError::Poisoned(poison)) = log.flush(PATIENCE) else { panic!("not poisoned") };
    assert_eq!((poison.operation, poison.path.as_path()), ("wait for the device", Path::new(DIR)));
}
