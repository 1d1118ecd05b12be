//! Where a value was written: a stretch of a text, a variable, or a file as a whole.
//!
//! What is kept for a message is bounded and harmless on a terminal, whatever the file contains.

use std::ops::Range;

/// A long line is shown this many characters wide, around the stretch.
const SHOWN_CHARS: usize = 120;

/// Characters shown before the stretch when its line is cut.
const LEAD_CHARS: usize = 40;

/// A word of the text within a message is cut to this many characters.
const QUOTED_CHARS: usize = 60;

/// What some editors put before a text in UTF-8.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Where something was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a text, at a line and column.
    Text(Excerpt),
    /// In an environment variable, or in an option of the command line.
    Variable {
        /// Its name.
        name: String,
        /// Its value, as far as it can be shown.
        value: String,
    },
    /// In a file that could not be read as text.
    File {
        /// As it was given.
        name: String,
    },
}

/// A stretch of one line of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    /// The text's name, mostly the file's path.
    pub name: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The line, or the part of it around the stretch; one column a character.
    pub shown: String,
    /// Characters of `shown` before the stretch.
    pub lead: usize,
    /// Characters of the stretch, 1 or more.
    pub width: usize,
}

/// A text and what to call it.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) text: String,
}

impl Source {
    /// A byte order mark is no part of the text, nor of its first line's columns.
    pub(super) fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let mut text = text.into();
        if text.starts_with(BYTE_ORDER_MARK) {
            text.remove(0);
        }
        Self { name: name.into(), text }
    }

    /// The stretch that begins at byte `span.start`; its first line, if it goes over several.
    pub(super) fn place(&self, span: Range<usize>) -> Place {
        let at = self.text.floor_char_boundary(span.start);
        let before = self.text.get(..at).unwrap_or_default();
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let rest = self.text.get(start..).unwrap_or_default();
        let line: Vec<char> = tame(rest.lines().next().unwrap_or_default()).chars().collect();
        let stretch = self.text.get(at..self.text.floor_char_boundary(span.end.max(at))).unwrap_or_default();
        let stretch = stretch.lines().next().unwrap_or_default().chars().count();

        let lead = self.text.get(start..at).unwrap_or_default().chars().count();
        let from = if line.len() > SHOWN_CHARS { lead.saturating_sub(LEAD_CHARS) } else { 0 };
        let shown: String = line.iter().skip(from).take(SHOWN_CHARS).collect();
        let room = shown.chars().count().saturating_sub(lead - from).max(1);
        Place::Text(Excerpt {
            name: tame(&self.name),
            line: before.bytes().filter(|byte| *byte == b'\n').count() + 1,
            column: lead + 1,
            shown,
            lead: lead - from,
            width: stretch.clamp(1, room),
        })
    }
}

impl Place {
    pub(super) fn variable(name: &str, value: &str) -> Self {
        Self::Variable { name: tame(name), value: tame(value).chars().take(SHOWN_CHARS).collect() }
    }

    pub(super) const fn line(&self) -> Option<usize> {
        match self {
            Self::Text(excerpt) => Some(excerpt.line),
            Self::Variable { .. } | Self::File { .. } => None,
        }
    }
}

/// The text with what could move a cursor or turn the writing direction replaced, a character for
/// a character.
pub(super) fn tame(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' => ' ',
            c if c.is_control() => char::REPLACEMENT_CHARACTER,
            // Bidirectional marks, embeddings and isolates.
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                char::REPLACEMENT_CHARACTER
            }
            c => c,
        })
        .collect()
}

/// The text as a message quotes it: [`tame`], and cut where it is long.
pub(super) fn quote(text: &str) -> String {
    let mut out: String = tame(text).chars().take(QUOTED_CHARS).collect();
    if text.chars().nth(QUOTED_CHARS).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn excerpt(text: &str, span: Range<usize>) -> Excerpt {
        match Source::new("x", text).place(span) {
            Place::Text(excerpt) => excerpt,
            place => panic!("{place:?}"),
        }
    }

    #[test]
    fn columns_count_characters_and_lines_count_from_one() {
        let found = excerpt("a = 1\nü = \"é\"\n", 11..15);
        assert_eq!((found.line, found.column, found.width), (2, 5, 3));
    }

    #[test]
    fn a_stretch_of_a_very_long_line_is_shown_with_what_is_around_it() {
        let text = format!("{}BAD{}", "x".repeat(10_000), "y".repeat(10_000));
        let found = excerpt(&text, 10_000..10_003);
        assert_eq!((found.column, found.lead, found.width), (10_001, LEAD_CHARS, 3));
        assert_eq!(found.shown.chars().count(), SHOWN_CHARS);
        assert_eq!(&found.shown[LEAD_CHARS..LEAD_CHARS + 3], "BAD");
    }

    #[test]
    fn an_escape_sequence_in_the_file_never_reaches_the_terminal() {
        assert_eq!(excerpt("k = \u{1b}[2J\t", 4..5).shown, "k = \u{fffd}[2J ");
    }

    proptest! {
        #[test]
        fn the_stretch_is_within_what_is_shown(text in "(?s).{0,300}", a in 0..400usize, length in 0..400usize) {
            let found = excerpt(&text, a.min(text.len())..(a + length).min(text.len()));
            prop_assert!(found.width >= 1);
            prop_assert!(found.lead + found.width <= found.shown.chars().count().max(found.lead + 1));
            prop_assert!(found.shown.chars().count() <= SHOWN_CHARS);
        }
    }
}
