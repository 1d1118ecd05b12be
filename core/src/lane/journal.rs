//! A lane's dealings with the log: which token is due, what its record is, and what happens when
//! the log does not take it.

use super::due::Due;
use crate::records::{
    AGAIN_BYTES, DELETED_BYTES, TOKEN_AGAIN, TOKEN_DELETED, TOKEN_FIRST, encode_again, encode_deleted,
};
use crate::token::{TOKEN_BYTES, Token, TokenId};
use crate::wal::{AppendError, RecordKind, Ticket, WalLane};
use zerocopy::IntoBytes;

/// What a lane does with an operation when the log stands still for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnLogFailure {
    /// Refuses it: nothing happens that is not logged.
    #[default]
    Stop,
    /// Lets it pass, and counts it as unlogged.
    Continue,
}

#[derive(Debug)]
pub(super) struct Journal {
    due: Due,
    on_failure: OnLogFailure,
    pub(super) last: Ticket,
    /// Since they were last counted.
    pub(super) logged: u64,
    pub(super) unlogged: u64,
}

impl Journal {
    pub(super) const fn new(every: u64, on_failure: OnLogFailure) -> Self {
        let last = Ticket(0);
        Self { due: Due::new(every), on_failure, last, logged: 0, unlogged: 0 }
    }

    /// Logs what is due of tokens in a row that get `generation`. `Err((i, why))` if the `i`-th was not
    /// taken: those before it are logged.
    #[inline]
    pub(super) fn created<W: WalLane>(
        &mut self,
        wal: &mut W,
        tokens: &[Token],
        generation: u32,
    ) -> Result<(), (usize, AppendError)> {
        if generation == 1 {
            return self.due_of(wal, TOKEN_FIRST, tokens.as_bytes().as_chunks::<TOKEN_BYTES>().0);
        }
        for (i, token) in tokens.iter().enumerate() {
            self.created_again(wal, &[encode_again(token, generation)]).map_err(|(_, why)| (i, why))?;
        }
        Ok(())
    }

    /// The same of tokens in slots used again, whose records stand one after the other in `payload`.
    pub(super) fn created_again<W: WalLane>(
        &mut self,
        wal: &mut W,
        payload: &[[u8; AGAIN_BYTES]],
    ) -> Result<(), (usize, AppendError)> {
        self.due_of(wal, TOKEN_AGAIN, payload)
    }

    #[inline]
    fn due_of<W: WalLane, const BYTES: usize>(
        &mut self,
        wal: &mut W,
        kind: RecordKind,
        payload: &[[u8; BYTES]],
    ) -> Result<(), (usize, AppendError)> {
        if self.due.is_every() { self.run(wal, kind, payload) } else { self.sparsely(wal, kind, payload) }
    }

    #[cold]
    fn sparsely<W: WalLane, const BYTES: usize>(
        &mut self,
        wal: &mut W,
        kind: RecordKind,
        payload: &[[u8; BYTES]],
    ) -> Result<(), (usize, AppendError)> {
        for (i, record) in payload.iter().enumerate() {
            if self.due.next() {
                self.run(wal, kind, std::slice::from_ref(record)).map_err(|(_, why)| (i, why))?;
            }
        }
        Ok(())
    }

    /// Passes over `n` tokens if none of them is due.
    #[inline(always)]
    pub(super) fn skip(&mut self, n: u32) -> bool {
        self.due.skip(n)
    }

    /// Logs a deletion; deletions are always due.
    pub(super) fn deleted<W: WalLane>(
        &mut self,
        wal: &mut W,
        id: TokenId,
        generation: u32,
    ) -> Result<(), AppendError> {
        match wal.append(TOKEN_DELETED, &encode_deleted(id, generation)) {
            Ok(ticket) => {
                self.last = ticket;
                self.logged += 1;
                Ok(())
            }
            Err(why) if self.passes(&why) => Ok(()),
            Err(why) => Err(why),
        }
    }

    /// Logs deletions whose records stand one after the other in `payload`. `Err((i, why))` if the
    /// `i`-th was not taken: those before it are logged.
    pub(super) fn deleted_run<W: WalLane>(
        &mut self,
        wal: &mut W,
        payload: &[[u8; DELETED_BYTES]],
    ) -> Result<(), (usize, AppendError)> {
        self.run(wal, TOKEN_DELETED, payload)
    }

    /// Logs a run of records that are due.
    #[inline]
    fn run<W: WalLane, const BYTES: usize>(
        &mut self,
        wal: &mut W,
        kind: RecordKind,
        payload: &[[u8; BYTES]],
    ) -> Result<(), (usize, AppendError)> {
        let mut at = 0;
        while at < payload.len() {
            let (taken, why) = match wal.append_run(kind, BYTES, payload[at..].as_flattened()) {
                Ok(ticket) => {
                    self.last = ticket;
                    (payload.len() - at, None)
                }
                Err(error) => {
                    self.last = error.ticket.unwrap_or(self.last);
                    (error.appended, Some(error.source))
                }
            };
            self.logged += taken as u64;
            at += taken;
            let Some(why) = why else { break };
            if !self.passes(&why) {
                return Err((at, why));
            }
            at += 1;
        }
        Ok(())
    }

    /// Whether an operation goes on without its record.
    #[cold]
    fn passes(&mut self, why: &AppendError) -> bool {
        let passes = match why {
            // The log's own policy let the record go, and will say so in the log.
            AppendError::Dropped { .. } => true,
            AppendError::Poisoned(_) => self.on_failure == OnLogFailure::Continue,
            _ => false,
        };
        self.unlogged += u64::from(passes);
        passes
    }
}
