//! Deletions: each is logged first, and a batch shares what the layers cost per call.
//!
//! For one token: may it be deleted → look → log → remove → release → count → record. Whatever
//! refuses first, nothing has happened.

use super::{DeleteError, DeletedBatch, GROUP, Lane, Layers, attributes};
use crate::admission::AdmissionLane;
use crate::events::{Event, EventKind, EventLane};
use crate::metrics::MetricLane;
use crate::records::{DELETED_BYTES, encode_deleted};
use crate::sampling::SamplerLane;
use crate::spans::{SpanLane, Value};
use crate::store::Live;
use crate::token::TokenId;
use crate::wal::{Ticket, WalLane};

impl<A, W, M, S, X, E> Lane<A, W, M, S, X, E>
where
    A: AdmissionLane,
    W: WalLane,
    M: MetricLane,
    S: SamplerLane,
    X: SpanLane,
    E: EventLane,
{
    /// Deletes one token.
    ///
    /// # Errors
    /// See [`DeleteError`]; nothing has happened then.
    pub fn delete(&mut self, id: TokenId) -> Result<Ticket, DeleteError> {
        self.layers.admission.refresh();
        let began = self.tick.unix_ns();
        let sampled = self.layers.begin("delete");
        let outcome = self.delete_one(id);
        if let Some(sampled) = sampled {
            let attributes = attributes([("token.id", Value::U64(u64::from(id.raw())))]);
            let histogram = self.metrics.map(|ids| ids.operation_ns);
            self.layers.end(sampled, outcome.is_err(), histogram, attributes);
        } else {
            self.note_if_slow(began);
        }
        outcome
    }

    fn delete_one(&mut self, id: TokenId) -> Result<Ticket, DeleteError> {
        self.layers.admission.may_delete()?;
        let live = self.writer.look(id).ok_or(DeleteError::NotFound(id))?;
        let generation = live.generation_after();
        // From before the record to after the removal, so that a checkpoint knows of both or none.
        self.writer.begin_removal();
        if !self.layers.wal.is_off() {
            let logged = self.journal.deleted(&mut self.layers.wal, id, generation);
            self.count_logged();
            if let Err(why) = logged {
                self.writer.end_removal();
                self.count(|ids| ids.refused_log, 1);
                return Err(why.into());
            }
        }
        // Someone else may have deleted it since. Then the record above repeats theirs: it has
        // the same generation, and recovery applies it once.
        let removed = self.writer.remove(live);
        self.writer.end_removal();
        if !removed {
            return Err(DeleteError::NotFound(id));
        }
        self.layers.admission.release_in(id.domain(), 1);
        self.count(|ids| ids.deleted, 1);
        let event = Event::operation(EventKind::TOKEN_DELETED, u64::from(id.raw()), u64::from(generation));
        self.layers.events.record(event);
        Ok(self.journal.last)
    }

    /// Deletes the tokens with these very ids and generations, as [`TokenStore::iter`] shows them;
    /// one that was replaced meanwhile is left alone. Not sampled: it is one operation of the
    /// house's, not so many of a caller's.
    ///
    /// [`TokenStore::iter`]: crate::TokenStore::iter
    pub fn delete_batch(&mut self, victims: &[(TokenId, u32)]) -> DeletedBatch {
        self.layers.admission.refresh();
        let mut report = DeletedBatch::default();
        if let Err(why) = self.layers.admission.may_delete() {
            report.stopped = Some(why.into());
            return report;
        }
        for group in victims.chunks(GROUP) {
            self.delete_group(group, &mut report);
            if report.stopped.is_some() {
                break;
            }
        }
        report
    }

    fn delete_group(&mut self, group: &[(TokenId, u32)], report: &mut DeletedBatch) {
        let mut live: [Option<Live>; GROUP] = [None; GROUP];
        let mut payload = [[0; DELETED_BYTES]; GROUP];
        let mut found = 0;
        for (id, generation) in group {
            let seen = self.writer.look(*id).filter(|live| live.generation_after() == generation + 1);
            if let Some(seen) = seen {
                live[found] = Some(seen);
                payload[found] = encode_deleted(*id, seen.generation_after());
                found += 1;
            }
        }
        let mut logged = found;
        self.writer.begin_removal();
        if !self.layers.wal.is_off()
            && let Err((taken, why)) = self.journal.deleted_run(&mut self.layers.wal, &payload[..found])
        {
            logged = taken;
            self.count(|ids| ids.refused_log, 1);
            report.stopped = Some(why.into());
        }
        self.count_logged();
        // Someone else may have deleted one since: then its record repeats theirs.
        // Tokens come in the store's order mostly, so one call gives many of a domain back.
        let (mut domain, mut of_domain) = (self.writer.domain(), 0);
        let Layers { admission, events, .. } = &mut self.layers;
        let deleted = self.writer.remove_all(&live[..logged], |live| {
            if live.id().domain() != domain {
                admission.release_in(domain, of_domain);
                (domain, of_domain) = (live.id().domain(), 0);
            }
            of_domain += 1;
            let (id, generation) = (live.id().raw(), live.generation_after());
            events.record(Event::operation(EventKind::TOKEN_DELETED, id.into(), generation.into()));
        });
        self.writer.end_removal();
        self.layers.admission.release_in(domain, of_domain);
        self.count(|ids| ids.deleted, deleted);
        report.deleted += usize::try_from(deleted).unwrap_or(GROUP);
        report.missing += group.len() - found + logged - usize::try_from(deleted).unwrap_or(GROUP);
    }
}
