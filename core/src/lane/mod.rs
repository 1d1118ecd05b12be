//! The hot path: one thread's way to make, find and delete tokens with every layer on.
//!
//! For one token: check (soundness, constitution) → admit → reserve a slot → log → publish →
//! count → record. Whatever refuses first, nothing has happened: what was taken before is given
//! back. A batch goes the same way in groups of up to 64, so that what a layer costs per call is
//! shared.
//!
//! A lane takes no lock, reads no clock and makes no system call of its own; what its layers do
//! is in their contracts. Generic over its layers, a lane that is composed in code is monomorphic
//! and one of no-ops is the bare store.

mod again;
mod delete;
mod due;
mod journal;
mod layers;
mod report;
mod sampled;

pub use journal::OnLogFailure;
pub use layers::{LaneMetrics, Layers, Sampled};
pub use report::{BatchReport, CreateError, DeleteError, DeletedBatch, Made, MadeRun, Refused};

use crate::admission::{AdmissionLane, NoAdmission};
use crate::clock::Tick;
use crate::events::{Event, EventKind, EventLane, NoRecorder};
use crate::metrics::{MetricLane, NoMetrics};
use crate::records::AGAIN_BYTES;
use crate::sampling::{NoSampler, SamplerLane, SpanContext};
use crate::spans::{MAX_ATTRIBUTES, NoSpans, SpanLane, Value};
use crate::spec::TokenSpec;
use crate::store::{Run, StoreError, StoreWriter};
use crate::token::{Token, TokenError, TokenId};
use crate::wal::{AppendError, NoWal, Ticket, WalLane};
use journal::Journal;

/// How many tokens of a batch share one call to each layer: 4 KiB of tokens, which stay in the
/// first-level cache between the steps.
pub const GROUP: usize = 64;

/// How a lane behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneOptions {
    /// Logs each N-th token; 1 logs all of them. Deletions are always logged.
    pub log_every: u64,
    /// What happens when the log is poisoned.
    pub on_log_failure: OnLogFailure,
    /// The metrics to write; `None` writes none.
    pub metrics: Option<LaneMetrics>,
    /// An unsampled operation that takes at least so many nanoseconds is recorded as
    /// [`EventKind::SLOW_OPERATION`], by the tick and so to its resolution; 0 records none.
    pub slow_ns: u64,
}

impl Default for LaneOptions {
    fn default() -> Self {
        Self { log_every: 1, on_log_failure: OnLogFailure::Stop, metrics: None, slow_ns: 0 }
    }
}

/// One thread's lane. See the [module](self).
///
/// ```
/// use std::sync::Arc;
/// use ng_core::clock::Tick;
/// use ng_core::lane::{Lane, LaneOptions, Layers};
/// use ng_core::{TokenSpec, TokenStore};
///
/// let store = Arc::new(TokenStore::new());
/// // The bare store; each layer is one field of `Layers`.
/// let mut lane: Lane = Lane::new(store.writer(0)?, Layers::default(), Tick::manual(0), LaneOptions::default());
/// let made = lane.create(&TokenSpec::new().with_weight(0.5))?;
/// assert_eq!(lane.get(made.id).unwrap().weight, 0.5);
/// lane.delete(made.id)?;
/// assert!(store.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Lane<A = NoAdmission, W = NoWal, M = NoMetrics, S = NoSampler, X = NoSpans, E = NoRecorder> {
    writer: StoreWriter,
    layers: Layers<A, W, M, S, X, E>,
    tick: Tick,
    journal: Journal,
    /// Tokens of a group between the log and the store: kept, so that it need not be cleared.
    scratch: Box<[Token; GROUP]>,
    /// Their records, where slots are used again; allocated by the first.
    again: Vec<[u8; AGAIN_BYTES]>,
    metrics: Option<LaneMetrics>,
    /// [`LaneOptions::slow_ns`]; the largest number for none.
    slow_ns: u64,
}

impl<A, W, M, S, X, E> Lane<A, W, M, S, X, E>
where
    A: AdmissionLane,
    W: WalLane,
    M: MetricLane,
    S: SamplerLane,
    X: SpanLane,
    E: EventLane,
{
    /// A lane that fills `writer`'s domain.
    #[must_use]
    pub fn new(
        writer: StoreWriter,
        layers: Layers<A, W, M, S, X, E>,
        tick: Tick,
        options: LaneOptions,
    ) -> Self {
        let journal = Journal::new(options.log_every, options.on_log_failure);
        let scratch = Box::new([Token::default(); GROUP]);
        let slow_ns = if options.slow_ns == 0 { u64::MAX } else { options.slow_ns };
        let again = Vec::new();
        Self { writer, layers, tick, journal, scratch, again, metrics: options.metrics, slow_ns }
    }

    /// The layers, for whatever is not a token: a record, a count, an event of one's own.
    pub const fn layers(&mut self) -> &mut Layers<A, W, M, S, X, E> {
        &mut self.layers
    }

    /// The token with this very id, entity type included.
    #[must_use]
    #[inline]
    pub fn get(&self, id: TokenId) -> Option<Token> {
        self.writer.store().get(id)
    }

    /// The ticket of the lane's latest record: when it is durable, all of the lane's are.
    #[must_use]
    pub const fn last_ticket(&self) -> Ticket {
        self.journal.last
    }

    /// Makes one token.
    ///
    /// # Errors
    /// See [`CreateError`]; nothing has happened then.
    #[inline]
    pub fn create(&mut self, spec: &TokenSpec) -> Result<Made, CreateError> {
        self.layers.admission.refresh();
        let began = self.tick.unix_ns();
        match self.layers.begin("create") {
            None => {
                let outcome = self.create_one(spec);
                self.note_if_slow(began);
                outcome
            }
            Some(sampled) => self.create_sampled(sampled, spec),
        }
    }

    /// Makes one token as part of the caller's trace, or with a wish of the caller's own.
    ///
    /// # Errors
    /// See [`CreateError`]; nothing has happened then.
    pub fn create_in(&mut self, context: &SpanContext, spec: &TokenSpec) -> Result<Made, CreateError> {
        self.layers.admission.refresh();
        match self.layers.begin_in("create", context) {
            None => self.create_one(spec),
            Some(sampled) => self.create_sampled(sampled, spec),
        }
    }

    /// Makes many tokens. Each spec stands or falls alone: `report` says which. Each is one
    /// operation to the sampler; a sampled one goes with its group, and its span lasts as long as
    /// that and says in `group.tokens` how many went together.
    pub fn create_batch(&mut self, specs: &[TokenSpec], report: &mut BatchReport) {
        report.begin();
        self.layers.admission.refresh();
        let mut index = 0;
        while index < specs.len() {
            let group = &specs[index..specs.len().min(index + GROUP)];
            let first = self.layers.sampler.gate(group.len() as u64);
            let picked = first.map(|first| self.pick(first, group.len()));
            let began = self.tick.unix_ns();
            self.create_group(group, index, report);
            self.note_if_slow(began);
            if let Some(picked) = picked {
                self.tell(&picked, group, index, report);
            }
            index += group.len();
        }
    }

    #[cold]
    fn create_sampled(&mut self, sampled: Sampled, spec: &TokenSpec) -> Result<Made, CreateError> {
        let outcome = self.create_one(spec);
        let attributes = match &outcome {
            Ok(made) => attributes([("token.id", Value::U64(u64::from(made.id.raw())))]),
            Err(why) => attributes([("error.type", Value::Str(reason(why)))]),
        };
        let histogram = self.metrics.map(|ids| ids.operation_ns);
        self.layers.end(sampled, outcome.is_err(), histogram, attributes);
        outcome
    }

    #[inline(always)]
    fn create_one(&mut self, spec: &TokenSpec) -> Result<Made, CreateError> {
        if let Err(why) = self.check(spec) {
            return Err(self.refused(why));
        }
        // An id of the caller's own may be of another domain than the lane's.
        let admitted = match spec.id() {
            None => self.layers.admission.admit(1),
            Some(id) => self.layers.admission.admit_in(id.domain(), 1),
        };
        if let Err(refusal) = admitted {
            return Err(self.refused(Box::new(refusal).into()));
        }
        match self.place_one(spec) {
            Ok(made) => Ok(made),
            Err(why) => {
                match spec.id() {
                    None => self.layers.admission.release(1),
                    Some(id) => self.layers.admission.release_in(id.domain(), 1),
                }
                Err(self.refused(why))
            }
        }
    }

    /// Soundness and constitution, before admission, so that what is refused here never takes
    /// room from another lane.
    #[inline(always)]
    fn check(&mut self, spec: &TokenSpec) -> Result<(), CreateError> {
        let weight = spec.draft().weight;
        if !weight.is_finite() {
            return Err(TokenError::WeightNotFinite(weight).into());
        }
        Ok(self.layers.admission.check(spec.draft())?)
    }

    /// After it was admitted.
    #[inline(always)]
    fn place_one(&mut self, spec: &TokenSpec) -> Result<Made, CreateError> {
        let run = match spec.id() {
            None => self.writer.reserve(1)?,
            Some(id) => self.writer.reserve_at(id)?,
        };
        let token = spec.at(run.first(), self.tick.unix_secs());
        let mut ticket = Ticket::default();
        if !self.layers.wal.is_off() && !self.journal.skip(1) {
            let logged =
                self.journal.created(&mut self.layers.wal, std::slice::from_ref(&token), run.generation());
            if let Err((_, why)) = logged {
                drop(run);
                return Err(why.into());
            }
            ticket = self.journal.last;
        }
        run.publish(1, |_| token);
        let id = token.id();
        self.made(id.slot(), 1);
        Ok(Made { id, ticket })
    }

    /// Makes a group of at most [`GROUP`] specs.
    #[inline]
    fn create_group(&mut self, group: &[TokenSpec], index: usize, report: &mut BatchReport) {
        let mut at = 0;
        while at < group.len() {
            let (plain, stop) = self.plain_prefix(&group[at..]);
            self.admit_and_place(&group[at..at + plain], index + at, report);
            at += plain;
            match stop {
                None => {}
                Some(Stop::OwnId) => {
                    let outcome = self.create_one(&group[at]);
                    note(report, index + at, outcome);
                    at += 1;
                }
                Some(Stop::Refused(why)) => {
                    report.refuse(index + at, self.refused(why));
                    at += 1;
                }
            }
        }
    }

    /// How many specs from the first on are sound, allowed and without an id of their own, and
    /// what the next one is. Each spec is checked once, since a check may count.
    #[inline(always)]
    fn plain_prefix(&mut self, group: &[TokenSpec]) -> (usize, Option<Stop>) {
        // Without a branch for each spec: this look is all that a lane without layers adds to a store.
        let sound = |spec: &TokenSpec| spec.id().is_none() & spec.draft().weight.is_finite();
        if group.iter().fold(true, |all, spec| all & sound(spec)) {
            for (i, spec) in group.iter().enumerate() {
                if let Err(why) = self.layers.admission.check(spec.draft()) {
                    return (i, Some(Stop::Refused(why.into())));
                }
            }
            return (group.len(), None);
        }
        for (i, spec) in group.iter().enumerate() {
            if spec.id().is_some() {
                return (i, Some(Stop::OwnId));
            }
            if let Err(why) = self.check(spec) {
                return (i, Some(Stop::Refused(why)));
            }
        }
        (group.len(), None)
    }

    /// Specs that were checked, all or one by one.
    #[inline]
    fn admit_and_place(&mut self, specs: &[TokenSpec], index: usize, report: &mut BatchReport) {
        if specs.is_empty() {
            return;
        }
        if self.layers.admission.admit(specs.len() as u64).is_ok() {
            self.place_group(specs, index, report);
        } else {
            self.one_by_one(specs, index, report);
        }
    }

    /// Near a limit: as many of the checked specs as there is room for.
    #[cold]
    fn one_by_one(&mut self, specs: &[TokenSpec], index: usize, report: &mut BatchReport) {
        for (i, spec) in specs.iter().enumerate() {
            match self.layers.admission.admit(1) {
                Ok(()) => self.place_group(std::slice::from_ref(spec), index + i, report),
                Err(refusal) => report.refuse(index + i, self.refused(Box::new(refusal).into())),
            }
        }
    }

    /// Specs that were checked and admitted.
    #[inline]
    fn place_group(&mut self, group: &[TokenSpec], index: usize, report: &mut BatchReport) {
        let now = self.tick.unix_secs();
        let mut at = 0;
        while at < group.len() {
            #[expect(clippy::cast_possible_truncation, reason = "a group is small")]
            let left = (group.len() - at) as u32;
            if self.writer.knows_freed()
                && let Some((made, failure)) = self.fill_freed(&group[at..], index + at, now, report)
            {
                at += made;
                if let Some(why) = failure {
                    self.layers.admission.release(1);
                    report.refuse(index + at, self.refused(why.into()));
                    at += 1;
                }
                continue;
            }
            let (journal, wal, scratch) = (&mut self.journal, &mut self.layers.wal, &mut *self.scratch);
            match self.writer.reserve(left).map(|run| place(journal, wal, scratch, run, &group[at..], now)) {
                Ok(Placed { first_slot, len, ticket, failure }) => {
                    report.add(index + at, first_slot, len, ticket);
                    self.made(first_slot, len);
                    at += len as usize;
                    if let Some(why) = failure {
                        self.layers.admission.release(1);
                        report.refuse(index + at, self.refused(why.into()));
                        at += 1;
                    }
                }
                Err(why) => {
                    self.layers.admission.release(left.into());
                    report.refuse(index + at, self.refused(why.into()));
                    // Room may appear at any time, so each of the others is tried.
                    return self.one_by_one(&group[at + 1..], index + at + 1, report);
                }
            }
        }
    }

    #[inline(always)]
    fn made(&mut self, first_slot: u32, n: u32) {
        if n == 0 {
            return;
        }
        self.count(|ids| ids.created, u64::from(n));
        self.count_logged();
        let event = Event::operation(EventKind::TOKENS_CREATED, u64::from(first_slot), u64::from(n));
        self.layers.events.record(event);
    }

    /// Two reads of the tick, so that what was slow is known though nobody sampled it.
    #[inline(always)]
    fn note_if_slow(&mut self, began_ns: u64) {
        let now_ns = self.tick.unix_ns();
        // The tick never goes back.
        if now_ns.wrapping_sub(began_ns) >= self.slow_ns {
            self.slow(began_ns, now_ns);
        }
    }

    #[cold]
    #[inline(never)]
    fn slow(&mut self, began_ns: u64, now_ns: u64) {
        self.layers.events.record(Event::rare(EventKind::SLOW_OPERATION, began_ns, now_ns));
    }

    #[inline(always)]
    fn count(&mut self, id: impl FnOnce(&LaneMetrics) -> crate::metrics::CounterId, n: u64) {
        if let Some(ids) = &self.metrics {
            self.layers.metrics.add(id(ids), n);
        }
    }

    #[inline(always)]
    fn count_logged(&mut self) {
        if self.journal.logged > 0 {
            let n = std::mem::take(&mut self.journal.logged);
            self.count(|ids| ids.logged, n);
        }
        if self.journal.unlogged > 0 {
            let n = std::mem::take(&mut self.journal.unlogged);
            self.count(|ids| ids.unlogged, n);
            self.layers.events.record(Event::rare(EventKind::WAL_FAILED, n, 0));
        }
    }

    /// Counts and records a refusal.
    #[cold]
    fn refused(&mut self, why: CreateError) -> CreateError {
        match &why {
            CreateError::Unsound(_) => self.count(|ids| ids.refused_invalid, 1),
            CreateError::Forbidden(violation) => {
                self.count(|ids| ids.refused_invalid, 1);
                self.layers.events.record(Event::rare(EventKind::VALIDATION_FAILED, 0, violation.version));
            }
            // The guardian records it, with what it knows.
            CreateError::Quota(_) => self.count(|ids| ids.refused_quota, 1),
            CreateError::Store(why) => {
                self.count(|ids| ids.refused_store, 1);
                if let StoreError::Full { domain, capacity } = why {
                    let event = Event::rare(EventKind::STORE_FULL, (*domain).into(), (*capacity).into());
                    self.layers.events.record(event);
                }
            }
            CreateError::Log(_) => {
                self.count(|ids| ids.refused_log, 1);
                self.layers.events.record(Event::rare(EventKind::WAL_FAILED, 1, 0));
            }
        }
        why
    }
}

/// What became of a run: `len` tokens from `first_slot` on were made; `failure` is why the log did
/// not take the next one.
struct Placed {
    first_slot: u32,
    len: u32,
    ticket: Ticket,
    failure: Option<AppendError>,
}

/// Logs what is due of the specs that fit a run, and publishes what was logged or not due.
#[inline(always)]
fn place<W: WalLane>(
    journal: &mut Journal,
    wal: &mut W,
    scratch: &mut [Token; GROUP],
    run: Run<'_>,
    specs: &[TokenSpec],
    now: u32,
) -> Placed {
    let (first_slot, len) = (run.first(), run.len());
    if wal.is_off() || journal.skip(len) {
        publish_specs(run, &specs[..len as usize], now);
        return Placed { first_slot, len, ticket: Ticket::default(), failure: None };
    }
    let tokens = &mut scratch[..len as usize];
    for ((slot, spec), token) in (first_slot..).zip(specs).zip(&mut *tokens) {
        *token = spec.at(slot, now);
    }
    let (len, failure) = match journal.created(wal, tokens, run.generation()) {
        Ok(()) => (len, None),
        #[expect(clippy::cast_possible_truncation, reason = "less than a group")]
        Err((taken, why)) => (taken as u32, Some(why)),
    };
    run.publish(len, |i| tokens[i as usize]);
    Placed { first_slot, len, ticket: journal.last, failure }
}

/// By itself, so that its loop has the registers to hold the eight words of a token.
#[inline(never)]
fn publish_specs(run: Run<'_>, specs: &[TokenSpec], now: u32) {
    let (first, len) = (run.first(), run.len());
    run.publish(len, |i| specs[i as usize].at(first + i, now));
}

fn note(report: &mut BatchReport, index: usize, outcome: Result<Made, CreateError>) {
    match outcome {
        Ok(made) => report.add(index, made.id.slot(), 1, made.ticket),
        Err(why) => report.refuse(index, why),
    }
}

/// Why a spec can't share its group's way.
enum Stop {
    OwnId,
    Refused(CreateError),
}

const fn reason(why: &CreateError) -> &'static str {
    match why {
        CreateError::Unsound(_) => "unsound",
        CreateError::Forbidden(_) => "forbidden",
        CreateError::Quota(_) => "quota",
        CreateError::Store(_) => "store",
        CreateError::Log(_) => "log",
    }
}

fn attributes<const N: usize>(
    given: [(&'static str, Value); N],
) -> [Option<(&'static str, Value)>; MAX_ATTRIBUTES] {
    let mut all = [None; MAX_ATTRIBUTES];
    for (cell, attribute) in all.iter_mut().zip(given) {
        *cell = Some(attribute);
    }
    all
}

#[cfg(all(test, not(loom)))]
mod tests;
