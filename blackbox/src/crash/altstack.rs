//! An alternate signal stack for each thread that records, so that a handler has somewhere to run
//! when the thread's own stack is used up. It never touches one that is at least as large.
#![expect(unsafe_code, reason = "mmap(2), mprotect(2) and sigaltstack(2) have no safe wrapper")]

use std::cell::RefCell;
use std::io;
use std::ptr;

use super::handler;

/// A handler, the handlers before it, and a second signal on top: a signal frame alone takes 3 KiB
/// with AVX-512. Only what is touched takes memory.
const BYTES: usize = 64 << 10;
/// Below it, so that a handler that needs more faults instead of writing elsewhere.
const GUARD: usize = 4_096;

thread_local! {
    static STACK: RefCell<Option<AltStack>> = const { RefCell::new(None) };
}

#[derive(Debug)]
struct AltStack {
    mapping: *mut libc::c_void,
}

/// Gives the calling thread an alternate stack if handlers are installed; it has it until it ends.
/// A thread without one is marked all the same, but not when its stack overflows.
pub(crate) fn protect_thread() {
    if !handler::watches_none() {
        drop(protect_thread_always());
    }
}

/// The same, installed or not.
pub(super) fn protect_thread_always() -> io::Result<()> {
    let give = |stack: &RefCell<Option<AltStack>>| {
        let mut stack = stack.borrow_mut();
        if stack.is_none() && current()?.ss_size < BYTES {
            *stack = Some(AltStack::new()?);
        }
        Ok(())
    };
    // A thread that is ending has no place to keep it; it keeps what it has.
    STACK.try_with(give).unwrap_or(Ok(()))
}

fn current() -> io::Result<libc::stack_t> {
    let mut now = libc::stack_t { ss_sp: ptr::null_mut(), ss_flags: 0, ss_size: 0 };
    // SAFETY: the first argument may be null, and the second is a struct of ours to be filled.
    if unsafe { libc::sigaltstack(ptr::null(), &raw mut now) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if now.ss_flags & libc::SS_DISABLE != 0 {
        now.ss_size = 0;
    }
    Ok(now)
}

impl AltStack {
    fn new() -> io::Result<Self> {
        // SAFETY: a new private mapping at an address that the kernel chooses.
        let mapping = unsafe {
            libc::mmap(
                ptr::null_mut(),
                GUARD + BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK,
                -1,
                0,
            )
        };
        if mapping == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let stack = Self { mapping };
        let new = libc::stack_t { ss_sp: mapping.wrapping_byte_add(GUARD), ss_flags: 0, ss_size: BYTES };
        // SAFETY: the guard is the beginning of the mapping just made, and nobody uses it yet; the
        // stack is the rest of it, which stays mapped until `drop` has taken it out of use.
        let failed = unsafe {
            libc::mprotect(mapping, GUARD, libc::PROT_NONE) != 0
                || libc::sigaltstack(&raw const new, ptr::null_mut()) != 0
        };
        if failed {
            // `drop` unmaps it.
            return Err(io::Error::last_os_error());
        }
        Ok(stack)
    }
}

impl Drop for AltStack {
    fn drop(&mut self) {
        let ours = self.mapping.wrapping_byte_add(GUARD);
        let Ok(now) = current() else { return };
        if now.ss_sp == ours && now.ss_size != 0 {
            let off = libc::stack_t { ss_sp: ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: BYTES };
            // SAFETY: switches the thread's alternate stack off, and writes nothing.
            if unsafe { libc::sigaltstack(&raw const off, ptr::null_mut()) } != 0 {
                // A handler that runs on it ends the thread: it stays mapped.
                return;
            }
        }
        // SAFETY: exactly what `new` mapped, and no thread's alternate stack any more.
        unsafe { libc::munmap(self.mapping, GUARD + BYTES) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_gets_one_and_gives_it_back() {
        let mapping = std::thread::spawn(|| {
            protect_thread_always().unwrap();
            let first = current().unwrap();
            assert_eq!(first.ss_size, BYTES);
            protect_thread_always().unwrap();
            assert_eq!(current().unwrap().ss_sp, first.ss_sp, "once is enough");
            first.ss_sp as usize
        })
        .join()
        .unwrap();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        // Another mapping may begin there by now, but not with this length.
        let was = format!("{mapping:x}-{:x} ", mapping + BYTES);
        assert!(!maps.contains(&was), "{maps}");
    }
}
