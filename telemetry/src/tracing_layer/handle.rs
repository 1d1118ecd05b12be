//! A decision carried by hand: to another thread, into a future, out of a request's headers.

use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll},
};

use ng_core::{
    sampling::Decision,
    spans::{SpanId, TraceId},
};

use super::thread::{self, Sampled, Scope};
use crate::context::{Extracted, TraceState, inject};

/// Where a piece of work belongs to: a sampled span, an unsampled one, or nowhere yet. Within it,
/// `tracing` macros are on, off, or draw lots.
///
/// ```
/// use ng_telemetry::tracing_layer::TraceHandle;
///
/// let handle = TraceHandle::current();
/// std::thread::spawn(move || handle.in_scope(|| { /* spans belong where the handle was taken */ }))
///     .join()
///     .unwrap();
/// ```
#[derive(Clone, PartialEq)]
pub struct TraceHandle(Option<Scope>);

impl TraceHandle {
    /// That of the innermost span on this thread.
    #[must_use]
    pub fn current() -> Self {
        Self(thread::innermost())
    }

    /// Of work that is not sampled: spans within it are off at once.
    #[must_use]
    pub const fn unsampled() -> Self {
        Self(Some(None))
    }

    /// Of a request, as a lane decided on it. Its spans are children of the caller's if there is one,
    /// and roots otherwise.
    #[must_use]
    pub fn decided(decision: &Decision, extracted: &Extracted) -> Self {
        if !decision.sampled {
            return Self::unsampled();
        }
        let parent = extracted.context.parent;
        let trace = parent.map(|parent| parent.trace);
        let trace = trace.or_else(|| thread::cold(|cold| cold.ids.trace(decision.probability)));
        let Some(trace) = trace else { return Self::unsampled() };
        Self(Some(Some(Sampled {
            trace,
            span: parent.map(|parent| parent.span),
            reason: decision.reason,
            probability: decision.probability,
            state: extracted.state.as_ref().map(|state| state.to_string().into()),
            remote: parent.is_some(),
        })))
    }

    /// Whether spans within it are recorded; `None` if nothing is decided.
    #[must_use]
    pub fn is_sampled(&self) -> Option<bool> {
        self.0.as_ref().map(Option::is_some)
    }

    /// The trace, and the span if there is one already; `None` if it is not sampled.
    #[must_use]
    pub fn ids(&self) -> Option<(TraceId, Option<SpanId>)> {
        let sampled = self.0.as_ref()?.as_ref()?;
        Some((sampled.trace, sampled.span))
    }

    /// Goes into it on this thread, until the guard is dropped.
    #[must_use = "the scope ends where the guard is dropped"]
    pub fn enter(&self) -> HandleGuard {
        let key = self.0.as_ref().map(|scope| thread::enter_new(scope.clone()));
        HandleGuard { key, _not_send: PhantomData }
    }

    /// Runs `body` within it.
    pub fn in_scope<R>(&self, body: impl FnOnce() -> R) -> R {
        let _guard = self.enter();
        body()
    }

    /// Has a future within it whenever it is polled, on whichever thread.
    pub fn instrument<F: Future>(self, future: F) -> InHandle<F> {
        InHandle { handle: self, future: Box::pin(future) }
    }

    /// Writes the headers for a request that goes out from here: none if nothing is decided.
    pub fn inject(&self, mut set: impl FnMut(&'static str, String)) {
        if let Some(Some(Sampled { trace, span: Some(span), reason, probability, state, .. })) = &self.0 {
            let mut state = state.as_deref().and_then(TraceState::parse).unwrap_or_default();
            if crate::spans::is_by_lot(*reason) {
                state.set_threshold(crate::context::encode_threshold(*probability).as_deref());
            }
            inject(*trace, *span, true, Some(&state), &mut set);
        }
    }
}

impl fmt::Debug for TraceHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("TraceHandle(undecided)"),
            Some(None) => f.write_str("TraceHandle(unsampled)"),
            Some(Some(sampled)) => write!(f, "TraceHandle({})", sampled.trace),
        }
    }
}

/// Ends a handle's scope on this thread when it is dropped.
#[derive(Debug)]
pub struct HandleGuard {
    key: Option<u64>,
    /// It must be dropped where it was made.
    _not_send: PhantomData<*const ()>,
}

impl Drop for HandleGuard {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            thread::leave(key);
        }
    }
}

/// A future within a handle's scope.
#[derive(Debug)]
pub struct InHandle<F> {
    handle: TraceHandle,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for InHandle<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let _guard = self.handle.enter();
        self.future.as_mut().poll(context)
    }
}
