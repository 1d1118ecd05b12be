//! A token store on a log on a simulated disk, and the oracle that holds what is recovered to what
//! was done: each operation adds one to a slot's generation, so the sum of the generations says how
//! many operations are there, and the state after so many is known.

use super::*;
use crate::LogLane;
use crate::recover::Replayed;
use crate::recover::replay::replay_in;
use ng_core::clock::Tick;
use ng_core::lane::{Lane, LaneOptions, Layers};
use ng_core::records::TokenRecord;
use ng_core::wal::{Ticket, WalSink};
use ng_core::{TokenId, TokenSpec, TokenStore};
use std::collections::BTreeMap;

pub(super) type TokenLane = Lane<ng_core::admission::NoAdmission, LogLane>;

/// What a slot is after an operation: its generation, and the weight of its token if it has one.
type State = (u32, Option<u32>);

/// One thread's tokens, all in one domain, and everything that was done to them.
pub(super) struct Hand {
    lane: TokenLane,
    live: Vec<TokenId>,
    generations: BTreeMap<u32, u32>,
    /// Slot and state after each operation, with the ticket of its record.
    pub(super) history: Vec<(u32, State, Ticket)>,
}

impl Hand {
    pub(super) fn new(log: &Log, store: &Arc<TokenStore>, domain: u8) -> Self {
        let layers = Layers {
            admission: ng_core::admission::NoAdmission,
            wal: log.open_lane().unwrap(),
            metrics: ng_core::metrics::NoMetrics,
            sampler: ng_core::sampling::NoSampler,
            spans: ng_core::spans::NoSpans,
            events: ng_core::events::NoRecorder,
        };
        let writer = store.writer(domain).unwrap();
        let lane = Lane::new(writer, layers, Tick::manual(7), LaneOptions::default());
        Self { lane, live: Vec::new(), generations: BTreeMap::new(), history: Vec::new() }
    }

    fn note(&mut self, slot: u32, weight: Option<u32>, ticket: Ticket) {
        let generation = self.generations.entry(slot).or_default();
        *generation += 1;
        self.history.push((slot, (*generation, weight), ticket));
    }

    /// Makes a token, or deletes one; whether the log took it.
    pub(super) fn work(&mut self, random: &mut Seeded) -> bool {
        if !self.live.is_empty() && random.next().is_multiple_of(3) {
            let at = (random.next() % self.live.len() as u64) as usize;
            return self.delete(at);
        }
        self.create().is_some()
    }

    pub(super) fn create(&mut self) -> Option<TokenId> {
        let weight = self.history.len() as f32;
        let made = self.lane.create(&TokenSpec::new().with_weight(weight)).ok()?;
        self.note(made.id.slot(), Some(weight.to_bits()), made.ticket);
        self.live.push(made.id);
        Some(made.id)
    }

    pub(super) fn delete(&mut self, at: usize) -> bool {
        let id = self.live[at];
        let Ok(ticket) = self.lane.delete(id) else { return false };
        self.live.swap_remove(at);
        self.note(id.slot(), None, ticket);
        true
    }

    pub(super) fn lane(&mut self) -> &mut TokenLane {
        &mut self.lane
    }

    /// How many operations are durable.
    pub(super) fn acknowledged(&self, log: &Log) -> usize {
        let durable = log.durable();
        self.history.iter().take_while(|(.., ticket)| *ticket <= durable).count()
    }
}

pub(super) use crate::storage::sim::Seeded;

/// What a recovery finds.
pub(super) fn recover(disk: &SimStorage) -> Result<(TokenStore, Replayed), RecoverError> {
    let store = TokenStore::new();
    let mut restorer = store.restorer();
    let (replayed, _) = replay_in(Path::new(DIR), disk, |run| {
        restorer.run(run.kind, run.record_len, run.bytes).unwrap();
    })?;
    drop(restorer);
    Ok((store, replayed))
}

fn state_of(record: &TokenRecord) -> (u32, State) {
    match record {
        TokenRecord::Created { token, generation } => {
            (token.id().slot(), (*generation, Some(token.weight.to_bits())))
        }
        TokenRecord::Deleted { id, generation } => (id.slot(), (*generation, None)),
    }
}

/// Holds one domain of a recovered store to what was done there: a prefix of it, with at least
/// `acknowledged` operations. Returns how many.
pub(super) fn hold(
    store: &TokenStore,
    domain: u8,
    history: &[(u32, State, Ticket)],
    acknowledged: usize,
    what: &str,
) -> usize {
    let found: BTreeMap<u32, State> = store
        .snapshot()
        .map(|record| state_of(&record))
        .filter(|(slot, _)| slot >> 24 == domain.into())
        .collect();
    let done: usize = found.values().map(|(generation, _)| *generation as usize).sum();
    assert!(done >= acknowledged, "{what}: {done} of {acknowledged} acknowledged operations");
    assert!(done <= history.len(), "{what}: {done} operations, and {} were done", history.len());
    let expected: BTreeMap<u32, State> =
        history[..done].iter().map(|(slot, state, _)| (*slot, *state)).collect();
    assert_eq!(found, expected, "{what}: not the state after {done} operations");
    done
}

/// Ends the other threads of a test when its own ends, a failed assertion included: else the
/// scope would wait for them for ever.
pub(super) struct Ends<'a>(pub(super) &'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
