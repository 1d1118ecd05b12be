//! What fork(2) makes of rings: the child gets private memory in place of each, so that what it
//! records is lost, and never mixes with the parent's.
//!
//! A child that goes on without exec makes a recorder of its own. `clone(2)` and `vfork(2)` called
//! directly run no such handlers; who calls them must not record before exec.
#![expect(unsafe_code, reason = "pthread_atfork(3), mmap(2) and a list that a fork may find in use")]

use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

/// Address and length of each mapping, under a lock that one thread can take and another (the
/// child's only one, its copy) release.
struct Mappings {
    locked: AtomicBool,
    list: UnsafeCell<Vec<(usize, usize)>>,
}

// SAFETY: `list` is touched only by whoever holds `locked`.
unsafe impl Sync for Mappings {}

static MAPPINGS: Mappings = Mappings { locked: AtomicBool::new(false), list: UnsafeCell::new(Vec::new()) };

impl Mappings {
    fn lock(&self) {
        while self.locked.swap(true, Ordering::Acquire) {
            std::thread::yield_now();
        }
    }

    fn unlock(&self) {
        self.locked.store(false, Ordering::Release);
    }

    fn with<R>(&self, work: impl FnOnce(&mut Vec<(usize, usize)>) -> R) -> R {
        self.lock();
        // SAFETY: the lock is held until the work is done. Should the work panic it stays held,
        // which costs new rings and no soundness.
        let done = work(unsafe { &mut *self.list.get() });
        self.unlock();
        done
    }
}

/// From now on a child gets private memory there.
pub(crate) fn register(address: usize, bytes: usize) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the functions are there for as long as the process. A failure (no memory) leaves a
        // child with the parent's rings, as it would be without this.
        unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) };
    });
    MAPPINGS.with(|list| list.push((address, bytes)));
}

/// Before the mapping goes.
pub(crate) fn unregister(address: usize) {
    MAPPINGS.with(|list| list.retain(|&(start, _)| start != address));
}

unsafe extern "C" fn prepare() {
    MAPPINGS.lock();
}

unsafe extern "C" fn parent() {
    MAPPINGS.unlock();
}

unsafe extern "C" fn child() {
    // SAFETY: `prepare` took the lock, and this thread is the only one.
    for &(address, bytes) in unsafe { (*MAPPINGS.list.get()).iter() } {
        // SAFETY: replaces exactly a mapping that belongs to a `Mapping` that lives, with memory of
        // the same length and rights; any bits are valid words there. Should it fail the old one
        // stays.
        unsafe {
            libc::mmap(
                address as *mut c_void,
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
                -1,
                0,
            )
        };
    }
    MAPPINGS.unlock();
}
