//! Counts of operations that are countdowns at the same time, so that a reader sees each operation as
//! soon as it was passed over, and the lane pays for one cell and not for two.
//!
//! Cells live in blocks that are never freed, only handed on: a thread's own memory has no destructor
//! that could tell a reader that it is gone. There are as many blocks as threads counted at once.

use crate::{
    owned::OwnedCell,
    sync::{Mutex, lock},
};

/// Cells in a block.
pub(crate) const CELLS: usize = 64;

/// The cells of one owner. Aligned to two cache lines, since the prefetcher fetches lines in pairs.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Block {
    cells: [OwnedCell; CELLS],
    /// What passes here is no operation: spans that are children wherever they are.
    uncounted: OwnedCell,
}

impl Block {
    /// A cell; the index is taken modulo [`CELLS`].
    #[inline]
    pub(crate) const fn cell(&self, index: usize) -> &OwnedCell {
        &self.cells[index % CELLS]
    }

    /// The cell of what is not counted.
    pub(crate) const fn uncounted(&self) -> &OwnedCell {
        &self.uncounted
    }
}

/// All blocks of a sampler.
#[derive(Debug)]
pub(crate) struct Counts(Mutex<Blocks>);

#[derive(Debug)]
struct Blocks {
    all: Vec<&'static Block>,
    free: Vec<&'static Block>,
}

impl Counts {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Blocks { all: Vec::new(), free: Vec::new() }))
    }

    /// A block for one owner, who alone writes to it from now on.
    pub(crate) fn take(&self) -> &'static Block {
        let mut blocks = lock(&self.0);
        if let Some(block) = blocks.free.pop() {
            return block;
        }
        let cells = std::array::from_fn(|_| OwnedCell::new());
        let block = Box::leak(Box::new(Block { cells, uncounted: OwnedCell::new() }));
        blocks.all.push(block);
        block
    }

    /// The owner ends; what it counted stays.
    pub(crate) fn give_back(&self, block: &'static Block) {
        lock(&self.0).free.push(block);
    }

    /// All operations counted so far. Later calls never give less.
    pub(crate) fn total(&self) -> u64 {
        let blocks = lock(&self.0);
        let cells = blocks.all.iter().flat_map(|block| &block.cells);
        cells.fold(0, |sum, cell| sum.wrapping_add(cell.get()))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_block_that_is_handed_on_goes_on_counting() {
        let counts = Counts::new();
        let (first, second) = (counts.take(), counts.take());
        first.cell(0).add(3);
        second.cell(CELLS + 1).add(4);
        second.uncounted().add(9);
        assert_eq!(counts.total(), 7);
        counts.give_back(first);
        assert!(std::ptr::eq(counts.take(), first));
        first.cell(0).add(1);
        assert_eq!(counts.total(), 8);
    }
}
