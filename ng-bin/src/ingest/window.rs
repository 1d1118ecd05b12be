//! A bounded view of a stream: what was read and not yet consumed.
//!
//! It grows only while its reader asks for more without consuming anything, so the caller's limit
//! on a record bounds it. It never reads ahead of a request.

use std::io::{ErrorKind, Read};

const FIRST: usize = 256 * 1024;

pub(super) struct Window<R> {
    reader: R,
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    ended: bool,
    consumed: u64,
}

impl<R: Read> Window<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, bytes: vec![0; FIRST], start: 0, end: 0, ended: false, consumed: 0 }
    }

    pub(super) fn data(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Whether the stream has nothing beyond [`Self::data`].
    pub(super) const fn ended(&self) -> bool {
        self.ended
    }

    /// The offset of the first byte of [`Self::data`] in the stream.
    pub(super) const fn offset(&self) -> u64 {
        self.consumed
    }

    pub(super) fn consume(&mut self, len: usize) {
        self.start += len;
        self.consumed += len as u64;
    }

    /// Reads once; an interrupted read is tried again.
    pub(super) fn fill(&mut self) -> std::io::Result<()> {
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.end == self.bytes.len() {
            self.bytes.resize(self.bytes.len() * 2, 0);
        }
        loop {
            match self.reader.read(&mut self.bytes[self.end..]) {
                Ok(0) => {
                    self.ended = true;
                    return Ok(());
                }
                Ok(read) => {
                    self.end += read;
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
