//! Rows of a stream that is pushed, piece by piece: for a caller that must not wait in a read.
//!
//! It keeps what no whole row is yet, at most the longest row, and nothing else. It makes no token
//! and keeps no batch: whoever takes the rows does.

use std::sync::Arc;

use ng_core::TokenSpec;
use ng_core::token::TOKEN_BYTES;

use super::binary::Binary;
use super::csv::{Csv, Scanner};
use super::decode::{Decode, Step};
use super::engine::{IngestError, header_names};
use super::fault::{BadRow, Place, RowFault};
use super::mapping::{Mapping, MappingError};
use super::ndjson::Ndjson;
use super::source::Format;

/// Takes what was pushed, row by row.
pub trait RowSink {
    /// A sound row and its place: its first line from 1 on, in binary its byte from 0 on.
    fn row(&mut self, place: u64, spec: TokenSpec);
    /// A row that can't become a token.
    fn bad(&mut self, row: BadRow);
}

/// A stream of rows under way.
pub struct Rows {
    name: Arc<str>,
    format: Format,
    mapping: Mapping,
    clamp: bool,
    max_record: usize,
    decoder: Option<Box<dyn Decode>>,
    header: Scanner,
    rest: Vec<u8>,
    line: u64,
    offset: u64,
    begun: bool,
    skipping: bool,
}

/// What came out of a look at the data.
enum Next {
    /// So many bytes and lines are done.
    Done(usize, u64),
    /// No whole row is left.
    Wait,
}

impl Rows {
    /// A stream called `name` in messages; a row is at most `max_record` bytes long, at least 64.
    #[must_use]
    pub fn new(name: &str, format: Format, mapping: Mapping, clamp: bool, max_record: usize) -> Self {
        let decoder: Option<Box<dyn Decode>> = match format {
            Format::Csv => None,
            Format::Ndjson => Some(Box::new(Ndjson::new(&mapping, clamp))),
            Format::Bin => Some(Box::new(Binary)),
        };
        Self {
            name: name.into(),
            format,
            mapping,
            clamp,
            max_record: max_record.max(TOKEN_BYTES),
            decoder,
            header: Scanner::new(),
            rest: Vec::new(),
            line: 1,
            offset: 0,
            begun: false,
            skipping: false,
        }
    }

    /// Chosen NDJSON keys that no row has had so far: perhaps misspelt.
    #[must_use]
    pub fn unseen(&self) -> Vec<String> {
        self.decoder.as_ref().map_or_else(Vec::new, |decoder| decoder.unseen())
    }

    /// The next piece; `ended` says that it is the last. After an error nothing more can be pushed.
    ///
    /// # Errors
    /// [`IngestError::Header`] and [`IngestError::Mapping`] for a CSV's first line.
    pub fn push(&mut self, piece: &[u8], ended: bool, sink: &mut impl RowSink) -> Result<(), IngestError> {
        if self.format == Format::Bin {
            self.push_binary(piece, ended, sink);
            return Ok(());
        }
        let mut rest = std::mem::take(&mut self.rest);
        let used = if rest.is_empty() {
            let used = self.pump(piece, ended, sink)?;
            rest.extend_from_slice(&piece[used..]);
            0
        } else {
            rest.extend_from_slice(piece);
            self.pump(&rest, ended, sink)?
        };
        rest.drain(..used);
        self.rest = rest;
        Ok(())
    }

    /// Whole records are decoded where they lie; only one that two pieces share is copied.
    fn push_binary(&mut self, mut piece: &[u8], ended: bool, sink: &mut impl RowSink) {
        if !self.rest.is_empty() {
            let missing = (TOKEN_BYTES - self.rest.len()).min(piece.len());
            self.rest.extend_from_slice(&piece[..missing]);
            piece = &piece[missing..];
            if self.rest.len() == TOKEN_BYTES {
                let record = std::mem::take(&mut self.rest);
                self.records(&record, sink);
                self.rest = record;
                self.rest.clear();
            }
        }
        let whole = piece.len() - piece.len() % TOKEN_BYTES;
        self.records(&piece[..whole], sink);
        self.rest.extend_from_slice(&piece[whole..]);
        if ended && !self.rest.is_empty() {
            let fault = Binary.cut(&self.rest, self.max_record).1;
            let place = Place::Byte(self.offset);
            sink.bad(BadRow::new(Arc::clone(&self.name), place, RowFault::of_row(fault)));
            self.rest.clear();
        }
    }

    fn records(&mut self, whole: &[u8], sink: &mut impl RowSink) {
        for bytes in whole.chunks_exact(TOKEN_BYTES) {
            match Binary.next(bytes, true) {
                Step::Row { row: Ok(spec), .. } => sink.row(self.offset, spec),
                Step::Row { row: Err(fault), .. } => {
                    sink.bad(BadRow::new(Arc::clone(&self.name), Place::Byte(self.offset), *fault));
                }
                Step::Blank { .. } | Step::Dry => {}
            }
            self.offset += TOKEN_BYTES as u64;
        }
    }

    /// How many bytes of `data` are done with.
    fn pump(&mut self, data: &[u8], ended: bool, sink: &mut impl RowSink) -> Result<usize, IngestError> {
        let mut at = 0;
        if !self.begun {
            const MARK: &[u8] = b"\xef\xbb\xbf";
            if data.len() < MARK.len() && !ended && MARK.starts_with(data) {
                return Ok(0);
            }
            self.begun = true;
            at = if data.starts_with(MARK) { MARK.len() } else { 0 };
        }
        loop {
            let left = &data[at..];
            let next = if self.skipping {
                self.skip(left)
            } else if self.decoder.is_none() {
                self.head(left, ended)?
            } else {
                self.next(left, ended, sink)
            };
            match next {
                Next::Done(len, lines) => {
                    at += len;
                    self.line += lines;
                }
                Next::Wait => return Ok(at),
            }
        }
    }

    /// The rest of a line that was too long.
    fn skip(&mut self, data: &[u8]) -> Next {
        match data.iter().position(|byte| *byte == b'\n') {
            Some(newline) => {
                self.skipping = false;
                Next::Done(newline + 1, 1)
            }
            None if data.is_empty() => Next::Wait,
            None => Next::Done(data.len(), 0),
        }
    }

    fn next(&mut self, data: &[u8], ended: bool, sink: &mut impl RowSink) -> Next {
        let Some(decoder) = self.decoder.as_mut() else { return Next::Wait };
        let view = &data[..data.len().min(self.max_record)];
        let over = data.len() > self.max_record;
        match decoder.next(view, ended && !over) {
            Step::Row { len, lines, row } => {
                match row {
                    Ok(spec) => sink.row(self.line, spec),
                    Err(fault) => {
                        let place = Place::Line(self.line);
                        sink.bad(BadRow::new(Arc::clone(&self.name), place, *fault));
                    }
                }
                Next::Done(len, lines)
            }
            Step::Blank { len, lines } => Next::Done(len, lines),
            Step::Dry if view.is_empty() || !(over || ended) => Next::Wait,
            Step::Dry => {
                let (len, fault) = decoder.cut(view, self.max_record);
                let place = Place::Line(self.line);
                sink.bad(BadRow::new(Arc::clone(&self.name), place, RowFault::of_row(fault)));
                let whole = view[..len].ends_with(b"\n") || (ended && len == data.len());
                self.skipping = !whole;
                Next::Done(len, u64::from(whole))
            }
        }
    }

    /// A CSV's line of column names.
    fn head(&mut self, data: &[u8], ended: bool) -> Result<Next, IngestError> {
        let view = &data[..data.len().min(self.max_record)];
        let over = data.len() > self.max_record;
        let refuse = |what: String| IngestError::Header { file: self.name.to_string(), what };
        let Some(scanned) = self.header.scan(view, ended && !over) else {
            if view.is_empty() && ended {
                return Err(refuse("it is empty: a CSV begins with a line of column names".to_owned()));
            }
            if over || ended {
                return Err(refuse(format!("its header: {}", self.header.cut(view, self.max_record).1)));
            }
            return Ok(Next::Wait);
        };
        if Scanner::is_blank(&scanned) {
            return Ok(Next::Done(scanned.len, scanned.lines));
        }
        let names = header_names(&self.header, &view[..scanned.len], &self.name)?;
        let bound = self.mapping.bind(&self.name, &names).map_err(|error: MappingError| error)?;
        self.decoder = Some(Box::new(Csv::new(names, bound, self.clamp)));
        Ok(Next::Done(scanned.len, scanned.lines))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Ingest, Intake, NoProgress, Options, Source, Stopped, Verdicts};
    use super::*;

    #[derive(Default)]
    struct All(Vec<TokenSpec>, Vec<String>);

    impl RowSink for All {
        fn row(&mut self, _place: u64, spec: TokenSpec) {
            self.0.push(spec);
        }

        fn bad(&mut self, row: BadRow) {
            self.1.push(row.to_string());
        }
    }

    impl Intake for All {
        fn take(&mut self, specs: &[TokenSpec], _verdicts: &mut Verdicts) -> Result<(), Stopped> {
            self.0.extend_from_slice(specs);
            Ok(())
        }
    }

    /// What the puller makes of the whole text.
    fn pulled(format: Format, text: &[u8], max_record: usize) -> (Vec<TokenSpec>, Vec<String>, bool) {
        let options = Options { max_record, keep: usize::MAX, ..Options::default() };
        let mut ingest = Ingest::new(Mapping::default(), options, None);
        let source = Source::from_reader("body", format, std::io::Cursor::new(text.to_vec()));
        let mut all = All::default();
        let failed = ingest.run(source, &mut all, &mut NoProgress).is_err();
        let bad = ingest.summary().bad_rows.iter().map(ToString::to_string).collect();
        (all.0, bad, failed)
    }

    fn pushed(
        format: Format,
        text: &[u8],
        max_record: usize,
        cuts: &[usize],
    ) -> (Vec<TokenSpec>, Vec<String>, bool) {
        let mut rows = Rows::new("body", format, Mapping::default(), false, max_record);
        let mut all = All::default();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (text.len() + 1)).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        for pair in cuts.windows(2) {
            if rows.push(&text[pair[0]..pair[1]], false, &mut all).is_err() {
                return (all.0, all.1, true);
            }
        }
        let failed = rows.push(b"", true, &mut all).is_err();
        (all.0, all.1, failed)
    }

    fn row() -> impl Strategy<Value = String> {
        prop_oneof![
            (0..2_000_u32).prop_map(|weight| format!("{weight}.5,{weight}")),
            Just("\"1\"\"2\",3".to_owned()),
            Just("\"1\n2\",3".to_owned()),
            Just("\"open,3".to_owned()),
            Just("x,1".to_owned()),
            Just(String::new()),
            "[ -~]{0,90}",
        ]
    }

    proptest! {
        #[test]
        fn pushed_csv_is_what_is_pulled(rows in prop::collection::vec(row(), 0..12), cuts in prop::collection::vec(0..2000_usize, 0..8), end in "(\r\n|\n)?", mark: bool) {
            let text = format!("{}weight,timestamp\r\n{}{end}", if mark { "\u{feff}" } else { "" }, rows.join("\n"));
            prop_assert_eq!(pushed(Format::Csv, text.as_bytes(), 80, &cuts), pulled(Format::Csv, text.as_bytes(), 80));
        }

        #[test]
        fn pushed_ndjson_is_what_is_pulled(rows in prop::collection::vec(prop_oneof![
            (0..99_u32).prop_map(|weight| format!("{{\"weight\":{weight}}}")), row(),
        ], 0..12), cuts in prop::collection::vec(0..2000_usize, 0..8)) {
            let text = rows.join("\n");
            prop_assert_eq!(pushed(Format::Ndjson, text.as_bytes(), 80, &cuts), pulled(Format::Ndjson, text.as_bytes(), 80));
        }

        #[test]
        fn pushed_records_are_what_is_pulled(bytes in prop::collection::vec(any::<u8>(), 0..700), cuts in prop::collection::vec(0..2000_usize, 0..8)) {
            let same = |mut found: (Vec<TokenSpec>, Vec<String>, bool)| {
                // A NaN is not equal to itself.
                found.0.retain(|spec| spec.draft().weight.is_finite());
                found
            };
            prop_assert_eq!(same(pushed(Format::Bin, &bytes, 80, &cuts)), same(pulled(Format::Bin, &bytes, 80)));
        }
    }
}
