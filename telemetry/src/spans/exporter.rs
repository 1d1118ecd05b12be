//! What an exporter is, and the two that need no file: [`Discard`] and [`Memory`].

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use super::record::SpanRecord;

/// Why spans could not be written out. They are dropped and counted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The file can't be opened.
    #[error("can't open {} for spans: check that its directory exists and may be written", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The file can't be written.
    #[error("can't write {bytes} bytes of spans at {} byte {offset}: check the space and quota there", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Where the first span that is missing would have begun.
        offset: u64,
        /// How much was to be written.
        bytes: usize,
        /// What the operating system says.
        source: io::Error,
    },
    /// The receiver took the request, but not each span in it; or it took all and warns.
    #[error("{}", partial(receiver, *sent, *rejected, message))]
    Partial {
        /// Its address.
        receiver: String,
        /// Spans in the request.
        sent: usize,
        /// How many of them were rejected, and so dropped; 0 for a warning.
        rejected: u64,
        /// What it says of it.
        message: String,
    },
    /// An exporter's own fault.
    #[error("the exporter failed: {0}")]
    Other(Box<dyn std::error::Error + Send + Sync>),
    /// The exporter panicked; the thread goes on.
    #[error("the exporter panicked: {0}")]
    Panicked(String),
}

fn partial(receiver: &str, sent: usize, rejected: u64, message: &str) -> String {
    match (rejected, message) {
        (0, _) => format!("{receiver} took all of {sent} spans and warns: {message}"),
        (_, "") => format!("{receiver} rejected {rejected} of {sent} spans and does not say why"),
        _ => format!("{receiver} rejected {rejected} of {sent} spans: {message}"),
    }
}

/// Where finished spans go. One thread calls it; it may take its time.
///
/// A user's own exporter plugs in by implementing this.
pub trait Exporter: Send {
    /// Writes all of `spans` out, or none of them as far as it can.
    ///
    /// # Errors
    /// [`ExportError`]; all of `spans` count as dropped, or as many as [`ExportError::Partial`] says.
    /// The next call may succeed.
    fn export(&mut self, spans: &[SpanRecord]) -> Result<(), ExportError>;

    /// Passes on whatever it still holds.
    ///
    /// # Errors
    /// [`ExportError`]; nothing more is counted as dropped.
    fn flush(&mut self) -> Result<(), ExportError> {
        Ok(())
    }

    /// The last call: writes what a file must end with.
    ///
    /// # Errors
    /// [`ExportError`]; nothing more is counted as dropped.
    fn close(&mut self) -> Result<(), ExportError> {
        Ok(())
    }
}

/// The exporter that keeps nothing; the writer counts its spans as exported. For measuring.
#[derive(Debug, Clone, Copy, Default)]
pub struct Discard;

impl Exporter for Discard {
    fn export(&mut self, _spans: &[SpanRecord]) -> Result<(), ExportError> {
        Ok(())
    }
}

/// The exporter that keeps everything, without bound. For tests: clones share what they keep.
#[derive(Debug, Clone, Default)]
pub struct Memory(Arc<Mutex<Vec<SpanRecord>>>);

impl Memory {
    /// What was exported so far.
    #[must_use]
    pub fn spans(&self) -> Vec<SpanRecord> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Exporter for Memory {
    fn export(&mut self, spans: &[SpanRecord]) -> Result<(), ExportError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(spans);
        Ok(())
    }
}
