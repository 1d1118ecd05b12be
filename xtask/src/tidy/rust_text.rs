//! Rust source with everything that is not code blanked out, so that a rule which looks for a word
//! finds the code and not the prose about it. It is a scanner of literals and comments, no parser.

/// `source` with comments and the contents of string and character literals replaced by spaces.
/// Line breaks stay, so line numbers hold.
pub(super) fn code_only(source: &str) -> String {
    let letters: Vec<char> = source.chars().collect();
    let mut code = String::with_capacity(source.len());
    let mut at = 0;
    while let Some(&letter) = letters.get(at) {
        match opaque_end(&letters, at) {
            Some(end) => {
                let end = end.min(letters.len());
                code.extend(letters[at..end].iter().map(|&it| if it == '\n' { '\n' } else { ' ' }));
                at = end;
            }
            None => {
                code.push(letter);
                at += 1;
            }
        }
    }
    code
}

/// Where the comment or literal that begins at `at` ends; `None` where code begins.
fn opaque_end(letters: &[char], at: usize) -> Option<usize> {
    match letters.get(at..)? {
        ['/', '/', rest @ ..] => Some(at + 2 + rest.iter().take_while(|&&it| it != '\n').count()),
        ['/', '*', ..] => Some(block_comment_end(letters, at)),
        ['"', ..] => Some(string_end(letters, at)),
        ['r', rest @ ..] => {
            let hashes = rest.iter().take_while(|&&it| it == '#').count();
            (rest.get(hashes) == Some(&'"')).then(|| raw_string_end(letters, at + 2 + hashes, hashes))
        }
        ['\'', '\\', _, rest @ ..] => Some(at + 4 + rest.iter().take_while(|&&it| it != '\'').count()),
        // Without the closing quote it is a lifetime, which is code.
        ['\'', _, '\'', ..] => Some(at + 3),
        _ => None,
    }
}

fn block_comment_end(letters: &[char], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0_usize);
    while let Some(rest) = letters.get(at..) {
        match rest {
            ['/', '*', ..] => (at, depth) = (at + 2, depth + 1),
            ['*', '/', ..] => (at, depth) = (at + 2, depth - 1),
            [] => break,
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn string_end(letters: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(letter) = letters.get(at) {
        match letter {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    at
}

fn raw_string_end(letters: &[char], start: usize, hashes: usize) -> usize {
    let mut at = start;
    while let Some(letter) = letters.get(at) {
        at += 1;
        let closing = || letters.iter().skip(at).take(hashes).filter(|&&it| it == '#').count();
        if *letter == '"' && closing() == hashes {
            return at + hashes;
        }
    }
    at
}

/// Whether `word` stands at `start` in `text` with no letter, digit or `_` next to it.
pub(super) fn is_word_at(text: &str, start: usize, word: &str) -> bool {
    let part_of_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let before = text.get(..start).and_then(|it| it.chars().next_back());
    let after = text.get(start + word.len()..).and_then(|it| it.chars().next());
    !before.is_some_and(part_of_word) && !after.is_some_and(part_of_word)
}

/// Where `word` stands by itself in `text`, as byte offsets.
pub(super) fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.match_indices(word).map(|(start, _)| start).filter(move |&start| is_word_at(text, start, word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_stays_and_prose_goes() {
        let cases = [
            ("a // b", "a     "),
            ("a /* b /* c */ d */ e", "a                   e"),
            (r#"f("x \" y") g"#, "f(        ) g"),
            (r##"r#"x " y"# g"##, "           g"),
            (r#"br"x" g"#, "b     g"),
            ("'x' '\\'' '\\n' 'a", "              'a"),
            ("<'a, 'b>", "<'a, 'b>"),
            ("r#type", "r#type"),
        ];
        for (source, expected) in cases {
            let code = code_only(source);
            assert_eq!(code.trim_end(), expected.trim_end(), "of {source}");
            assert_eq!(code.chars().count(), source.chars().count(), "of {source}");
        }
    }

    #[test]
    fn line_breaks_inside_literals_and_comments_stay() {
        assert_eq!(code_only("\"a\nb\" /* c\n */ d").lines().count(), 3);
    }

    #[test]
    fn text_that_ends_within_a_literal_is_taken_to_its_end() {
        for source in ["\"a", "/* a", "r#\"a", "'\\", "\"a\\"] {
            assert_eq!(code_only(source).chars().count(), source.chars().count());
        }
    }

    #[test]
    fn words_are_whole() {
        assert_eq!(words("unsafe unsafe_code not_unsafe", "unsafe").collect::<Vec<_>>(), [0]);
    }
}
