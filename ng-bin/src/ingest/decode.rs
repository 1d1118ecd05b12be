//! What each format's decoder does: bytes in, one row at a time out.
//!
//! A decoder sees the stream from the beginning of a row on, as much of it as has been read, and
//! never blocks: it says that it needs more.

use ng_core::TokenSpec;

use super::fault::{Fault, RowFault};

/// What a decoder found at the beginning of the data.
pub(super) enum Step {
    /// A row of `len` bytes, its line terminator included.
    Row { len: usize, lines: u64, row: Result<TokenSpec, Box<RowFault>> },
    /// Bytes without a row.
    Blank { len: usize, lines: u64 },
    /// No whole row.
    Dry,
}

/// It may be moved to another thread between two rows.
pub(super) trait Decode: Send {
    /// The row at the beginning of `data`; `ended` says that nothing will follow it.
    fn next(&mut self, data: &[u8], ended: bool) -> Step;

    /// Gives up on the row that `data` begins with and holds no end of: how many bytes to set
    /// aside, at least one, and why.
    fn cut(&mut self, data: &[u8], limit: usize) -> (usize, Fault);

    /// Chosen columns that no row has had so far.
    fn unseen(&self) -> Vec<String> {
        Vec::new()
    }
}
