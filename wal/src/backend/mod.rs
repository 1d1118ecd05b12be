//! How sealed blocks reach the device: the wall behind which each way of output comes.
//!
//! A back end owns a block's buffer from [`Backend::write`] until the device is through with it,
//! and then gives it back to the pool. It never decides what is in a block or where it goes.
//!
//! | back end | how a block gets there | what makes it durable |
//! |---|---|---|
//! | `uring` | `io_uring`, past the page cache, several at once | each write by itself (`RWF_DSYNC`) |
//! | `std` | `pwrite` through the page cache | `fdatasync` on a thread of its own |
//! | `mmap` | a copy into a mapping | `msync` on a thread of its own |

pub(crate) mod choose;
#[cfg(any(all(feature = "uring", target_os = "linux"), all(test, not(loom))))]
pub(crate) mod direct;
#[cfg(all(test, not(loom)))]
pub(crate) mod sim;
mod std;
#[cfg(all(feature = "uring", target_os = "linux"))]
pub(crate) mod uring;

pub(crate) use self::std::StdBackend;

use crate::buffer::Buffer;
use crate::hub::Mark;
use crate::segments::SegmentFile;
use ::std::fs::File;
use ::std::io::Write;
use ::std::sync::Arc;
use ::std::thread::Thread;
use ::std::time::Duration;
use ng_core::wal::Poison;

/// A way of output. The writer's thread is the only one that calls it.
pub(crate) trait Backend: Send {
    /// What ends [`Self::wait`] from another thread. Asked on the writer's thread.
    fn waker(&self) -> Waker;
    /// Blocks go to this segment from now on.
    fn begin_segment(&mut self, segment: SegmentFile) -> Result<(), Poison>;
    /// Writes the first `length` bytes of `block` at `offset` of the segment; the write may end
    /// later. An error may be that of an earlier write.
    fn write(&mut self, block: Buffer, length: usize, offset: u64) -> Result<(), Poison>;
    /// When all that was written before this call is durable, the mark is to be published.
    fn commit(&mut self, mark: Mark);
    /// Sleeps until it is woken or something was completed, at most `rest`; may end early.
    fn wait(&mut self, rest: Option<Duration>);
    /// Waits until all marks are published, or the log is poisoned.
    fn drain(&mut self);
}

/// Ends the writer's sleep.
#[derive(Debug, Clone)]
pub(crate) enum Waker {
    /// A thread that parks.
    Thread(Thread),
    /// An `eventfd` among the things that the writer waits for.
    Event(Arc<File>),
}

impl Waker {
    pub(crate) fn wake(&self) {
        match self {
            Self::Thread(thread) => thread.unpark(),
            // It fails only where so many wake-ups wait already that one more makes no difference.
            Self::Event(event) => drop((&**event).write(&1_u64.to_ne_bytes())),
        }
    }
}
