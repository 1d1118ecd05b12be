//! A place in a subscriber for a [`SamplingLayer`] that is made later: a program's logs must speak
//! before the stack that samples is there, and a process has one subscriber.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use tracing::{
    Event, Metadata, Subscriber,
    span::{Attributes, Id, Record},
    subscriber::Interest,
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

use super::SamplingLayer;

/// The place. Until it is filled there are no spans; afterwards it is the layer, for one load more.
/// Clones are the same place, and belong to the first subscriber that takes one of them: in another one,
/// whose spans have ids of their own, a clone lets everything pass and does nothing.
#[derive(Debug, Clone, Default)]
pub struct LateLayer {
    place: Arc<Place>,
    /// It is in a subscriber that came too late.
    is_idle: bool,
}

#[derive(Debug, Default)]
struct Place {
    layer: OnceLock<SamplingLayer>,
    is_taken: AtomicBool,
}

impl LateLayer {
    /// Fills the place, once: whether it was empty.
    pub fn set(&self, layer: SamplingLayer) -> bool {
        self.place.layer.set(layer).is_ok()
    }

    #[inline]
    fn layer(&self) -> Option<&SamplingLayer> {
        if self.is_idle { None } else { self.place.layer.get() }
    }
}

/// Hands on to the layer, if it is there.
macro_rules! hand_on {
    ($($name:ident($($given:ident: $type:ty),*);)*) => {
        $(fn $name(&self, $($given: $type),*) {
            if let Some(layer) = self.layer() {
                layer.$name($($given),*);
            }
        })*
    };
}

impl<S> Layer<S> for LateLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_layer(&mut self, _: &mut S) {
        self.is_idle = self.place.is_taken.swap(true, Ordering::Relaxed);
    }

    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if metadata.is_span() { Interest::sometimes() } else { Interest::always() }
    }

    #[inline]
    fn enabled(&self, metadata: &Metadata<'_>, context: Context<'_, S>) -> bool {
        let Some(layer) = self.layer() else { return self.is_idle || !metadata.is_span() };
        layer.enabled(metadata, context)
    }

    hand_on! {
        on_new_span(attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>);
        on_record(id: &Id, values: &Record<'_>, context: Context<'_, S>);
        on_follows_from(id: &Id, follows: &Id, context: Context<'_, S>);
        on_event(event: &Event<'_>, context: Context<'_, S>);
        on_enter(id: &Id, context: Context<'_, S>);
        on_exit(id: &Id, context: Context<'_, S>);
        on_close(id: Id, context: Context<'_, S>);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::Duration;

    use ng_core::spans::SpanSink as _;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::{Sampler, SpanOptions, SpanWriter, spans::Memory};

    #[test]
    fn there_are_no_spans_before_the_layer_and_sampled_ones_after() {
        let (late, kept) = (LateLayer::default(), Memory::default());
        let writer = SpanWriter::start(SpanOptions::new(kept.clone())).unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(late.clone()), || {
            let root = |n: u64| tracing::info_span!("late.root", n);
            assert!(root(0).is_disabled());
            let layer = || SamplingLayer::new(Arc::new(Sampler::new(1.0, None).unwrap()), &writer);
            assert!(late.set(layer()));
            assert!(!late.set(layer()), "it is filled once");
            // The first one is a probe.
            for n in 0..3 {
                root(n).in_scope(|| ());
            }
        });
        let second = tracing_subscriber::registry().with(late.clone());
        tracing::subscriber::with_default(second, || {
            assert!(!tracing::info_span!("late.other").is_disabled(), "it lets spans pass");
        });
        assert!(writer.flush(Duration::from_secs(10)));
        assert_eq!(kept.spans().len(), 2);
    }
}
