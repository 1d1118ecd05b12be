//! The memory under the slots: 2 MiB chunks of zeroed huge pages that never move.
//!
//! A chunk is mapped when its first slot is needed and unmapped with the store. Nothing here
//! knows what a slot means.

use super::slot::Slot;

/// Slots in a chunk.
#[cfg(not(loom))]
pub(super) const CHUNK_SLOTS: usize = 1 << 15;
/// A model can't have as many.
#[cfg(loom)]
pub(super) const CHUNK_SLOTS: usize = 4;

/// Bytes in a chunk: one huge page.
pub(super) const CHUNK_BYTES: usize = CHUNK_SLOTS * size_of::<Slot>();

/// Why there is no memory for more tokens.
#[derive(Debug, thiserror::Error)]
#[error("no memory for another {bytes} bytes of tokens: {source}")]
pub struct NoMemory {
    /// What was asked of the operating system, in bytes.
    pub bytes: usize,
    /// What it said.
    pub source: std::io::Error,
}

#[cfg(all(unix, not(loom)))]
mod imp {
    #![expect(unsafe_code, reason = "huge pages come from mmap and madvise")]

    use super::{CHUNK_BYTES, CHUNK_SLOTS, NoMemory, Slot};
    use std::io::Error;
    use std::ptr::NonNull;

    #[derive(Debug)]
    pub(in crate::store) struct Chunk(NonNull<[Slot; CHUNK_SLOTS]>);

    // SAFETY: a chunk owns its mapping, and slots are made of atomics.
    unsafe impl Send for Chunk {}
    // SAFETY: as above; a shared chunk gives out nothing but shared slots.
    unsafe impl Sync for Chunk {}

    impl Chunk {
        pub(in crate::store) fn new() -> Result<Self, NoMemory> {
            let no_memory = || NoMemory { bytes: CHUNK_BYTES, source: Error::last_os_error() };
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            // Twice the size, so that an aligned chunk lies in it.
            // SAFETY: an anonymous mapping at an address of the kernel's choice.
            let mapped =
                unsafe { libc::mmap(std::ptr::null_mut(), 2 * CHUNK_BYTES, protection, flags, -1, 0) };
            if mapped == libc::MAP_FAILED {
                return Err(no_memory());
            }
            let before = mapped.cast::<u8>().align_offset(CHUNK_BYTES);
            // SAFETY: `before` < CHUNK_BYTES, so the chunk lies in the mapping of twice its size.
            let chunk = unsafe { mapped.cast::<u8>().add(before) };
            // SAFETY: both parts lie in the mapping made above, beside the chunk, and hold nothing.
            unsafe {
                if before > 0 {
                    libc::munmap(mapped, before);
                }
                libc::munmap(chunk.add(CHUNK_BYTES).cast(), CHUNK_BYTES - before);
            }
            // Advice: where there are no huge pages, small ones serve, at 25 ns a token.
            #[cfg(target_os = "linux")]
            // SAFETY: exactly the chunk's own pages.
            unsafe {
                libc::madvise(chunk.cast(), CHUNK_BYTES, libc::MADV_HUGEPAGE);
            }
            NonNull::new(chunk.cast()).map(Self).ok_or_else(no_memory)
        }

        /// Touches every page now instead of at its first token.
        pub(in crate::store) fn populate(&self) {
            #[cfg(target_os = "linux")]
            // SAFETY: exactly the chunk's own pages; MADV_POPULATE_WRITE (5.14) changes no byte.
            // An older kernel refuses, and the pages come with their first token.
            unsafe {
                libc::madvise(self.0.as_ptr().cast(), CHUNK_BYTES, libc::MADV_POPULATE_WRITE);
            }
        }

        #[inline(always)]
        pub(in crate::store) fn slots(&self) -> &[Slot; CHUNK_SLOTS] {
            // SAFETY: the mapping is CHUNK_BYTES long, aligned to that, lives as long as `self`,
            // was zeroed by the kernel (all zeros is a valid slot) and is only ever shared.
            unsafe { self.0.as_ref() }
        }
    }

    impl Drop for Chunk {
        fn drop(&mut self) {
            // SAFETY: the chunk's own pages, and no reference outlives `self`.
            unsafe {
                libc::munmap(self.0.as_ptr().cast(), CHUNK_BYTES);
            }
        }
    }
}

#[cfg(loom)]
mod imp {
    use super::{CHUNK_SLOTS, NoMemory, Slot};

    #[derive(Debug)]
    pub(in crate::store) struct Chunk([Slot; CHUNK_SLOTS]);

    impl Chunk {
        pub(in crate::store) fn new() -> Result<Self, NoMemory> {
            Ok(Self(std::array::from_fn(|_| Slot::new())))
        }

        pub(in crate::store) fn populate(&self) {}

        pub(in crate::store) fn slots(&self) -> &[Slot; CHUNK_SLOTS] {
            &self.0
        }
    }
}

pub(super) use imp::Chunk;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_one_aligned_huge_page_of_empty_slots() {
        let chunk = Chunk::new().unwrap();
        chunk.populate();
        assert_eq!(CHUNK_BYTES, 2 << 20);
        assert_eq!(std::ptr::from_ref(chunk.slots()).addr() % CHUNK_BYTES, 0);
        assert!(chunk.slots().iter().all(|slot| slot.head().generation() == 0));
    }
}
