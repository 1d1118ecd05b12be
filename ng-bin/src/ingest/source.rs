//! Where rows come from: a file or standard input, and its format.
//!
//! It opens and names; it never reads.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

/// How tokens are written in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Comma-separated cells under a header.
    Csv,
    /// A JSON object a line.
    Ndjson,
    /// 64 bytes a token.
    Bin,
}

impl Format {
    /// The format that a file's extension says: `csv`; `ndjson`, `jsonl`; `bin`.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        path.extension()?.to_str()?.parse().ok()
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
            Self::Bin => "bin",
        })
    }
}

/// No format has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no format is called `{0}`: write csv, ndjson or bin")]
pub struct UnknownFormat(pub String);

impl std::str::FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        match name.to_ascii_lowercase().as_str() {
            "csv" => Ok(Self::Csv),
            "ndjson" | "jsonl" => Ok(Self::Ndjson),
            "bin" => Ok(Self::Bin),
            _ => Err(UnknownFormat(name.to_owned())),
        }
    }
}

/// Why a source can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file can't be opened.
    #[error("can't open {file}")]
    Open {
        /// The path as given.
        file: String,
        /// The system's reason.
        source: io::Error,
    },
    /// Neither a flag nor the extension says the format.
    #[error("{file}: its name does not say what it holds: give --format csv, ndjson or bin")]
    NoFormat {
        /// The path as given.
        file: String,
    },
}

/// One stream of rows.
pub struct Source {
    /// What reports call it: the path as given, or `<stdin>`.
    pub name: Arc<str>,
    /// Its format.
    pub format: Format,
    /// Its length in bytes, if it is a plain file.
    pub bytes: Option<u64>,
    /// Its content.
    pub reader: Box<dyn Read>,
}

impl Source {
    /// A file, or standard input for `-`. The format is `format`, else the extension's.
    ///
    /// # Errors
    /// [`SourceError`] if it can't be opened or its format is not known.
    pub fn open(path: &Path, format: Option<Format>) -> Result<Self, SourceError> {
        let file = path.display().to_string();
        let format = format.or_else(|| Format::of(path));
        let format = format.ok_or_else(|| SourceError::NoFormat { file: file.clone() })?;
        if path == Path::new("-") {
            return Ok(Self::from_reader("<stdin>", format, io::stdin()));
        }
        let handle = File::open(path).and_then(|handle| {
            let about = handle.metadata()?;
            if about.is_dir() { Err(io::ErrorKind::IsADirectory.into()) } else { Ok((handle, about)) }
        });
        let (handle, about) = handle.map_err(|source| SourceError::Open { file: file.clone(), source })?;
        let bytes = about.is_file().then_some(about.len());
        Ok(Self { bytes, ..Self::from_reader(&file, format, handle) })
    }

    /// Any reader.
    pub fn from_reader(name: &str, format: Format, reader: impl Read + 'static) -> Self {
        Self { name: name.into(), format, bytes: None, reader: Box::new(reader) }
    }
}
