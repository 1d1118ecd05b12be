//! What the rules about documents share: which lines of Markdown are prose and which are fenced.

/// A line of a document.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'a> {
    /// From 1.
    pub(super) number: usize,
    pub(super) text: &'a str,
    /// The language of the fence around it, empty if none is given; `None` for prose.
    pub(super) fence: Option<&'a str>,
    /// Counts the fences, so that lines of one can be told from those of the next.
    pub(super) fence_number: usize,
}

/// The lines of a document without the fences' own.
pub(super) fn lines(text: &str) -> Vec<Line<'_>> {
    let (mut fence, mut fence_number) = (None, 0);
    let mut lines = Vec::new();
    for (index, text) in text.lines().enumerate() {
        match (text.trim_start().strip_prefix("```"), fence) {
            (Some(language), None) => {
                fence = Some(language.split([',', ' ']).next().unwrap_or_default());
                fence_number += 1;
            }
            (Some(_), Some(_)) => fence = None,
            (None, _) => lines.push(Line { number: index + 1, text, fence, fence_number }),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fences_are_told_from_prose() {
        let lines = lines("a\n```sh\nb\n```\nc\n```\nd\n```\n");
        let told: Vec<_> = lines.iter().map(|it| (it.number, it.text, it.fence)).collect();
        assert_eq!(told, [(1, "a", None), (3, "b", Some("sh")), (5, "c", None), (7, "d", Some(""))]);
    }
}
