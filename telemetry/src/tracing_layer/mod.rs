//! Spans of ordinary `tracing` macros under the same decision as those of lanes: one that nobody
//! samples is never made.
//!
//! [`SamplingLayer`] is a *global* layer: it says in `enabled` whether a span exists at all, before
//! its fields are evaluated. What it turns down no other layer sees either, so add it last (it is
//! then asked first), and never behind a per-layer filter, which would have the span made all the
//! same. Events are never turned down.
//!
//! **Roots and children.** A span that is not made tells nobody that it was entered, so the layer
//! learns which callsites are roots. One seen for the first time is a *probe*: it is made, not
//! exported, and what is made within it is known as a child from then on. A child's callsite draws
//! no lots: it is on within a sampled span and off everywhere else. A callsite that is sometimes
//! a root and sometimes a child counts as a child, unless a field says that it may begin a trace:
//! `info_span!("job", sampling.root = true)`, or it runs within a [`TraceHandle`].
//!
//! **Across threads and awaits.** A sampled span carries its decision wherever it is entered
//! (`Span::enter`, `Instrument`). Where there is no span to enter, as for an explicit `parent:` on
//! another thread, or a decision not to sample, a [`TraceHandle`] carries it.
//!
//! | file | idea |
//! |---|---|
//! | `layer` | what a subscriber asks: enabled, new, entered, closed |
//! | `late` | a place for a layer that can only be made after the subscriber |
//! | `sites` | which callsites are roots, and at which rate |
//! | `thread`, `scopes` | what one thread is within, and its countdowns |
//! | `slots` | spans that are under way, in numbers that need no lock |
//! | `open` | what else they gather: texts, events, links, within limits |
//! | `handle` | a decision carried by hand |
//! | `op` | the root guard for lanes, [`op!`](crate::op) |

mod handle;
mod late;
mod layer;
mod op;
mod open;
mod scopes;
mod sites;
mod slots;
mod thread;

pub use handle::{HandleGuard, InHandle, TraceHandle};
pub use late::LateLayer;
pub use layer::SamplingLayer;
pub use op::{OpSite, OpValue, Ops, Span};
pub use open::SpanLimits;
