//! A TOML text as a list of assignments to known keys.
//!
//! The text is walked with its spans, key by key, so that every unknown name and every mistake of
//! the grammar is found in one go. Whether a value is allowed is not asked here.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::finding::{Finding, Findings};
use super::named;
use super::place::{Place, Source, quote};
use super::scalar::Scalar;
use super::sections::StackConfig;
use super::suggest::nearest;
use super::table::{Field, Section};

/// A value for a field, and where it was written.
#[derive(Debug)]
pub(super) struct Assignment<'a> {
    pub(super) field: &'static Field,
    pub(super) scalar: Scalar<'a>,
    pub(super) place: Place,
}

/// What a text says.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) assignments: Vec<Assignment<'static>>,
    /// The sections that the text opens, and where.
    pub(super) sections: Vec<(&'static Section, Place)>,
    /// The quotas and pools that it names.
    pub(super) named: Vec<named::Written>,
}

impl Document {
    pub(super) fn read(source: &Source, findings: &mut Findings) -> Self {
        let (table, errors) = DeTable::parse_recoverable(&source.text);
        let mut walk = Walk { source, findings, broken: BTreeMap::new(), document: Self::default() };
        for error in &errors {
            walk.syntax(error);
        }
        walk.table(table.get_ref(), &StackConfig::SECTION);
        walk.document
    }
}

struct Walk<'a> {
    source: &'a Source,
    findings: &'a mut Findings,
    /// Lines with a mistake of the grammar: what is left of them was guessed by the parser, so
    /// nothing further is said of it. Where each begins and ends.
    broken: BTreeMap<usize, usize>,
    document: Document,
}

impl Walk<'_> {
    fn syntax(&mut self, error: &toml::de::Error) {
        let text = &self.source.text;
        let end = text.len();
        let span = error.span().unwrap_or(end..end);
        if self.is_broken(&span) {
            return;
        }
        let (before, after) = text.split_at(text.floor_char_boundary(span.start));
        let from = before.rfind('\n').map_or(0, |newline| newline + 1);
        let to = before.len() + after.find('\n').unwrap_or(after.len());
        self.broken.insert(from, to);

        let stretch = text.get(span.clone()).unwrap_or_default();
        let blank = after.lines().next().unwrap_or_default().trim().is_empty();
        let (message, help) = match error.message() {
            "duplicate key" if text.get(from..).is_some_and(|line| line.trim_start().starts_with('[')) => (
                format!("[{}] begins a second time", quote(stretch)),
                "write all its keys below one header".to_owned(),
            ),
            "duplicate key" => {
                (format!("`{}` is set twice", quote(stretch)), "keep one of the two".to_owned())
            }
            "string values must be quoted, expected literal string" if blank => {
                ("the value is missing".to_owned(), "write one after the `=`, or remove the line".to_owned())
            }
            "string values must be quoted, expected literal string" => {
                (format!("`{}` is no value", quote(stretch)), format!("write \"{}\"", quote(stretch)))
            }
            message => (
                format!("this is not TOML: {}", quote(message)),
                "a line is `key = value`, a section begins with `[name]`, strings are in quotes".to_owned(),
            ),
        };
        let source = self.source;
        self.findings.error(|| Finding::error(source.place(span), message).help(help));
    }

    fn is_broken(&self, span: &Range<usize>) -> bool {
        self.broken.range(..=span.start).next_back().is_some_and(|(_, end)| span.start <= *end)
    }

    fn error(&mut self, span: Range<usize>, error: impl FnOnce(Place) -> Finding) {
        if !self.is_broken(&span) {
            let source = self.source;
            self.findings.error(|| error(source.place(span)));
        }
    }

    fn table(&mut self, table: &DeTable<'_>, section: &'static Section) {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in entries {
            let name: &str = key.get_ref();
            let inner = Section::named(&format!("{}{name}", section.prefix)).filter(|_| !name.is_empty());
            match (section.field(name), inner, value.get_ref()) {
                (Some(field), _, value_given) => self.assign(field, value_given, value.span()),
                (None, Some(inner), DeValue::Table(table)) => {
                    self.document.sections.push((inner, self.source.place(key.span())));
                    self.table(table, inner);
                }
                (None, Some(inner), given) => {
                    let found = found(given);
                    self.error(value.span(), |place| {
                        Finding::error(
                            place,
                            format!("`{}` is a section, and can't be {found}", inner.name()),
                        )
                        .help(format!("begin it with a line `[{}]`", inner.name()))
                    });
                }
                (None, None, given) if named::is_here(section, name) => self.named(given, value.span()),
                (None, None, given) => {
                    let is_table = given.is_table();
                    self.error(key.span(), |place| unknown(place, name, section, is_table));
                }
            }
        }
    }

    /// The tables of [`named::TABLE`].
    fn named(&mut self, value: &DeValue<'_>, span: Range<usize>) {
        let DeValue::Table(tables) = value else {
            let found = found(value);
            return self.error(span, |place| named::no_table(place, &found));
        };
        let mut entries: Vec<_> = tables.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        for (name, value) in entries {
            let DeValue::Table(keys) = value.get_ref() else {
                let found = found(value.get_ref());
                self.error(value.span(), |place| named::no_table(place, &found));
                continue;
            };
            let mut written = named::Written::new(name.get_ref(), self.source.place(name.span()));
            let mut keys: Vec<_> = keys.iter().collect();
            keys.sort_by_key(|(key, _)| key.span().start);
            for (key, value) in keys {
                let span = if named::has(key.get_ref()) { value.span() } else { key.span() };
                if !self.is_broken(&span) {
                    let place = self.source.place(span);
                    written.assign(key.get_ref(), &scalar(value.get_ref()), place, self.findings);
                }
            }
            self.document.named.push(written);
        }
    }

    fn assign(&mut self, field: &'static Field, value: &DeValue<'_>, span: Range<usize>) {
        if self.is_broken(&span) {
            return;
        }
        let place = self.source.place(span);
        self.document.assignments.push(Assignment { field, scalar: scalar(value), place });
    }
}

fn unknown(place: Place, name: &str, section: &'static Section, is_table: bool) -> Finding {
    let shown = quote(name);
    let message = match (is_table, section.name()) {
        (true, "") => format!("there is no section [{shown}]"),
        (true, outer) => format!("there is no section [{outer}.{shown}]"),
        (false, "") => format!("there is no key `{shown}` at the top of the file"),
        (false, outer) => format!("there is no key `{shown}` in [{outer}]"),
    };
    let keys = || section.fields.iter().map(|field| field.key);
    let finding = Finding::error(place, message);
    if let Some(near) = nearest(name, keys().chain(section.children()).chain(named::within(section))) {
        let is_key = section.field(near).is_some();
        let near = if is_key { format!("`{near}`") } else { format!("[{}{near}]", section.prefix) };
        return finding.did_you_mean(Some(near));
    }
    if let Some(elsewhere) = StackConfig::SECTIONS.iter().find(|other| other.field(name).is_some()) {
        return finding.help(format!("`{name}` belongs to {}", elsewhere.label()));
    }
    if let Some(elsewhere) = StackConfig::SECTIONS.iter().find(|other| other.children().any(|c| c == name)) {
        return finding.help(format!("the section is [{}{name}]", elsewhere.prefix));
    }
    let sections: Vec<String> =
        section.children().map(|inner| format!("[{}{inner}]", section.prefix)).collect();
    if is_table && !sections.is_empty() {
        return finding.help(format!("what can stand here is {}", sections.join(", ")));
    }
    let keys: Vec<&str> = keys().collect();
    finding.help(format!("what can stand here is {}", keys.join(", ")))
}

fn found(value: &DeValue<'_>) -> String {
    scalar(value).found()
}

fn scalar(value: &DeValue<'_>) -> Scalar<'static> {
    match value {
        DeValue::String(text) => Scalar::Text(Cow::Owned(text.to_string())),
        DeValue::Integer(number) => {
            let digits = number.as_str();
            // More digits than 128 bits hold are beyond every limit anyway.
            let farthest = if digits.starts_with('-') { i128::MIN } else { i128::MAX };
            Scalar::Whole(i128::from_str_radix(digits, number.radix()).unwrap_or(farthest))
        }
        DeValue::Float(number) => Scalar::Real(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(on) => Scalar::Switch(*on),
        DeValue::Datetime(_) => Scalar::Foreign("a date or time"),
        DeValue::Array(_) => Scalar::Foreign("an array"),
        DeValue::Table(_) => Scalar::Foreign("a table"),
    }
}
