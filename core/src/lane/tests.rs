//! What a lane promises: nothing has happened when something is refused, whoever refuses.

use super::*;
use crate::admission::{Admission, AdmissionLane, Refusal, Violation};
use crate::records::{TokenRecord, decode};
use crate::store::TokenStore;
use crate::wal::{AppendError, Poison, RecordKind};
use std::sync::Arc;

/// Lets `room` tokens in and forbids weights above 10.
#[derive(Debug)]
struct Room {
    left: u64,
    checked: u64,
}

impl AdmissionLane for Room {
    fn admit(&mut self, n: u64) -> Result<(), Refusal> {
        if n > self.left {
            let (limit, used, top) = (0, 0, Vec::new());
            return Err(Refusal { quota: "tokens", asked: n, used, limit, top, reason: None });
        }
        self.left -= n;
        Ok(())
    }

    fn release(&mut self, n: u64) {
        self.left += n;
    }

    fn check(&mut self, token: &Token) -> Result<(), Violation> {
        self.checked += 1;
        if token.weight > 10.0 {
            return Err(Violation { field: "weight", value: token.weight, min: 0.0, max: 10.0, version: 3 });
        }
        Ok(())
    }
}

/// Keeps records, and refuses each one whose number is in `fail`.
#[derive(Debug, Default)]
struct Memory {
    records: Vec<(RecordKind, Vec<u8>)>,
    asked: usize,
    fail: Vec<usize>,
    poisoned_from: Option<usize>,
}

impl WalLane for Memory {
    fn append(&mut self, kind: RecordKind, payload: &[u8]) -> Result<Ticket, AppendError> {
        let asked = self.asked;
        self.asked += 1;
        if self.poisoned_from.is_some_and(|from| asked >= from) {
            let cause = "as arranged".to_owned();
            return Err(
                Box::new(Poison { operation: "sync", path: "log".into(), offset: 4096, cause }).into()
            );
        }
        if self.fail.contains(&asked) {
            return Err(AppendError::Full { buffers: 2 });
        }
        self.records.push((kind, payload.to_vec()));
        Ok(Ticket(self.records.len() as u64))
    }
}

type Tested = Lane<Room, Memory>;

fn lane(room: u64, wal: Memory, options: LaneOptions) -> (Arc<TokenStore>, Tested) {
    let store = Arc::new(TokenStore::with_domain_slots(1));
    let layers = Layers {
        admission: Room { left: room, checked: 0 },
        wal,
        metrics: NoMetrics,
        sampler: NoSampler,
        spans: NoSpans,
        events: NoRecorder,
    };
    let lane = Lane::new(store.writer(0).unwrap(), layers, Tick::manual(9_000_000_000), options);
    (store, lane)
}

fn specs(n: usize) -> Vec<TokenSpec> {
    (0..n).map(|i| TokenSpec::new().with_weight(i as f32 / 1e4)).collect()
}

fn replayed(records: &[(RecordKind, Vec<u8>)]) -> TokenStore {
    let store = TokenStore::with_domain_slots(1);
    for (kind, payload) in records {
        store.restore(&decode(*kind, payload).unwrap().unwrap()).unwrap();
    }
    store
}

#[test]
fn a_batch_becomes_tokens_and_records_that_rebuild_them() {
    let (store, mut lane) = lane(1_000, Memory::default(), LaneOptions::default());
    let mut report = BatchReport::default();
    lane.create_batch(&specs(300), &mut report);
    assert_eq!((report.made(), report.refused().len(), report.ticket()), (300, 0, Ticket(300)));
    assert_eq!(report.runs(), [MadeRun { index: 0, first_slot: 0, len: 300 }]);
    let id = TokenId::from_slot(250, 0);
    assert_eq!(lane.get(id).unwrap().weight, 0.025);
    assert_eq!(lane.get(id).unwrap().timestamp, 9);
    let ticket = lane.delete(id).unwrap();
    assert_eq!(ticket, Ticket(301));
    assert!(matches!(lane.delete(id), Err(DeleteError::NotFound(_))));
    // The freed slot comes back first, and its record knows its age.
    let again = lane.create(&TokenSpec::new().with_weight(7.0)).unwrap();
    assert_eq!(again.id, id);
    let rebuilt = replayed(&lane.layers().wal.records);
    assert_eq!(rebuilt.iter().collect::<Vec<_>>(), store.iter().collect::<Vec<_>>());
    assert_eq!(lane.layers().admission.left, 700);
}

#[test]
fn what_a_batch_refuses_it_names_and_the_rest_is_made() {
    let (store, mut lane) = lane(200, Memory { fail: vec![70], ..Memory::default() }, LaneOptions::default());
    let mut batch = specs(250);
    batch[3] = batch[3].with_weight(f32::NAN);
    batch[5] = batch[5].with_weight(11.0);
    batch[9] = batch[9].with_id(TokenId::from_slot(20_000, 4)).unwrap();
    batch[10] = batch[10].with_id(TokenId::from_slot(20_000, 5)).unwrap();
    let mut report = BatchReport::default();
    lane.create_batch(&batch, &mut report);
    let refused: Vec<_> =
        report.refused().iter().map(|refused| (refused.index, reason(&refused.why))).collect();
    assert_eq!(refused[..4], [(3, "unsound"), (5, "forbidden"), (10, "store"), (73, "log")]);
    assert!(refused[4..].iter().all(|(_, reason)| *reason == "quota"));
    assert_eq!((report.made(), refused.len()), (200, 50));
    assert_eq!(lane.layers().admission.left, 0);
    assert_eq!(lane.layers().admission.checked, 249, "each sound spec is checked once");
    assert_eq!(store.len(), 200);
    let indices: Vec<_> =
        report.runs().iter().flat_map(|run| run.index..run.index + run.len as usize).collect();
    let missing: Vec<_> = (0..250).filter(|i| !indices.contains(i)).collect();
    assert_eq!(missing, refused.iter().map(|(index, _)| *index).collect::<Vec<_>>());
    assert!(store.get(TokenId::from_slot(20_000, 4)).is_some());
    let rebuilt = replayed(&lane.layers().wal.records);
    assert_eq!(rebuilt.iter().collect::<Vec<_>>(), store.iter().collect::<Vec<_>>());
}

#[test]
fn a_refused_single_leaves_no_trace() {
    let (store, mut lane) = lane(1, Memory { fail: vec![0, 2], ..Memory::default() }, LaneOptions::default());
    assert!(matches!(lane.create(&TokenSpec::new()), Err(CreateError::Log(AppendError::Full { .. }))));
    assert_eq!((store.len(), lane.layers().admission.left), (0, 1));
    let made = lane.create(&TokenSpec::new()).unwrap();
    assert_eq!(made.id.slot(), 0);
    assert!(matches!(lane.create(&TokenSpec::new()), Err(CreateError::Quota(_))));
    assert!(matches!(lane.delete(made.id), Err(DeleteError::Log(_))), "not logged, not deleted");
    assert!(lane.get(made.id).is_some());
    lane.delete(made.id).unwrap();
    assert_eq!((store.len(), lane.layers().admission.left), (0, 1));
}

#[test]
fn a_poisoned_log_stops_the_engine_or_is_passed_by_as_its_user_chose() {
    let poisoned = || Memory { poisoned_from: Some(100), ..Memory::default() };
    let mut report = BatchReport::default();
    let (stopped, mut lane_) = lane(1_000, poisoned(), LaneOptions::default());
    lane_.create_batch(&specs(300), &mut report);
    assert_eq!((stopped.len(), report.made(), report.refused().len()), (100, 100, 200));
    let on_log_failure = OnLogFailure::Continue;
    let (going, mut lane_) =
        lane(1_000, poisoned(), LaneOptions { on_log_failure, ..LaneOptions::default() });
    lane_.create_batch(&specs(300), &mut report);
    assert_eq!((going.len(), report.made(), report.refused().len()), (300, 300, 0));
    assert_eq!(lane_.layers().wal.records.len(), 100);
}

#[test]
fn every_nth_token_is_logged_however_the_batches_fall() {
    let options = LaneOptions { log_every: 7, ..LaneOptions::default() };
    let (_, mut lane) = lane(10_000, Memory::default(), options);
    let mut report = BatchReport::default();
    let mut made = 0;
    for n in [1, 63, 64, 65, 3, 200, 6] {
        lane.create_batch(&specs(n), &mut report);
        made += n;
        lane.create(&TokenSpec::new()).unwrap();
        made += 1;
        assert_eq!(lane.layers().wal.records.len(), made / 7);
    }
    // The 7th token is slot 6, and so on.
    for (i, (kind, payload)) in lane.layers().wal.records.clone().iter().enumerate() {
        let Ok(Some(TokenRecord::Created { token, .. })) = decode(*kind, payload) else { panic!("a token") };
        assert_eq!(token.id().slot() as usize, i * 7 + 6);
    }
}

#[test]
fn a_full_store_refuses_the_rest_and_gives_the_room_back() {
    let (store, mut lane) = lane(40_000, Memory::default(), LaneOptions::default());
    let mut report = BatchReport::default();
    lane.create_batch(&specs(32_800), &mut report);
    assert_eq!((report.made(), report.refused().len(), store.len()), (32_768, 32, 32_768));
    assert!(report.refused().iter().all(|refused| reason(&refused.why) == "store"));
    assert_eq!(lane.layers().admission.left, 40_000 - 32_768);
}

#[test]
fn a_sampled_operation_is_told_apart() {
    use crate::sampling::{Decision, Outcome, Reason};
    use crate::spans::{FinishedSpan, SpanId, TraceId};

    /// Samples each third root.
    struct Third(u64, Vec<Outcome>);
    impl SamplerLane for Third {
        fn gate(&mut self, operations: u64) -> Option<u64> {
            let next = 2 - self.0 % 3;
            let passed = operations.min(next + 1);
            self.0 += passed;
            (next < operations).then_some(next)
        }
        fn decide(&mut self, context: &SpanContext) -> Decision {
            Decision { sampled: context.forced, reason: Reason::Forced, probability: 1.0 }
        }
        fn probability(&self) -> f64 {
            1.0 / 3.0
        }
        fn outcome(&mut self, outcome: Outcome) {
            self.1.push(outcome);
        }
    }
    #[derive(Default)]
    struct Spans(Vec<FinishedSpan>);
    impl SpanLane for Spans {
        fn finish(&mut self, span: &FinishedSpan) -> Option<(TraceId, SpanId)> {
            self.0.push(*span);
            None
        }
    }
    let store = Arc::new(TokenStore::with_domain_slots(1));
    let layers = Layers {
        admission: Room { left: 95, checked: 0 },
        wal: NoWal,
        metrics: NoMetrics,
        sampler: Third(0, Vec::new()),
        spans: Spans::default(),
        events: NoRecorder,
    };
    let mut lane = Lane::new(store.writer(0).unwrap(), layers, Tick::manual(0), LaneOptions::default());
    let mut report = BatchReport::default();
    lane.create_batch(&specs(100), &mut report);
    assert_eq!((report.made(), report.refused().len()), (95, 5));
    let spans = std::mem::take(&mut lane.layers().spans.0);
    assert_eq!(spans.len(), 33);
    assert!(spans.iter().all(|span| span.end_ns >= span.start_ns && span.reason == Reason::Rate));
    assert_eq!(spans.iter().filter(|span| span.failed).count(), 2, "95 and 98 were refused and sampled");
    let forced = SpanContext { forced: true, ..SpanContext::default() };
    assert!(lane.create_in(&forced, &TokenSpec::new()).is_err());
    assert_eq!(lane.layers().spans.0[0].reason, Reason::Forced);
    assert_eq!(lane.layers().sampler.1.len(), 34);
}

#[test]
fn a_sampled_token_of_a_batch_goes_with_its_group_and_says_so() {
    use crate::sampling::{Decision, Outcome};
    use crate::spans::{FinishedSpan, SpanId, TraceId};

    /// Samples the operations with these numbers.
    struct These(u64, Vec<u64>);
    impl SamplerLane for These {
        fn gate(&mut self, operations: u64) -> Option<u64> {
            let next = self.1.iter().find(|next| (self.0..self.0 + operations).contains(next));
            let first = next.map(|next| next - self.0);
            self.0 += first.map_or(operations, |first| first + 1);
            first
        }
        fn decide(&mut self, _context: &SpanContext) -> Decision {
            unreachable!("a batch comes with no context")
        }
        fn probability(&self) -> f64 {
            0.25
        }
        fn outcome(&mut self, _outcome: Outcome) {}
    }
    #[derive(Default)]
    struct Spans(Vec<FinishedSpan>);
    impl SpanLane for Spans {
        fn finish(&mut self, span: &FinishedSpan) -> Option<(TraceId, SpanId)> {
            self.0.push(*span);
            None
        }
    }
    /// Counts calls.
    #[derive(Default)]
    struct Calls(Vec<usize>);
    impl WalLane for Calls {
        fn append(&mut self, _kind: RecordKind, _payload: &[u8]) -> Result<Ticket, AppendError> {
            self.0.push(1);
            Ok(Ticket(1))
        }
        fn append_run(
            &mut self,
            _kind: RecordKind,
            record_len: usize,
            payload: &[u8],
        ) -> Result<Ticket, crate::wal::RunError> {
            self.0.push(payload.len() / record_len);
            Ok(Ticket(1))
        }
    }
    let store = Arc::new(TokenStore::with_domain_slots(1));
    let layers = Layers {
        admission: Room { left: 150, checked: 0 },
        wal: Calls::default(),
        metrics: NoMetrics,
        sampler: These(0, vec![0, 5, 63, 70, 100, 120, 160, 199]),
        spans: Spans::default(),
        events: NoRecorder,
    };
    let mut lane = Lane::new(store.writer(0).unwrap(), layers, Tick::manual(0), LaneOptions::default());
    let mut batch: Vec<_> = specs(200).into_iter().map(|spec| spec.with_entity(3)).collect();
    let own = TokenId::from_slot(20_000, 4);
    batch[70] = TokenSpec::new().with_id(own).unwrap();
    batch[100] = batch[100].with_weight(11.0);
    let mut report = BatchReport::default();
    lane.create_batch(&batch, &mut report);
    assert_eq!(report.made(), 150);
    // The first group is whole: only an id of its own and what is refused break one.
    assert_eq!(lane.layers().wal.0[..3], [64, 6, 1]);
    let spans = std::mem::take(&mut lane.layers().spans.0);
    let id = |slot| Value::U64(TokenId::from_slot(slot, 3).raw().into());
    let made = |id| (false, Some(("token.id", id)));
    let refused = |why| (true, Some(("error.type", Value::Str(why))));
    let told: Vec<_> = spans.iter().map(|span| (span.failed, span.attributes[0])).collect();
    assert_eq!(
        told,
        [
            made(id(0)),
            made(id(5)),
            made(id(63)),
            made(Value::U64(own.raw().into())),
            refused("forbidden"),
            made(id(118)),
            refused("quota"),
            refused("quota"),
        ]
    );
    let sizes: Vec<_> = spans.iter().map(|span| span.attributes[1]).collect();
    let size = |n| Some(("group.tokens", Value::U64(n)));
    assert_eq!(sizes[..6], [size(64); 6]);
    assert_eq!(sizes[6..], [size(64), size(8)]);
    assert!(
        spans[..3].iter().all(|span| span.start_ns == spans[0].start_ns && span.end_ns == spans[0].end_ns)
    );
    assert!(spans[3].start_ns >= spans[0].end_ns, "the next group begins after it");
    assert!(spans.iter().all(|span| span.end_ns >= span.start_ns && span.probability == 0.25));
}

#[test]
fn a_lane_of_boxed_layers_is_a_lane() {
    let store = Arc::new(TokenStore::with_domain_slots(1));
    let layers: Layers<Box<dyn AdmissionLane>, Box<dyn WalLane>> = Layers {
        admission: Admission::lane(&NoAdmission, "test"),
        wal: crate::wal::WalSink::lane(&NoWal).unwrap(),
        metrics: NoMetrics,
        sampler: NoSampler,
        spans: NoSpans,
        events: NoRecorder,
    };
    let mut lane = Lane::new(store.writer(0).unwrap(), layers, Tick::manual(0), LaneOptions::default());
    let id = lane.create(&TokenSpec::new()).unwrap().id;
    assert_eq!(lane.layers().op("look", |_| 5), 5);
    assert!(lane.get(id).is_some());
}

#[test]
fn a_batch_of_deletions_spares_what_was_replaced_and_its_records_rebuild_the_rest() {
    let (store, mut lane) = lane(1_000, Memory::default(), LaneOptions::default());
    lane.create_batch(&specs(300), &mut BatchReport::default());
    let mut victims: Vec<_> =
        store.iter().take(200).map(|(token, generation)| (token.id(), generation)).collect();
    // One is gone, and another's slot holds a new token.
    lane.delete(victims[10].0).unwrap();
    lane.delete(victims[150].0).unwrap();
    let again = lane.create(&TokenSpec::new().with_weight(7.0)).unwrap();
    assert_eq!(again.id, victims[150].0);
    victims.push((TokenId::from_slot(900, 0), 1));
    let report = lane.delete_batch(&victims);
    assert_eq!((report.deleted, report.missing), (198, 3));
    assert!(report.stopped.is_none());
    assert_eq!(store.len(), 101);
    assert_eq!(lane.layers().admission.left, 899);
    let rebuilt = replayed(&lane.layers().wal.records);
    assert_eq!(rebuilt.iter().collect::<Vec<_>>(), store.iter().collect::<Vec<_>>());
}

#[test]
fn a_batch_of_deletions_stops_at_the_record_that_was_not_taken() {
    let wal = Memory { fail: vec![300 + 70], ..Memory::default() };
    let (store, mut lane) = lane(1_000, wal, LaneOptions::default());
    lane.create_batch(&specs(300), &mut BatchReport::default());
    let victims: Vec<_> = store.iter().map(|(token, generation)| (token.id(), generation)).collect();
    let report = lane.delete_batch(&victims);
    assert_eq!((report.deleted, report.missing), (70, 0));
    assert!(matches!(report.stopped, Some(DeleteError::Log(AppendError::Full { .. }))));
    assert_eq!((store.len(), lane.layers().admission.left), (230, 770));
    let rebuilt = replayed(&lane.layers().wal.records);
    assert_eq!(rebuilt.iter().collect::<Vec<_>>(), store.iter().collect::<Vec<_>>());
}

#[test]
fn where_deletions_are_forbidden_nothing_is_logged_or_removed() {
    struct Frozen;
    impl AdmissionLane for Frozen {
        fn admit(&mut self, _n: u64) -> Result<(), Refusal> {
            Ok(())
        }

        fn release(&mut self, _n: u64) {
            panic!("nothing was deleted");
        }

        fn check(&mut self, _token: &Token) -> Result<(), Violation> {
            Ok(())
        }

        fn may_delete(&mut self) -> Result<(), Violation> {
            Err(Violation { field: "mutation", value: 1.0, min: 0.0, max: 0.0, version: 4 })
        }
    }
    let store = Arc::new(TokenStore::with_domain_slots(1));
    let layers = Layers {
        admission: Frozen,
        wal: Memory::default(),
        metrics: NoMetrics,
        sampler: NoSampler,
        spans: NoSpans,
        events: NoRecorder,
    };
    let mut lane = Lane::new(store.writer(0).unwrap(), layers, Tick::manual(0), LaneOptions::default());
    let made = lane.create(&TokenSpec::new()).unwrap();
    assert!(matches!(lane.delete(made.id), Err(DeleteError::Forbidden(violation)) if violation.version == 4));
    let report = lane.delete_batch(&[(made.id, 1)]);
    assert!(matches!(report.stopped, Some(DeleteError::Forbidden(_))));
    assert_eq!((report.deleted, store.len(), lane.layers().wal.records.len()), (0, 1, 1));
}

/// Deletes every third of so many tokens, as a cleanup does: freed slots lie alone and in no order.
fn with_holes(lane: &mut Tested, tokens: u32) -> usize {
    let mut report = BatchReport::default();
    lane.create_batch(&specs(tokens as usize), &mut report);
    let victims: Vec<_> = (0..tokens).step_by(3).map(|slot| (TokenId::from_slot(slot, 0), 1)).collect();
    assert_eq!(lane.delete_batch(&victims).deleted, victims.len());
    victims.len()
}

#[test]
fn a_batch_in_freed_slots_is_logged_with_their_generations_and_rebuilt() {
    let (store, mut lane) = lane(10_000, Memory::default(), LaneOptions::default());
    let holes = with_holes(&mut lane, 600);
    let mut report = BatchReport::default();
    lane.create_batch(&specs(holes + 50), &mut report);
    assert_eq!((report.made(), report.refused().len()), (holes + 50, 0));
    assert_eq!(report.ticket(), Ticket(lane.layers().wal.records.len() as u64));
    assert_eq!(store.iter().filter(|(_, generation)| *generation == 3).count(), holes);
    // Each run says where its tokens are.
    let specs = specs(holes + 50);
    for run in report.runs() {
        for i in 0..run.len {
            let token = store.get(TokenId::from_slot(run.first_slot + i, 0)).unwrap();
            assert_eq!(token.weight, specs[run.index + i as usize].draft().weight);
        }
    }
    assert_eq!(report.runs().iter().map(|run| run.len as usize).sum::<usize>(), holes + 50);
    let rebuilt = replayed(&lane.layers().wal.records);
    assert!(rebuilt.iter().eq(store.iter()));
    assert_eq!(lane.layers().admission.left, 10_000 - 600 - 50);
}

#[test]
fn what_the_log_refuses_of_a_batch_in_freed_slots_is_named_and_its_slot_is_free_again() {
    let (store, mut lane) = lane(10_000, Memory::default(), LaneOptions::default());
    let holes = with_holes(&mut lane, 300);
    let asked = lane.layers().wal.asked;
    lane.layers().wal.fail = vec![asked, asked + 40, asked + 41];
    let mut report = BatchReport::default();
    lane.create_batch(&specs(holes), &mut report);
    let refused: Vec<_> = report.refused().iter().map(|refused| refused.index).collect();
    assert_eq!((report.made(), refused), (holes - 3, vec![0, 40, 41]));
    assert!(matches!(report.refused()[0].why, CreateError::Log(AppendError::Full { .. })));
    assert_eq!(store.len(), 300 - 3);
    assert_eq!(lane.layers().admission.left, 10_000 - 297);
    lane.layers().wal.fail.clear();
    lane.create_batch(&specs(3), &mut report);
    assert_eq!(report.made(), 3);
    assert!(report.runs().iter().all(|run| run.first_slot < 300), "{:?}", report.runs());
    assert!(replayed(&lane.layers().wal.records).iter().eq(store.iter()));
}

#[test]
fn a_batch_in_freed_slots_logs_each_nth_token_alone() {
    let options = LaneOptions { log_every: 10, ..LaneOptions::default() };
    let (store, mut lane) = lane(10_000, Memory::default(), options);
    let holes = with_holes(&mut lane, 300);
    let before = lane.layers().wal.records.len();
    assert_eq!(before, 30 + holes, "deletions are all logged");
    lane.create_batch(&specs(holes), &mut BatchReport::default());
    assert_eq!(lane.layers().wal.records.len() - before, holes / 10);
    assert_eq!(store.len(), 300);
}
