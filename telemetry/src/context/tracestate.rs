//! `tracestate`: what each system on the way keeps beside `traceparent`.
//!
//! Format: <https://www.w3.org/TR/trace-context/#tracestate-header>. One wrong member discards the
//! whole, as W3C says; the members of others pass through unread. Ours is OpenTelemetry's `ot`.

use std::fmt;

use super::threshold;

/// The most members; more make the header invalid.
pub const MAX_MEMBERS: usize = 32;

/// Characters that go on at most: whoever passes a longer one may cut whole members off its end.
const MAX_CHARACTERS: usize = 512;

const OURS: &str = "ot";

/// A parsed `tracestate`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TraceState {
    members: Vec<(Box<str>, Box<str>)>,
}

impl TraceState {
    /// Reads a header; several are joined with commas before. `None` if it is not valid.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut members: Vec<(Box<str>, Box<str>)> = Vec::new();
        for member in text.split(',').map(|member| member.trim_matches([' ', '\t'])) {
            if member.is_empty() {
                continue;
            }
            let (key, value) = member.split_once('=')?;
            let new = !members.iter().any(|(known, _)| **known == *key);
            if !new || members.len() == MAX_MEMBERS || !is_key(key) || !is_value(value) {
                return None;
            }
            members.push((key.into(), value.into()));
        }
        Some(Self { members })
    }

    /// A member's value.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.members.iter().find(|(known, _)| **known == *key).map(|(_, value)| &**value)
    }

    /// Whether there is no member.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The threshold that the caller sampled with, of 56 bits.
    #[must_use]
    pub fn threshold(&self) -> Option<u64> {
        threshold::decode(self.part("th")?)
    }

    /// The randomness that the trace brings with it, where its id is not it: 14 digits.
    #[must_use]
    pub fn randomness(&self) -> Option<u64> {
        threshold::decode(self.part("rv").filter(|rv| rv.len() == 14)?)
    }

    fn part(&self, name: &str) -> Option<&str> {
        self.get(OURS)?.split(';').find_map(|part| {
            let (key, value) = part.split_once(':')?;
            (key == name).then_some(value)
        })
    }

    /// Says another threshold, or none, and puts `ot` in front, as whoever changes a member must.
    pub(crate) fn set_threshold(&mut self, th: Option<&str>) {
        let at = self.members.iter().position(|(key, _)| **key == *OURS);
        let old = at.map(|at| self.members.remove(at).1).unwrap_or_default();
        let mut parts: Vec<String> = th.map(|th| format!("th:{th}")).into_iter().collect();
        parts.extend(old.split(';').filter(|p| !p.is_empty() && !p.starts_with("th:")).map(str::to_owned));
        if parts.is_empty() {
            return;
        }
        let value = parts.join(";");
        // A value has room for 256 characters: what others keep in `ot` gives way to nothing of ours.
        let value = if is_value(&value) { value } else { old.into() };
        self.members.insert(0, (OURS.into(), value.into()));
        self.members.truncate(MAX_MEMBERS);
    }
}

/// Members as they came, as far as they may go on.
impl fmt::Display for TraceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut used = 0;
        for (key, value) in &self.members {
            let comma = usize::from(used > 0);
            let len = key.len() + 1 + value.len();
            if used + comma + len > MAX_CHARACTERS {
                break;
            }
            write!(f, "{}{key}={value}", if comma == 1 { "," } else { "" })?;
            used += comma + len;
        }
        Ok(())
    }
}

/// `simple-key` of up to 256 characters, or `tenant@system`, 241 and 14.
fn is_key(key: &str) -> bool {
    let rest =
        |text: &str| text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/'));
    let letter = |text: &str| text.starts_with(|c: char| c.is_ascii_lowercase());
    match key.split_once('@') {
        None => letter(key) && key.len() <= 256 && rest(key),
        Some((tenant, system)) => {
            let begins = letter(tenant) || tenant.starts_with(|c: char| c.is_ascii_digit());
            begins
                && tenant.len() <= 241
                && rest(tenant)
                && letter(system)
                && system.len() <= 14
                && rest(system)
        }
    }
}

/// Up to 256 printable characters without comma and equals sign, not ending with a space.
fn is_value(value: &str) -> bool {
    let printable = |b: u8| matches!(b, b' '..=b'~') && b != b',' && b != b'=';
    !value.is_empty() && value.len() <= 256 && value.bytes().all(printable) && !value.ends_with(' ')
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_wrong_member_discards_the_whole() {
        let long = format!("a={}", "x".repeat(257));
        let many = (0..33).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",");
        for text in
            ["a", "a=1,a=2", "A=1", "a=1,b", "=1", "a=", "a=b=c", "a=\u{e9}", "1a=x", "a@1=x", &long, &many]
        {
            assert_eq!(TraceState::parse(text), None, "{text}");
        }
        for text in ["", " ", ",", "a=1, b=2\t,,c=3", "1a@b=x", "a_-*/1= x"] {
            assert!(TraceState::parse(text).is_some(), "{text}");
        }
    }

    #[test]
    fn a_changed_threshold_leaves_the_rest_and_comes_first() {
        let mut state = TraceState::parse("x=1,ot=rv:0123456789abcd;th:8;u:v,y=2").unwrap();
        assert_eq!((state.threshold(), state.randomness()), (Some(1 << 55), Some(0x0001_2345_6789_abcd)));
        state.set_threshold(Some("c"));
        assert_eq!(state.to_string(), "ot=th:c;rv:0123456789abcd;u:v,x=1,y=2");
        state.set_threshold(None);
        assert_eq!(state.to_string(), "ot=rv:0123456789abcd;u:v,x=1,y=2");
        let mut only = TraceState::parse("ot=th:8").unwrap();
        only.set_threshold(None);
        assert!(only.is_empty());
    }

    #[test]
    fn a_long_one_goes_on_as_far_as_whole_members_fit() {
        let text = (0..5).map(|n| format!("k{n}={}", "x".repeat(200))).collect::<Vec<_>>().join(",");
        let state = TraceState::parse(&text).unwrap();
        assert_eq!(state.to_string(), text[..407]);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_what_is_read_is_written_the_same(
            text in "\\PC{0,80}", likely in "([a-z]{1,3}=[ -~]{1,6}|ot=(th:[0-9a-f]{1,15};?|rv:[0-9a-f]{14}){1,2}|,| ){0,6}",
        ) {
            for text in [text, likely] {
                if let Some(state) = TraceState::parse(&text) {
                    prop_assert_eq!(TraceState::parse(&state.to_string()), Some(state.clone()));
                    let mut changed = state.clone();
                    changed.set_threshold(Some("8"));
                    prop_assert!(TraceState::parse(&changed.to_string()).is_some());
                    let _ = (state.threshold(), state.randomness());
                }
            }
        }
    }
}
