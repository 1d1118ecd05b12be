//! The layer: what a subscriber asks of it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

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
    open::{Open, SpanLimits},
    sites::{Kind, Site, Sites, key},
    thread::{self, Hot, Mode, Pending, Place, Scope, hot},
};
use crate::{Sampler, SpanWriter, spans::SpanIntake};

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
    sampler: Arc<Sampler>,
    sites: Sites,
    intake: SpanIntake,
    limits: SpanLimits,
}

impl SamplingLayer {
    /// A layer that decides by `sampler` and hands spans to `writer`.
    #[must_use]
    pub fn new(sampler: Arc<Sampler>, writer: &SpanWriter) -> Self {
        Self {
            number: LAYERS.fetch_add(1, Ordering::Relaxed),
            sampler,
            sites: Sites::default(),
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
        self.number << 40 ^ self.sampler.shared().version()
    }

    /// A span outside of all scopes.
    #[inline(always)]
    fn draw(&self, hot: &Hot, metadata: &Metadata<'_>) -> bool {
        let key = key(metadata);
        let place = hot.place(key);
        if place.key.get() == key && place.stamp.get() == self.stamp() {
            let mut countdown = place.countdown.get();
            let passes = countdown.pass(1);
            place.countdown.set(countdown);
            if passes {
                return false;
            }
        }
        self.draw_slowly(hot, place, key, metadata)
    }

    #[cold]
    #[inline(never)]
    fn draw_slowly(&self, hot: &Hot, place: &Place, key: usize, metadata: &Metadata<'_>) -> bool {
        let shared = self.sampler.shared();
        let fresh = place.key.get() == key && place.stamp.get() == self.stamp();
        if !fresh {
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
            let lane = cold.lane(self.number, shared, || self.sampler.random());
            let mut countdown = place.countdown.get();
            if !fresh {
                let child = site.kind() == Kind::Child;
                let rate = if child { 0.0_f64.to_bits() } else { site.operation.rate.bits() };
                countdown.follow(rate, &mut lane.random);
                if countdown.pass(1) {
                    place.countdown.set(countdown);
                    return None;
                }
            }
            let probability = countdown.rate();
            let ended = countdown.end(&mut lane.random);
            place.countdown.set(countdown);
            let passed = ended?;
            lane.tally.passed(passed + 1);
            lane.tally.sampled(site.operation.reason());
            site.operation.operations.fetch_add(passed + 1, Ordering::Relaxed);
            Some(Pending::Root { reason: site.operation.reason(), probability })
        });
        let pending = drawn.flatten();
        hot.pending.set(pending.map(|pending| (key, pending)));
        pending.is_some()
    }

    /// Puts a callsite in its place.
    fn look(&self, place: &Place, key: usize, metadata: &Metadata<'_>) -> &'static Site {
        let shared = self.sampler.shared();
        let site = self.sites.find(key, metadata, shared);
        // What the callsite there has passed over counts, if it was this layer's.
        if let Some(old) = place.site.get()
            && place.stamp.get() >> 40 == self.number
        {
            let passed = place.countdown.get().passed();
            if passed > 0 && old.kind() != Kind::Child {
                thread::cold(|cold| {
                    cold.lane(self.number, shared, || self.sampler.random()).tally.passed(passed);
                });
                old.operation.operations.fetch_add(passed, Ordering::Relaxed);
            }
        }
        place.key.set(key);
        place.stamp.set(self.stamp());
        place.site.set(Some(site));
        place.countdown.set(crate::sampling::countdown::Countdown::NEVER);
        site
    }

    /// Within an unsampled span: off, and known as a child from now on.
    #[inline(always)]
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
        site.is_within(self.sampler.shared());
        // Learning moves the version on: look at it as it is now.
        if site.kind() == Kind::Child {
            place.stamp.set(self.stamp());
        } else {
            place.key.set(0);
        }
    }

    /// A root that nobody has decided on: one with an explicit `parent: None` within a sampled span.
    fn lot(&self, site: &'static Site) -> Option<Pending> {
        let shared = self.sampler.shared();
        let probability = f64::from_bits(site.operation.rate.bits());
        let reason = site.operation.reason();
        thread::cold(|cold| {
            let lane = cold.lane(self.number, shared, || self.sampler.random());
            lane.tally.passed(1);
            let sampled = lane.random.random::<f64>() < probability;
            if sampled {
                lane.tally.sampled(reason);
            }
            sampled.then_some(Pending::Root { reason, probability })
        })
        .flatten()
    }

    /// The span, if it is sampled.
    fn begin(&self, attributes: &Attributes<'_>, parent: Option<Scope>) -> Option<Open> {
        let metadata = attributes.metadata();
        let key = key(metadata);
        let pending = hot(|hot| hot.pending.take()).filter(|(of, _)| *of == key).map(|(_, pending)| pending);
        let shared = self.sampler.shared();
        let near = hot(|hot| {
            let place = hot.place(key);
            place.site.get().filter(|_| place.key.get() == key && place.stamp.get() == self.stamp())
        });
        let site = near.unwrap_or_else(|| self.sites.get(metadata, shared));
        let (name, target) = (metadata.name(), metadata.target());
        if let Some(scope) = parent {
            site.is_within(shared);
            let parent = scope?;
            let id = thread::cold(|cold| cold.ids.span())?;
            let decided = (parent.reason, parent.probability);
            return Some(Open::new(name, target, parent.trace, id, Some(&parent), decided));
        }
        match pending.or_else(|| self.lot(site))? {
            Pending::Probe => None,
            Pending::Root { reason, probability } => {
                let (trace, id) = thread::cold(|cold| (cold.ids.trace(probability), cold.ids.span()))?;
                Some(Open::new(name, target, trace, id, None, (reason, probability)))
            }
        }
    }
}

/// A span's scope.
fn scope_of<S>(span: &SpanRef<'_, S>) -> Scope
where
    S: for<'a> LookupSpan<'a>,
{
    span.extensions().get::<Open>().map(Open::scope)
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
        if !metadata.is_span() {
            return true;
        }
        hot(|hot| match hot.mode() {
            Mode::Outside => self.draw(hot, metadata),
            Mode::Unsampled => {
                self.within_unsampled(hot, metadata);
                false
            }
            Mode::Sampled => {
                hot.pending.set(None);
                true
            }
        })
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let parent = match attributes.parent() {
            Some(parent) => context.span(parent).map(|parent| scope_of(&parent)),
            None if attributes.is_contextual() => thread::innermost(),
            None => None,
        };
        if let Some(mut open) = self.begin(attributes, parent) {
            attributes.record(&mut open.gather(&self.limits));
            if let Some(span) = context.span(id) {
                span.extensions_mut().insert(open);
            }
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(open) = span.extensions_mut().get_mut::<Open>()
        {
            values.record(&mut open.gather(&self.limits));
        }
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, context: Context<'_, S>) {
        let other = context.span(follows).and_then(|other| scope_of(&other));
        if let Some(other) = other
            && let Some(followed) = other.span
            && let Some(span) = context.span(id)
            && let Some(open) = span.extensions_mut().get_mut::<Open>()
        {
            open.link(other.trace, followed, &self.limits);
        }
    }

    #[inline]
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if event.is_contextual() && hot(Hot::mode) != Mode::Sampled {
            return;
        }
        if let Some(span) = context.event_span(event)
            && let Some(open) = span.extensions_mut().get_mut::<Open>()
        {
            open.event(event, &self.limits);
        }
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            thread::enter(id.into_u64(), scope_of(&span));
        }
    }

    fn on_exit(&self, id: &Id, _: Context<'_, S>) {
        thread::leave(id.into_u64());
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let open = span.extensions_mut().remove::<Open>();
        if let Some(open) = open {
            let record = open.close();
            if record.span.failed {
                thread::cold(|cold| {
                    let lane = cold.lane(self.number, self.sampler.shared(), || self.sampler.random());
                    lane.tally.failed();
                });
            }
            self.intake.submit(record);
        }
    }
}
