//! Where a trace comes from and goes to: W3C Trace Context in and out, and OpenTelemetry's
//! consistent probability sampling on the wire.
//!
//! | file | idea |
//! |---|---|
//! | `traceparent` | the header that names the caller's span |
//! | `tracestate` | the header beside it that others write into |
//! | `threshold` | `th` and `rv`: how likely a trace was to be sampled |
//! | `carrier` | both headers, and the caller's wishes, out of and into a request |

mod carrier;
pub(crate) mod threshold;
mod traceparent;
mod tracestate;

pub use carrier::{Extracted, HeaderFault, Propagator, PropagatorStats, inject};
pub use threshold::{encode as encode_threshold, of as threshold};
pub use traceparent::{TraceParent, TraceParentError};
pub use tracestate::{MAX_MEMBERS, TraceState};
