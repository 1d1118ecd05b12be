//! The process's real memory, as the operating system counts it. Read by the guardian's thread
//! alone (a read takes about 5 µs), never by a lane.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counted bytes beside real ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryReport {
    /// What the admitted tokens take, in bytes: 64 for each.
    pub counted_bytes: u64,
    /// The process's resident set when last read, in bytes.
    pub resident_bytes: u64,
    /// Resident less counted bytes: what no quota knows of (code, buffers, other data). Below
    /// zero while admitted tokens have not been written yet.
    pub drift_bytes: i64,
    /// The largest resident set ever read, in bytes.
    pub peak_resident_bytes: u64,
    /// How many times it was read.
    pub reads: u64,
}

/// The last readings, for any thread to see.
#[derive(Debug, Default)]
pub(crate) struct Readings {
    resident: AtomicU64,
    peak: AtomicU64,
    reads: AtomicU64,
}

impl Readings {
    pub(crate) fn note(&self, resident: u64) {
        self.resident.store(resident, Ordering::Relaxed);
        self.peak.fetch_max(resident, Ordering::Relaxed);
        self.reads.fetch_add(1, Ordering::Relaxed);
    }

    /// 0 if it was never read.
    pub(crate) fn resident(&self) -> u64 {
        self.resident.load(Ordering::Relaxed)
    }

    pub(crate) fn report(&self, counted_bytes: u64) -> Option<MemoryReport> {
        let reads = self.reads.load(Ordering::Relaxed);
        let resident_bytes = self.resident();
        let drift = i128::from(resident_bytes) - i128::from(counted_bytes);
        (reads > 0).then_some(MemoryReport {
            counted_bytes,
            resident_bytes,
            drift_bytes: i64::try_from(drift).unwrap_or(i64::MIN),
            peak_resident_bytes: self.peak.load(Ordering::Relaxed),
            reads,
        })
    }
}

pub(crate) use imp::Probe;

#[cfg(target_os = "linux")]
mod imp {
    //! `/proc/self/statm` (proc_pid_statm(5)): its second number is the resident set in pages.

    use std::fs::File;
    use std::os::unix::fs::FileExt;

    /// From include/uapi/linux/auxvec.h.
    const AT_PAGESZ: usize = 6;

    /// An open door to the process's memory figures.
    #[derive(Debug)]
    pub(crate) struct Probe {
        statm: File,
        page_bytes: u64,
    }

    impl Probe {
        /// `None` where `/proc` is not there or reads otherwise.
        pub(crate) fn open() -> Option<Self> {
            Some(Self { statm: File::open("/proc/self/statm").ok()?, page_bytes: page_bytes()? })
        }

        /// The resident set in bytes. The kernel counts it in batches per core, so it may lag by
        /// a few hundred KiB.
        pub(crate) fn resident(&self) -> Option<u64> {
            let mut text = [0; 128];
            let len = self.statm.read_at(&mut text, 0).ok()?;
            let pages = std::str::from_utf8(text.get(..len)?).ok()?.split_ascii_whitespace().nth(1)?;
            Some(pages.parse::<u64>().ok()? * self.page_bytes)
        }
    }

    /// The page size from the auxiliary vector (getauxval(3)): pairs of machine words.
    fn page_bytes() -> Option<u64> {
        const WORD: usize = size_of::<usize>();
        let vector = std::fs::read("/proc/self/auxv").ok()?;
        let words: Vec<_> = vector
            .chunks_exact(WORD)
            .filter_map(|word| word.try_into().ok().map(usize::from_ne_bytes))
            .collect();
        let pair = words.chunks_exact(2).find(|pair| pair.first() == Some(&AT_PAGESZ))?;
        u64::try_from(*pair.get(1)?).ok()
    }

    #[cfg(all(test, not(loom)))]
    mod tests {
        use super::*;

        #[test]
        fn a_page_has_a_sound_size() {
            let bytes = page_bytes().unwrap();
            assert!(bytes.is_power_of_two() && (4096..=1 << 20).contains(&bytes), "{bytes}");
        }

        #[test]
        fn memory_that_is_written_shows() {
            let probe = Probe::open().unwrap();
            let before = probe.resident().unwrap();
            let block = vec![1_u8; 64 << 20];
            let after = probe.resident().unwrap();
            assert_eq!(std::hint::black_box(&block).len(), 64 << 20);
            assert!(after > before + (48 << 20), "{before} → {after}");
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    //! No reading: the report is absent rather than wrong.

    /// Never opens here.
    #[derive(Debug)]
    pub(crate) enum Probe {}

    impl Probe {
        /// Always `None`.
        pub(crate) fn open() -> Option<Self> {
            None
        }

        pub(crate) fn resident(&self) -> Option<u64> {
            match *self {}
        }
    }
}
