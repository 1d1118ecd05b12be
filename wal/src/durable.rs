//! The wait for durability as a future, for any runtime: it has no thread and no timer of its own.

use crate::hub::Hub;
use ng_core::wal::{Ticket, WaitError};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Ready once a ticket is durable, or never will be. Made by [`crate::Log::when_durable`].
///
/// Dropping it gives the wait up; the record becomes durable all the same. For a deadline, race it
/// against the runtime's timer.
#[derive(Debug)]
#[must_use = "a future does nothing until it is polled"]
pub struct WhenDurable {
    hub: Arc<Hub>,
    ticket: Ticket,
}

impl WhenDurable {
    pub(crate) fn new(hub: Arc<Hub>, ticket: Ticket) -> Self {
        Self { hub, ticket }
    }
}

impl Future for WhenDurable {
    /// [`WaitError::Poisoned`] or [`WaitError::Closed`]; it never times out.
    type Output = Result<(), WaitError>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        self.hub.poll_durable(self.ticket, task)
    }
}
