//! The memory of a block: aligned for direct output, touched before it is used, and freed once.
//!
//! A buffer moves between a lane, the queue and the writer; whoever has it alone may write. A lane
//! keeps a bare [`Window`] into the buffer in its slot, and the hand-over says when it may be used.

use crate::format::ALIGNMENT;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::Arc;

/// A huge page of x86-64 and of most arm64 kernels, in bytes.
const HUGE: usize = 2 << 20;

/// Memory for one or more buffers.
///
/// A pool lies in huge pages where it is large enough: a block of 1 MiB is then one piece of
/// physical memory, not 256, for the device to fetch.
#[derive(Debug)]
struct Arena {
    start: NonNull<u8>,
    layout: Layout,
}

#[expect(unsafe_code, reason = "an arena owns its memory, as a Vec does")]
// SAFETY: an arena is only allocated and freed; its bytes are reached through buffers.
unsafe impl Send for Arena {}
#[expect(unsafe_code, reason = "an arena owns its memory, as a Vec does")]
// SAFETY: as above; a shared arena offers nothing.
unsafe impl Sync for Arena {}

#[expect(unsafe_code, reason = "aligned memory comes from the allocator only")]
impl Arena {
    /// Allocates and touches `bytes`, so that no lane pays for the first touch.
    fn new(bytes: usize) -> Self {
        let align = if bytes >= HUGE { HUGE } else { ALIGNMENT };
        let Ok(layout) = Layout::from_size_align(bytes.next_multiple_of(align), align) else {
            handle_alloc_error(Layout::new::<u8>())
        };
        // SAFETY: the layout's size is not zero: buffers are whole pages.
        let start = unsafe { alloc(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        #[cfg(target_os = "linux")]
        if align == HUGE {
            // SAFETY: exactly the pages of the allocation. Advice: without huge pages small ones
            // serve.
            unsafe {
                libc::madvise(start.as_ptr().cast(), layout.size(), libc::MADV_HUGEPAGE);
            }
        }
        // SAFETY: `start` is valid for the layout's size. Written by hand, since the allocator's
        // zeroed pages would be untouched.
        unsafe { start.as_ptr().write_bytes(0, layout.size()) };
        Self { start, layout }
    }
}

impl Drop for Arena {
    #[expect(unsafe_code, reason = "what the allocator gave goes back to it")]
    fn drop(&mut self) {
        // SAFETY: allocated with this layout in `new`, and freed only here, when no buffer is left.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

/// A block's memory, zeroed at first.
#[derive(Debug)]
pub(crate) struct Buffer {
    start: NonNull<u8>,
    length: usize,
    /// Its place among the buffers that a ring knows, if one does.
    registered: Option<u16>,
    /// Whose part it is.
    _arena: Arc<Arena>,
}

#[expect(unsafe_code, reason = "a buffer owns its memory, as a Vec does")]
// SAFETY: the memory is reached through the buffer alone, or through a window whose user answers
// for it.
unsafe impl Send for Buffer {}

#[expect(unsafe_code, reason = "a buffer is a part of an arena that no other has")]
impl Buffer {
    /// One buffer by itself.
    ///
    /// # Panics
    /// If `bytes` is 0 or not a multiple of [`ALIGNMENT`]; options rule that out.
    pub(crate) fn new(bytes: usize) -> Self {
        assert!(bytes > 0 && bytes.is_multiple_of(ALIGNMENT), "buffers are whole pages");
        let arena = Arc::new(Arena::new(bytes));
        Self { start: arena.start, length: bytes, registered: None, _arena: arena }
    }

    /// `count` buffers in one piece of memory.
    ///
    /// # Panics
    /// If `bytes` is 0 or not a multiple of [`ALIGNMENT`]; options rule that out.
    pub(crate) fn pool(count: usize, bytes: usize) -> Vec<Self> {
        assert!(bytes > 0 && bytes.is_multiple_of(ALIGNMENT), "buffers are whole pages");
        let arena = Arc::new(Arena::new(count.max(1) * bytes));
        let part = |index: usize| {
            // SAFETY: `index < count`, so the part lies within the arena; no two parts overlap.
            let start = unsafe { arena.start.add(index * bytes) };
            Self { start, length: bytes, registered: None, _arena: Arc::clone(&arena) }
        };
        (0..count).map(part).collect()
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: the memory is initialised, and `&mut self` says that nobody else uses it: the
        // lane that had a window has given it up by the hand-over.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }

    /// Its place among the buffers that a ring knows, if one does.
    pub(crate) fn registered(&self) -> Option<u16> {
        self.registered
    }

    /// Gives it a place among the buffers that a ring will know.
    pub(crate) fn register(&mut self, index: u16) {
        self.registered = Some(index);
    }

    /// A bare view for the lane that fills this buffer.
    pub(crate) fn window(&self) -> Window {
        Window { start: self.start, length: self.length }
    }
}

/// A lane's view of the buffer in its slot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    start: NonNull<u8>,
    length: usize,
}

#[expect(unsafe_code, reason = "a view that moves with its lane")]
// SAFETY: only plain bytes are reached, and each use answers for itself.
unsafe impl Send for Window {}

#[expect(unsafe_code, reason = "the lane's copy into a block that the writer will take")]
impl Window {
    /// A view of nothing, for a lane without a block.
    pub(crate) const EMPTY: Self = Self { start: NonNull::dangling(), length: 0 };

    pub(crate) fn length(self) -> usize {
        self.length
    }

    /// Where it begins.
    pub(crate) fn start(self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// Copies `bytes` to `offset`.
    ///
    /// # Safety
    /// The buffer of this window is alive and nobody else uses it now, and
    /// `offset + bytes.len()` is at most [`Self::length`].
    #[inline(always)]
    pub(crate) unsafe fn copy(self, offset: usize, bytes: &[u8]) {
        debug_assert!(offset + bytes.len() <= self.length);
        // SAFETY: the caller answers for the range and for being alone; a shared slice and the
        // buffer can't overlap, since nobody has a reference into the buffer.
        unsafe {
            let to = self.start.as_ptr().add(offset);
            // A token's length, known while compiling, is one or two vector moves; a call of
            // memcpy costs more than the copy.
            if let Ok(token) = <&[u8; 64]>::try_from(bytes) {
                to.cast::<[u8; 64]>().write_unaligned(*token);
            } else {
                std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_buffers_of_a_pool_do_not_overlap_and_outlive_each_other() {
        let mut pool = Buffer::pool(5, 12 << 10);
        for (i, buffer) in (1..).zip(&mut pool) {
            buffer.bytes_mut().fill(i);
        }
        let mut last = pool.pop().unwrap();
        assert!(pool.iter_mut().zip(1..).all(|(b, i)| b.bytes_mut().iter().all(|byte| *byte == i)));
        drop(pool);
        assert_eq!(last.bytes_mut().len(), 12 << 10);
        assert!(last.bytes_mut().iter().all(|byte| *byte == 5));
    }

    #[test]
    fn a_copy_through_the_window_is_seen_in_the_buffer() {
        let mut buffer = Buffer::new(8192);
        assert!(buffer.bytes_mut().iter().all(|byte| *byte == 0));
        for length in [0, 1, 63, 64, 65, 4000] {
            let bytes: Vec<u8> = (0..length).map(|i| i as u8 | 1).collect();
            let window = buffer.window();
            #[expect(unsafe_code, reason = "the call under test")]
            // SAFETY: the buffer is alive, nobody else uses it, and 100 + 4000 <= 8192.
            unsafe {
                window.copy(100, &bytes);
            }
            assert_eq!(&buffer.bytes_mut()[100..100 + length], &bytes);
        }
    }
}
