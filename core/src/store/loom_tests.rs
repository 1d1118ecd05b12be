//! Models of the store's three meetings: a writer and a reader, a slot's next life and a reader,
//! an owner and whoever revokes its range.

use super::*;
use crate::TokenSpec;

fn token(slot: u32, n: u8) -> Token {
    TokenSpec::new().with_weight(f32::from(n)).with_coords([[i16::from(n); 3]; 8]).at(slot, u32::from(n))
}

fn whole(token: &Token) -> bool {
    token.coords == [[token.timestamp as i16; 3]; 8] && token.weight == token.timestamp as f32
}

fn model(check: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(check);
}

#[test]
fn loom_a_reader_sees_a_whole_token_or_none_while_a_slot_is_used_again() {
    model(|| {
        let store = Arc::new(TokenStore::with_domain_slots(1));
        let mut writer = store.writer(0).unwrap();
        writer.reserve(1).unwrap().publish(1, |_| token(0, 1));
        let id = TokenId::from_slot(0, 0);
        let reading = Arc::clone(&store);
        let reader = loom::thread::spawn(move || {
            if let Some(token) = reading.get(id) {
                assert!(whole(&token), "{token:?}");
            }
        });
        let live = writer.look(id).unwrap();
        assert!(writer.remove(live));
        let run = writer.reserve(1).unwrap();
        assert_eq!(run.first(), 0);
        run.publish(1, |_| token(0, 2));
        reader.join().unwrap();
    });
}

#[test]
fn loom_an_owner_and_a_caller_with_an_id_never_fill_one_slot_twice() {
    model(|| {
        let store = Arc::new(TokenStore::with_domain_slots(1));
        let mut owner = store.writer(0).unwrap();
        // Takes the range, uses nothing.
        drop(owner.reserve(1).unwrap());
        let taking = Arc::clone(&store);
        let taker = loom::thread::spawn(move || {
            let mut writer = taking.writer(0).unwrap();
            match writer.reserve_at(TokenId::from_slot(0, 0)) {
                Ok(run) => {
                    run.publish(1, |_| token(0, 2));
                    true
                }
                Err(_) => false,
            }
        });
        let run = owner.reserve(1).unwrap();
        let slot = run.first();
        run.publish(1, |_| token(slot, 1));
        let taken = taker.join().unwrap();
        assert!(taken != (slot == 0), "slot 0 has one owner: owner's is {slot}, taker {taken}");
        assert_eq!(store.len(), 1 + u64::from(taken));
        assert_eq!(store.iter().count() as u64, store.len());
    });
}

#[test]
fn loom_two_that_claim_one_freed_slot_agree_who_has_it() {
    model(|| {
        let store = Arc::new(TokenStore::with_domain_slots(1));
        let mut writer = store.writer(0).unwrap();
        writer.reserve(1).unwrap().publish(1, |_| token(0, 1));
        let id = TokenId::from_slot(0, 0);
        let live = writer.look(id).unwrap();
        assert!(writer.remove(live));
        let taking = Arc::clone(&store);
        let taker = loom::thread::spawn(move || {
            let mut writer = taking.writer(0).unwrap();
            writer.reserve_at(id).map(|run| run.publish(1, |_| token(0, 2))).is_ok()
        });
        let run = writer.reserve(1).unwrap();
        let slot = run.first();
        run.publish(1, |_| token(slot, 3));
        let taken = taker.join().unwrap();
        assert!(taken != (slot == 0));
        assert_eq!(store.len(), 1 + u64::from(taken));
    });
}

/// What a checkpoint relies on: who knows that a record is in the log finds its effect in the
/// store, once every writer was seen between two operations.
#[test]
fn loom_what_was_logged_before_quiesce_is_seen_after_it() {
    model(|| {
        let store = Arc::new(TokenStore::with_domain_slots(1));
        let mut writer = store.writer(0).unwrap();
        writer.reserve(1).unwrap().publish(1, |_| token(0, 1));
        let id = TokenId::from_slot(0, 0);
        // How many records the log has: 1 the removal, 2 the slot's next life.
        let log = Arc::new(AtomicU64::new(0));
        let logging = Arc::clone(&log);
        let lane = loom::thread::spawn(move || {
            let live = writer.look(id).unwrap();
            writer.begin_removal();
            logging.store(1, Ordering::Release);
            assert!(writer.remove(live));
            writer.end_removal();
            let run = writer.reserve(1).unwrap();
            logging.store(2, Ordering::Release);
            run.publish(1, |_| token(0, 2));
            writer
        });
        let logged = log.load(Ordering::Acquire);
        assert!(store.quiesce(std::time::Duration::from_secs(3600)));
        let generation = store.snapshot().next().map_or(0, |record| match record {
            crate::records::TokenRecord::Created { generation, .. }
            | crate::records::TokenRecord::Deleted { generation, .. } => generation,
        });
        assert!(u64::from(generation) > logged, "record {logged} is in the log, generation {generation}");
        drop(lane.join().unwrap());
    });
}

#[test]
fn loom_freed_slots_taken_together_and_one_taken_by_its_id_never_meet() {
    model(|| {
        let store = Arc::new(TokenStore::with_domain_slots(1));
        let mut writer = store.writer(0).unwrap();
        writer.reserve(2).unwrap().publish(2, |i| token(i, 1));
        let ids = [0, 1].map(|slot| TokenId::from_slot(slot, 0));
        let live = ids.map(|id| writer.look(id));
        assert_eq!(writer.remove_all(&live, |_| ()), 2);
        let taking = Arc::clone(&store);
        let taker = loom::thread::spawn(move || {
            let mut writer = taking.writer(0).unwrap();
            writer.reserve_at(ids[1]).map(|run| run.publish(1, |_| token(1, 2))).is_ok()
        });
        let mut mine = 0;
        if let Some(mut freed) = writer.reserve_freed(2) {
            mine = freed.slots().len();
            freed.publish(mine, |_, slot| token(slot, 3));
        }
        let taken = taker.join().unwrap();
        assert_eq!(mine, if taken { 1 } else { 2 });
        assert_eq!(store.len(), 2);
        assert_eq!(store.iter().count(), 2);
    });
}
