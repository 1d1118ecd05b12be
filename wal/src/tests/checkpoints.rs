//! Checkpoints on a disk that tears and forgets: made while lanes are at work, cut off anywhere,
//! damaged in each byte, and the segments behind them used again.
#![allow(clippy::print_stdout, reason = "the seeds are for whoever reads the report")]

use super::tokens::*;
use super::*;
use crate::checkpoint::CheckpointError;
use crate::format::ALIGNMENT;
use crate::format::segment::checkpoint_of;
use crate::recover::{Taken, verify_in};
use crate::storage::sim::Faults;
use crate::storage::{File, Storage};
use ng_core::wal::{WalLane, WalSink};
use ng_core::{TokenSpec, TokenStore};
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

fn quick() -> LogOptions {
    LogOptions { interval: Duration::from_micros(100), recycled_segments: 2, prewrite_bytes_s: 0, ..tiny() }
}

fn files(disk: &SimStorage, ending: &str) -> Vec<PathBuf> {
    disk.image().into_keys().filter(|path| path.to_string_lossy().ends_with(ending)).collect()
}

/// A log with a store, after `operations` of one hand.
fn at_work(disk: &SimStorage, seed: u64, operations: usize) -> (Log, Arc<TokenStore>, Hand) {
    let log = open(quick(), disk);
    let store = Arc::new(TokenStore::new());
    let mut hand = Hand::new(&log, &store, 0);
    let mut random = Seeded(seed);
    (0..operations).for_each(|_| assert!(hand.work(&mut random)));
    log.flush(PATIENCE).unwrap();
    (log, store, hand)
}

#[test]
fn a_checkpoint_and_what_follows_it_give_the_store_back_and_old_segments_go() {
    let disk = SimStorage::default();
    let (log, store, mut hand) = at_work(&disk, 1, 3_000);
    let before = files(&disk, ".wal").len();
    let made = log.checkpoint(&store, PATIENCE).unwrap();
    assert_eq!(made.lsn, 3_000);
    assert!(made.durable_lsn >= made.lsn && made.records > 0);
    assert_eq!(files(&disk, ".free").len(), 2, "the pool has its cap");
    assert!(before >= 5 && files(&disk, ".wal").len() <= 3, "{before} files before");
    let mut random = Seeded(2);
    // Enough for several segments: the spare that stood ready before the checkpoint is used up, and
    // the next ones are taken from the pool.
    (0..2_500).for_each(|_| assert!(hand.work(&mut random)));
    log.flush(PATIENCE).unwrap();
    let (found, replayed) = recover(&disk.power_cut(1)).unwrap();
    assert_eq!(hold(&found, 0, &hand.history, 5_500, "after a checkpoint"), 5_500);
    assert_eq!(replayed.checkpoint, Some(made));
    assert_eq!((replayed.report.first_lsn, replayed.report.records), (3_000, 2_500));
    // A second one replaces it.
    let again = log.checkpoint(&store, PATIENCE).unwrap();
    assert_eq!(files(&disk, ".ckpt"), vec![again.path.clone()]);
    let space = log.space();
    assert_eq!((space.checkpoint_lsn, space.checkpoints), (again.lsn, 2));
    assert!(space.reused > 0 && space.removed > 0, "{space:?}");
    drop(hand);
    log.close(PATIENCE).unwrap();
    let (found, replayed) = recover(&disk.power_cut(2)).unwrap();
    assert!(found.snapshot().eq(store.snapshot()));
    assert_eq!(replayed.report.torn, None);
}

/// Several lanes, a thread that makes checkpoints all the time, the power cut at any moment, and
/// the next life begun from what was left.
#[test]
fn no_crash_beside_checkpoints_loses_an_acknowledged_operation_or_brings_back_a_deleted_token() {
    let (mut crashes, mut checkpoints) = (0, 0);
    for seed in 0..24_u64 {
        let disk = SimStorage::default();
        let log = open(quick(), &disk);
        let store = Arc::new(TokenStore::new());
        let stop = AtomicBool::new(false);
        let (log, store, stop) = (&log, &store, &stop);
        let mut hands: Vec<_> = (0..2).map(|domain| Mutex::new(Hand::new(log, store, domain))).collect();
        std::thread::scope(|scope| {
            let _ends = Ends(stop);
            for (hand, domain) in hands.iter().zip(0..) {
                scope.spawn(move || {
                    let mut random = Seeded(seed << 8 | domain);
                    while !stop.load(Ordering::Relaxed) {
                        let mut hand = hand.lock().unwrap();
                        for _ in 0..random.next() % 64 {
                            assert!(hand.work(&mut random));
                        }
                        drop(hand);
                        std::thread::yield_now();
                    }
                });
            }
            let maker = scope.spawn(move || {
                let mut made = 0;
                while !stop.load(Ordering::Relaxed) {
                    log.checkpoint(store, PATIENCE).unwrap();
                    made += 1;
                }
                made
            });
            let mut random = Seeded(!seed);
            for cut in 0..25 {
                std::thread::sleep(Duration::from_micros(random.next() % 3_000));
                // What is acknowledged now is in the image; the histories may have gone on since.
                let acknowledged: Vec<_> =
                    hands.iter().map(|hand| hand.lock().unwrap().acknowledged(log)).collect();
                let image = disk.power_cut(random.next());
                let what = format!("seed {seed}, cut {cut}");
                let (found, _) = recover(&image).unwrap_or_else(|error| panic!("{what}: {error}"));
                for ((domain, hand), acknowledged) in (0..).zip(&hands).zip(acknowledged) {
                    hold(&found, domain, &hand.lock().unwrap().history, acknowledged, &what);
                }
                crashes += 1;
                if cut % 8 == 7 {
                    next_life(&image, &found, random.next(), &what);
                    crashes += 1;
                }
            }
            stop.store(true, Ordering::Relaxed);
            checkpoints += maker.join().unwrap();
        });
        hands.clear();
    }
    println!("{crashes} crashes beside {checkpoints} checkpoints, seeds 0..24");
    assert!(checkpoints > 24, "{checkpoints}");
}

/// Opens what a crash left, appends, makes a checkpoint there, and cuts it off again.
fn next_life(image: &SimStorage, found: &TokenStore, seed: u64, what: &str) {
    let log = open(quick(), image);
    let store = Arc::new(TokenStore::new());
    found.snapshot().for_each(|record| assert!(store.restore(&record).is_ok()));
    let mut hand = Hand::new(&log, &store, 5);
    let mut random = Seeded(seed);
    (0..100).for_each(|_| assert!(hand.work(&mut random)));
    log.checkpoint(&store, PATIENCE).unwrap();
    (0..50).for_each(|_| assert!(hand.work(&mut random)));
    let acknowledged = hand.acknowledged(&log);
    let (again, _) = recover(&image.power_cut(seed)).unwrap();
    hold(&again, 5, &hand.history, acknowledged, what);
    for domain in 0..2_u32 {
        let of = |store: &TokenStore| {
            store.iter().filter(|(token, _)| u32::from(token.id().domain()) == domain).collect::<Vec<_>>()
        };
        assert_eq!(of(&again), of(found), "{what}: the life before");
    }
}

/// What was done, and the disk after it.
type Cuts = Vec<(String, SimStorage)>;

/// The disk, cut off after each thing that is done to it.
#[derive(Debug, Clone)]
struct Watched {
    disk: SimStorage,
    /// While it is watched: what was done last, and what is left after a cut right then.
    cuts: Arc<Mutex<Option<Cuts>>>,
    seed: Arc<AtomicU64>,
}

#[derive(Debug)]
struct WatchedFile {
    file: Arc<dyn File>,
    name: String,
    of: Watched,
}

impl Watched {
    fn new(disk: SimStorage) -> Self {
        Self { disk, cuts: Arc::default(), seed: Arc::default() }
    }

    /// The log's own threads come here too: a cut is made and kept, or it is not watched, under one
    /// lock, so that none is kept for the next watch.
    fn cut(&self, what: &str) {
        if let Some(cuts) = &mut *self.cuts.lock().unwrap() {
            for _ in 0..3 {
                let image = self.disk.power_cut(self.seed.fetch_add(1, Ordering::Relaxed));
                cuts.push((what.to_owned(), image));
            }
        }
    }
}

impl Storage for Watched {
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.disk.open(path)
    }

    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let (file, name) = (self.disk.open_write(path)?, path.display().to_string());
        self.cut(&format!("open {name}"));
        Ok(Arc::new(WatchedFile { file, name, of: self.clone() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)?;
        self.cut(&format!("rename {} to {}", from.display(), to.display()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)?;
        self.cut(&format!("remove {}", path.display()));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)?;
        self.cut("sync of the directory");
        Ok(())
    }
}

impl File for WatchedFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let written = self.file.write_at(bytes, offset)?;
        self.of.cut(&format!("write {} at {offset}", self.name));
        Ok(written)
    }

    fn reserve(&self, length: u64) -> io::Result<()> {
        self.file.reserve(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()?;
        self.of.cut(&format!("sync {}", self.name));
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }
}

#[test]
fn a_crash_after_any_step_of_a_checkpoint_and_of_the_recycling_loses_nothing() {
    let disk = SimStorage::default();
    let watched = Watched::new(disk.clone());
    let log = Log::open_in(quick(), Arc::new(watched.clone()), None).unwrap();
    let store = Arc::new(TokenStore::new());
    let mut hand = Hand::new(&log, &store, 0);
    let mut random = Seeded(3);
    let mut held = 0;
    for round in 0..4 {
        (0..400).for_each(|_| assert!(hand.work(&mut random)));
        log.flush(PATIENCE).unwrap();
        *watched.cuts.lock().unwrap() = Some(Vec::new());
        log.checkpoint(&store, PATIENCE).unwrap();
        // Recycled segments come into use here.
        (0..100).for_each(|_| assert!(hand.work(&mut random)));
        log.flush(PATIENCE).unwrap();
        let all = hand.history.len();
        let cuts = watched.cuts.lock().unwrap().take().unwrap();
        for (step, image) in cuts {
            let what = format!("round {round}, after {step}");
            let (found, replayed) = recover(&image).unwrap_or_else(|error| panic!("{what}: {error}"));
            let there = hold(&found, 0, &hand.history, all - 100, &what);
            assert_eq!(replayed.bad_checkpoints, [], "{what}: a checkpoint has its name before it is whole");
            // And the engine's start agrees.
            let taken = Taken::of(Path::new(DIR), Arc::new(image), None);
            assert!(taken.is_ok(), "{what}, {there} operations: {taken:?}");
            held += 1;
        }
    }
    println!("{held} crashes at steps of checkpoints");
    assert!(held > 100, "{held}");
}

/// An epoch may lie in two segments, a deletion in the first and the creation before it in the
/// second: who begins with the second one would bring the token back.
#[test]
fn a_token_deleted_in_an_epoch_that_two_segments_share_does_not_come_back() {
    let disk = SimStorage::default();
    let options = LogOptions { interval: Duration::from_secs(60), buffers: 32, ..quick() };
    let log = open(options, &disk);
    let store = Arc::new(TokenStore::new());
    let mut maker = Hand::new(&log, &store, 0);
    let mut deleter = Hand::new(&log, &store, 1);
    let victim = maker.create().unwrap();
    // Its record waits in the maker's block. The deletion goes ahead in full blocks of its own.
    deleter.lane().delete(victim).unwrap();
    (0..600).for_each(|_| assert!(deleter.create().is_some()));
    log.flush(PATIENCE).unwrap();
    let made = log.checkpoint(&store, PATIENCE).unwrap();
    assert!(!disk.image().contains_key(&segment(1)), "the deletion's segment is gone");
    let image = disk.power_cut(1);
    let mut created = false;
    let mut reader = Reader::open_in(Path::new(DIR), &image).unwrap();
    while let Some(block) = reader.next_block().unwrap() {
        created |= block.first_lsn < made.lsn
            && block.records().any(|record| record.payload.starts_with(&victim.raw().to_le_bytes()));
    }
    drop(reader);
    let all = read(&image).unwrap().0;
    assert!(created || all.len() > 1, "the creation is still there to be read");
    let (found, _) = recover(&image).unwrap();
    assert_eq!(found.get(victim), None, "a deleted token came back");
    assert!(found.snapshot().eq(store.snapshot()));
}

/// A slot must not count from the beginning again: an older base and the log from there would
/// think that what the next life did is older than what the one before it did.
#[test]
fn a_slot_goes_on_counting_after_a_checkpoint_so_that_an_older_base_agrees() {
    let disk = SimStorage::default();
    let (log, store, mut hand) = at_work(&disk, 1, 0);
    let id = hand.create().unwrap();
    assert!(hand.delete(0));
    log.flush(PATIENCE).unwrap();
    let whole_log = disk.image();
    log.checkpoint(&store, PATIENCE).unwrap();
    drop(hand);
    drop(log);
    // The next life, from the checkpoint.
    let (found, _) = recover(&disk).unwrap();
    let log = open(quick(), &disk);
    let store = Arc::new(found);
    let mut hand = Hand::new(&log, &store, 0);
    hand.lane().create(&TokenSpec::new().with_id(id).unwrap()).unwrap();
    log.flush(PATIENCE).unwrap();
    // The checkpoint is damaged, and all segments are there still.
    let mut image = disk.power_cut(1).image();
    for (path, bytes) in whole_log {
        image.entry(path).or_insert(bytes);
    }
    let checkpoint = image.keys().find(|path| path.to_string_lossy().ends_with(".ckpt")).unwrap().clone();
    image.get_mut(&checkpoint).unwrap()[5_000] ^= 1;
    let (again, replayed) = recover(&SimStorage::of_image(image)).unwrap();
    assert_eq!(replayed.bad_checkpoints.len(), 1);
    assert!(again.get(id).is_some(), "an acknowledged token is gone");
}

/// The images with all segments and a checkpoint, and with the checkpoint's segments gone.
fn with_and_without_segments() -> (SimStorage, SimStorage, PathBuf, Arc<TokenStore>) {
    let disk = SimStorage::default();
    let (log, store, mut hand) = at_work(&disk, 9, 1_500);
    let whole = disk.image();
    let made = log.checkpoint(&store, PATIENCE).unwrap();
    assert!(hand.create().is_some());
    log.flush(PATIENCE).unwrap();
    drop(hand);
    log.close(PATIENCE).unwrap();
    let released = disk.image();
    let mut both = released.clone();
    for (path, bytes) in whole {
        both.entry(path).or_insert(bytes);
    }
    both.retain(|path, _| !path.to_string_lossy().ends_with(".free"));
    (SimStorage::of_image(both), SimStorage::of_image(released), made.path, store)
}

#[test]
fn each_flipped_byte_of_a_checkpoint_is_found_and_the_log_stands_in_where_it_can() {
    let (both, released, path, store) = with_and_without_segments();
    let length = both.image()[&path].len();
    assert!(length < 200_000);
    let (found, _) = recover(&released).unwrap();
    assert!(found.snapshot().eq(store.snapshot()));
    let mut steps = 0;
    for at in (0..length).step_by(149).chain(0..ALIGNMENT / 16).chain(length - 128..length) {
        let (both, released) = (SimStorage::of_image(both.image()), SimStorage::of_image(released.image()));
        for disk in [&both, &released] {
            disk.edit(&path, |bytes| bytes[at] ^= 0x40);
        }
        match recover(&both) {
            Ok((found, replayed)) => {
                assert_eq!(replayed.bad_checkpoints.len(), 1, "byte {at}");
                assert_eq!(replayed.bad_checkpoints[0].path, path);
                assert!(found.snapshot().eq(store.snapshot()), "byte {at}: a wrong store");
            }
            Err(error) => assert!(matches!(error, RecoverError::Version { .. }), "byte {at}: {error}"),
        }
        let error = recover(&released).map(|_| ()).unwrap_err();
        let named = matches!(&error, RecoverError::BadCheckpoint(bad) if bad.path == path)
            || matches!(&error, RecoverError::Version { path: named, .. } if *named == path);
        assert!(named, "byte {at}: {error}");
        steps += 1;
    }
    assert!(steps > 700, "{steps}");
    // A judge says so too.
    released.edit(&path, |bytes| bytes[length / 2] ^= 1);
    assert!(verify_in(Path::new(DIR), &released).unwrap().is_damaged());
    both.edit(&path, |bytes| bytes[length / 2] ^= 1);
    let verified = verify_in(Path::new(DIR), &both).unwrap();
    assert!(!verified.is_damaged());
    assert_eq!(verified.bad_checkpoints.len(), 1);
}

#[test]
fn each_cut_of_a_checkpoint_is_found() {
    let (_, released, path, _) = with_and_without_segments();
    let whole = released.image()[&path].clone();
    for length in (0..whole.len()).step_by(999).chain([ALIGNMENT, whole.len() - ALIGNMENT, whole.len() - 1]) {
        released.edit(&path, |bytes| *bytes = whole[..length].to_vec());
        let error = recover(&released).map(|_| ()).unwrap_err();
        assert!(matches!(&error, RecoverError::BadCheckpoint(bad) if bad.path == path), "{length}: {error}");
    }
    released.edit(&path, |bytes| *bytes = [&whole[..], &[0; 4096]].concat());
    assert!(recover(&released).is_err(), "something behind the end");
}

#[test]
fn a_checkpoint_of_another_log_and_a_log_that_begins_behind_its_checkpoint_are_named() {
    let (_, released, path, _) = with_and_without_segments();
    let (_, other, _, _) = with_and_without_segments();
    let mut image = released.image();
    image.insert(path.clone(), other.image()[&path].clone());
    let error = recover(&SimStorage::of_image(image)).map(|_| ()).unwrap_err();
    assert!(matches!(&error, RecoverError::Mixed { path: named, .. } if *named == path), "{error}");
    // An old copy of the checkpoint beside a log that went on.
    let mut image = released.image();
    let old = image.remove(&path).unwrap();
    let disk = SimStorage::of_image(released.image());
    let log = open(quick(), &disk);
    let (found, _) = recover(&disk).unwrap();
    let store = Arc::new(found);
    let mut hand = Hand::new(&log, &store, 3);
    (0..600).for_each(|_| assert!(hand.create().is_some()));
    let young = log.checkpoint(&store, PATIENCE).unwrap();
    drop(hand);
    log.close(PATIENCE).unwrap();
    let mut image = disk.image();
    image.remove(&young.path).unwrap();
    image.insert(path.clone(), old);
    let error = recover(&SimStorage::of_image(image)).map(|_| ()).unwrap_err();
    assert!(matches!(&error, RecoverError::Uncovered { path: named, .. } if *named == path), "{error}");
}

/// The last acknowledged blocks, damaged with nothing behind them, look like a torn tail to the
/// log alone. What was durable when the checkpoint got its name is known better.
#[test]
fn a_log_that_ends_before_its_checkpoint_says_is_damaged_not_torn() {
    let disk = SimStorage::default();
    let (log, store, hand) = at_work(&disk, 4, 60);
    log.checkpoint(&store, PATIENCE).unwrap();
    let image = disk.killed();
    drop(hand);
    drop(log);
    let last = files(&image, ".wal").into_iter().rfind(|path| image.image()[path][..8] != [0; 8]).unwrap();
    image.edit(&last, |bytes| bytes[ALIGNMENT..].fill(0));
    let error = recover(&image).map(|_| ()).unwrap_err();
    assert!(matches!(error, RecoverError::Damaged { .. }), "{error}");
    let before = image.image();
    assert!(Log::open_in(quick(), Arc::new(image.clone()), None).is_err());
    assert!(image.image() == before, "a refused log was changed");
}

#[test]
fn a_checkpoint_that_fails_leaves_no_file_and_the_log_goes_on() {
    let disk = SimStorage::default();
    let (log, store, mut hand) = at_work(&disk, 5, 200);
    assert!(log.wait_spares(PATIENCE));
    let checkpointing = log.begin_checkpoint(PATIENCE).unwrap();
    assert_eq!(files(&disk, ".tmp").len(), 1);
    drop(checkpointing);
    assert_eq!(files(&disk, ".tmp"), Vec::<PathBuf>::new());
    // The disk fails in the middle of it.
    disk.set_faults(Faults { writes: Some((1, libc::ENOSPC)), ..Faults::default() });
    let error = log.checkpoint(&store, PATIENCE).unwrap_err();
    assert!(matches!(&error, CheckpointError::Io(io) if io.operation == "write"), "{error}");
    disk.set_faults(Faults::default());
    assert_eq!(files(&disk, ".tmp"), Vec::<PathBuf>::new());
    assert!(hand.create().is_some());
    log.flush(PATIENCE).unwrap();
    assert!(log.checkpoint(&store, PATIENCE).is_ok());
    // Not for a log that holds more than tokens.
    log.open_lane().unwrap().append(KIND, b"an order").unwrap();
    let error = log.checkpoint(&store, PATIENCE).unwrap_err();
    assert!(matches!(error, CheckpointError::Foreign { kind } if kind == KIND), "{error}");
    // A lane that stands in the middle of an operation.
    let mut writer = store.writer(7).unwrap();
    writer.begin_removal();
    let draft = log.begin_checkpoint(PATIENCE).unwrap();
    let error = draft.wait_for_lanes(&store, Duration::from_millis(5)).unwrap_err();
    assert!(matches!(error, CheckpointError::Busy { .. }), "{error}");
}

#[test]
fn a_log_poisoned_before_its_second_flush_names_no_checkpoint() {
    let disk = SimStorage::default();
    // No epoch ends by itself, and no segment is begun: the fault is for the second flush.
    let options = LogOptions { interval: Duration::from_secs(60), segment_bytes: 1 << 20, ..quick() };
    let log = open(options, &disk);
    let store = Arc::new(TokenStore::new());
    let mut hand = Hand::new(&log, &store, 0);
    let mut random = Seeded(6);
    (0..100).for_each(|_| assert!(hand.work(&mut random)));
    log.flush(PATIENCE).unwrap();
    assert!(log.wait_spares(PATIENCE));
    let mut draft = log.begin_checkpoint(PATIENCE).unwrap();
    // Made after the beginning, and in the checkpoint: its record is never durable.
    assert!(hand.create().is_some());
    draft.tokens(&store).unwrap();
    disk.set_faults(Faults { syncs: Some((0, libc::EIO)), ..Faults::default() });
    let error = draft.commit(PATIENCE).unwrap_err();
    assert!(matches!(error, CheckpointError::Wait(_)), "{error}");
    assert_eq!(files(&disk, ".ckpt"), Vec::<PathBuf>::new());
    let (found, _) = recover(&disk.power_cut(3)).unwrap();
    hold(&found, 0, &hand.history, 100, "poisoned");
}

/// A snapshot of a user's own, of records of a kind of its own.
#[test]
fn an_engine_of_another_kind_writes_its_own_snapshot() {
    let disk = SimStorage::default();
    let log = open(quick(), &disk);
    let mut lane = log.open_lane().unwrap();
    (0..400).for_each(|id| assert!(lane.append(KIND, &numbered(id)).is_ok()));
    let mut snapshot = log.begin_checkpoint(PATIENCE).unwrap();
    assert_eq!(snapshot.lsn(), 400);
    let huge = vec![0; BLOCK];
    assert!(matches!(snapshot.record(KIND, &huge), Err(CheckpointError::TooLarge { .. })));
    for id in 0..400 {
        snapshot.record(KIND, &numbered(id)).unwrap();
    }
    snapshot.commit(PATIENCE).unwrap();
    (400..450).for_each(|id| assert!(lane.append(KIND, &numbered(id)).is_ok()));
    log.flush(PATIENCE).unwrap();
    let mut ids = Vec::new();
    let image = disk.power_cut(8);
    crate::recover::replay::replay_in(Path::new(DIR), &image, |run| {
        ids.extend(run.records().map(|record| id_of(record.payload)));
    })
    .unwrap();
    assert_eq!(ids, (0..450).collect::<Vec<_>>());
    assert_eq!(files(&image, ".ckpt").len(), 1);
    assert_eq!(checkpoint_of("00000000000000000400.ckpt"), Some(400));
}

#[test]
fn an_offline_checkpoint_leaves_one_segment_and_the_engine_goes_on_from_it() {
    let disk = SimStorage::default();
    let (log, store, hand) = at_work(&disk, 8, 2_000);
    let history = hand.history.clone();
    drop(hand);
    log.close(PATIENCE).unwrap();
    drop(log);
    let taken = Taken::of(Path::new(DIR), Arc::new(disk.clone()), None).unwrap();
    let found = TokenStore::new();
    let mut restorer = found.restorer();
    taken
        .replay(|run| {
            restorer.run(run.kind, run.record_len, run.bytes).unwrap();
        })
        .unwrap();
    drop(restorer);
    let freed = taken.checkpoint(&found).unwrap();
    assert!(freed.removed >= 2);
    assert_eq!(freed.checkpoint.lsn, 2_000);
    let (again, replayed) = recover(&disk).unwrap();
    assert!(again.snapshot().eq(store.snapshot()));
    assert_eq!(replayed.report.records, 0);
    let log = open(quick(), &disk);
    let store = Arc::new(again);
    let mut hand = Hand::new(&log, &store, 2);
    (0..300).for_each(|_| assert!(hand.create().is_some()));
    log.flush(PATIENCE).unwrap();
    let (again, _) = recover(&disk.power_cut(5)).unwrap();
    hold(&again, 0, &history, 2_000, "the life before");
    hold(&again, 2, &hand.history, 300, "the life after");
}
