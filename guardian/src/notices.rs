//! What the guardian tells whoever asked to hear: over bounded channels, so that a subscriber who
//! does not listen costs nothing but the notices that it misses, and those are counted. Nothing
//! here is on a lane's path.

use crate::options::{Mark, MarkCrossed};
use crate::report::CleanupReport;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What happened.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Notice {
    /// Requests were refused since the last such notice.
    Refused {
        /// How many.
        requests: u64,
        /// What they asked for in all, in tokens.
        tokens: u64,
        /// The limit that the last one met, in tokens.
        limit: u64,
    },
    /// Use rose above a mark.
    MarkCrossed(MarkCrossed),
    /// Use of a pool rose above its own mark.
    PoolMarkCrossed {
        /// Its way from the root, such as `tokens/acme`.
        pool: String,
        /// Which of its marks.
        mark: Mark,
        /// Units in use.
        used: u64,
        /// Its limit.
        limit: u64,
    },
    /// A cleanup began.
    CleanupBegun {
        /// Tokens in use.
        used: u64,
        /// What use is to be brought down to.
        target: u64,
    },
    /// A cleanup ended.
    CleanupEnded(CleanupReport),
    /// A cleanup of one pool began.
    PoolCleanupBegun {
        /// Its way from the root, such as `tokens/acme`.
        pool: String,
        /// Tokens in use in it.
        used: u64,
        /// What use of it is to be brought down to.
        target: u64,
    },
    /// A cleanup of one pool ended.
    PoolCleanupEnded {
        /// Its way from the root, such as `tokens/acme`.
        pool: String,
        /// How it went; use is the pool's.
        cleanup: CleanupReport,
    },
    /// Another constitution is in force.
    ConstitutionChanged {
        /// Its version.
        version: u64,
        /// The version before.
        previous: u64,
        /// Why, if the guardian did it of its own accord.
        reason: Option<String>,
    },
    /// A constitution could not be put in force; the one before stays.
    ConstitutionProblem(String),
    /// The real memory came near its limit: use is held at what it is.
    MemoryShort {
        /// Bytes that the kernel can't take back.
        held_bytes: u64,
        /// The limit, in bytes.
        limit_bytes: u64,
        /// What use is held at, in tokens.
        tokens: u64,
    },
    /// The real memory is short no more; the quota's own limit holds again.
    MemoryEased {
        /// Bytes that the kernel can't take back.
        held_bytes: u64,
        /// The limit, in bytes.
        limit_bytes: u64,
    },
    /// The real memory has left the counted one behind by more than the bound.
    MemoryDrift {
        /// Real less counted bytes.
        drift_bytes: i64,
        /// The resident set, in bytes.
        resident_bytes: u64,
    },
}

/// One subscriber's end. Dropping it ends the subscription.
#[derive(Debug)]
pub struct Subscription {
    receiver: Receiver<Notice>,
    missed: Arc<AtomicU64>,
}

impl Subscription {
    /// The next notice, if one is waiting.
    #[must_use]
    pub fn try_next(&self) -> Option<Notice> {
        self.receiver.try_recv().ok()
    }

    /// The next notice; waits for it at most so long. `None` also once the guardian has ended.
    #[must_use]
    pub fn next_within(&self, timeout: Duration) -> Option<Notice> {
        self.receiver.recv_timeout(timeout).ok()
    }

    /// Notices that found the channel full.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
struct Subscriber {
    sender: SyncSender<Notice>,
    missed: Arc<AtomicU64>,
}

/// All subscribers.
#[derive(Debug, Default)]
pub(crate) struct Subscribers {
    list: Mutex<Vec<Subscriber>>,
    missed: AtomicU64,
}

impl Subscribers {
    pub(crate) fn add(&self, capacity: usize) -> Subscription {
        let (sender, receiver) = sync_channel(capacity.max(1));
        let missed = Arc::<AtomicU64>::default();
        let subscriber = Subscriber { sender, missed: Arc::clone(&missed) };
        self.list.lock().unwrap_or_else(PoisonError::into_inner).push(subscriber);
        Subscription { receiver, missed }
    }

    pub(crate) fn tell(&self, notice: &Notice) {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.retain(|subscriber| match subscriber.sender.try_send(notice.clone()) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                subscriber.missed.fetch_add(1, Ordering::Relaxed);
                self.missed.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(TrySendError::Disconnected(_)) => false,
        });
    }

    /// Notices that found a channel full, of all subscribers there ever were.
    pub(crate) fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_subscriber_that_does_not_listen_misses_and_the_others_do_not() {
        let subscribers = Subscribers::default();
        let (deaf, keen) = (subscribers.add(2), subscribers.add(100));
        for version in 0..5 {
            subscribers.tell(&Notice::ConstitutionChanged { version, previous: 0, reason: None });
        }
        assert_eq!((deaf.missed(), keen.missed(), subscribers.missed()), (3, 0, 3));
        assert_eq!(std::iter::from_fn(|| keen.try_next()).count(), 5);
        assert_eq!(std::iter::from_fn(|| deaf.try_next()).count(), 2, "the first ones");
        drop(deaf);
        subscribers.tell(&Notice::ConstitutionProblem(String::new()));
        assert_eq!(subscribers.missed(), 3, "one that is gone misses nothing");
        assert!(keen.next_within(Duration::ZERO).is_some());
    }
}
