//! What a lane answers: made, or refused and why.

use crate::admission::{Refusal, Violation};
use crate::store::StoreError;
use crate::token::{TokenError, TokenId};
use crate::wal::{AppendError, Ticket};

/// A token that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Made {
    /// Its id.
    pub id: TokenId,
    /// When this ticket is durable, so is the token. The log's zero ticket if it was not logged.
    pub ticket: Ticket,
}

/// Why a token was not made. Nothing has happened, and the caller still has its spec.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// The spec is unsound in itself.
    #[error("unsound token: {0}")]
    Unsound(#[from] TokenError),
    /// The constitution forbids it.
    #[error(transparent)]
    Forbidden(#[from] Violation),
    /// A quota is used up.
    #[error(transparent)]
    Quota(#[from] Box<Refusal>),
    /// The store has no place for it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log did not take its record.
    #[error("not logged, so not made: {0}")]
    Log(#[from] AppendError),
}

/// Why a token was not deleted. Nothing has happened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeleteError {
    /// There is no token with this id.
    #[error("there is no token {0} (domain:entity:local)")]
    NotFound(TokenId),
    /// The constitution forbids deletions.
    #[error(transparent)]
    Forbidden(#[from] Violation),
    /// The log did not take the record.
    #[error("not logged, so not deleted: {0}")]
    Log(#[from] AppendError),
}

/// What became of a batch of deletions. Whatever is in neither count was not reached.
#[derive(Debug, Default)]
pub struct DeletedBatch {
    /// Tokens that are gone because of this batch.
    pub deleted: usize,
    /// Tokens that were gone before, or were others than those meant.
    pub missing: usize,
    /// Why the batch stopped, if it did.
    pub stopped: Option<DeleteError>,
}

/// Specs in a row that became tokens with ids in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MadeRun {
    /// The index of the first in the batch.
    pub index: usize,
    /// The first slot. The i-th token's id is `TokenId::from_slot(first_slot + i, entity)`.
    pub first_slot: u32,
    /// How many.
    pub len: u32,
}

/// A spec of a batch that was refused.
#[derive(Debug)]
pub struct Refused {
    /// Its index in the batch.
    pub index: usize,
    /// Why.
    pub why: CreateError,
}

/// What became of a batch: each spec is in exactly one run or one refusal. Reuse one report for
/// many batches, and no batch allocates.
#[derive(Debug, Default)]
pub struct BatchReport {
    made: usize,
    runs: Vec<MadeRun>,
    refused: Vec<Refused>,
    ticket: Ticket,
}

impl BatchReport {
    /// How many tokens were made.
    #[must_use]
    pub const fn made(&self) -> usize {
        self.made
    }

    /// The tokens that were made, in the order of the batch.
    #[must_use]
    pub fn runs(&self) -> &[MadeRun] {
        &self.runs
    }

    /// The specs that were refused, in the order of the batch.
    #[must_use]
    pub fn refused(&self) -> &[Refused] {
        &self.refused
    }

    /// When this ticket is durable, so is each record of the batch.
    #[must_use]
    pub const fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// Where a spec's token is; `None` if there is none.
    pub(super) fn slot(&self, index: usize) -> Option<u32> {
        let after = self.runs.partition_point(|run| run.index <= index);
        let run = self.runs.get(after.checked_sub(1)?)?;
        let offset = u32::try_from(index - run.index).ok()?;
        (offset < run.len).then(|| run.first_slot + offset)
    }

    /// Why a spec was refused; `None` if it was not.
    pub(super) fn why(&self, index: usize) -> Option<&CreateError> {
        let found = self.refused.binary_search_by_key(&index, |refused| refused.index).ok()?;
        self.refused.get(found).map(|refused| &refused.why)
    }

    pub(super) fn begin(&mut self) {
        self.made = 0;
        self.runs.clear();
        self.refused.clear();
        self.ticket = Ticket::default();
    }

    #[inline]
    pub(super) fn add(&mut self, index: usize, first_slot: u32, len: u32, ticket: Ticket) {
        if len == 0 {
            return;
        }
        self.made += len as usize;
        self.ticket = self.ticket.max(ticket);
        if let Some(last) = self.runs.last_mut()
            && last.index + last.len as usize == index
            && last.first_slot + last.len == first_slot
        {
            last.len += len;
            return;
        }
        self.runs.push(MadeRun { index, first_slot, len });
    }

    pub(super) fn refuse(&mut self, index: usize, why: CreateError) {
        self.refused.push(Refused { index, why });
    }
}
