//! The store's behaviour as a user sees it, and its accounting.

use super::*;
use crate::TokenSpec;
use crate::records::TokenRecord;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn store(slots: u32) -> Arc<TokenStore> {
    Arc::new(TokenStore::with_domain_slots(slots))
}

fn make(writer: &mut StoreWriter, weight: f32) -> Result<TokenId, StoreError> {
    let spec = TokenSpec::new().with_weight(weight);
    let run = writer.reserve(1)?;
    let token = spec.at(run.first(), 1);
    run.publish(1, |_| token);
    Ok(token.id())
}

fn make_at(writer: &mut StoreWriter, id: TokenId) -> Result<(), StoreError> {
    let token = TokenSpec::new().with_entity(id.entity()).at(id.slot(), 1);
    writer.reserve_at(id)?.publish(1, |_| token);
    Ok(())
}

#[test]
fn a_token_is_found_under_its_id_alone() {
    let store = store(1);
    let mut writer = store.writer(3).unwrap();
    let run = writer.reserve(10).unwrap();
    assert_eq!((run.first(), run.len(), run.generation()), (3 << 24, 10, 1));
    let first = run.first();
    run.publish(10, |i| TokenSpec::new().with_entity(2).with_weight(i as f32).at(first + i, 7));
    for i in 0..10 {
        let token = store.get(TokenId::new(3, 2, i).unwrap()).unwrap();
        assert_eq!((token.weight, token.timestamp, token.id().local()), (i as f32, 7, i));
        assert_eq!(token.validate(), Ok(()));
    }
    assert_eq!(store.get(TokenId::new(3, 1, 0).unwrap()), None, "another entity type is another id");
    assert_eq!(store.get(TokenId::new(3, 2, 10).unwrap()), None);
    assert_eq!(store.get(TokenId::new(0, 2, 0).unwrap()), None);
    assert_eq!((store.len(), store.live_bytes(), store.reserved_bytes()), (10, 640, 2 << 20));
    assert_eq!(store.iter().count(), 10);
}

#[test]
fn a_run_that_is_dropped_leaves_nothing_behind() {
    let store = store(1);
    let mut writer = store.writer(0).unwrap();
    drop(writer.reserve(5).unwrap());
    assert_eq!(store.len(), 0);
    let run = writer.reserve(5).unwrap();
    assert_eq!(run.first(), 0);
    run.publish(2, |i| TokenSpec::new().at(i, 1));
    assert_eq!(writer.reserve(1).unwrap().first(), 2);
}

#[test]
fn a_panic_while_filling_a_run_keeps_what_was_published() {
    let store = store(1);
    let mut writer = store.writer(0).unwrap();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        writer.reserve(5).unwrap().publish(5, |i| {
            assert!(i < 3, "as arranged");
            TokenSpec::new().at(i, 1)
        });
    }));
    assert!(panicked.is_err());
    assert_eq!((store.len(), store.iter().count()), (3, 3));
    assert_eq!(writer.reserve(1).unwrap().first(), 3);
    // And nobody who needs the range waits for ever.
    make_at(&mut store.writer(0).unwrap(), TokenId::from_slot(100, 0)).unwrap();
}

#[test]
fn a_taken_id_is_refused_whoever_took_it() {
    let store = store(1);
    let mut writer = store.writer(0).unwrap();
    let id = make(&mut writer, 1.0).unwrap();
    let mut other = store.writer(0).unwrap();
    let same_slot = TokenId::from_slot(id.slot(), 9);
    let error = make_at(&mut other, same_slot).unwrap_err();
    assert!(matches!(error, StoreError::Taken { .. }), "{error}");
    make_at(&mut other, TokenId::from_slot(id.slot() + 1, 0)).unwrap();
    // The lane whose range that was goes on elsewhere.
    let next = make(&mut writer, 2.0).unwrap();
    assert_ne!(next.slot(), id.slot() + 1);
    assert_eq!(store.len(), 3);
}

#[test]
fn an_id_beyond_the_store_is_refused() {
    let store = store(1);
    let error = make_at(&mut store.writer(0).unwrap(), TokenId::from_slot(40_000, 0)).unwrap_err();
    assert!(matches!(error, StoreError::Beyond { capacity: 32_768, .. }), "{error}");
    assert!(matches!(store.writer(16), Err(StoreError::NoDomain(16))));
}

#[test]
fn every_last_slot_is_given_out_though_idle_and_leaked_writers_hold_ranges() {
    let store = store(1);
    let capacity = store.domain_capacity();
    let mut idle = store.writer(0).unwrap();
    make(&mut idle, 1.0).unwrap();
    let mut leaked = store.writer(0).unwrap();
    make(&mut leaked, 1.0).unwrap();
    std::mem::forget(leaked);
    let mut writer = store.writer(0).unwrap();
    for made in 2..capacity {
        make(&mut writer, 1.0).unwrap_or_else(|error| panic!("after {made}: {error}"));
    }
    assert!(matches!(make(&mut writer, 1.0), Err(StoreError::Full { domain: 0, .. })));
    assert!(matches!(make(&mut idle, 1.0), Err(StoreError::Full { .. })));
    assert_eq!(store.len(), u64::from(capacity));
    // One slot is freed by one writer and found by the other.
    let live = idle.look(TokenId::from_slot(77, 0)).unwrap();
    assert!(idle.remove(live));
    assert_eq!(make(&mut writer, 2.0).unwrap().slot(), 77);
    assert!(matches!(make(&mut idle, 1.0), Err(StoreError::Full { .. })));
}

#[test]
fn memory_that_others_freed_is_used_before_new_memory() {
    let store = store(1 << 17);
    let mut maker = store.writer(0).unwrap();
    let ids: Vec<_> = (0..32_768).map(|_| make(&mut maker, 1.0).unwrap()).collect();
    let mut cleaner = store.writer(1).unwrap();
    for id in &ids {
        let live = cleaner.look(*id).unwrap();
        assert!(cleaner.remove(live));
    }
    for _ in 0..32_000 {
        make(&mut maker, 2.0).unwrap();
    }
    assert_eq!(store.reserved_bytes(), 2 << 20);
    assert!(store.iter().all(|(token, generation)| token.weight == 2.0 && generation % 2 == 1));
}

#[test]
fn a_slot_used_again_has_a_younger_generation() {
    let store = store(1);
    let mut writer = store.writer(0).unwrap();
    let id = make(&mut writer, 1.0).unwrap();
    let live = writer.look(id).unwrap();
    assert_eq!(live.generation_after(), 2);
    assert!(writer.remove(live));
    assert!(!writer.remove(live), "a token is removed once");
    assert_eq!(store.get(id), None);
    let run = writer.reserve(4).unwrap();
    assert_eq!((run.first(), run.len(), run.generation()), (id.slot(), 1, 3));
    drop(run);
    make(&mut writer, 5.0).unwrap();
    assert_eq!(store.get(id).unwrap().weight, 5.0);
}

#[test]
fn many_freed_slots_are_taken_at_once_and_those_not_filled_come_back() {
    let store = store(1);
    let mut writer = store.writer(0).unwrap();
    assert!(writer.reserve_freed(4).is_none(), "none was freed");
    let ids: Vec<_> = (0..10).map(|_| make(&mut writer, 1.0).unwrap()).collect();
    // From the last to the first, and not all.
    let live: Vec<_> = ids[2..9].iter().rev().map(|id| writer.look(*id)).collect();
    let mut gone = Vec::new();
    assert_eq!(writer.remove_all(&live, |live| gone.push(live.id().slot())), 7);
    assert_eq!(gone, [8, 7, 6, 5, 4, 3, 2]);
    assert_eq!(writer.remove_all(&live, |_| ()), 0, "a token is removed once");
    // One of them someone else takes by its id.
    make_at(&mut store.writer(0).unwrap(), TokenId::from_slot(4, 0)).unwrap();
    let mut freed = writer.reserve_freed(5).unwrap();
    let slots: Vec<_> = freed.slots().iter().map(|freed| (freed.slot, freed.generation)).collect();
    assert_eq!(slots, [(2, 3), (3, 3), (5, 3), (6, 3), (7, 3)]);
    freed.publish(2, |i, slot| TokenSpec::new().with_weight(5.0 + i as f32).at(slot, 0));
    drop(freed);
    assert_eq!((store.len(), store.iter().count()), (6, 6));
    assert_eq!(store.get(TokenId::from_slot(3, 0)).unwrap().weight, 6.0);
    // The three that were not filled, and the one that was not asked for, are free: each is found.
    let mut found = Vec::new();
    while let Some(mut freed) = writer.reserve_freed(64) {
        found.extend(freed.slots().iter().map(|freed| freed.slot));
        let n = freed.slots().len();
        freed.publish(n, |_, slot| TokenSpec::new().at(slot, 0));
    }
    found.sort_unstable();
    assert_eq!(found, [5, 6, 7, 8]);
    assert_eq!(store.len(), 10);
}

#[test]
fn a_panic_while_filling_freed_slots_keeps_what_was_published() {
    let store = store(1);
    let mut writer = store.writer(0).unwrap();
    let ids: Vec<_> = (0..5).map(|_| make(&mut writer, 1.0).unwrap()).collect();
    let live: Vec<_> = ids.iter().map(|id| writer.look(*id)).collect();
    assert_eq!(writer.remove_all(&live, |_| ()), 5);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        writer.reserve_freed(5).unwrap().publish(5, |i, slot| {
            assert!(i < 3, "as arranged");
            TokenSpec::new().at(slot, 1)
        });
    }));
    assert!(panicked.is_err());
    assert_eq!((store.len(), store.iter().count()), (3, 3));
    assert_eq!(writer.reserve_freed(5).unwrap().slots().len(), 2);
    assert!(store.quiesce(std::time::Duration::from_secs(30)), "the writer is at work no longer");
}

#[test]
fn memory_that_was_taken_and_never_used_comes_before_holes() {
    let store = store(1 << 17);
    store.populate(0, 1 << 16).unwrap();
    let mut maker = store.writer(0).unwrap();
    let ids: Vec<_> = (0..8_192).map(|_| make(&mut maker, 1.0).unwrap()).collect();
    let mut cleaner = store.writer(1).unwrap();
    let live: Vec<_> = ids.iter().map(|id| cleaner.look(*id)).collect();
    assert_eq!(cleaner.remove_all(&live, |_| ()), 8_192);
    let untouched = (1 << 16) - 8_192;
    for _ in 0..untouched {
        assert!(make(&mut maker, 2.0).unwrap().slot() >= 8_192);
    }
    // Then holes, before new memory.
    assert!(make(&mut maker, 3.0).unwrap().slot() < 8_192);
    assert_eq!(store.reserved_bytes(), 2 * (2 << 20));
}

#[test]
fn populating_takes_the_memory_at_once() {
    let store = store(1 << 17);
    store.populate(0, 70_000).unwrap();
    assert_eq!((store.reserved_bytes(), store.len()), (3 << 21, 0));
    assert!(store.populate(16, 1).is_err());
}

#[test]
fn readers_never_see_half_a_token_while_slots_are_reused() {
    let store = store(1);
    let mut writer = store.writer(0).unwrap();
    let seen = std::sync::atomic::AtomicU32::new(0);
    let enough = 20_000;
    let slots = 8;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while seen.load(Ordering::Relaxed) < enough {
                for slot in 0..slots {
                    if let Some(token) = store.get(TokenId::from_slot(slot, 0)) {
                        let expected = [[token.timestamp as i16; 3]; 8];
                        assert_eq!(token.coords, expected);
                        assert_eq!(token.weight, token.timestamp as f32);
                        seen.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
        for round in 0u32.. {
            if seen.load(Ordering::Relaxed) >= enough {
                break;
            }
            let round = round % 16_000_000;
            let coords = [[round as i16; 3]; 8];
            let spec =
                TokenSpec::new().with_weight(round as f32).with_coords(coords).with_timestamp(round).unwrap();
            let id = TokenId::from_slot(round % slots, 0);
            if let Some(live) = writer.look(id) {
                assert!(writer.remove(live));
            }
            let run = writer.reserve_at(id).unwrap();
            run.publish(1, |_| spec.at(id.slot(), 0));
        }
    });
}

#[test]
fn threads_that_fill_take_and_delete_agree_with_the_accounts() {
    let store = store(1 << 16);
    std::thread::scope(|scope| {
        for thread in 0..4u32 {
            let store = &store;
            scope.spawn(move || {
                let mut writer = store.writer(0).unwrap();
                let mut mine = Vec::new();
                for i in 0..10_000u32 {
                    match i % 7 {
                        3 => {
                            let id = TokenId::from_slot((i * 13 + thread * 97) % 60_000, 0);
                            if make_at(&mut writer, id).is_ok() {
                                mine.push(id);
                            }
                        }
                        5 => {
                            let id: TokenId = mine.swap_remove(i as usize % mine.len());
                            let live = writer.look(id).unwrap();
                            assert!(writer.remove(live));
                        }
                        _ => mine.push(make(&mut writer, 1.0).unwrap()),
                    }
                }
                for id in &mine {
                    assert_eq!(store.get(*id).unwrap().id(), *id);
                }
            });
        }
    });
    assert_eq!(store.len(), store.iter().count() as u64);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Records of the same slots in any order end in the same store.
    #[test]
    fn restoring_in_any_order_gives_the_youngest(
        ops in proptest::collection::vec((0u32..6, any::<bool>()), 1..40),
        order in any::<u64>(),
    ) {
        let mut model: BTreeMap<u32, (u32, Option<Token>)> = BTreeMap::new();
        let mut records = Vec::new();
        for (i, (slot, delete)) in ops.into_iter().enumerate() {
            let (generation, live) = model.entry(slot).or_insert((0, None));
            *generation += 1;
            if live.is_some() {
                // The only thing that can happen to a live token.
                let _ = delete;
                *live = None;
                records.push(TokenRecord::Deleted { id: TokenId::from_slot(slot, 0), generation: *generation });
            } else {
                let token = TokenSpec::new().with_weight(i as f32).at(slot, i as u32);
                *live = Some(token);
                records.push(TokenRecord::Created { token, generation: *generation });
            }
        }
        let mut seed = order;
        for i in (1..records.len()).rev() {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            records.swap(i, (seed >> 33) as usize % (i + 1));
        }
        let store = store(1);
        for record in &records {
            store.restore(record).unwrap();
            prop_assert_eq!(store.restore(record).unwrap(), Restored::Superseded);
        }
        let expected: Vec<_> = model.values().filter_map(|(generation, token)| Some(((*token)?, *generation))).collect();
        prop_assert_eq!(store.iter().collect::<Vec<_>>(), expected.clone());
        prop_assert_eq!(store.len(), expected.len() as u64);
        // Lanes go on where recovery ended: with the holes' generations.
        let mut writer = store.writer(0).unwrap();
        let mut again = store.writer(0).unwrap();
        for (slot, (generation, token)) in &model {
            if token.is_none() {
                let run = again.reserve_at(TokenId::from_slot(*slot, 0)).unwrap();
                prop_assert_eq!(run.generation(), generation + 1);
            }
        }
        make(&mut writer, 1.0).unwrap();
    }
}

#[test]
fn a_sample_is_of_about_one_in_so_many_wherever_they_lie() {
    let store = Arc::new(TokenStore::new());
    let mut writer = store.writer(0).unwrap();
    let mut made = 0;
    while made < 60_000 {
        let run = writer.reserve(64).unwrap();
        let n = run.len();
        run.publish(n, |i| TokenSpec::new().with_weight((made + i) as f32).at(0, 0));
        made += n;
    }
    for seed in 0..5 {
        let sample: Vec<_> = store.sample(DomainSet::ALL, 10, seed).map(|(token, _)| token.weight).collect();
        assert!((5_000..7_000).contains(&sample.len()), "{} with seed {seed}", sample.len());
        let low = sample.iter().filter(|weight| **weight < 30_000.0).count();
        assert!((2_300..3_800).contains(&low), "{low} of the lower half");
    }
    assert_eq!(store.sample(DomainSet::ALL, 0, 1).count() as u32, made, "each one");
}

#[test]
fn holes_that_a_writer_took_with_it_are_found_by_the_next_one() {
    let store = store(1);
    let mut a = store.writer(0).unwrap();
    let ids: Vec<_> = (0..store.domain_capacity()).map(|_| make(&mut a, 0.5).unwrap()).collect();
    // Every fifth goes, in each range; and then in one range all the others.
    let gone = ids.iter().enumerate().filter(|(i, _)| i % 5 == 0 || *i < 4_096).map(|(_, id)| *id);
    let gone: Vec<_> = gone.collect();
    for id in &gone {
        let live = a.look(*id).unwrap();
        assert!(a.remove(live));
    }
    drop(a);
    for _ in 0..3 {
        // Knows of a whole range's holes, uses one, and ends.
        let mut b = store.writer(0).unwrap();
        let id = make(&mut b, 1.0).unwrap();
        let live = b.look(id).unwrap();
        assert!(b.remove(live));
        drop(b);
    }
    let mut c = store.writer(0).unwrap();
    let mut made: Vec<_> = gone.iter().map(|_| make(&mut c, 2.0).unwrap()).collect();
    assert!(matches!(make(&mut c, 2.0), Err(StoreError::Full { .. })));
    made.sort_unstable_by_key(|id| id.slot());
    assert_eq!(made, gone);
}
