//! The counter that dates records: the processor's time stamp counter where there is one, else
//! the system's clock in nanoseconds. It never converts ticks to time; the reader does, from the
//! clock pairs that the header keeps.

/// The counter now, or the system's clock where there is none that the user may read.
#[cfg(not(any(loom, miri)))]
#[inline(always)]
pub(crate) fn now() -> u64 {
    ng_core::clock::counter().unwrap_or_else(ng_core::clock::precise_unix_ns)
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
