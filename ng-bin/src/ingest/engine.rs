//! The run: rows in, batches to the intake, rejects and a summary out.
//!
//! Every row that is read is made, refused, bad, or (when a run breaks off) unsettled; nothing is
//! dropped without a count. Memory is bounded by the batch and the longest record. A batch goes to
//! the intake before more input is waited for, so that rows of a slow stream don't lie around.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ng_core::TokenSpec;

use super::binary::Binary;
use super::csv::{Csv, Scanner};
use super::decode::{Decode, Step};
use super::fault::{BadRow, Fault, Place, RowFault};
use super::intake::{Intake, Stopped, Verdicts};
use super::mapping::{Mapping, MappingError};
use super::ndjson::Ndjson;
use super::progress::Progress;
use super::rejects::{Rejects, RejectsError};
use super::source::{Format, Source};
use super::window::Window;

/// How a run goes.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Rows handed to the intake at once, at least 1.
    pub batch: usize,
    /// The longest row that is accepted, in bytes; at least 64.
    pub max_record: usize,
    /// Whether the run ends at the first bad row. Refused rows never end it.
    pub strict: bool,
    /// Whether a quantity that does not fit its field becomes the nearest that does.
    pub clamp: bool,
    /// How many bad and how many refused rows the summary keeps; all are counted.
    pub keep: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { batch: 4_096, max_record: 1 << 20, strict: false, clamp: false, keep: 20 }
    }
}

/// A row that was sound but became no token.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct RefusedRow {
    /// The source's name.
    pub file: Arc<str>,
    /// Its first line, counted from 1; in a binary file its byte offset.
    pub at: u64,
    /// What it is counted under.
    pub reason: &'static str,
    /// The intake's own words.
    pub detail: String,
}

impl fmt::Display for RefusedRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: refused: {}", self.file, self.at, self.detail)
    }
}

/// What a run did. `read = made + refused + bad + unsettled`.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Summary {
    /// Rows read, without headers and blank lines.
    pub read: u64,
    /// Rows that became tokens.
    pub made: u64,
    /// Sound rows that did not.
    pub refused: u64,
    /// The same by reason.
    pub refused_by: BTreeMap<&'static str, u64>,
    /// Rows that can't become tokens.
    pub bad: u64,
    /// Rows whose fate the intake did not say because it stopped.
    pub unsettled: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Time spent in runs.
    pub elapsed: Duration,
    /// The first bad rows.
    pub bad_rows: Vec<BadRow>,
    /// The first refused rows.
    pub refused_rows: Vec<RefusedRow>,
    /// Chosen NDJSON keys that no row of a source had: perhaps misspelt.
    pub unseen: Vec<String>,
}

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The first bad row of a strict run.
    #[error("{0} (--strict stops here)")]
    BadRow(Box<BadRow>),
    /// The mapping does not fit the file.
    #[error(transparent)]
    Mapping(#[from] MappingError),
    /// The rejects can't be kept.
    #[error(transparent)]
    Rejects(#[from] RejectsError),
    /// The header can't be used.
    #[error("{file}: {what}")]
    Header {
        /// The source's name.
        file: String,
        /// What is wrong with it and what to do.
        what: String,
    },
    /// The source can't be read on.
    #[error("can't read {file} at byte {offset}")]
    Read {
        /// The source's name.
        file: String,
        /// The offset of the first row not read.
        offset: u64,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The intake can't go on.
    #[error("{file}: no more rows can be taken")]
    Stopped {
        /// The source's name.
        file: String,
        /// The intake's reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Rows that wait for the intake, with what is needed to reject them.
#[derive(Default)]
struct Batch {
    specs: Vec<TokenSpec>,
    places: Vec<u64>,
    raw: Vec<u8>,
    /// Where each raw row ends, and its spec unless it is bad.
    rows: Vec<(usize, Option<usize>)>,
}

/// Bytes of raw rows above which a batch is handed on early.
const RAW_LIMIT: usize = 8 << 20;

/// A run over one or more sources.
pub struct Ingest {
    mapping: Mapping,
    options: Options,
    rejects: Option<Rejects>,
    summary: Summary,
    batch: Batch,
    verdicts: Verdicts,
}

impl Ingest {
    /// A run; raw rows are kept only if there are `rejects` to write them to.
    #[must_use]
    pub fn new(mapping: Mapping, options: Options, rejects: Option<Rejects>) -> Self {
        let (batch, max_record) = (options.batch.max(1), options.max_record.max(64));
        Self {
            mapping,
            options: Options { batch, max_record, ..options },
            rejects,
            summary: Summary::default(),
            batch: Batch::default(),
            verdicts: Verdicts::default(),
        }
    }

    /// What has been done so far; after an error too.
    #[must_use]
    pub const fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Reads one source to its end.
    ///
    /// # Errors
    /// [`IngestError`]; rows before the fault are settled and counted, and the rejects written.
    pub fn run(
        &mut self,
        source: Source,
        intake: &mut dyn Intake,
        progress: &mut dyn Progress,
    ) -> Result<(), IngestError> {
        let began = Instant::now();
        progress.begin(&source.name, source.bytes);
        let Source { name, format, reader, .. } = source;
        let mut stream = Stream { window: Window::new(reader), name, line: 1, format };
        let result = self.read(&mut stream, intake, progress);
        progress.end();
        self.summary.bytes += stream.window.offset();
        self.summary.elapsed += began.elapsed();
        let flushed = self.rejects.as_mut().map_or(Ok(()), Rejects::flush);
        result.and(flushed.map_err(IngestError::from))
    }

    fn read(
        &mut self,
        stream: &mut Stream,
        intake: &mut dyn Intake,
        progress: &mut dyn Progress,
    ) -> Result<(), IngestError> {
        let mut header = Vec::new();
        if stream.format != Format::Bin {
            stream.skip_byte_order_mark()?;
        }
        let mut decoder: Box<dyn Decode> = match stream.format {
            Format::Csv => {
                let names;
                (names, header) = stream.header(self.options.max_record)?;
                let bound = self.mapping.bind(&stream.name, &names)?;
                Box::new(Csv::new(names, bound, self.options.clamp))
            }
            Format::Ndjson => Box::new(Ndjson::new(&self.mapping, self.options.clamp)),
            Format::Bin => Box::new(Binary),
        };
        if let Some(rejects) = &mut self.rejects {
            rejects.begin(&stream.name, stream.format, &header)?;
        }
        let result = self.pump(stream, &mut *decoder, intake, progress);
        self.summary.unseen.extend(decoder.unseen());
        result
    }

    fn pump(
        &mut self,
        stream: &mut Stream,
        decoder: &mut dyn Decode,
        intake: &mut dyn Intake,
        progress: &mut dyn Progress,
    ) -> Result<(), IngestError> {
        let limit = self.options.max_record;
        loop {
            let data = stream.window.data();
            let view = &data[..data.len().min(limit)];
            let (over, ended) = (data.len() > limit, stream.window.ended());
            match decoder.next(view, ended && !over) {
                Step::Row { len, lines, row } => {
                    let result = self.row(stream, len, row, intake, progress);
                    stream.consume(len, lines);
                    result?;
                    if self.batch.specs.len() >= self.options.batch || self.batch.raw.len() >= RAW_LIMIT {
                        self.flush(stream, intake, progress)?;
                    }
                }
                Step::Blank { len, lines } => stream.consume(len, lines),
                Step::Dry if view.is_empty() && ended => return self.flush(stream, intake, progress),
                Step::Dry if over || ended => {
                    let (len, fault) = decoder.cut(view, limit);
                    let whole = view[..len].ends_with(b"\n") || (ended && len == data.len());
                    let row = Err(Box::new(RowFault::of_row(fault)));
                    let result = self.row(stream, len, row, intake, progress);
                    stream.consume(len, u64::from(whole));
                    result?;
                    if !whole {
                        self.skip_line(stream, intake, progress)?;
                    }
                }
                Step::Dry => {
                    self.flush(stream, intake, progress)?;
                    stream.fill()?;
                    progress.advance(stream.window.offset(), self.summary.read);
                }
            }
        }
    }

    /// The rest of a line that was too long; its beginning is in the batch.
    fn skip_line(
        &mut self,
        stream: &mut Stream,
        intake: &mut dyn Intake,
        progress: &mut dyn Progress,
    ) -> Result<(), IngestError> {
        self.flush(stream, intake, progress)?;
        loop {
            let data = stream.window.data();
            let newline = data.iter().position(|byte| *byte == b'\n');
            let len = newline.map_or(data.len(), |at| at + 1);
            if let Some(rejects) = &mut self.rejects {
                rejects.write(&data[..len])?;
            }
            stream.consume(len, u64::from(newline.is_some()));
            if newline.is_some() || stream.window.ended() {
                return Ok(());
            }
            stream.fill()?;
        }
    }

    #[inline]
    fn row(
        &mut self,
        stream: &Stream,
        len: usize,
        row: Result<TokenSpec, Box<RowFault>>,
        intake: &mut dyn Intake,
        progress: &mut dyn Progress,
    ) -> Result<(), IngestError> {
        self.summary.read += 1;
        let spec = row.as_ref().ok().map(|_| self.batch.specs.len());
        if self.rejects.is_some() {
            self.batch.raw.extend_from_slice(&stream.window.data()[..len]);
            self.batch.rows.push((self.batch.raw.len(), spec));
        }
        match row {
            Ok(spec) => {
                self.batch.specs.push(spec);
                self.batch.places.push(stream.at());
                Ok(())
            }
            Err(fault) => self.bad(stream, *fault, intake, progress),
        }
    }

    #[cold]
    fn bad(
        &mut self,
        stream: &Stream,
        fault: RowFault,
        intake: &mut dyn Intake,
        progress: &mut dyn Progress,
    ) -> Result<(), IngestError> {
        let row = BadRow::new(Arc::clone(&stream.name), stream.place(), fault);
        self.summary.bad += 1;
        progress.bad_row(&row);
        if self.summary.bad_rows.len() < self.options.keep {
            self.summary.bad_rows.push(row.clone());
        }
        if self.options.strict {
            self.flush(stream, intake, progress)?;
            return Err(IngestError::BadRow(Box::new(row)));
        }
        Ok(())
    }

    fn flush(
        &mut self,
        stream: &Stream,
        intake: &mut dyn Intake,
        progress: &mut dyn Progress,
    ) -> Result<(), IngestError> {
        let count = self.batch.specs.len();
        self.verdicts.begin(count);
        let taken = if count == 0 { Ok(()) } else { intake.take(&self.batch.specs, &mut self.verdicts) };
        let (settled, stopped) = match taken {
            Ok(()) => (count, None),
            Err(Stopped { settled, cause }) => (settled.min(count), Some(cause)),
        };
        let mut refused = 0;
        for verdict in self.verdicts.refused.drain(..).filter(|verdict| verdict.index < settled) {
            refused += 1;
            *self.summary.refused_by.entry(verdict.reason).or_default() += 1;
            let row = RefusedRow {
                file: Arc::clone(&stream.name),
                at: self.batch.places[verdict.index],
                reason: verdict.reason,
                detail: verdict.detail,
            };
            progress.refused(&row);
            if self.summary.refused_rows.len() < self.options.keep {
                self.summary.refused_rows.push(row);
            }
        }
        self.summary.refused += refused;
        self.summary.made += settled as u64 - refused;
        self.summary.unsettled += (count - settled) as u64;
        let written = self.write_rejects(settled);
        self.batch.specs.clear();
        self.batch.places.clear();
        self.batch.raw.clear();
        self.batch.rows.clear();
        if let Some(source) = stopped {
            return Err(IngestError::Stopped { file: stream.name.to_string(), source });
        }
        Ok(written?)
    }

    /// Bad, refused and unsettled rows, in the order in which they were read.
    fn write_rejects(&mut self, settled: usize) -> Result<(), RejectsError> {
        let Some(rejects) = &mut self.rejects else { return Ok(()) };
        let mut start = 0;
        for &(end, spec) in &self.batch.rows {
            if spec.is_none_or(|index| index >= settled || self.verdicts.marks[index]) {
                rejects.write(&self.batch.raw[start..end])?;
            }
            start = end;
        }
        Ok(())
    }
}

struct Stream {
    window: Window<Box<dyn Read>>,
    name: Arc<str>,
    line: u64,
    format: Format,
}

impl Stream {
    fn place(&self) -> Place {
        if self.format == Format::Bin { Place::Byte(self.at()) } else { Place::Line(self.at()) }
    }

    fn at(&self) -> u64 {
        if self.format == Format::Bin { self.window.offset() } else { self.line }
    }

    fn consume(&mut self, len: usize, lines: u64) {
        self.window.consume(len);
        self.line += lines;
    }

    fn fill(&mut self) -> Result<(), IngestError> {
        let offset = self.window.offset();
        let filled = self.window.fill();
        filled.map_err(|source| IngestError::Read { file: self.name.to_string(), offset, source })
    }

    fn skip_byte_order_mark(&mut self) -> Result<(), IngestError> {
        const MARK: &[u8] = b"\xef\xbb\xbf";
        while self.window.data().len() < MARK.len() && !self.window.ended() {
            self.fill()?;
        }
        if self.window.data().starts_with(MARK) {
            self.consume(MARK.len(), 0);
        }
        Ok(())
    }

    /// A CSV's column names and its header line's bytes.
    fn header(&mut self, limit: usize) -> Result<(Vec<String>, Vec<u8>), IngestError> {
        let file = self.name.to_string();
        let refuse = |what: String| IngestError::Header { file: file.clone(), what };
        let mut scanner = Scanner::new();
        loop {
            let data = self.window.data();
            let view = &data[..data.len().min(limit)];
            let (over, ended) = (data.len() > limit, self.window.ended());
            let Some(scanned) = scanner.scan(view, ended && !over) else {
                if view.is_empty() && ended {
                    return Err(refuse("it is empty: a CSV begins with a line of column names".to_owned()));
                }
                if over || ended {
                    return Err(refuse(format!("its header: {}", scanner.cut(view, limit).1)));
                }
                self.fill()?;
                continue;
            };
            let blank = Scanner::is_blank(&scanned);
            let raw = view[..scanned.len].to_vec();
            if blank {
                self.consume(scanned.len, scanned.lines);
                continue;
            }
            let names = header_names(&scanner, &raw, &file)?;
            self.consume(scanned.len, scanned.lines);
            return Ok((names, raw));
        }
    }
}

/// The column names in a header line, which `scanner` has just found.
pub(super) fn header_names(scanner: &Scanner, raw: &[u8], file: &str) -> Result<Vec<String>, IngestError> {
    let refuse = |what: String| IngestError::Header { file: file.to_owned(), what };
    let mut names: Vec<String> = Vec::new();
    for (number, cell) in (1..).zip(scanner.texts(raw)) {
        let name = std::str::from_utf8(&cell)
            .map_err(|_| refuse(format!("the name of column {number} {}", Fault::NotUtf8)))?
            .trim_ascii();
        if let Some(first) = names.iter().position(|known| known == name && !name.is_empty()) {
            let first = first + 1;
            return Err(refuse(format!("columns {first} and {number} are both called `{name}`: rename one")));
        }
        names.push(name.to_owned());
    }
    Ok(names)
}
