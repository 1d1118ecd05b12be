//! The counter that dates records: the processor's time stamp counter where there is one, else
//! the system's clock in nanoseconds. It never converts ticks to time; the reader does, from the
//! clock pairs that the header keeps.

/// The counter now.
///
/// Not serialising: it may be off by the few dozen instructions in flight.
#[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
#[inline(always)]
#[expect(unsafe_code, reason = "the instruction has no safe wrapper")]
pub(crate) fn now() -> u64 {
    // SAFETY: rdtsc reads a register, and every x86-64 processor has it; Linux never sets CR4.TSD
    // except by prctl(PR_SET_TSC), which this process does not call.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// The system's clock, where there is no counter that the user may read.
#[cfg(all(not(target_arch = "x86_64"), not(loom), not(miri)))]
pub(crate) fn now() -> u64 {
    ng_core::clock::precise_unix_ns()
}

/// A model has no time.
#[cfg(any(loom, miri))]
pub(crate) fn now() -> u64 {
    1
}

#[cfg(all(test, not(loom)))]
mod tests {
    #[test]
    fn the_counter_counts() {
        let first = super::now();
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(super::now() > first);
    }
}
