//! Sampled tokens of a batch. Each goes with its group, so that to look at one does not slow the
//! other 63 down; what is known of it is told once the group is made.
//!
//! **What its span times** is what the token took part in: from before the group is checked to
//! after its last token is published and recorded. `group.tokens` says how many went together.

use super::report::BatchReport;
use super::{GROUP, Lane, Sampled, attributes, reason};
use crate::admission::AdmissionLane;
use crate::clock::stamp_unix_ns;
use crate::events::EventLane;
use crate::metrics::MetricLane;
use crate::sampling::SamplerLane;
use crate::spans::{SpanLane, Value};
use crate::spec::TokenSpec;
use crate::token::TokenId;
use crate::wal::WalLane;

/// The sampled tokens of a group under way: at least one.
#[derive(Debug)]
pub(super) struct Picked {
    /// What they have in common: a name, a beginning, a probability.
    sampled: Sampled,
    /// A bit for each token of the group.
    which: u64,
}

const _: () = assert!(GROUP <= u64::BITS as usize, "a group's tokens have a bit each");

impl<A, W, M, S, X, E> Lane<A, W, M, S, X, E>
where
    A: AdmissionLane,
    W: WalLane,
    M: MetricLane,
    S: SamplerLane,
    X: SpanLane,
    E: EventLane,
{
    /// The gate has chosen the token `first` of a group of `len`: which others it chooses, and when
    /// they begin.
    #[cold]
    #[inline(never)]
    pub(super) fn pick(&mut self, first: u64, len: usize) -> Picked {
        let last = len as u64 - 1;
        let mut at = first.min(last);
        let mut which = 1 << at;
        while at < last
            && let Some(passed) = self.layers.sampler.gate(last - at)
        {
            at = (at + 1 + passed).min(last);
            which |= 1 << at;
        }
        Picked { sampled: self.layers.sampled("create"), which }
    }

    /// Ends the sampled ones of a group that was made.
    #[cold]
    #[inline(never)]
    pub(super) fn tell(&mut self, picked: &Picked, group: &[TokenSpec], index: usize, report: &BatchReport) {
        let end_ns = stamp_unix_ns();
        let histogram = self.metrics.map(|ids| ids.operation_ns);
        let together = ("group.tokens", Value::U64(group.len() as u64));
        let mut left = picked.which;
        while left != 0 {
            let at = left.trailing_zeros() as usize;
            left &= left - 1;
            let (failed, known) = match report.slot(index + at) {
                Some(slot) => {
                    let spec = &group[at];
                    let id = spec.id().unwrap_or_else(|| TokenId::from_slot(slot, spec.entity()));
                    (false, ("token.id", Value::U64(u64::from(id.raw()))))
                }
                None => (true, ("error.type", Value::Str(report.why(index + at).map_or("unknown", reason)))),
            };
            self.layers.end_at(picked.sampled, end_ns, failed, histogram, attributes([known, together]));
        }
    }
}
