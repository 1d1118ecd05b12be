//! A device for tests: it finishes writes in any order, in part or with an error, as its seed
//! decides, on the disk of [`crate::storage::sim`].

use super::Waker;
use super::direct::{Completion, Device, DirectBackend, Request};
use crate::backend::choose::{Chosen, Prepared};
use crate::options::BackendKind;
use crate::storage::sim::{Seeded, SimStorage};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What the disk writes whole or not at all, in bytes.
const SECTOR: usize = 512;

struct Pending {
    slot: usize,
    path: PathBuf,
    offset: u64,
    bytes: Vec<u8>,
    durable: bool,
}

pub(crate) struct SimDevice {
    disk: SimStorage,
    random: Seeded,
    pending: Vec<Pending>,
}

/// A back end as `uring` is one, on a simulated disk.
pub(crate) fn prepared(disk: &SimStorage, seed: u64) -> Prepared {
    let storage = disk.clone();
    Prepared {
        storage: Arc::new(disk.clone()),
        start: Box::new(move |hub, _| {
            let device = SimDevice { disk: storage, random: Seeded(seed), pending: Vec::new() };
            Ok(Box::new(DirectBackend::new(Arc::clone(hub), device)))
        }),
        chosen: Chosen { kind: BackendKind::Uring, why: "a test's".to_owned() },
    }
}

impl Device for SimDevice {
    fn waker(&self) -> Waker {
        Waker::Thread(std::thread::current())
    }

    #[expect(unsafe_code, reason = "the caller's obligation, though this device copies at once")]
    unsafe fn submit(&mut self, request: &Request<'_>) -> io::Result<()> {
        assert!(request.offset.is_multiple_of(4096) && request.bytes.len().is_multiple_of(4096));
        self.pending.push(Pending {
            slot: request.slot,
            path: request.segment.path.clone(),
            offset: request.offset,
            bytes: request.bytes.to_vec(),
            durable: request.durable,
        });
        self.disk.begin_write(&request.segment.path, request.offset, request.bytes);
        Ok(())
    }

    fn wait(&mut self, rest: Option<Duration>, done: &mut Vec<Completion>) -> io::Result<()> {
        // Sometimes it sleeps though something could end, or wakes for nothing.
        if self.pending.is_empty() || self.disk.is_held() || self.random.next().is_multiple_of(4) {
            let nap = Duration::from_micros(self.random.next() % 200);
            match (self.pending.is_empty(), rest) {
                (true, None) => std::thread::park(),
                (true, Some(rest)) => std::thread::park_timeout(rest),
                (false, rest) => std::thread::park_timeout(rest.map_or(nap, |rest| rest.min(nap))),
            }
            return Ok(());
        }
        let any = (self.random.next() % self.pending.len() as u64) as usize;
        let write = self.pending.swap_remove(any);
        let result = match self.disk.fault_of_write() {
            Some(error) => -error,
            None => {
                let whole = write.bytes.len();
                let short = self.random.next().is_multiple_of(8);
                let sectors = (whole / SECTOR) as u64;
                let length = if short { (self.random.next() % sectors) as usize * SECTOR } else { whole };
                self.disk.end_write(&write.path, write.offset, &write.bytes[..length], write.durable);
                length as i32
            }
        };
        done.push(Completion { slot: write.slot, result });
        Ok(())
    }
}

/// A device of which nobody will ever hear again.
struct DeafDevice;

/// A back end on a device that fails as a whole, before anything is written.
pub(crate) fn deaf(disk: &SimStorage) -> Prepared {
    Prepared {
        storage: Arc::new(disk.clone()),
        start: Box::new(|hub, _| Ok(Box::new(DirectBackend::new(Arc::clone(hub), DeafDevice)))),
        chosen: Chosen { kind: BackendKind::Uring, why: "a test's".to_owned() },
    }
}

impl Device for DeafDevice {
    fn waker(&self) -> Waker {
        Waker::Thread(std::thread::current())
    }

    #[expect(unsafe_code, reason = "the caller's obligation")]
    unsafe fn submit(&mut self, _request: &Request<'_>) -> io::Result<()> {
        Ok(())
    }

    fn wait(&mut self, _rest: Option<Duration>, _done: &mut Vec<Completion>) -> io::Result<()> {
        Err(io::Error::from_raw_os_error(libc::EIO))
    }
}
