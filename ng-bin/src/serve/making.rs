//! A body's rows to tokens, on a lane: what of it was made, what was not and why.
//!
//! The state of a body travels from piece to piece, and so from lane to lane. All of it is bounded:
//! counts, the first refusals, the first stretches of ids.

use std::collections::BTreeMap;

use hyper::StatusCode;
use hyper::body::Bytes;
use ng_core::clock::stamp_unix_ns;
use ng_core::lane::{CreateError, Sampled};
use ng_core::sampling::SpanContext;
use ng_core::spans::{MAX_ATTRIBUTES, SpanLane as _, Value};
use ng_core::store::StoreError;
use ng_core::wal::{AppendError, Ticket};
use ng_core::{TokenId, TokenSpec};
use serde::Serialize;

use super::answer::Problem;
use super::lanes::Bench;
use crate::ingest::{BadRow, Column, Place, RowSink, Rows};

/// Specs handed to the lane at once: 64 KiB, which the second-level cache holds.
const BATCH: usize = 1_024;

/// Stretches of ids that an answer lists.
const MOST_IDS: usize = 1_000;

/// Steps of a sampled request that have spans of their own; what comes later is added to the last one.
const MOST_STEPS: usize = 64;

/// A part of a sampled request.
#[derive(Debug)]
struct Step {
    name: &'static str,
    start_ns: u64,
    end_ns: u64,
    /// Pieces of the body that it made tokens of.
    pieces: u64,
}

/// A row that was not made.
#[derive(Debug, Serialize)]
pub(super) struct RefusedRow {
    /// Its first line, counted from 1; in a binary body `null`.
    line: Option<u64>,
    /// In a binary body its first byte, counted from 0; `null` otherwise.
    byte: Option<u64>,
    /// What it is counted under.
    reason: &'static str,
    /// The faulty column's or key's name, if one was at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<String>,
    /// For people.
    detail: String,
}

/// Tokens with ids in a row.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct IdRun {
    /// The line of the first, or its byte in a binary body.
    at: u64,
    /// The first id; the others follow.
    first: u32,
    /// How many.
    count: u32,
}

/// What became of a body's rows. `read = made + refused`, unless the log stopped it.
#[derive(Debug, Default, Serialize)]
pub(super) struct Tally {
    pub(super) read: u64,
    pub(super) made: u64,
    pub(super) refused: u64,
    pub(super) refused_by: BTreeMap<&'static str, u64>,
    refusals: Vec<RefusedRow>,
    refusals_left_off: u64,
    ids: Vec<IdRun>,
    /// Tokens whose ids are not listed.
    ids_left_off: u64,
    #[serde(skip)]
    pub(super) ticket: Ticket,
    /// Why the log took no more.
    #[serde(skip)]
    pub(super) stopped: Option<String>,
}

/// How a body is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    /// Whether the lane chooses every id, whatever the rows say.
    pub(super) any_ids: bool,
    /// Whether places are bytes.
    pub(super) binary: bool,
    pub(super) max_refusals: usize,
}

/// A body under way.
pub(super) struct Making {
    rows: Rows,
    manner: Manner,
    context: Option<SpanContext>,
    begun: bool,
    sampled: Option<Sampled>,
    /// What a sampled request was at, in order.
    steps: Vec<Step>,
    pub(super) tally: Tally,
    /// Why the rows can't be read on: the header of a CSV.
    pub(super) broken: Option<Problem>,
}

impl Making {
    pub(super) fn new(rows: Rows, manner: Manner, context: Option<SpanContext>) -> Self {
        let tally = Tally::default();
        Self { rows, manner, context, begun: false, sampled: None, steps: Vec::new(), tally, broken: None }
    }

    pub(super) fn unseen(&self) -> Vec<String> {
        self.rows.unseen()
    }

    /// Whether there is no use in further pieces.
    pub(super) const fn is_over(&self) -> bool {
        self.broken.is_some() || self.tally.stopped.is_some()
    }

    /// Whether a span waits for its end.
    pub(super) const fn is_sampled(&self) -> bool {
        self.sampled.is_some()
    }

    /// Notes that the request waited from `start_ns` until now for its records to be durable.
    pub(super) fn waited(&mut self, start_ns: u64) {
        self.steps.push(Step { name: "log.wait_durable", start_ns, end_ns: stamp_unix_ns(), pieces: 0 });
    }

    /// The next piece of the body, on a lane's own thread.
    pub(super) fn piece(&mut self, bench: &mut Bench, pieces: &[Bytes], ended: bool) {
        if !std::mem::replace(&mut self.begun, true) {
            let layers = bench.lane.layers();
            self.sampled = match &self.context {
                None => layers.begin("http.post_tokens"),
                Some(context) => layers.begin_in("http.post_tokens", context),
            };
        }
        if self.is_over() {
            return;
        }
        if self.sampled.is_none() {
            self.rows(bench, pieces, ended);
        } else {
            let start_ns = stamp_unix_ns();
            self.rows(bench, pieces, ended);
            self.made_from(start_ns);
        }
    }

    /// Notes that a piece was at work on a lane from `start_ns` until now.
    fn made_from(&mut self, start_ns: u64) {
        let end_ns = stamp_unix_ns();
        let full = self.steps.len() >= MOST_STEPS;
        match self.steps.last_mut().filter(|_| full) {
            Some(last) => {
                last.end_ns = end_ns;
                last.pieces += 1;
            }
            None => self.steps.push(Step { name: "tokens.make", start_ns, end_ns, pieces: 1 }),
        }
    }

    /// Ends the span, if there is one, with what was done within it as its children.
    pub(super) fn finish(&mut self, bench: &mut Bench) {
        let Some(sampled) = self.sampled.take() else { return };
        let failed = self.is_over() || (self.tally.made == 0 && self.tally.refused > 0);
        let mut attributes = [None; MAX_ATTRIBUTES];
        attributes[0] = Some(("http.request.method", Value::Str("POST")));
        attributes[1] = Some(("http.route", Value::Str("/v1/tokens")));
        attributes[2] = Some(("tokens.made", Value::U64(self.tally.made)));
        attributes[3] = Some(("tokens.refused", Value::U64(self.tally.refused)));
        let layers = bench.lane.layers();
        let Some(ids) = layers.end(sampled, failed, None, attributes) else { return };
        for step in self.steps.drain(..) {
            let mut span = sampled.step(ids, step.name, step.start_ns, step.end_ns);
            if step.pieces > 0 {
                span.attributes[0] = Some(("http.body.pieces", Value::U64(step.pieces)));
            }
            layers.spans.finish(&span);
        }
    }

    fn rows(&mut self, bench: &mut Bench, pieces: &[Bytes], ended: bool) {
        let mut taker = Taker { bench, tally: &mut self.tally, manner: self.manner };
        let last = pieces.len().saturating_sub(1);
        let mut result = Ok(());
        for (i, bytes) in pieces.iter().enumerate() {
            result = self.rows.push(bytes, ended && i == last, &mut taker);
            if result.is_err() || taker.tally.stopped.is_some() {
                break;
            }
        }
        if ended && pieces.is_empty() {
            result = self.rows.push(&[], true, &mut taker);
        }
        taker.make();
        if let Err(error) = result {
            let message = error.to_string();
            self.broken = Some(Problem::new(StatusCode::BAD_REQUEST, "bad_header", message));
        }
    }
}

/// Takes rows, and makes tokens of them a batch at a time.
struct Taker<'a> {
    bench: &'a mut Bench,
    tally: &'a mut Tally,
    manner: Manner,
}

impl RowSink for Taker<'_> {
    #[inline]
    fn row(&mut self, place: u64, spec: TokenSpec) {
        let spec = if self.manner.any_ids { TokenSpec::of_any(*spec.draft()) } else { spec };
        self.bench.specs.push(spec);
        self.bench.places.push(place);
        if self.bench.specs.len() == BATCH {
            self.make();
        }
    }

    #[cold]
    fn bad(&mut self, row: BadRow) {
        // In the order of the body.
        self.make();
        self.tally.read += 1;
        let (Place::Line(at) | Place::Byte(at)) = row.place;
        let column = row.column.as_ref().map(|Column { name, .. }| name.clone());
        let detail = match row.column {
            Some(_) => format!("{:?} {}", row.value, row.reason),
            None => row.reason.to_string(),
        };
        self.tally.refuse(self.manner, at, "malformed", column, detail);
    }
}

impl Taker<'_> {
    fn make(&mut self) {
        let Bench { lane, specs, places, report } = &mut *self.bench;
        if specs.is_empty() {
            return;
        }
        if self.tally.stopped.is_none() {
            lane.create_batch(specs, report);
            self.tally.read += specs.len() as u64;
            self.tally.made += report.made() as u64;
            self.tally.ticket = self.tally.ticket.max(report.ticket());
            for run in report.runs() {
                let of = run.index..run.index + run.len as usize;
                self.tally.list(run.first_slot, &specs[of.clone()], &places[of]);
            }
            for refused in report.refused() {
                let (reason, stops) = reason(&refused.why);
                if stops {
                    self.tally.stopped.get_or_insert_with(|| refused.why.to_string());
                }
                let detail = refused.why.to_string();
                self.tally.refuse(self.manner, places[refused.index], reason, None, detail);
            }
        }
        specs.clear();
        places.clear();
    }
}

impl Tally {
    fn refuse(
        &mut self,
        manner: Manner,
        at: u64,
        reason: &'static str,
        column: Option<String>,
        detail: String,
    ) {
        self.refused += 1;
        *self.refused_by.entry(reason).or_default() += 1;
        if self.refusals.len() >= manner.max_refusals {
            self.refusals_left_off += 1;
            return;
        }
        let (line, byte) = if manner.binary { (None, Some(at)) } else { (Some(at), None) };
        self.refusals.push(RefusedRow { line, byte, reason, column, detail });
    }

    /// Lists the ids of tokens in a row of slots; those of one entity type are numbers in a row.
    fn list(&mut self, first_slot: u32, specs: &[TokenSpec], places: &[u64]) {
        let mut rest = specs;
        let mut done = 0;
        while let Some(first) = rest.first() {
            let entity = first.entity();
            let count = rest.iter().position(|spec| spec.entity() != entity).unwrap_or(rest.len());
            #[expect(clippy::cast_possible_truncation, reason = "a batch is small")]
            let (offset, len) = (done as u32, count as u32);
            let id = TokenId::from_slot(first_slot + offset, entity).raw();
            self.note(IdRun { at: places[done], first: id, count: len });
            done += count;
            rest = &rest[count..];
        }
    }

    fn note(&mut self, run: IdRun) {
        if let Some(last) = self.ids.last_mut()
            && self.ids_left_off == 0
            && last.first.checked_add(last.count) == Some(run.first)
        {
            last.count += run.count;
        } else if self.ids.len() < MOST_IDS {
            self.ids.push(run);
        } else {
            self.ids_left_off += u64::from(run.count);
        }
    }
}

/// What a refusal is counted under, and whether everything after it would be refused too.
const fn reason(why: &CreateError) -> (&'static str, bool) {
    match why {
        CreateError::Unsound(_) => ("unsound", false),
        CreateError::Forbidden(_) => ("constitution", false),
        CreateError::Quota(_) => ("quota", false),
        CreateError::Store(StoreError::Taken { .. }) => ("taken", false),
        CreateError::Store(_) => ("store", false),
        CreateError::Log(AppendError::Poisoned(_) | AppendError::Closed) => ("log", true),
        CreateError::Log(_) => ("log", false),
        _ => ("other", false),
    }
}
