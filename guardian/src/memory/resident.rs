//! The resident set, from `/proc/self/statm` (proc_pid_statm(5)): its second number, in pages. It
//! knows nothing of limits.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// From include/uapi/linux/auxvec.h.
const AT_PAGESZ: usize = 6;

/// An open door to the figure.
#[derive(Debug)]
pub(super) struct Resident {
    statm: File,
    page_bytes: u64,
}

impl Resident {
    /// `None` where `/proc` is not there or reads otherwise.
    pub(super) fn open() -> Option<Self> {
        Some(Self { statm: File::open("/proc/self/statm").ok()?, page_bytes: page_bytes()? })
    }

    /// The resident set in bytes. The kernel counts it in batches per core, so it may lag by
    /// a few hundred KiB.
    pub(super) fn read(&self) -> Option<u64> {
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
    let words: Vec<_> =
        vector.chunks_exact(WORD).filter_map(|word| word.try_into().ok().map(usize::from_ne_bytes)).collect();
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
        let probe = Resident::open().unwrap();
        let before = probe.read().unwrap();
        let block = vec![1_u8; 64 << 20];
        let after = probe.read().unwrap();
        assert_eq!(std::hint::black_box(&block).len(), 64 << 20);
        assert!(after > before + (48 << 20), "{before} → {after}");
    }
}
