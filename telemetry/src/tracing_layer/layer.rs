//! The layer: what a subscriber asks of it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use ng_core::{clock::stamp_unix_ns, spans::Value};
use rand::RngExt as _;
use tracing::{
    Event, Metadata, Subscriber,
    span::{Attributes, Id, Record},
    subscriber::Interest,
};
use tracing_subscriber::{
    Layer,
    layer::Context,
    registry::{LookupSpan, SpanRef},
};

use super::{
    open::{Gather, More, NAMESPACE, Open, SpanLimits, closed},
    sites::{Kind, Site, Sites, key},
    slots::{Begun, Seen, Slots},
    thread::{self, Hot, Mode, Pending, Place, Sampled, Scope, hot, place_of, stamp},
};
use crate::{
    Sampler, SpanWriter,
    sampling::{Shared, countdown::Countdown},
    spans::{Line, SpanIntake, SpanRecord},
};

/// Layers are told apart by number, since a thread may see several.
static LAYERS: AtomicU64 = AtomicU64::new(1);

/// The global layer. See the [module](super).
///
/// ```
/// use std::sync::Arc;
/// use ng_core::spans::SpanSink as _;
/// use ng_telemetry::{Sampler, SpanOptions, SpanWriter, spans::Memory, tracing_layer::SamplingLayer};
/// use tracing_subscriber::prelude::*;
///
/// let kept = Memory::default();
/// let writer = SpanWriter::start(SpanOptions::new(kept.clone()))?;
/// let sampler = Arc::new(Sampler::new(1.0, None)?);
/// let subscriber = tracing_subscriber::registry().with(SamplingLayer::new(sampler, &writer));
/// tracing::subscriber::with_default(subscriber, || {
///     for n in 0..2 {
///         // The first one of a callsite shows the layer what is within it, and is not exported.
///         let _request = tracing::info_span!("request", n).entered();
///         let _parse = tracing::info_span!("parse").entered();
///     }
/// });
/// writer.flush(std::time::Duration::from_secs(5));
/// let names: Vec<String> = kept.spans().iter().map(|span| span.name().to_owned()).collect();
/// assert_eq!(names, ["parse", "request"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct SamplingLayer {
    number: u64,
    /// What its stamps begin with.
    mark: u64,
    shared: Arc<Shared>,
    sampler: Arc<Sampler>,
    sites: Sites,
    slots: Slots,
    intake: SpanIntake,
    limits: SpanLimits,
}

impl SamplingLayer {
    /// A layer that decides by `sampler` and hands spans to `writer`.
    #[must_use]
    pub fn new(sampler: Arc<Sampler>, writer: &SpanWriter) -> Self {
        let number = LAYERS.fetch_add(1, Ordering::Relaxed);
        Self {
            number,
            mark: stamp(number, 0),
            shared: Arc::clone(sampler.shared()),
            sampler,
            sites: Sites::default(),
            slots: Slots::default(),
            intake: writer.intake(),
            limits: SpanLimits::default(),
        }
    }

    /// With other limits.
    #[must_use]
    pub const fn with_limits(mut self, limits: SpanLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Changes with the layer and with each change of a rate.
    #[inline(always)]
    fn stamp(&self) -> u64 {
        self.mark ^ self.shared.version()
    }

    /// Whether a span is made at all. Neither generic nor inlined, as what it calls: so a thread's own
    /// memory is reached by one instruction and not by a function of another crate.
    #[inline(never)]
    fn makes(&self, metadata: &Metadata<'_>) -> bool {
        match hot(Hot::mode) {
            Mode::Outside => hot(|hot| self.draw(hot, metadata)),
            Mode::Unsampled => {
                hot(|hot| self.within_unsampled(hot, metadata));
                false
            }
            Mode::Sampled => {
                hot(|hot| hot.pending.set(None));
                true
            }
        }
    }

    /// A span outside of all scopes.
    #[inline(never)]
    fn draw(&self, hot: &Hot, metadata: &Metadata<'_>) -> bool {
        let key = key(metadata);
        let place = hot.place(key);
        if place.key.get() == key && place.stamp.get() == self.stamp() && place.pass() {
            return false;
        }
        self.draw_slowly(hot, place, key, metadata)
    }

    #[cold]
    #[inline(never)]
    fn draw_slowly(&self, hot: &Hot, place: &Place, key: usize, metadata: &Metadata<'_>) -> bool {
        let shared = &self.shared;
        if place.key.get() != key || place.stamp.get() != self.stamp() {
            let site = self.look(place, key, metadata);
            if site.is_outside() {
                // It has no countdown yet: the next time it is looked up again.
                place.key.set(0);
                hot.pending.set(Some((key, Pending::Probe)));
                return true;
            }
        }
        let Some(site) = place.site.get() else { return false };
        let drawn = thread::cold(|cold| {
            let (lane, ids) = cold.lane(self.number, shared, || self.sampler.random());
            let mut countdown = place.countdown.get();
            let cell = place.cell.get().unwrap_or_else(|| {
                let child = site.kind() == Kind::Child;
                let cell = if child { lane.block.uncounted() } else { lane.block.cell(place_of(key)) };
                let rate = if child { 0.0_f64.to_bits() } else { site.operation.rate.bits() };
                place.cell.set(Some(cell));
                countdown.follow(rate, cell.own(), &mut lane.random);
                cell
            });
            let passes = countdown.pass(cell);
            let probability = countdown.rate();
            let passed = if passes { None } else { countdown.end(cell, &mut lane.random) };
            place.countdown.set(countdown);
            let Some(passed) = passed else { return false };
            let reason = site.operation.reason();
            site.operation.passed(passed);
            lane.tally.sampled(reason);
            let ids = (ids.trace(probability), ids.span());
            hot.pending.set(Some((key, Pending::Root { ids, decided: (reason, probability) })));
            true
        });
        if drawn != Some(true) {
            hot.pending.set(None);
        }
        drawn == Some(true)
    }

    /// Puts a callsite in its place.
    fn look(&self, place: &Place, key: usize, metadata: &Metadata<'_>) -> &'static Site {
        let site = self.sites.find(key, metadata, &self.shared);
        place.leave();
        place.key.set(key);
        place.stamp.set(self.stamp());
        place.site.set(Some(site));
        place.cell.set(None);
        place.countdown.set(Countdown::NEVER);
        site
    }

    /// Within an unsampled span: off, and known as a child from now on.
    #[inline(never)]
    fn within_unsampled(&self, hot: &Hot, metadata: &Metadata<'_>) {
        let key = key(metadata);
        let place = hot.place(key);
        if place.key.get() != key || place.stamp.get() != self.stamp() {
            self.learn(place, key, metadata);
        }
    }

    #[cold]
    #[inline(never)]
    fn learn(&self, place: &Place, key: usize, metadata: &Metadata<'_>) {
        let site = self.look(place, key, metadata);
        site.is_within(&self.shared);
        // Learning moves the version on: look at it as it is now.
        if site.kind() == Kind::Child {
            place.stamp.set(self.stamp());
        } else {
            place.key.set(0);
        }
    }

    /// A root that nobody has decided on: one with an explicit `parent: None` within a sampled span.
    fn lot(&self, site: &'static Site) -> Option<Pending> {
        let probability = f64::from_bits(site.operation.rate.bits());
        let reason = site.operation.reason();
        thread::cold(|cold| {
            let (lane, ids) = cold.lane(self.number, &self.shared, || self.sampler.random());
            lane.tally.passed(1);
            if lane.random.random::<f64>() >= probability {
                return None;
            }
            lane.tally.sampled(reason);
            Some(Pending::Root { ids: (ids.trace(probability), ids.span()), decided: (reason, probability) })
        })
        .flatten()
    }

    /// A callsite that this thread has at hand.
    #[inline(always)]
    fn at_hand(&self, key: usize) -> Option<&'static Site> {
        hot(|hot| {
            let place = hot.place(key);
            place.site.get().filter(|_| place.key.get() == key && place.stamp.get() == self.stamp())
        })
    }

    /// How a span begins, if it is sampled, outside of all others.
    #[inline]
    fn begin_root(&self, key: usize, site: &'static Site) -> Option<Begun> {
        let pending = hot(|hot| hot.pending.take()).filter(|(of, _)| *of == key).map(|(_, pending)| pending);
        match pending.or_else(|| self.lot(site))? {
            Pending::Probe => None,
            Pending::Root { ids, decided } => Some(Begun::new(key, ids, None, decided, stamp_unix_ns())),
        }
    }

    /// How one begins within another, if that one is sampled.
    #[inline]
    fn begin_child(&self, key: usize, site: &Site, parent: Option<&Sampled>) -> Option<Begun> {
        hot(|hot| hot.pending.set(None));
        site.is_within(&self.shared);
        let parent = parent?;
        let ids = (parent.trace, thread::cold(|cold| cold.ids.span())?);
        Some(Begun::new(key, ids, parent.span, (parent.reason, parent.probability), stamp_unix_ns()))
    }

    /// A span's scope; `None` if there is no such span.
    fn scope_of<S>(&self, id: &Id, context: &Context<'_, S>) -> Option<Scope>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let seen = self.slots.get(id.into_u64());
        if let Some(seen) = seen
            && !seen.has_more
        {
            return Some(Some(sampled(&seen, None)));
        }
        let span = context.span(id)?;
        let extensions = span.extensions();
        let open = extensions.get::<Open>();
        let state = open.and_then(|open| open.more.as_ref()?.state.clone());
        let seen = seen.or_else(|| open?.begun.as_ref().map(Begun::seen));
        Some(seen.map(|seen| sampled(&seen, state)))
    }

    /// Lets `with` say more of a span that is sampled: how many attributes it has, and what was said.
    fn say_more<S>(&self, span: &SpanRef<'_, S>, with: impl FnOnce(usize, &mut Option<Box<More>>))
    where
        S: for<'a> LookupSpan<'a>,
    {
        let mut extensions = span.extensions_mut();
        let slot = self.slots.say_more(span.id().into_u64());
        if slot.is_some() && extensions.get_mut::<Open>().is_none() {
            extensions.insert(Open::default());
        }
        if let Some(open) = extensions.get_mut::<Open>()
            && let Some(count) = slot.or_else(|| open.begun.as_ref().map(Begun::count))
        {
            with(count, &mut open.more);
        }
    }

    /// A sampled span has ended.
    #[inline(always)]
    fn finish(&self, begun: &Begun, more: Option<Box<More>>) {
        let end_ns = stamp_unix_ns().max(begun.start_ns);
        let site = self.at_hand(begun.key).or_else(|| self.sites.known(begun.key));
        // Whoever began it has looked the callsite up.
        let Some(site) = site else { return };
        if more.is_none() && self.offer(begun, site, end_ns) {
            return;
        }
        self.submit(closed(begun, site, end_ns, more));
    }

    /// Hands over a span that has no place in a ring.
    #[cold]
    #[inline(never)]
    fn submit(&self, record: Box<SpanRecord>) {
        if record.span.failed {
            thread::cold(|cold| {
                let (lane, _) = cold.lane(self.number, &self.shared, || self.sampler.random());
                lane.tally.failed();
            });
        }
        self.intake.submit(record);
    }

    /// Hands a span over by the thread's own ring, if it has room.
    #[inline]
    fn offer(&self, begun: &Begun, site: &'static Site, end_ns: u64) -> bool {
        let attributes = begun.attributes().map(|(field, value)| (site.field(field), value));
        // The ring takes as many as it has room for.
        let attributes = attributes.chain(std::iter::once((NAMESPACE, Value::Str(site.target()))));
        let line = Line {
            trace: begun.trace,
            id: begun.span,
            parent: begun.parent,
            name: site.name,
            start_ns: begun.start_ns,
            end_ns,
            failed: false,
            reason: begun.reason,
            probability: begun.probability,
        };
        let offered = thread::cold(|cold| {
            let (lane, _) = cold.lane(self.number, &self.shared, || self.sampler.random());
            let spans = lane.spans.get_or_insert_with(|| self.intake.open_lane());
            spans.offer(line, attributes)
        });
        offered == Some(true)
    }
}

/// As children need a span.
fn sampled(seen: &Seen, state: Option<Arc<str>>) -> Sampled {
    Sampled {
        trace: seen.trace,
        span: Some(seen.span),
        reason: seen.reason,
        probability: seen.probability,
        state,
        remote: false,
    }
}

impl<S> Layer<S> for SamplingLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if metadata.is_span() { Interest::sometimes() } else { Interest::always() }
    }

    #[inline]
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        !metadata.is_span() || self.makes(metadata)
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let parent = match attributes.parent() {
            Some(parent) => self.scope_of(parent, &context),
            None if attributes.is_contextual() => thread::innermost(),
            None => None,
        };
        let metadata = attributes.metadata();
        let key = key(metadata);
        let site = self.at_hand(key).unwrap_or_else(|| self.sites.get(metadata, &self.shared));
        site.is_made(metadata);
        let begun = match &parent {
            None => self.begin_root(key, site),
            Some(parent) => self.begin_child(key, site, parent.as_ref()),
        };
        let Some(mut begun) = begun else { return };
        let mut more = parent.flatten().and_then(|parent| More::inherited(&parent, metadata.target()));
        attributes.record(&mut Gather::beginning(&mut begun, &mut more, metadata.target(), &self.limits));
        let kept = self.slots.put(id.into_u64(), &begun, more.is_some());
        if kept && more.is_none() {
            return;
        }
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(Open { begun: (!kept).then_some(begun), more });
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let target = span.metadata().target();
            self.say_more(&span, |count, more| {
                values.record(&mut Gather::later(count, more, target, &self.limits));
            });
        }
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, context: Context<'_, S>) {
        if let Some(Some(other)) = self.scope_of(follows, &context)
            && let Some(followed) = other.span
            && let Some(span) = context.span(id)
        {
            let target = span.metadata().target();
            self.say_more(&span, |_, more| {
                let more = more.get_or_insert_with(|| More::new(target));
                more.link(other.trace, followed, &self.limits);
            });
        }
    }

    #[inline]
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if event.is_contextual() && hot(Hot::mode) != Mode::Sampled {
            return;
        }
        if let Some(span) = context.event_span(event) {
            let target = span.metadata().target();
            self.say_more(&span, |_, more| {
                more.get_or_insert_with(|| More::new(target)).event(event, &self.limits);
            });
        }
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        let key = id.into_u64();
        match self.slots.get(key) {
            Some(Seen { trace, span, reason, probability, has_more: false }) => {
                hot(|hot| hot.enter_sampled_as(key, (trace, span), (reason, probability)));
            }
            _ => {
                if let Some(scope) = self.scope_of(id, &context) {
                    thread::enter(key, scope);
                }
            }
        }
    }

    fn on_exit(&self, id: &Id, _: Context<'_, S>) {
        thread::leave(id.into_u64());
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let open = || context.span(&id).and_then(|span| span.extensions_mut().remove::<Open>());
        if let Some(slot) = self.slots.find(id.into_u64()) {
            let (begun, has_more) = (slot.read(), slot.has_more());
            slot.free();
            let more = if has_more { open().and_then(|open| open.more) } else { None };
            self.finish(&begun, more);
        } else if let Some(Open { begun: Some(begun), more }) = open() {
            self.finish(&begun, more);
        }
    }
}
