//! A checkpoint of a log in use.

use super::draft::{Draft, Stand, remove_older};
use super::{Checkpoint, CheckpointError};
use crate::error::IoError;
use crate::hub::Hub;
use crate::options::Mode;
use crate::segments::Supply;
use ng_core::TokenStore;
use ng_core::records::{TOKEN_AGAIN, TOKEN_DELETED, TOKEN_FIRST, TokenRecord, encode_again, encode_deleted};
use ng_core::token::Token;
use ng_core::wal::{RecordKind, Ticket, WaitError};
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};
use zerocopy::IntoBytes;

/// How long lanes that were let through get to end their operation, before they are again.
const LET_THROUGH: Duration = Duration::from_millis(2);
/// Between two looks at the clock.
const PACED_BYTES: u64 = 1 << 20;

/// A checkpoint under way. Dropping it gives it up.
///
/// The order is what makes it sound: it was begun at [`Self::lsn`], below which every record is
/// durable. Whoever writes it makes sure that what it puts in has the effect of each of those
/// records, and may have that of younger ones. [`Self::commit`] flushes the log once more before
/// the checkpoint gets its name, so that none of these younger ones can be lost. What it puts back
/// must not be spoiled by the records from [`Self::lsn`] on being replayed over it.
#[derive(Debug)]
pub struct Checkpointing<'a> {
    hub: &'a Arc<Hub>,
    supply: &'a Arc<Supply>,
    draft: Draft,
    /// Bytes of segments that were begun by then.
    begun: u64,
    since: Instant,
    paced: u64,
    _turn: MutexGuard<'a, ()>,
}

impl<'a> Checkpointing<'a> {
    pub(crate) fn begin(
        hub: &'a Arc<Hub>,
        supply: &'a Arc<Supply>,
        turn: MutexGuard<'a, ()>,
        stand: Stand,
    ) -> Result<Self, CheckpointError> {
        let begun = supply.begun();
        let options = &hub.options;
        let draft = Draft::begin(Arc::clone(supply.storage()), &options.dir, stand, options.block_bytes)?;
        Ok(Self { hub, supply, draft, begun, since: Instant::now(), paced: 0, _turn: turn })
    }

    /// All records below this number are durable, and their effects are to be in the checkpoint.
    #[must_use]
    pub const fn lsn(&self) -> u64 {
        self.draft.stand().lsn
    }

    /// Adds a record. A recovery hands them out in this order, before those of the log.
    ///
    /// # Errors
    /// See [`CheckpointError`].
    pub fn record(&mut self, kind: RecordKind, payload: &[u8]) -> Result<(), CheckpointError> {
        self.draft.record(kind, payload)?;
        self.pace();
        Ok(())
    }

    /// Leaves the disk to the log now and then; not where lanes wait for this checkpoint.
    #[inline]
    fn pace(&mut self) {
        let rate = self.hub.options.prewrite_bytes_s;
        let written = self.draft.written();
        if rate == 0 || written < self.paced + PACED_BYTES {
            return;
        }
        self.paced = written;
        let due = Duration::from_secs_f64(written as f64 / rate as f64);
        while let Some(rest) = due.checked_sub(self.since.elapsed()).filter(|rest| !rest.is_zero()) {
            if self.supply.is_full() {
                return;
            }
            std::thread::sleep(rest.min(Duration::from_millis(5)));
        }
    }

    /// Waits until the store shows every record below [`Self::lsn`]. Lanes that the log's limit holds
    /// back in the middle of an operation are lent room to end it.
    pub(crate) fn wait_for_lanes(
        &self,
        store: &TokenStore,
        timeout: Duration,
    ) -> Result<(), CheckpointError> {
        // Before any is let through: who goes on then is seen to have done so, also if it stands
        // again by the time that it is looked at.
        let lanes = store.at_work();
        let since = Instant::now();
        let mut quiet = lanes.wait(Duration::ZERO);
        while !quiet && since.elapsed() < timeout {
            // One block each, so that none uses up what another needs; more than once, since the
            // epoch may end between the halves of an operation.
            self.hub.let_through();
            quiet = lanes.wait(LET_THROUGH);
        }
        if quiet { Ok(()) } else { Err(CheckpointError::Busy { waited: timeout }) }
    }

    /// Adds each slot of a store that was ever used.
    pub(crate) fn tokens(&mut self, store: &TokenStore) -> Result<(), CheckpointError> {
        for record in store.snapshot() {
            put(&mut self.draft, &record)?;
            self.pace();
        }
        Ok(())
    }

    /// Makes the log durable beyond everything that can be in the checkpoint, and the checkpoint
    /// itself, gives it its name, and lets go of what it covers.
    ///
    /// # Errors
    /// See [`CheckpointError`]. If the checkpoint is there and only old files could not be removed,
    /// the next one tries again.
    pub fn commit(self, timeout: Duration) -> Result<Checkpoint, CheckpointError> {
        let Self { hub, supply, draft, begun, .. } = self;
        match hub.wait_durable(Ticket(hub.epochs.current()), Some(timeout)) {
            // A log that was closed meanwhile is flushed.
            Ok(()) | Err(WaitError::Closed) => {}
            Err(error) => return Err(error.into()),
        }
        let lsn = draft.stand().lsn;
        if hub.options.mode == Mode::Os {
            // Written is not durable there.
            supply.sync_from(lsn)?;
        }
        let made = draft.finish(hub.mark().lsn)?;
        let_go(hub, supply, lsn, begun)?;
        Ok(made)
    }
}

fn let_go(hub: &Hub, supply: &Supply, lsn: u64, begun: u64) -> Result<(), IoError> {
    supply.release(lsn, begun, hub)?;
    remove_older(&**supply.storage(), &hub.options.dir, lsn)
}

/// Adds one slot's state.
#[inline]
pub(crate) fn put(draft: &mut Draft, record: &TokenRecord) -> Result<(), CheckpointError> {
    match record {
        TokenRecord::Created { token, generation: 1 } => draft.record(TOKEN_FIRST, Token::as_bytes(token)),
        TokenRecord::Created { token, generation } => {
            draft.record(TOKEN_AGAIN, &encode_again(token, *generation))
        }
        TokenRecord::Deleted { id, generation } => {
            draft.record(TOKEN_DELETED, &encode_deleted(*id, *generation))
        }
    }
}
