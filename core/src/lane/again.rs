//! A batch in slots that held tokens before: they lie anywhere, and their records carry a
//! generation. Whatever can be shared by many of them is.

use super::report::BatchReport;
use super::{Lane, Layers};
use crate::admission::AdmissionLane;
use crate::events::{Event, EventKind, EventLane};
use crate::metrics::MetricLane;
use crate::records::encode_again;
use crate::sampling::SamplerLane;
use crate::spans::SpanLane;
use crate::spec::TokenSpec;
use crate::wal::{AppendError, Ticket, WalLane};

impl<A, W, M, S, X, E> Lane<A, W, M, S, X, E>
where
    A: AdmissionLane,
    W: WalLane,
    M: MetricLane,
    S: SamplerLane,
    X: SpanLane,
    E: EventLane,
{
    /// As many specs as there are freed slots at hand, from the first on: how many were made, and why
    /// the log did not take the next one. `None` if all of those slots were taken by others.
    #[inline(never)]
    pub(super) fn fill_freed(
        &mut self,
        specs: &[TokenSpec],
        index: usize,
        now: u32,
        report: &mut BatchReport,
    ) -> Option<(usize, Option<AppendError>)> {
        let Self { writer, layers: Layers { wal, events, .. }, journal, scratch, again, .. } = self;
        let mut freed = writer.reserve_freed(specs.len())?;
        let mut made = freed.slots().len();
        #[expect(clippy::cast_possible_truncation, reason = "less than a group")]
        let (is_logged, mut failure) = (!wal.is_off() && !journal.skip(made as u32), None);
        if is_logged {
            again.clear();
            for ((freed, spec), token) in freed.slots().iter().zip(specs).zip(&mut **scratch) {
                *token = spec.at(freed.slot, now);
                again.push(encode_again(token, freed.generation));
            }
            if let Err((taken, why)) = journal.created_again(wal, again) {
                (made, failure) = (taken, Some(why));
            }
            freed.publish(made, |i, _| scratch[i]);
        } else {
            freed.publish(made, |i, slot| specs[i].at(slot, now));
        }
        let ticket = if is_logged { journal.last } else { Ticket::default() };
        // The freed ones that lie in a row are told of as one.
        let mut row = 0..0;
        let slots = freed.slots();
        while row.end < made {
            row = row.end..row.end + 1;
            while row.end < made && slots[row.end].slot == slots[row.end - 1].slot + 1 {
                row.end += 1;
            }
            let (first, len) = (slots[row.start].slot, row.len() as u64);
            #[expect(clippy::cast_possible_truncation, reason = "less than a group")]
            report.add(index + row.start, first, len as u32, ticket);
            events.record(Event::operation(EventKind::TOKENS_CREATED, u64::from(first), len));
        }
        drop(freed);
        if made > 0 {
            self.count(|ids| ids.created, made as u64);
            self.count_logged();
        }
        Some((made, failure))
    }
}
