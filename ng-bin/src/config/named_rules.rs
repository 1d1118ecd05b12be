//! What named quotas must keep together: that they make trees, that a limit can be reached, that marks are
//! in order and a cleanup has something to clean. Each fault is told where it is written.

use super::finding::{Finding, Findings};
use super::named::{Written, table};
use super::place::quote;
use super::scalar::Scalar;
use super::suggest::nearest;

/// The guardian's own quota.
const TOKENS: &str = "tokens";
/// The longest name, in characters.
const LONGEST: usize = 100;

/// What each is judged beside.
pub(super) struct Together<'a> {
    pub(super) written: &'a [Written],
    /// The guardian's own limit, in tokens.
    pub(super) tokens: u64,
    pub(super) rearm: f64,
}

/// What a quota is in, at the top.
#[derive(PartialEq)]
enum Root {
    Tokens,
    Own,
    /// There is none, which is said of whichever is to blame.
    Nowhere,
}

impl<'a> Together<'a> {
    fn named(&self, name: &str) -> Option<&'a Written> {
        self.written.iter().find(|one| one.quota.name == name)
    }

    /// The ways up from one, itself first; it ends at a circle.
    fn way(&self, one: &'a Written) -> (Vec<&'a Written>, Root) {
        let mut way = vec![one];
        loop {
            let Some(last) = way.last() else { return (way, Root::Nowhere) };
            match last.quota.parent.as_deref() {
                None => return (way, Root::Own),
                Some(TOKENS) => return (way, Root::Tokens),
                Some(parent) => match self.named(parent) {
                    Some(above) if way.iter().all(|one| one.quota.name != above.quota.name) => {
                        way.push(above)
                    }
                    _ => return (way, Root::Nowhere),
                },
            }
        }
    }

    /// What is wrong with the `i`-th of them.
    pub(super) fn check(&self, i: usize, one: &'a Written, findings: &mut Findings) {
        let quota = &one.quota;
        let label = table(&quota.name);
        let length = quota.name.chars().count();
        if length == 0
            || length > LONGEST
            || quota.name.contains('/')
            || quota.name.chars().any(char::is_control)
        {
            findings.error(|| {
                let message = format!("\"{}\" can't name a quota", quote(&quota.name));
                Finding::error(one.header.clone(), message)
                    .help("write 1 to 100 characters, none of them a slash or a control character")
            });
        }
        if quota.name == TOKENS {
            findings.error(|| {
                Finding::error(one.header.clone(), "`tokens` is the guardian's own quota")
                    .help("set `max_tokens` in [guardian], or choose another name")
            });
        }
        if one.refused {
            return;
        }
        let (way, root) = self.way(one);
        self.check_parent(one, &way, &root, findings);
        self.check_limit(one, findings);
        self.check_marks(one, &root, findings);
        let Some(domain) = quota.domain else { return };
        if root == Root::Own {
            findings.error(|| {
                let message =
                    format!("`domain` says whose tokens count there, but [{label}] counts something else");
                Finding::error(one.at("domain"), message)
                    .help("write `parent = \"tokens\"`, or remove the domain")
            });
        }
        let other = self.written[..i].iter().find(|other| other.quota.domain == Some(domain));
        if let Some(other) = other {
            findings.error(|| {
                let message = format!("domain {domain} is that of [{}] already", table(&other.quota.name));
                Finding::error(one.at("domain"), message)
                    .help("a token counts in one pool and those above it: choose another domain")
            });
        }
    }

    fn check_marks(&self, one: &'a Written, root: &Root, findings: &mut Findings) {
        let quota = &one.quota;
        for (key, mark) in [("soft_mark", quota.soft_mark), ("cleanup_mark", quota.cleanup_mark)] {
            if mark != 0.0 && mark <= self.rearm {
                findings.error(|| {
                    let (mark, rearm) = (Scalar::Real(mark), Scalar::Real(self.rearm));
                    let message = format!("`{key}` is {mark}, not above `guardian.rearm`, which is {rearm}");
                    Finding::error(one.at(key), message)
                        .help("use could never sink that far below it: write such as 0.8, or 0 for none")
                });
            }
        }
        let mark = quota.cleanup_mark;
        if mark == 0.0 {
            return;
        }
        for (key, lower) in [("soft_mark", quota.soft_mark), ("cleanup_target", quota.cleanup_target)] {
            if lower >= mark {
                findings.error(|| {
                    let (lower, mark) = (Scalar::Real(lower), Scalar::Real(mark));
                    let message = format!("`{key}` is {lower}, not below `cleanup_mark`, which is {mark}");
                    Finding::error(one.at(key), message).help(format!("write a `{key}` below `cleanup_mark`"))
                });
            }
        }
        let label = table(&quota.name);
        if *root == Root::Own {
            findings.error(|| {
                let message = format!("`cleanup_mark` asks for a cleanup, but [{label}] counts no tokens");
                Finding::error(one.at("cleanup_mark"), message)
                    .help("write `parent = \"tokens\"`, or remove the mark")
            });
        } else if *root == Root::Tokens && !self.has_domain(one) {
            findings.error(|| {
                let message =
                    format!("`cleanup_mark` asks for a cleanup, but [{label}] has no domain to clean up");
                Finding::error(one.at("cleanup_mark"), message)
                    .help("give it, or one that is in it, a `domain`, or remove the mark")
            });
        }
        if quota.limit == u64::MAX && *root == Root::Tokens {
            findings.error(|| {
                let message = format!("`cleanup_mark` is a share of the limit, but [{label}] has none");
                Finding::error(one.at("cleanup_mark"), message)
                    .help("write `limit = …`, or remove the mark: `guardian.cleanup_mark` is for the whole")
            });
        }
    }

    /// Whether tokens of any domain count in it.
    fn has_domain(&self, one: &Written) -> bool {
        let of = |other: &&Written| other.quota.domain.is_some();
        let is_one = |above: &&Written| above.quota.name == one.quota.name;
        self.written.iter().filter(of).any(|other| self.way(other).0.iter().any(is_one))
    }

    fn check_parent(&self, one: &Written, way: &[&Written], root: &Root, findings: &mut Findings) {
        let Some(parent) = one.quota.parent.as_deref().filter(|_| *root == Root::Nowhere) else { return };
        if self.named(parent).is_none() {
            return findings.error(|| {
                let names = || {
                    let others = self.written.iter().filter(|other| other.quota.name != one.quota.name);
                    std::iter::once(TOKENS).chain(others.map(|other| other.quota.name.as_str()))
                };
                let message = format!("there is no quota \"{}\" for it to be in", quote(parent));
                let finding = Finding::error(one.at("parent"), message);
                match nearest(parent, names()) {
                    Some(near) => finding.did_you_mean(Some(format!("\"{near}\""))),
                    None => {
                        let known: Vec<_> = names().map(|name| format!("\"{name}\"")).collect();
                        finding.help(format!("what it can be in is {}", known.join(", ")))
                    }
                }
            });
        }
        // Said of each that is part of the circle, and not of those that only hang on it.
        let last = way.last().and_then(|last| last.quota.parent.as_deref());
        if last == Some(&one.quota.name) {
            findings.error(|| {
                let names = way.iter().map(|one| one.quota.name.as_str()).chain(last);
                let message = format!("{} is a circle", names.collect::<Vec<_>>().join(" in "));
                Finding::error(one.at("parent"), message)
                    .help("one of them must be in \"tokens\", or in none")
            });
        }
    }

    fn check_limit(&self, one: &Written, findings: &mut Findings) {
        let limit = one.quota.limit;
        let above = match one.quota.parent.as_deref() {
            None if limit == u64::MAX => {
                return findings.error(|| {
                    let message =
                        format!("[{}] has neither a `limit` nor a `parent`", table(&one.quota.name));
                    Finding::error(one.header.clone(), message)
                        .help("write `limit = …`; within another one it may be left to that")
                });
            }
            None => return,
            Some(TOKENS) => ("the guardian's own limit in tokens".to_owned(), self.tokens),
            Some(parent) => {
                let Some(above) = self.named(parent) else { return };
                (format!("the limit of [{}]", table(parent)), above.quota.limit)
            }
        };
        if limit != u64::MAX && limit > above.1 {
            findings.error(|| {
                let message = format!("`limit` is {limit}, above {}, which is {}", above.0, above.1);
                Finding::error(one.at("limit"), message)
                    .help("it could never be reached: lower it, or remove it")
            });
        }
    }
}
