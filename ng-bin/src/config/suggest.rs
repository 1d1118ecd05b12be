//! "Did you mean": the known name nearest to an unknown one.

/// A longer name is no slip of the fingers, and comparing it would cost time for nothing.
const LONGEST: usize = 64;

/// From this likeness on (Jaro–Winkler, 0–1), a name is near though many letters lack: it begins
/// the same, as `interval` does for `interval_ms`.
const ALIKE: f64 = 0.9;

/// The candidate nearest to `given`, if one is near: a slip in each four letters (at least one), or
/// the same beginning. Case does not count.
pub(super) fn nearest<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let given = given.trim().to_lowercase();
    let length = given.chars().count();
    if length == 0 || length > LONGEST {
        return None;
    }
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let known = candidate.to_lowercase();
            let slips = strsim::damerau_levenshtein(&given, &known);
            let few = slips <= (length / 4).max(1) && slips < length;
            (few || strsim::jaro_winkler(&given, &known) >= ALIKE).then_some((slips, candidate))
        })
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_and_beginnings_are_near_and_other_words_are_not() {
        let known = ["kind", "dir", "every", "interval_ms", "on_full", "on_full_wait_ms"];
        assert_eq!(nearest("evry", known), Some("every"));
        assert_eq!(nearest("dri", known), Some("dir"));
        assert_eq!(nearest("interval", known), Some("interval_ms"));
        assert_eq!(nearest("KIND", known), Some("kind"));
        assert_eq!(nearest("onfull", known), Some("on_full"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest("", known), None);
        assert_eq!(nearest("x", known), None);
        assert_eq!(nearest(&"e".repeat(1 << 20), known), None);
    }
}
