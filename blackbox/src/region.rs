//! A file mapped shared, and stretches of it as atomic words: the one place that maps memory.
//!
//! What is stored here is in the page cache at once, and so outlives the process. It never grows
//! or shrinks a file that is mapped.

#[cfg(not(loom))]
pub(crate) use mapped::{Mapping, Region, Window};
#[cfg(loom)]
pub(crate) use modelled::{Region, Window};

#[cfg(not(loom))]
mod mapped {
    #![expect(unsafe_code, reason = "mmap(2), munmap(2) and posix_fallocate(3) have no safe wrapper")]

    use std::fs::File;
    use std::io;
    use std::ops::Deref;
    use std::os::fd::AsRawFd;
    use std::ptr::NonNull;
    use std::sync::Arc;

    use crate::sync::AtomicU64;

    /// A whole file, mapped shared for reading and writing until this is dropped.
    #[derive(Debug)]
    pub(crate) struct Mapping {
        start: NonNull<AtomicU64>,
        words: usize,
    }

    // SAFETY: the mapping is memory that belongs to this value until it is dropped, and it is
    // handed out only as atomics, which any thread may use.
    unsafe impl Send for Mapping {}
    // SAFETY: as above.
    unsafe impl Sync for Mapping {}

    impl Mapping {
        /// Gives the file `bytes` bytes that are backed (a full disk shows here, not as a SIGBUS
        /// later), maps them and faults them in.
        pub(crate) fn create(file: &File, bytes: usize) -> io::Result<Self> {
            let length = libc::off_t::try_from(bytes).map_err(io::Error::other)?;
            // SAFETY: takes an open descriptor and two numbers, and touches no memory of ours.
            let failed = unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, length) };
            if failed != 0 {
                return Err(io::Error::from_raw_os_error(failed));
            }
            // SAFETY: a new mapping at an address that the kernel chooses, of a file that is at
            // least as long as the mapping, so that no memory in use is replaced.
            let address = unsafe {
                libc::mmap(
                    std::ptr::null_mut(),
                    bytes,
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_SHARED | POPULATE,
                    file.as_raw_fd(),
                    0,
                )
            };
            if address == libc::MAP_FAILED {
                return Err(io::Error::last_os_error());
            }
            let start = NonNull::new(address.cast()).ok_or_else(|| io::Error::other("mapped at zero"))?;
            #[cfg(target_os = "linux")]
            crate::fork::register(address as usize, bytes);
            Ok(Self { start, words: bytes / 8 })
        }
    }

    #[cfg(target_os = "linux")]
    const POPULATE: libc::c_int = libc::MAP_POPULATE;
    #[cfg(not(target_os = "linux"))]
    const POPULATE: libc::c_int = 0;

    impl Drop for Mapping {
        fn drop(&mut self) {
            #[cfg(target_os = "linux")]
            crate::fork::unregister(self.start.as_ptr() as usize);
            // SAFETY: exactly what `create` mapped; every `Region` keeps the mapping alive, so no
            // one can use it any more. A failure would only leave it mapped.
            unsafe { libc::munmap(self.start.as_ptr().cast(), self.words * 8) };
        }
    }

    /// A stretch of a mapping.
    #[derive(Debug, Clone)]
    pub(crate) struct Region {
        start: NonNull<AtomicU64>,
        words: usize,
        _mapping: Arc<Mapping>,
    }

    // SAFETY: it gives out shared references to atomics only, and keeps its mapping alive.
    unsafe impl Send for Region {}
    // SAFETY: as above.
    unsafe impl Sync for Region {}

    impl Region {
        /// `words` words from `byte` on.
        ///
        /// # Panics
        /// If they are not aligned to a word or not all within the mapping.
        pub(crate) fn new(mapping: &Arc<Mapping>, byte: usize, words: usize) -> Self {
            assert!(byte.is_multiple_of(8), "a region starts at a word");
            let end = (byte / 8).checked_add(words);
            assert!(end.is_some_and(|end| end <= mapping.words), "a region lies within its mapping");
            // SAFETY: within the mapping, as was just checked.
            let start = unsafe { mapping.start.add(byte / 8) };
            Self { start, words, _mapping: Arc::clone(mapping) }
        }
    }

    impl Deref for Region {
        type Target = [AtomicU64];

        #[inline(always)]
        fn deref(&self) -> &[AtomicU64] {
            // SAFETY: `new` checked the bounds and the alignment; any bits are a valid word; the
            // mapping lives as long as `self`, and is only ever used through atomics here.
            unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.words) }
        }
    }

    /// `N` neighbouring slots of `WORDS` words within a region, found again without a look at its
    /// bounds, and moved from time to time.
    #[derive(Debug)]
    pub(crate) struct Window<const WORDS: usize, const N: usize> {
        region: Region,
        at: NonNull<[[AtomicU64; WORDS]; N]>,
    }

    // SAFETY: it gives out shared references to atomics only, and keeps its mapping alive.
    unsafe impl<const WORDS: usize, const N: usize> Send for Window<WORDS, N> {}
    // SAFETY: as above.
    unsafe impl<const WORDS: usize, const N: usize> Sync for Window<WORDS, N> {}

    impl<const WORDS: usize, const N: usize> Window<WORDS, N> {
        /// The first window of `region`.
        ///
        /// # Panics
        /// If it is smaller than a window.
        pub(crate) fn new(region: Region) -> Self {
            assert!(region.words >= WORDS * N, "a region holds a window at least");
            Self { at: region.start.cast(), region }
        }

        /// All of the region.
        pub(crate) fn region(&self) -> &Region {
            &self.region
        }

        /// Moves to the window of this number, counted round and round.
        pub(crate) fn turn(&mut self, number: u64) {
            let windows = self.region.words / (WORDS * N);
            #[expect(clippy::cast_possible_truncation, reason = "below a number of windows")]
            let index = (number % windows as u64) as usize;
            // SAFETY: of the region's whole windows, which is at least one, this is the one at
            // `index`, so that it lies within the region.
            self.at = unsafe { self.region.start.add(index * WORDS * N) }.cast();
        }
    }

    impl<const WORDS: usize, const N: usize> Deref for Window<WORDS, N> {
        type Target = [[AtomicU64; WORDS]; N];

        #[inline(always)]
        fn deref(&self) -> &Self::Target {
            // SAFETY: `new` and `turn` keep it within the region, whose own promises hold for it.
            unsafe { self.at.as_ref() }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use crate::sync::Ordering;

        #[test]
        fn a_window_goes_round_its_region_and_stays_within() {
            let mapping = Arc::new(Mapping::create(&tempfile::tempfile().unwrap(), 4096).unwrap());
            // Three windows of four words, and two words that make none.
            let region = Region::new(&mapping, 8, 14);
            let mut window = Window::<2, 2>::new(region.clone());
            for number in 0..7 {
                window.turn(number);
                window[1][1].store(number, Ordering::Relaxed);
                let at = number as usize % 3 * 4 + 3;
                assert_eq!(region[at].load(Ordering::Relaxed), number);
            }
            assert!(region[12..].iter().all(|word| word.load(Ordering::Relaxed) == 0));
        }

        #[test]
        #[should_panic(expected = "holds a window")]
        fn a_region_smaller_than_a_window_is_refused() {
            let mapping = Arc::new(Mapping::create(&tempfile::tempfile().unwrap(), 4096).unwrap());
            Window::<4, 2>::new(Region::new(&mapping, 0, 7));
        }

        #[test]
        fn what_is_stored_is_in_the_file_and_outlives_its_parts() {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("words");
            let file = File::options().create_new(true).read(true).write(true).open(&path).unwrap();
            let mapping = Arc::new(Mapping::create(&file, 8192).unwrap());
            let region = Region::new(&mapping, 4096, 512);
            drop((mapping, file));
            region[511].store(u64::from_le_bytes(*b"the last"), Ordering::Relaxed);
            assert_eq!(&std::fs::read(&path).unwrap()[8184..], b"the last".as_slice());
        }

        #[test]
        #[should_panic(expected = "within its mapping")]
        fn a_region_beyond_the_file_is_refused() {
            let mapping = Arc::new(Mapping::create(&tempfile::tempfile().unwrap(), 4096).unwrap());
            Region::new(&mapping, 8, 512);
        }

        #[test]
        fn a_descriptor_that_cannot_be_written_is_an_error() {
            assert!(Mapping::create(&File::open("/dev/null").unwrap(), 4096).is_err());
        }
    }
}

#[cfg(loom)]
mod modelled {
    //! The same words out of loom's memory.

    use std::ops::Deref;
    use std::sync::Arc;

    use crate::sync::AtomicU64;

    #[derive(Debug, Clone)]
    pub(crate) struct Region(Arc<[AtomicU64]>);

    impl Region {
        pub(crate) fn zeros(words: usize) -> Self {
            Self((0..words).map(|_| AtomicU64::new(0)).collect())
        }
    }

    impl Deref for Region {
        type Target = [AtomicU64];

        fn deref(&self) -> &[AtomicU64] {
            &self.0
        }
    }

    #[derive(Debug)]
    pub(crate) struct Window<const WORDS: usize, const N: usize> {
        region: Region,
        at: usize,
    }

    impl<const WORDS: usize, const N: usize> Window<WORDS, N> {
        pub(crate) fn new(region: Region) -> Self {
            Self { region, at: 0 }
        }

        pub(crate) fn region(&self) -> &Region {
            &self.region
        }

        pub(crate) fn turn(&mut self, number: u64) {
            self.at = number as usize % (self.region.len() / (WORDS * N));
        }
    }

    impl<const WORDS: usize, const N: usize> Deref for Window<WORDS, N> {
        type Target = [[AtomicU64; WORDS]; N];

        fn deref(&self) -> &Self::Target {
            let slots = self.region.as_chunks::<WORDS>().0;
            slots.as_chunks::<N>().0.get(self.at).expect("turned within the region")
        }
    }
}
