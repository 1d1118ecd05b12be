//! The device of `uring`: one `io_uring`, written to and waited for by the writer's thread alone.
//!
//! No links between requests (a short write would let the next one run early), no polling of the
//! submission queue (worse on two cores) or of the device (figures that can't be). The writer
//! sleeps in the ring too: an `eventfd` among its requests ends that sleep.

use super::Waker;
use super::direct::{Completion, DEPTH, Device, Request};
use crate::buffer::Window;
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, opcode, squeue};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

/// Marks the request that waits for the `eventfd`; slots are smaller.
const WAKE: u64 = u64::MAX;

/// From include/uapi/linux/fs.h: the write is complete when its data is on the device.
const RWF_DSYNC: i32 = 0x0000_0002;

/// A ring.
pub(crate) struct UringDevice {
    ring: IoUring,
    event: Arc<File>,
    /// A request that waits for the event is in the ring.
    listening: bool,
    registered: bool,
}

impl UringDevice {
    /// Sets a ring up.
    ///
    /// # Errors
    /// What the kernel says: too old, forbidden by a sandbox, no memory.
    pub(crate) fn new() -> io::Result<Self> {
        // Each write and the wait for the event, twice over.
        let ring = IoUring::new((2 * (DEPTH + 1)).next_power_of_two() as u32)?;
        if !ring.params().is_feature_ext_arg() {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "waiting with a timeout needs Linux 5.11",
            ));
        }
        Ok(Self { ring, event: Arc::new(event()?), listening: false, registered: false })
    }

    /// Lets the kernel keep the buffers at hand, so that it need not look them up at each write.
    /// Refused where the limit on locked memory (`ulimit -l`) is lower; writes go on without.
    pub(crate) fn register(&mut self, buffers: &[Window]) -> io::Result<()> {
        let vectors: Vec<_> = buffers
            .iter()
            .map(|buffer| libc::iovec { iov_base: buffer.start().cast(), iov_len: buffer.length() })
            .collect();
        #[expect(unsafe_code, reason = "the kernel keeps the addresses")]
        // SAFETY: the kernel pins the pages, so that what it reads stays memory of this process
        // even if a buffer is freed before the ring; and it reads them for writes alone, each of
        // which answers for its bytes.
        unsafe {
            self.ring.submitter().register_buffers(&vectors)?;
        }
        self.registered = true;
        Ok(())
    }

    fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        #[expect(unsafe_code, reason = "the kernel will use what the request points to")]
        // SAFETY: the caller of `submit` answers for the bytes and the segment's descriptor lives
        // beside them; the event's descriptor lives as long as the ring.
        let pushed = unsafe { self.ring.submission().push(entry) };
        // Requests in the ring are never more than slots and the event; it holds twice as many.
        pushed.map_err(|_| io::Error::other("the submission queue is full"))
    }

    fn listen(&mut self) -> io::Result<()> {
        if !self.listening {
            let fd = Fd(self.event.as_raw_fd());
            let poll = opcode::PollAdd::new(fd, libc::POLLIN as u32).build().user_data(WAKE);
            self.push(&poll)?;
            self.listening = true;
        }
        Ok(())
    }

    /// What has ended; whether there was anything, the event included.
    fn reap(&mut self, done: &mut Vec<Completion>) -> bool {
        let mut any = false;
        let mut woken = false;
        for entry in self.ring.completion() {
            any = true;
            match usize::try_from(entry.user_data()) {
                Ok(slot) if entry.user_data() != WAKE => {
                    done.push(Completion { slot, result: entry.result() });
                }
                _ => woken = true,
            }
        }
        if woken {
            self.listening = false;
            // Takes the count back to 0; nothing to take is no error.
            let _ = (&*self.event).read(&mut [0; 8]);
        }
        any
    }
}

impl Device for UringDevice {
    fn waker(&self) -> Waker {
        Waker::Event(Arc::clone(&self.event))
    }

    #[expect(unsafe_code, reason = "the caller's obligation")]
    unsafe fn submit(&mut self, request: &Request<'_>) -> io::Result<()> {
        let Some(direct) = request.segment.file.direct() else {
            return Err(io::Error::other("the segment was not opened past the page cache"));
        };
        let fd = Fd(direct.as_raw_fd());
        let length = u32::try_from(request.bytes.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let start = request.bytes.as_ptr();
        let flags = if request.durable { RWF_DSYNC } else { 0 };
        let entry = match request.registered.filter(|_| self.registered) {
            Some(index) => opcode::WriteFixed::new(fd, start, length, index)
                .offset(request.offset)
                .rw_flags(flags)
                .build(),
            None => opcode::Write::new(fd, start, length).offset(request.offset).rw_flags(flags).build(),
        };
        self.push(&entry.user_data(request.slot as u64))?;
        loop {
            match self.ring.submit() {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The kernel is short of something; the request stays queued, and the next call
                // into the ring submits it.
                Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EBUSY)) => {
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn wait(&mut self, rest: Option<Duration>, done: &mut Vec<Completion>) -> io::Result<()> {
        if self.reap(done) {
            return Ok(());
        }
        self.listen()?;
        let answer = match rest {
            None => self.ring.submit_and_wait(1),
            Some(rest) => {
                let rest = Timespec::from(rest);
                self.ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&rest))
            }
        };
        match answer {
            Ok(_) => {}
            Err(error) => match error.raw_os_error() {
                // The time is up, a signal came, or the kernel wants its completions taken first.
                Some(libc::ETIME | libc::EINTR | libc::EAGAIN | libc::EBUSY) => {}
                _ => return Err(error),
            },
        }
        self.reap(done);
        Ok(())
    }
}

fn event() -> io::Result<File> {
    #[expect(unsafe_code, reason = "eventfd(2) has no safe wrapper")]
    // SAFETY: eventfd takes two integers; its answer is checked before it is owned.
    let fd = unsafe {
        let fd = libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(fd)
    };
    Ok(File::from(fd))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_wait_ends_when_it_is_woken_and_when_its_time_is_up() {
        let Ok(mut device) = UringDevice::new() else {
            println!("skipped: this kernel gives no io_uring");
            return;
        };
        let mut done = Vec::new();
        let since = Instant::now();
        device.wait(Some(Duration::from_millis(5)), &mut done).unwrap();
        assert!(since.elapsed() >= Duration::from_millis(4));
        for _ in 0..3 {
            let waker = device.waker();
            let other = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(5));
                waker.wake();
            });
            device.wait(None, &mut done).unwrap();
            other.join().unwrap();
        }
        assert_eq!(done, []);
    }
}
