//! Cells that grow without moving, so that a reader on another thread needs no lock.
//!
//! The table of chunks is made at once for the most that there may ever be; a chunk is made when
//! its first cell is used.

use std::sync::OnceLock;

/// Cells in a chunk.
const CHUNK: usize = 256;

/// The cells.
#[derive(Debug)]
pub(crate) struct Chunks<T>(Box<[OnceLock<Box<[T]>>]>);

impl<T> Chunks<T> {
    /// Room for `cells`, none of them made yet.
    pub(crate) fn with_room_for(cells: usize) -> Self {
        Self((0..cells.div_ceil(CHUNK)).map(|_| OnceLock::new()).collect())
    }

    /// A cell, if its chunk has been made.
    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        self.0.get(index / CHUNK)?.get()?.get(index % CHUNK)
    }

    /// A cell, its chunk filled by `make` if need be; `None` beyond the room.
    pub(crate) fn get_or_make(&self, index: usize, make: impl Fn() -> T) -> Option<&T> {
        let chunk = self.0.get(index / CHUNK)?;
        chunk.get_or_init(|| (0..CHUNK).map(|_| make()).collect()).get(index % CHUNK)
    }

    /// All cells made so far, with their index.
    pub(crate) fn made(&self) -> impl Iterator<Item = (usize, &T)> {
        self.0.iter().enumerate().filter_map(|(number, chunk)| Some((number, chunk.get()?))).flat_map(
            |(number, chunk)| chunk.iter().enumerate().map(move |(at, cell)| (number * CHUNK + at, cell)),
        )
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_made_with_its_chunk_and_keeps_its_index() {
        let chunks = Chunks::with_room_for(CHUNK + 1);
        assert_eq!(chunks.get(CHUNK), None);
        assert_eq!(chunks.get_or_make(CHUNK, || 7), Some(&7));
        assert_eq!(chunks.get(CHUNK), Some(&7));
        assert_eq!(chunks.get(0), None, "another chunk is not made with it");
        assert_eq!(chunks.get_or_make(2 * CHUNK, || 7), None, "beyond the room");
        let made: Vec<usize> = chunks.made().map(|(index, _)| index).collect();
        assert_eq!(made, (CHUNK..2 * CHUNK).collect::<Vec<_>>());
    }
}
