//! Writes and syncs that fail, disks that fill, and lanes that find no buffer.

use super::*;
use crate::storage::sim::Faults;
use crate::{LogError, OnFull};
use ng_core::wal::{AppendError, Poison, WaitError, WalLane, WalSink};
use std::time::Instant;

/// Appends until the log refuses, and says why and how many went in.
fn append_until_refused(log: &Log) -> (AppendError, u64) {
    let mut lane = log.open_lane().unwrap();
    let since = Instant::now();
    for id in 0.. {
        if let Err(error) = lane.append(KIND, &numbered(id)) {
            assert_eq!(lane.append(KIND, b"again"), Err(error.clone()), "it stays refused");
            return (error, id);
        }
        assert!(since.elapsed() < PATIENCE, "the log never noticed");
    }
    unreachable!()
}

fn assert_poisoned(log: &Log, operation: &str) -> Box<Poison> {
    let (error, _) = append_until_refused(log);
    let AppendError::Poisoned(poison) = error else { panic!("{error}") };
    assert_eq!(poison.operation, operation);
    let durable = log.durable();
    assert!(matches!(log.flush(PATIENCE), Err(WaitError::Poisoned(again)) if again == poison));
    assert!(matches!(log.close(PATIENCE), Err(WaitError::Poisoned(again)) if again == poison));
    assert!(matches!(log.open_lane(), Err(AppendError::Poisoned(_))));
    assert_eq!(log.durable(), durable, "the durable mark stays");
    assert!(log.stats().poisoned);
    poison
}

#[test]
fn a_failed_write_poisons_the_log_and_names_the_file_and_the_offset() {
    let disk = SimStorage::default();
    let log = open(LogOptions { segment_bytes: 1 << 20, ..tiny() }, &disk);
    assert!(log.wait_spares(PATIENCE));
    disk.set_faults(Faults { writes: Some((3, libc::EIO)), ..Faults::default() });
    let poison = assert_poisoned(&log, "write");
    assert_eq!(poison.path, segment(1));
    assert!(poison.offset >= 4096, "{poison}");
    assert!(poison.to_string().contains("0000000001.wal"), "{poison}");
}

#[test]
fn a_failed_sync_is_never_tried_again() {
    let disk = SimStorage::default();
    let log = open(LogOptions { segment_bytes: 1 << 20, ..tiny() }, &disk);
    assert!(log.wait_spares(PATIENCE));
    // The second sync of the log fails and the third would succeed, as on Linux.
    disk.set_faults(Faults { syncs: Some((1, libc::EIO)), ..Faults::default() });
    assert_poisoned(&log, "sync");
    let acknowledged = log.stats().durable_records;
    let (records, _) = read(&disk.power_cut(3)).unwrap();
    assert!(records.len() as u64 >= acknowledged);
}

#[test]
fn a_full_disk_shows_when_the_log_is_opened() {
    let disk = SimStorage::default();
    disk.set_faults(Faults { space: Some(10_000), ..Faults::default() });
    let error = Log::open_in(tiny(), Arc::new(disk), None).unwrap_err();
    let LogError::Io(error) = error else { panic!("{error}") };
    assert_eq!((error.operation, error.path), ("reserve", segment(1)));
}

#[test]
fn a_disk_that_fills_at_rotation_loses_nothing_acknowledged() {
    let disk = SimStorage::default();
    let log = open(tiny(), &disk);
    // On a busy machine the disk may be full before the first epoch ends by itself.
    log.open_lane().unwrap().append(KIND, &numbered(0)).unwrap();
    log.flush(PATIENCE).unwrap();
    disk.set_faults(Faults { space: Some(130 << 10), ..Faults::default() });
    let poison = assert_poisoned(&log, "reserve");
    assert!(poison.cause.contains("space"), "{poison}");
    let acknowledged = log.stats().durable_records;
    assert!(acknowledged > 0);
    disk.set_faults(Faults::default());
    let (records, _) = read(&disk).unwrap();
    assert!(records.len() as u64 >= acknowledged);
}

#[test]
fn short_writes_are_finished() {
    let disk = SimStorage::default();
    let log = open(tiny(), &disk);
    disk.set_faults(Faults { at_once: Some(1000), ..Faults::default() });
    let mut lane = log.open_lane().unwrap();
    (0..500).for_each(|id| assert!(lane.append(KIND, &numbered(id)).is_ok()));
    log.close(PATIENCE).unwrap();
    let (records, report) = read(&disk).unwrap();
    assert_eq!(records.iter().map(|record| id_of(record)).collect::<Vec<_>>(), (0..500).collect::<Vec<_>>());
    assert_eq!(report.torn, None);
}

/// Fills all buffers of a log whose disk stands still; the answer is the first refusal.
fn refused_on_full(on_full: OnFull) -> (SimStorage, Log, u64, AppendError) {
    let disk = SimStorage::default();
    let log = open(LogOptions { on_full, ..tiny() }, &disk);
    assert!(log.wait_spares(PATIENCE));
    disk.hold(true);
    let mut lane = log.open_lane().unwrap();
    let mut accepted = 0;
    let refusal = loop {
        match lane.append(KIND, &numbered(accepted)) {
            Ok(_) => accepted += 1,
            Err(refusal) => break refusal,
        }
    };
    (disk, log, accepted, refusal)
}

#[test]
fn full_buffers_are_refused_under_fail() {
    let (disk, log, accepted, refusal) = refused_on_full(OnFull::Fail);
    assert_eq!(refusal, AppendError::Full { buffers: 4 });
    disk.hold(false);
    log.close(PATIENCE).unwrap();
    assert_eq!(read(&disk).unwrap().0.len() as u64, accepted);
    assert!(log.stats().stalls >= 1);
}

#[test]
fn full_buffers_are_refused_after_a_while_under_block_for() {
    let patience = Duration::from_millis(20);
    let (disk, log, _, refusal) = refused_on_full(OnFull::BlockFor(patience));
    assert_eq!(refusal, AppendError::Full { buffers: 4 });
    assert!(u128::from(log.stats().stalled_ns) >= patience.as_nanos());
    disk.hold(false);
}

#[test]
fn dropped_records_are_counted_and_leave_a_gap_record() {
    let (disk, log, accepted, refusal) = refused_on_full(OnFull::Drop);
    assert_eq!(refusal, AppendError::Dropped { buffers: 4 });
    let mut lane = log.open_lane().unwrap();
    for _ in 0..9 {
        assert_eq!(lane.append(KIND, b"let go"), Err(AppendError::Dropped { buffers: 4 }));
    }
    disk.hold(false);
    log.close(PATIENCE).unwrap();
    let stats = log.stats();
    assert_eq!((stats.records, stats.durable_records, stats.dropped), (accepted, accepted, 10));
    let (records, report) = read(&disk).unwrap();
    assert_eq!((records.len() as u64, report.dropped), (accepted, 10));
    assert!(report.gaps >= 1);
}

#[test]
fn a_blocked_lane_goes_on_when_the_disk_does() {
    let disk = SimStorage::default();
    let log = open(tiny(), &disk);
    assert!(log.wait_spares(PATIENCE));
    disk.hold(true);
    std::thread::scope(|scope| {
        let mut lane = log.open_lane().unwrap();
        scope.spawn(move || (0..2_000).for_each(|id| assert!(lane.append(KIND, &numbered(id)).is_ok())));
        while !log.is_starving() {
            std::thread::yield_now();
        }
        disk.hold(false);
    });
    log.close(PATIENCE).unwrap();
    assert_eq!(read(&disk).unwrap().0.len(), 2_000);
}

#[test]
fn more_lanes_than_buffers_do_not_stand_still() {
    let disk = SimStorage::default();
    let log = open(LogOptions { interval: Duration::from_secs(60), ..tiny() }, &disk);
    // Each lane would keep its block until the epoch ends, a minute from now.
    let mut lanes: Vec<_> = (0..12).map(|_| log.open_lane().unwrap()).collect();
    for id in 0..120 {
        lanes[id % 12].append(KIND, &numbered(id as u64)).unwrap();
    }
    log.close(PATIENCE).unwrap();
    assert_eq!(read(&disk).unwrap().0.len(), 120);
}

#[test]
fn in_mode_each_an_append_returns_when_it_is_durable() {
    let disk = SimStorage::default();
    let options = LogOptions { mode: crate::Mode::Each, interval: Duration::from_secs(60), ..tiny() };
    let log = open(options, &disk);
    std::thread::scope(|scope| {
        for lane in 0..4 {
            let (log, disk) = (&log, &disk);
            scope.spawn(move || {
                let mut writer = log.open_lane().unwrap();
                for i in 0..10 {
                    let id = lane * 10 + i;
                    writer.append(KIND, &numbered(id)).unwrap();
                    let (records, _) = read(&disk.power_cut(id)).unwrap();
                    assert!(records.iter().any(|record| id_of(record) == id), "{id} isn't durable");
                }
            });
        }
    });
}
