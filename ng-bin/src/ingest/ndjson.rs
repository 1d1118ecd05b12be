//! NDJSON: one object a line, any keys, dots in a column's name leading into nested objects.
//!
//! `serde_json` says whether a line is sound; a walk over the sound line then picks out the values
//! as text, so that a number is parsed once, exactly, by the rules of the other formats. It never
//! builds a tree.

use std::borrow::Cow;

use ng_core::TokenSpec;
use serde::de::IgnoredAny;

use super::decode::{Decode, Step};
use super::fault::{Column, Fault, RowFault};
use super::field::Field;
use super::mapping::Mapping;
use super::value::Draft;

struct Target {
    field: Field,
    key: String,
    seen: bool,
    /// The value in this row: how deep it was found, and where.
    found: Option<(usize, usize, usize)>,
}

pub(super) struct Ndjson {
    targets: Vec<Target>,
    path: String,
    scanned: usize,
    clamp: bool,
    chosen: bool,
}

impl Ndjson {
    pub(super) fn new(mapping: &Mapping, clamp: bool) -> Self {
        let targets = mapping.bindings().iter();
        let targets = targets.map(|binding| Target {
            field: binding.field,
            key: binding.column.clone(),
            seen: false,
            found: None,
        });
        Self {
            targets: targets.collect(),
            path: String::new(),
            scanned: 0,
            clamp,
            chosen: mapping.is_chosen(),
        }
    }

    fn row(&mut self, line: &[u8]) -> Result<TokenSpec, Box<RowFault>> {
        let of_row = |fault| Box::new(RowFault::of_row(fault));
        let Ok(text) = std::str::from_utf8(line) else { return Err(of_row(Fault::RowNotUtf8)) };
        if let Err(error) = serde_json::from_str::<IgnoredAny>(text) {
            return Err(of_row(Fault::NotJson(describe(&error))));
        }
        let text = text.trim_ascii();
        if !text.starts_with('{') {
            return Err(of_row(Fault::NotAnObject(kind(text))));
        }
        for target in &mut self.targets {
            target.found = None;
        }
        self.path.clear();
        let mut walk = Walk { text, at: 0, path: &mut self.path, targets: &mut self.targets };
        walk.object(0)?;
        let mut draft = Draft::new(self.clamp);
        for target in &self.targets {
            let Some((_, start, end)) = target.found else { continue };
            let value = &text[start..end];
            match value.as_bytes().first() {
                Some(b'"') => {
                    let decoded = string(value).map_err(|fault| blame(target, value, fault))?;
                    draft.set(target.field, &decoded).map_err(|fault| blame(target, &decoded, fault))?;
                }
                Some(b'n') => {}
                Some(b'-' | b'0'..=b'9') => {
                    draft.set(target.field, value).map_err(|fault| blame(target, value, fault))?;
                }
                _ => return Err(blame(target, value, Fault::WrongKind(kind(value)))),
            }
        }
        draft.finish().map_err(|(field, fault)| {
            match self.targets.iter().find(|target| target.field == field) {
                Some(target) => {
                    let value = target.found.map_or("", |(_, start, end)| &text[start..end]);
                    blame(target, value, fault)
                }
                None => of_row(fault),
            }
        })
    }
}

#[cold]
fn blame(target: &Target, value: &str, fault: Fault) -> Box<RowFault> {
    Box::new(RowFault {
        fault,
        field: Some(target.field),
        column: Some(Column { number: None, name: target.key.clone() }),
        value: value.to_owned(),
        line_in_row: 0,
    })
}

/// The error with its column; its line is always 1.
fn describe(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or(&text);
    format!("{what} at character {}", error.column())
}

fn kind(value: &str) -> &'static str {
    match value.as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b't') => "true",
        Some(b'f') => "false",
        Some(b'n') => "null",
        Some(b'"') => "a string",
        _ => "a number",
    }
}

/// The text of a string in its quotes. Only an escape that names no character can be wrong here.
fn string(quoted: &str) -> Result<Cow<'_, str>, Fault> {
    if quoted.contains('\\') {
        let decoded: Result<String, _> = serde_json::from_str(quoted);
        decoded.map(Cow::Owned).map_err(|error| Fault::NotJson(describe(&error)))
    } else {
        Ok(Cow::Borrowed(&quoted[1..quoted.len() - 1]))
    }
}

/// A walk over JSON that is known to be sound.
struct Walk<'a> {
    text: &'a str,
    at: usize,
    path: &'a mut String,
    targets: &'a mut [Target],
}

impl Walk<'_> {
    fn space(&mut self) {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    }

    fn peek(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(b'}')
    }

    /// The object at `self.at`, `depth` objects below the row's own.
    fn object(&mut self, depth: usize) -> Result<(), Box<RowFault>> {
        self.at += 1;
        loop {
            self.space();
            if self.peek() == b'}' {
                self.at += 1;
                return Ok(());
            }
            let key = self.value();
            let key = string(&self.text[key.0..key.1]).map_err(|fault| Box::new(RowFault::of_row(fault)))?;
            self.space();
            self.at += 1; // the colon
            self.space();
            let parent = self.path.len();
            self.path.push_str(&key);
            self.member(depth)?;
            self.path.truncate(parent);
            self.space();
            if self.peek() == b',' {
                self.at += 1;
            }
        }
    }

    /// The value of the key that `self.path` ends with.
    fn member(&mut self, depth: usize) -> Result<(), Box<RowFault>> {
        let start = self.at;
        let inside = self.peek() == b'{'
            && self.targets.iter().any(|target| {
                target.key.strip_prefix(self.path.as_str()).is_some_and(|rest| rest.starts_with('.'))
            });
        let end = if inside {
            self.path.push('.');
            self.object(depth + 1)?;
            self.path.pop();
            self.at
        } else {
            self.value().1
        };
        for target in self.targets.iter_mut().filter(|target| target.key == *self.path) {
            target.seen = true;
            match target.found {
                Some((above, ..)) if above < depth => {}
                Some((above, ..)) if above == depth => {
                    return Err(blame(target, &self.text[start..end], Fault::TwiceInRow));
                }
                _ => target.found = Some((depth, start, end)),
            }
        }
        Ok(())
    }

    /// Steps over any value; where it begins and ends.
    fn value(&mut self) -> (usize, usize) {
        let (start, bytes) = (self.at, self.text.as_bytes());
        let mut depth = 0usize;
        while let Some(byte) = bytes.get(self.at) {
            match byte {
                b'"' => {
                    self.at += 1;
                    while let Some(inner) = bytes.get(self.at).filter(|inner| **inner != b'"') {
                        self.at += if *inner == b'\\' { 2 } else { 1 };
                    }
                    self.at += 1;
                }
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth -= 1;
                    self.at += 1;
                }
                _ if depth > 0 => {
                    self.at += 1;
                    continue;
                }
                _ => {
                    let scalar = bytes[self.at..].iter();
                    self.at += scalar
                        .take_while(|byte| !matches!(byte, b',' | b'}' | b']') && !byte.is_ascii_whitespace())
                        .count();
                }
            }
            if depth == 0 {
                break;
            }
        }
        (start, self.at)
    }
}

impl Decode for Ndjson {
    fn next(&mut self, data: &[u8], ended: bool) -> Step {
        let newline = data[self.scanned..].iter().position(|byte| *byte == b'\n');
        let (len, lines) = match newline {
            Some(at) => (self.scanned + at + 1, 1),
            None if ended && !data.is_empty() => (data.len(), 0),
            None => {
                self.scanned = data.len();
                return Step::Dry;
            }
        };
        self.scanned = 0;
        let line = &data[..len];
        if line.trim_ascii().is_empty() {
            return Step::Blank { len, lines };
        }
        Step::Row { len, lines, row: self.row(line) }
    }

    fn cut(&mut self, data: &[u8], limit: usize) -> (usize, Fault) {
        self.scanned = 0;
        (data.len(), Fault::TooLong { limit })
    }

    fn unseen(&self) -> Vec<String> {
        let unseen = self.targets.iter().filter(|target| self.chosen && !target.seen);
        unseen.map(|target| target.key.clone()).collect()
    }
}
