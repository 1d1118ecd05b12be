//! How the program's allocator gives memory back. It sets one threshold, once, before any thread
//! exists; it is never the library's business, since an engine chooses its own allocator.
//!
//! glibc maps large blocks by themselves and unmaps them when they are freed, but raises the size
//! from which it does so each time one is freed (mallopt(3), `M_MMAP_THRESHOLD`). After a few
//! stacks in one process, buffers of megabytes lie in the arenas of threads that are gone, and stay
//! resident: 18 to 39 MiB after three rounds of the stress, 0.3 MiB with a threshold that stays.

/// Blocks from this size on go back to the system when they are freed. glibc's initial value.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const THRESHOLD_BYTES: libc::c_int = 128 << 10;

/// Fixes the threshold. Elsewhere than on glibc there is nothing to fix.
pub(super) fn give_back_what_is_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        #[expect(unsafe_code, reason = "the allocator's knob is a C function")]
        // SAFETY: `mallopt` takes two numbers and changes a setting of the allocator; it may be
        // called at any time. Where it refuses, memory is only kept for longer.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, THRESHOLD_BYTES);
        }
    }
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    fn resident() -> u64 {
        let text = std::fs::read_to_string("/proc/self/statm").unwrap();
        text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
    }

    #[test]
    fn memory_that_a_finished_thread_used_goes_back_to_the_system() {
        super::give_back_what_is_freed();
        let work = || {
            for _ in 0..4 {
                drop(std::hint::black_box(vec![1_u8; 24 << 20]));
            }
        };
        std::thread::spawn(work).join().unwrap();
        let before = resident();
        (0..4).for_each(|_| std::thread::spawn(work).join().unwrap());
        assert!(resident() < before + (16 << 20), "{} bytes were kept", resident() - before);
    }
}
