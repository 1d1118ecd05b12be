//! Ten thousand crashes: logs at work on a disk that forgets and tears, cut off at points that a
//! seed decides, read back, and opened and cut off again.
//!
//! The seeds are printed. `NG_WAL_SEED=n` begins with another one, `NG_WAL_CRASHES=n` takes more.
#![allow(clippy::print_stdout, reason = "the seeds are for whoever reads the report")]

use super::*;
use crate::storage::sim::Seeded;
use ng_core::wal::{Ticket, WalLane, WalSink};

/// Of one log's life.
const CUTS: u64 = 125;

fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

/// Holds the disk after the crash to what was acknowledged before it; returns the records there.
fn hold(image: &SimStorage, acknowledged: u64, appended: u64, what: &str) -> u64 {
    let (records, report) = match read(image) {
        Ok(read) => read,
        Err(error) => panic!("{what}: {error}"),
    };
    for (expected, record) in records.iter().enumerate() {
        assert_eq!(id_of(record), expected as u64, "{what}: not a prefix");
    }
    let found = records.len() as u64;
    assert!(found >= acknowledged, "{what}: {found} of {acknowledged} acknowledged: {report:?}");
    assert!(found <= appended, "{what}: records that nobody appended");
    found
}

/// One life of a log with its crashes; returns how many there were.
fn life(seed: u64) -> u64 {
    let mut random = Seeded(seed);
    let disk = SimStorage::default();
    let options = LogOptions { interval: Duration::from_micros(100), ..tiny() };
    let log = open(options.clone(), &disk);
    let mut lane = log.open_lane().unwrap();
    let mut tickets: Vec<Ticket> = Vec::new();
    for cut in 0..CUTS {
        for _ in 0..random.next() % 24 {
            tickets.push(lane.append(KIND, &numbered(tickets.len() as u64)).unwrap());
        }
        if random.next().is_multiple_of(3) {
            log.flush(PATIENCE).unwrap();
        }
        // In this order: what is durable now is so in the image.
        let durable = log.durable();
        let image = disk.power_cut(random.next());
        let acknowledged = tickets.iter().take_while(|ticket| **ticket <= durable).count() as u64;
        let what = format!("seed {seed}, cut {cut}");
        let found = hold(&image, acknowledged, tickets.len() as u64, &what);
        if cut % 25 == 24 {
            // The recovery is cut off as well, with or without a record in the new segment.
            let again = open(options.clone(), &image);
            if random.next().is_multiple_of(2) {
                let mut lane = again.open_lane().unwrap();
                lane.append(KIND, &numbered(found)).unwrap();
            }
            let twice = image.power_cut(random.next());
            hold(&twice, found, found + 1, &format!("{what}, cut again"));
        }
    }
    CUTS + CUTS / 25
}

#[test]
fn no_crash_of_ten_thousand_loses_an_acknowledged_record() {
    let first = from_environment("NG_WAL_SEED", 1);
    let wanted = from_environment("NG_WAL_CRASHES", 10_000);
    let (mut crashes, mut seed) = (0, first);
    while crashes < wanted {
        // One thread for the writer's sake: two lives at once.
        crashes += std::thread::scope(|scope| {
            let other = scope.spawn(move || life(seed + 1));
            life(seed) + other.join().unwrap()
        });
        seed += 2;
    }
    println!("{crashes} crashes, seeds {first}..{seed}: no acknowledged record was lost");
}
