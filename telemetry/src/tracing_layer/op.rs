//! The root guard for lanes: a span of an operation at the price of a countdown, without `tracing`.
//!
//! `tracing` macros within it follow its decision.

use std::{
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use ng_core::{
    clock::stamp_unix_ns,
    sampling::Reason,
    spans::{MAX_ATTRIBUTES, SpanId, TraceId, Value},
};
use rand::rngs::SmallRng;

use super::thread::{self, Hot, Mode, hot};
use crate::{
    Sampler, SpanRing, SpanWriter,
    owned::OwnedCell,
    sampling::{
        Operation, Shared, Tally,
        countdown::Countdown,
        counts::{Block, CELLS},
    },
    spans::Line,
};

/// Begins an operation on an [`Ops`], and gives the [`Span`] that ends it when it is dropped.
///
/// ```
/// use std::sync::Arc;
/// use ng_telemetry::{Sampler, SpanOptions, SpanWriter, op, spans::Discard, tracing_layer::Ops};
///
/// let writer = SpanWriter::start(SpanOptions::new(Discard))?;
/// let sampler = Arc::new(Sampler::new(0.01, None)?);
/// let mut ops = Ops::new(sampler, &writer);
/// for price in 0..1_000_u64 {
///     let mut order = op!(ops, "order.match");
///     order.set("price", || price.into());
///     let _book = op!(order, "order.book");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[macro_export]
macro_rules! op {
    ($ops:expr, $name:literal) => {{
        static SITE: $crate::tracing_layer::OpSite = $crate::tracing_layer::OpSite::new($name);
        $ops.begin(&SITE)
    }};
}

/// The place of an [`op!`](crate::op) in the program.
#[derive(Debug)]
pub struct OpSite {
    name: &'static str,
    /// 0 until it is first met.
    number: AtomicU32,
}

static SITES: AtomicU32 = AtomicU32::new(1);

impl OpSite {
    /// What [`op!`](crate::op) makes.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name, number: AtomicU32::new(0) }
    }

    #[cold]
    fn number(&self) -> usize {
        let new = SITES.fetch_add(1, Ordering::Relaxed);
        let known = self.number.compare_exchange(0, new, Ordering::Relaxed, Ordering::Relaxed);
        known.map_or_else(|known| known, |_| new) as usize
    }
}

#[derive(Debug)]
struct Place {
    /// Where its operations are counted.
    cell: &'static OwnedCell,
    countdown: Countdown,
    version: u64,
    operation: Option<&'static Operation>,
}

/// One thread's operations.
#[derive(Debug)]
pub struct Ops {
    places: Vec<Place>,
    shared: Arc<Shared>,
    /// Whoever steers the rates is at work as long as this is.
    _sampler: Arc<Sampler>,
    blocks: Vec<&'static Block>,
    random: SmallRng,
    tally: Arc<Tally>,
    spans: SpanRing,
    /// Sampled operations under way, the innermost last among the first `depth`; kept, so that none is
    /// made anew.
    open: Vec<Open>,
    depth: usize,
}

/// A sampled operation under way.
#[derive(Debug)]
struct Open {
    line: Line,
    /// Of its scope.
    key: u64,
    /// How many of the attributes are in use.
    count: usize,
    attributes: [(&'static str, Value); MAX_ATTRIBUTES],
}

impl Ops {
    /// Operations that are decided on by `sampler`, and whose spans go to `writer`.
    #[must_use]
    pub fn new(sampler: Arc<Sampler>, writer: &SpanWriter) -> Self {
        let (random, shared) = (sampler.random(), Arc::clone(sampler.shared()));
        let (tally, spans) = (shared.tally(), writer.open_lane());
        let (places, blocks, open) = (Vec::new(), Vec::new(), Vec::new());
        Self { places, shared, _sampler: sampler, blocks, random, tally, spans, open, depth: 0 }
    }

    /// Begins an operation: what [`op!`](crate::op) calls.
    #[inline(always)]
    pub fn begin(&mut self, site: &'static OpSite) -> Span<'_> {
        let mode = hot(Hot::mode);
        let number = site.number.load(Ordering::Relaxed) as usize;
        let version = self.shared.version();
        if mode == Mode::Outside
            && let Some(place) = self.places.get(number)
            && place.version == version
            && place.countdown.pass(place.cell)
        {
            hot(|hot| hot.replace(Mode::Unsampled));
            return Span { ops: self, depth: 0, mode, _not_send: PhantomData };
        }
        let depth = self.begin_slowly(site, mode);
        Span { ops: self, depth, mode, _not_send: PhantomData }
    }

    /// Its place among those that are open, from 1 on; 0 if it is not sampled.
    #[cold]
    #[inline(never)]
    fn begin_slowly(&mut self, site: &'static OpSite, mode: Mode) -> usize {
        let decided = match mode {
            Mode::Unsampled => None,
            Mode::Outside => self.draw(site).map(|(reason, probability)| {
                (self.spans.ids().trace(probability), None, reason, probability)
            }),
            Mode::Sampled => thread::innermost()
                .flatten()
                .map(|parent| (parent.trace, parent.span, parent.reason, parent.probability)),
        };
        let Some((trace, parent, reason, probability)) = decided else {
            hot(|hot| hot.replace(Mode::Unsampled));
            return 0;
        };
        let id = self.spans.ids().span();
        let key = hot(|hot| hot.enter_sampled((trace, id), (reason, probability)));
        let start_ns = stamp_unix_ns();
        let (end_ns, failed, name) = (start_ns, false, site.name);
        let line = Line { trace, id, parent, name, start_ns, end_ns, failed, reason, probability };
        match self.open.get_mut(self.depth) {
            Some(open) => (open.line, open.key, open.count) = (line, key, 0),
            None => {
                let attributes = [("", Value::Bool(false)); MAX_ATTRIBUTES];
                self.open.push(Open { line, key, count: 0, attributes });
            }
        }
        self.depth += 1;
        self.depth
    }

    fn draw(&mut self, site: &'static OpSite) -> Option<(Reason, f64)> {
        let number = match site.number.load(Ordering::Relaxed) {
            0 => site.number(),
            known => known as usize,
        };
        while self.places.len() <= number {
            let at = self.places.len();
            if at.is_multiple_of(CELLS) {
                self.blocks.push(self.shared.counts.take());
            }
            let cell = self.blocks[at / CELLS].cell(at);
            self.places.push(Place { cell, countdown: Countdown::NEVER, version: 0, operation: None });
        }
        let place = &mut self.places[number];
        let operation = *place.operation.get_or_insert_with(|| self.shared.operation(site.name));
        if place.version != self.shared.version() {
            if place.version != 0 {
                operation.passed(place.countdown.passed(place.cell.own()));
            }
            place.version = self.shared.version();
            place.countdown.follow(operation.rate.bits(), place.cell.own(), &mut self.random);
            if place.countdown.pass(place.cell) {
                return None;
            }
        }
        let probability = place.countdown.rate();
        let passed = place.countdown.end(place.cell, &mut self.random)?;
        self.tally.sampled(operation.reason());
        operation.passed(passed);
        Some((operation.reason(), probability))
    }

    #[cold]
    #[inline(never)]
    fn end(&mut self, depth: usize) {
        // One that was leaked is no longer under way.
        self.depth = depth - 1;
        let Some(open) = self.open.get_mut(self.depth) else { return };
        thread::leave(open.key);
        open.line.end_ns = stamp_unix_ns().max(open.line.start_ns);
        if open.line.failed {
            self.tally.failed();
        }
        self.spans.write(open.line, open.attributes.iter().take(open.count).copied());
    }
}

impl Drop for Ops {
    fn drop(&mut self) {
        for place in &self.places {
            if let Some(operation) = place.operation {
                operation.passed(place.countdown.passed(place.cell.own()));
            }
        }
        for block in self.blocks.drain(..) {
            self.shared.counts.give_back(block);
        }
        self.shared.roster.leave(&self.tally);
    }
}

/// An operation under way; it ends when this is dropped. An unsampled one takes what is said of it
/// and keeps nothing.
#[derive(Debug)]
pub struct Span<'a> {
    ops: &'a mut Ops,
    /// See [`Ops::begin_slowly`].
    depth: usize,
    mode: Mode,
    /// It must end where it began.
    _not_send: PhantomData<*const ()>,
}

impl Span<'_> {
    /// Whether it is sampled.
    #[must_use]
    #[inline]
    pub const fn is_sampled(&self) -> bool {
        self.depth > 0
    }

    fn open(&mut self) -> Option<&mut Open> {
        self.ops.open.get_mut(self.depth.checked_sub(1)?)
    }

    /// Its ids, if it is sampled.
    #[must_use]
    pub fn ids(&self) -> Option<(TraceId, SpanId)> {
        let open = self.ops.open.get(self.depth.checked_sub(1)?)?;
        Some((open.line.trace, open.line.id))
    }

    /// Adds an attribute; `value` is asked for only if the operation is sampled. The seventh and
    /// further ones are left out ([`MAX_ATTRIBUTES`]).
    #[inline]
    pub fn set(&mut self, key: &'static str, value: impl FnOnce() -> OpValue) {
        if let Some(open) = self.open()
            && let Some(slot) = open.attributes.get_mut(open.count)
        {
            *slot = (key, value().0);
            open.count += 1;
        }
    }

    /// It has failed.
    #[inline]
    pub fn fail(&mut self) {
        if let Some(open) = self.open() {
            open.line.failed = true;
        }
    }

    /// Begins an operation within this one: what [`op!`](crate::op) calls.
    #[inline(always)]
    pub fn begin(&mut self, site: &'static OpSite) -> Span<'_> {
        self.ops.begin(site)
    }
}

impl Drop for Span<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        match self.depth {
            0 => drop(hot(|hot| hot.replace(self.mode))),
            depth => self.ops.end(depth),
        }
    }
}

/// A value of [`Span::set`], from a number, a truth or a fixed text.
#[derive(Debug, Clone, Copy)]
pub struct OpValue(Value);

impl From<u64> for OpValue {
    fn from(n: u64) -> Self {
        Self(Value::U64(n))
    }
}

impl From<f64> for OpValue {
    fn from(n: f64) -> Self {
        Self(Value::F64(n))
    }
}

impl From<bool> for OpValue {
    fn from(truth: bool) -> Self {
        Self(Value::Bool(truth))
    }
}

impl From<&'static str> for OpValue {
    fn from(text: &'static str) -> Self {
        Self(Value::Str(text))
    }
}
