//! The file of rows that became no token, byte for byte as they were.
//!
//! A CSV's header stands at its top, so that it can be ingested again once it is mended. It holds
//! rows of one shape only.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::source::Format;

/// Why rejects can't be kept.
#[derive(Debug, thiserror::Error)]
pub enum RejectsError {
    /// The rejects file is one of the sources.
    #[error("{file} is a source as well: give --rejects a file of its own")]
    IsSource {
        /// The path as given.
        file: String,
    },
    /// It can't be made or written.
    #[error("can't write rejects to {file}")]
    Write {
        /// The path as given.
        file: String,
        /// The system's reason.
        source: io::Error,
    },
    /// Two sources with other formats or headers.
    #[error(
        "{file} can't hold rows of {source_name} as well, whose format or header is another: ingest it apart"
    )]
    Mixed {
        /// The rejects file.
        file: String,
        /// The source that differs from those before.
        source_name: String,
    },
}

/// An open rejects file.
pub struct Rejects {
    file: String,
    out: BufWriter<Box<dyn Write>>,
    shape: Option<(Format, Vec<u8>)>,
    header_written: bool,
    open_line: bool,
}

impl Rejects {
    /// Makes the file at `path`, or empties it; `sources` are the files that will be read.
    ///
    /// # Errors
    /// [`RejectsError::IsSource`] before anything is touched; [`RejectsError::Write`].
    pub fn create(path: &Path, sources: &[&Path]) -> Result<Self, RejectsError> {
        let file = path.display().to_string();
        if let Ok(same) = path.canonicalize()
            && sources.iter().any(|source| source.canonicalize().is_ok_and(|source| source == same))
        {
            return Err(RejectsError::IsSource { file });
        }
        let out = File::create(path).map_err(|source| RejectsError::Write { file: file.clone(), source })?;
        Ok(Self::to_writer(&file, out))
    }

    /// Rejects go to `out`, called `name` in errors.
    pub fn to_writer(name: &str, out: impl Write + 'static) -> Self {
        let out: Box<dyn Write> = Box::new(out);
        let out = BufWriter::new(out);
        Self { file: name.to_owned(), out, shape: None, header_written: false, open_line: false }
    }

    /// Announces a source and its header's bytes.
    pub(super) fn begin(&mut self, name: &str, format: Format, header: &[u8]) -> Result<(), RejectsError> {
        match &self.shape {
            None => self.shape = Some((format, header.to_vec())),
            Some((known, first)) if *known != format || first.trim_ascii_end() != header.trim_ascii_end() => {
                return Err(RejectsError::Mixed { file: self.file.clone(), source_name: name.to_owned() });
            }
            Some(_) => {}
        }
        // A source's last row may lack its newline; the next source's must not be glued to it.
        self.end_line()
    }

    fn end_line(&mut self) -> Result<(), RejectsError> {
        if std::mem::take(&mut self.open_line) {
            self.put(b"\n")?;
        }
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), RejectsError> {
        let written = self.out.write_all(bytes);
        written.map_err(|source| RejectsError::Write { file: self.file.clone(), source })
    }

    pub(super) fn write(&mut self, raw: &[u8]) -> Result<(), RejectsError> {
        if !std::mem::replace(&mut self.header_written, true)
            && let Some((_, header)) = self.shape.clone()
        {
            self.put(&header)?;
        }
        let text = self.shape.as_ref().is_none_or(|(format, _)| *format != Format::Bin);
        self.open_line = text && !raw.ends_with(b"\n") && !raw.ends_with(b"\r");
        self.put(raw)
    }

    pub(super) fn flush(&mut self) -> Result<(), RejectsError> {
        let flushed = self.out.flush();
        flushed.map_err(|source| RejectsError::Write { file: self.file.clone(), source })
    }
}
