//! Where other logs broke: a test for each, named by what must not happen here. The issue that
//! taught it stands above each.

use super::*;
use crate::format::ALIGNMENT;
use crate::storage::sim::Faults;
use ng_core::wal::{WalLane, WalSink};

/// Appends `ids`, ten an epoch, to a log that ends no epoch by itself.
fn append(disk: &SimStorage, ids: std::ops::Range<u64>) -> Log {
    let log = open(LogOptions { interval: Duration::from_secs(60), ..tiny() }, disk);
    let mut lane = log.open_lane().unwrap();
    for id in ids {
        lane.append(KIND, &numbered(id)).unwrap();
        if id % 10 == 9 {
            log.flush(PATIENCE).unwrap();
        }
    }
    drop(lane);
    log
}

fn ids(disk: &SimStorage) -> Vec<u64> {
    read(disk).unwrap().0.iter().map(|record| id_of(record)).collect()
}

fn up_to(end: u64) -> Vec<u64> {
    (0..end).collect()
}

/// RocksDB #6351, raft-engine #214: what lay in a recycled file passed for new records.
#[test]
fn old_blocks_with_fitting_numbers_in_a_recycled_segment_are_not_taken_for_new_ones() {
    let old = SimStorage::default();
    append(&old, 0..40).close(PATIENCE).unwrap();
    let old = old.image().remove(&segment(1)).unwrap();
    let disk = SimStorage::default();
    append(&disk, 0..20).close(PATIENCE).unwrap();
    // Behind the second block lie, in their places and with fitting numbers, blocks of an earlier
    // life of the file. Only the salt tells.
    disk.edit(&segment(1), |bytes| bytes[3 * ALIGNMENT..].copy_from_slice(&old[3 * ALIGNMENT..]));
    let (records, report) = read(&disk).unwrap();
    assert_eq!(records.len(), 20);
    assert_eq!(report.torn.unwrap().fault, crate::BlockFault::Stale);
}

/// etcd #5230, #11488: damage in the middle was repaired as if it were a torn tail.
#[test]
fn damage_before_an_acknowledged_record_is_never_repaired_away_as_a_torn_tail() {
    let disk = SimStorage::default();
    drop(append(&disk, 0..40));
    for block in 1..4 {
        let broken = SimStorage::of_image(disk.image());
        broken.edit(&segment(1), |bytes| bytes[block * ALIGNMENT + 300] ^= 1);
        let before = broken.image();
        let error = Log::open_in(tiny(), Arc::new(broken.clone()), None).unwrap_err();
        assert!(error.to_string().contains("acknowledged as durable"), "{error}");
        assert!(broken.image() == before, "a refused log was changed");
    }
}

/// RocksDB #10560: a hole in the middle was passed over, and what lay behind it was replayed.
#[test]
fn what_lies_behind_a_hole_is_not_replayed() {
    let disk = SimStorage::default();
    append(&disk, 0..20).close(PATIENCE).unwrap();
    let log = append(&disk, 20..50);
    // Its next segment is made by another thread.
    assert!(log.wait_spares(PATIENCE));
    let killed = disk.killed();
    drop(log);
    // The blocks were written in order, but the device took the last one first.
    let last = segment(3);
    let image = killed.image();
    assert!(image.contains_key(&last), "the second life has a segment of its own");
    let number = if image[&segment(2)].iter().all(|byte| *byte == 0) { 3 } else { 2 };
    killed.edit(&segment(number), |bytes| bytes[ALIGNMENT..2 * ALIGNMENT].fill(0));
    match read(&killed) {
        // Its mark says that the hole was durable once.
        Err(RecoverError::Damaged { recovered_to, .. }) => assert_eq!(recovered_to, 20),
        other => panic!("{other:?}"),
    }
}

/// A log with a durable record, and one that met a fault on its way to the device.
fn after_a_fault(faults: Faults) -> (SimStorage, Log, crate::LogLane) {
    let disk = SimStorage::default();
    let log = open(LogOptions { segment_bytes: 1 << 20, ..tiny() }, &disk);
    assert!(log.wait_spares(PATIENCE));
    let mut lane = log.open_lane().unwrap();
    lane.append(KIND, &numbered(0)).unwrap();
    log.flush(PATIENCE).unwrap();
    // The fault is for the log, not for the making of the next spare.
    assert!(log.wait_spares(PATIENCE));
    disk.set_faults(faults);
    lane.append(KIND, &numbered(1)).unwrap();
    log.flush(PATIENCE).unwrap_err();
    (disk, log, lane)
}

/// PostgreSQL's fsyncgate, Turso #2091, redb #450: a failed sync was tried again, and succeeded.
#[test]
fn a_sync_that_fails_once_acknowledges_nothing_afterwards() {
    let (disk, log, _lane) = after_a_fault(Faults { syncs: Some((0, libc::EIO)), ..Faults::default() });
    // The next sync would say yes, though the record is gone.
    log.flush(PATIENCE).unwrap_err();
    assert_eq!(log.stats().durable_records, 1);
    assert_eq!(ids(&disk.power_cut(1)), up_to(1));
}

/// fjall #308: after a failed write the log went on as if nothing had happened.
#[test]
fn a_write_that_fails_once_ends_the_log_though_the_next_would_succeed() {
    let (disk, log, mut lane) = after_a_fault(Faults { writes: Some((0, libc::EIO)), ..Faults::default() });
    disk.set_faults(Faults::default());
    assert!(lane.append(KIND, &numbered(2)).is_err());
    assert!(log.open_lane().is_err());
    log.flush(PATIENCE).unwrap_err();
    assert_eq!(ids(&disk), up_to(1));
}

/// Turso #1143, Redpanda #31306: a buffer was changed or freed while the device read from it.
#[test]
fn a_block_on_its_way_to_a_slow_device_is_not_changed_by_later_appends() {
    let disk = SimStorage::default();
    let log = open(LogOptions { buffers: 8, ..tiny() }, &disk);
    assert!(log.wait_spares(PATIENCE));
    let mut lane = log.open_lane().unwrap();
    disk.hold(true);
    // More than is in flight, and less than all buffers hold.
    for id in 0..500 {
        lane.append(KIND, &numbered(id)).unwrap();
    }
    disk.hold(false);
    for id in 500..1_000 {
        lane.append(KIND, &numbered(id)).unwrap();
    }
    drop(lane);
    log.close(PATIENCE).unwrap();
    assert_eq!(ids(&disk), up_to(1_000));
}

/// tikv #15755: the disk was full when a new file was due, after records had been accepted for it.
#[test]
fn a_disk_that_is_full_at_rotation_takes_no_acknowledged_record_with_it() {
    let disk = SimStorage::default();
    let log = open(tiny(), &disk);
    assert!(log.wait_spares(PATIENCE));
    disk.set_faults(Faults { space: Some(100 << 10), ..Faults::default() });
    let mut lane = log.open_lane().unwrap();
    let mut acknowledged = 0;
    for id in 0.. {
        if lane.append(KIND, &numbered(id)).is_err() {
            break;
        }
        if id % 10 == 9 && log.flush(PATIENCE).is_ok() {
            acknowledged = id + 1;
        }
    }
    assert!(acknowledged > 0);
    let found = ids(&disk.power_cut(7));
    assert!(found.len() as u64 >= acknowledged, "{} of {acknowledged}", found.len());
}

/// ClickHouse #116316: the file was synced and its name in the directory was not.
#[test]
fn a_segment_has_its_name_before_its_first_record_is_acknowledged() {
    for seed in 0..20 {
        let disk = SimStorage::default();
        let log = open(tiny(), &disk);
        let mut lane = log.open_lane().unwrap();
        // Over several segments; the simulated disk forgets files whose directory was not synced.
        for id in 0..300 {
            lane.append(KIND, &numbered(id)).unwrap();
        }
        log.flush(PATIENCE).unwrap();
        assert_eq!(ids(&disk.power_cut(seed)), up_to(300), "seed {seed}");
    }
}

/// redb #1290: recovery gave a torn piece a fresh checksum, and so made it valid.
#[test]
fn recovery_never_writes_into_a_segment_that_has_blocks() {
    let disk = SimStorage::default();
    drop(append(&disk, 0..30));
    let torn = SimStorage::of_image(disk.image());
    let image = torn.image();
    let used = image[&segment(1)].iter().rposition(|byte| *byte != 0).unwrap();
    torn.edit(&segment(1), |bytes| bytes[used - 600..].fill(0));
    let before = torn.image().remove(&segment(1)).unwrap();
    append(&torn, 30..40).close(PATIENCE).unwrap();
    assert!(torn.image()[&segment(1)] == before, "the torn segment was changed");
}

/// nodedb-wal: a short write was taken for a whole one.
#[test]
fn a_write_that_the_device_takes_in_pieces_is_written_to_its_end() {
    for at_once in [1, 511, 512, 4_095, 4_097] {
        let disk = SimStorage::default();
        let log = open(tiny(), &disk);
        disk.set_faults(Faults { at_once: Some(at_once), ..Faults::default() });
        let mut lane = log.open_lane().unwrap();
        (0..20).for_each(|id| assert!(lane.append(KIND, &numbered(id)).is_ok()));
        log.flush(PATIENCE).unwrap();
        drop(lane);
        assert_eq!(ids(&disk.power_cut(1)), up_to(20), "{at_once} bytes at once");
    }
}
