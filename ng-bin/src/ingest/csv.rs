//! CSV with a header (RFC 4180, lenient as the `csv` crate is), one pass over the bytes.
//!
//! It frames records itself because two promises need it: a record has a greatest length, so that
//! one stray quote can't swallow the file, and its bytes are kept as they are for the rejects.
//! A property test compares it with the `csv` crate. It never copies a cell without quotes in it.

use std::borrow::Cow;

use ng_core::TokenSpec;

use super::decode::{Decode, Step};
use super::fault::{Column, Fault, RowFault};
use super::field::Field;
use super::value::Draft;

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    CellStart,
    Plain,
    Quoted,
    /// After a quote within a quoted cell: its end, or the first half of `""`.
    Closing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Quoted,
    /// Doubled quotes, or text after the closing one.
    Mixed,
}

#[derive(Clone, Copy)]
struct Cell {
    start: usize,
    end: usize,
    kind: Kind,
}

impl Cell {
    fn text<'a>(&self, record: &'a [u8]) -> Cow<'a, [u8]> {
        let raw = &record[self.start..self.end];
        match self.kind {
            Kind::Plain => Cow::Borrowed(raw),
            Kind::Quoted => Cow::Borrowed(&raw[1..raw.len() - 1]),
            Kind::Mixed => Cow::Owned(unquote(&raw[1..])),
        }
    }
}

/// The text of a cell after its opening quote.
fn unquote(raw: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.iter().position(|byte| *byte == b'"') {
        text.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        match rest.strip_prefix(b"\"") {
            Some(after) => {
                text.push(b'"');
                rest = after;
            }
            None => break,
        }
    }
    text.extend_from_slice(rest);
    text
}

/// Where one record and its cells end; keeps its place while more data arrives.
pub(super) struct Scanner {
    cells: Vec<Cell>,
    state: State,
    kind: Kind,
    cell: usize,
    at: usize,
    quoted_lines: u64,
    complete: bool,
}

pub(super) struct Scanned {
    pub(super) len: usize,
    pub(super) lines: u64,
    blank: bool,
}

impl Scanner {
    pub(super) fn new() -> Self {
        Self {
            cells: Vec::new(),
            state: State::CellStart,
            kind: Kind::Plain,
            cell: 0,
            at: 0,
            quoted_lines: 0,
            complete: false,
        }
    }

    fn restart(&mut self) {
        self.cells.clear();
        (self.state, self.kind) = (State::CellStart, Kind::Plain);
        (self.cell, self.at, self.quoted_lines, self.complete) = (0, 0, 0, false);
    }

    fn end_cell(&mut self) {
        self.cells.push(Cell { start: self.cell, end: self.at, kind: self.kind });
    }

    /// The record at the beginning of `data`, or `None` if its end is not there. Blank lines are
    /// records without cells.
    pub(super) fn scan(&mut self, data: &[u8], ended: bool) -> Option<Scanned> {
        if self.complete {
            self.restart();
        }
        loop {
            let rest = data.get(self.at..).unwrap_or_default();
            match self.state {
                State::CellStart => {
                    self.cell = self.at;
                    (self.state, self.kind) = match rest.first() {
                        None if !ended => return None,
                        Some(b'"') => {
                            self.at += 1;
                            (State::Quoted, Kind::Quoted)
                        }
                        _ => (State::Plain, Kind::Plain),
                    };
                }
                State::Plain => {
                    let len = rest.iter().position(|byte| matches!(byte, b',' | b'\n' | b'\r'));
                    self.at += len.unwrap_or(rest.len());
                    if let Some(done) = self.boundary(data, ended)? {
                        return Some(done);
                    }
                }
                State::Quoted => {
                    let quote = rest.iter().position(|byte| *byte == b'"');
                    let inside = &rest[..quote.unwrap_or(rest.len())];
                    self.quoted_lines += inside.iter().filter(|byte| **byte == b'\n').count() as u64;
                    self.at += inside.len();
                    quote?;
                    self.at += 1;
                    self.state = State::Closing;
                }
                State::Closing => match rest.first() {
                    Some(b'"') => {
                        self.at += 1;
                        (self.state, self.kind) = (State::Quoted, Kind::Mixed);
                    }
                    Some(byte) if !matches!(byte, b',' | b'\n' | b'\r') => {
                        (self.state, self.kind) = (State::Plain, Kind::Mixed);
                    }
                    _ => {
                        if let Some(done) = self.boundary(data, ended)? {
                            return Some(done);
                        }
                    }
                },
            }
        }
    }

    /// Ends the cell at a comma, a line's end or the stream's. The outer `None` asks for more
    /// data, the inner one says that the record goes on.
    #[expect(clippy::option_option, reason = "the two levels are two questions")]
    fn boundary(&mut self, data: &[u8], ended: bool) -> Option<Option<Scanned>> {
        let terminator = match data.get(self.at) {
            Some(b',') => {
                self.end_cell();
                self.at += 1;
                self.state = State::CellStart;
                return Some(None);
            }
            Some(b'\r') => match data.get(self.at + 1) {
                Some(b'\n') => 2,
                None if !ended => return None,
                _ => 1,
            },
            Some(_) => 1,
            None if ended && !data.is_empty() => 0,
            None => return None,
        };
        self.complete = true;
        let blank = self.at == 0;
        self.end_cell();
        let lines = self.quoted_lines + u64::from(terminator > 0);
        Some(Some(Scanned { len: self.at + terminator, lines, blank }))
    }

    /// The cells' text of the record that `scan` found.
    pub(super) fn texts<'a>(&self, record: &'a [u8]) -> impl Iterator<Item = Cow<'a, [u8]>> {
        self.cells.iter().map(|cell| cell.text(record))
    }

    pub(super) fn is_blank(scanned: &Scanned) -> bool {
        scanned.blank
    }

    /// See [`Decode::cut`]: after a quote that nothing closes, only the first line is given up,
    /// for what follows is more likely rows than text.
    pub(super) fn cut(&mut self, data: &[u8], limit: usize) -> (usize, Fault) {
        let quoted = self.state == State::Quoted;
        self.restart();
        let line = data.iter().position(|byte| *byte == b'\n').map_or(data.len(), |at| at + 1);
        if quoted { (line, Fault::OpenQuote { limit }) } else { (line, Fault::TooLong { limit }) }
    }
}

/// Rows of a CSV whose header is known.
pub(super) struct Csv {
    header: Vec<String>,
    bound: Vec<(Field, usize)>,
    scanner: Scanner,
    clamp: bool,
}

impl Csv {
    pub(super) fn new(header: Vec<String>, bound: Vec<(Field, usize)>, clamp: bool) -> Self {
        Self { header, bound, scanner: Scanner::new(), clamp }
    }

    fn row(&self, record: &[u8]) -> Result<TokenSpec, Box<RowFault>> {
        let (found, expected) = (self.scanner.cells.len(), self.header.len());
        if found != expected {
            return Err(Box::new(RowFault::of_row(Fault::Ragged { found, expected })));
        }
        let mut draft = Draft::new(self.clamp);
        for &(field, place) in &self.bound {
            let cell = self.scanner.cells[place].text(record);
            match std::str::from_utf8(&cell) {
                Ok(text) => draft.set(field, text).map_err(|fault| self.fault(record, field, fault))?,
                Err(_) => return Err(self.fault(record, field, Fault::NotUtf8)),
            }
        }
        draft.finish().map_err(|(field, fault)| self.fault(record, field, fault))
    }

    #[cold]
    fn fault(&self, record: &[u8], field: Field, fault: Fault) -> Box<RowFault> {
        let Some(&(_, place)) = self.bound.iter().find(|(bound, _)| *bound == field) else {
            return Box::new(RowFault::of_row(fault));
        };
        let cell = self.scanner.cells[place];
        let before = record[..cell.start].iter().filter(|byte| **byte == b'\n').count();
        Box::new(RowFault {
            fault,
            field: Some(field),
            column: Some(Column { number: Some(place + 1), name: self.header[place].clone() }),
            value: String::from_utf8_lossy(&cell.text(record)).into_owned(),
            line_in_row: before as u64,
        })
    }
}

impl Decode for Csv {
    fn next(&mut self, data: &[u8], ended: bool) -> Step {
        match self.scanner.scan(data, ended) {
            None => Step::Dry,
            Some(Scanned { len, lines, blank: true }) => Step::Blank { len, lines },
            Some(Scanned { len, lines, .. }) => Step::Row { len, lines, row: self.row(&data[..len]) },
        }
    }

    fn cut(&mut self, data: &[u8], limit: usize) -> (usize, Fault) {
        self.scanner.cut(data, limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every record's cells, with the data arriving `step` bytes at a time.
    fn records(data: &[u8], step: usize) -> Option<Vec<Vec<Vec<u8>>>> {
        let (mut scanner, mut start, mut seen, mut found) = (Scanner::new(), 0, 0, Vec::new());
        loop {
            let ended = seen == data.len();
            match scanner.scan(&data[start..seen], ended) {
                Some(done) => {
                    let record = &data[start..start + done.len];
                    if !done.blank {
                        found.push(scanner.texts(record).map(Cow::into_owned).collect());
                    }
                    start += done.len;
                }
                None if ended && start == seen => return Some(found),
                None if ended => return None,
                None => seen = (seen + step).min(data.len()),
            }
        }
    }

    proptest! {
        #[test]
        fn cells_are_those_of_the_csv_crate(data in "[ab,\"\r\n]{0,40}", step in 1usize..9) {
            if let Some(ours) = records(data.as_bytes(), step) {
                let mut theirs = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(data.as_bytes());
                let theirs: Vec<Vec<Vec<u8>>> = theirs
                    .byte_records()
                    .map(|record| record.unwrap().iter().map(<[u8]>::to_vec).collect())
                    .collect();
                prop_assert_eq!(ours, theirs);
            } else {
                prop_assert!(data.contains('"'));
            }
        }
    }
}
