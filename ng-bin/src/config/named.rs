//! Quotas and pools by name: `[guardian.quota.NAME]`, as many as are wanted.
//!
//! Their names are the user's, so they stand beside the table of keys in `sections.rs`; what each of
//! them can say is the table here. Whether they make trees is asked once all are read. No variable of
//! the environment sets them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::finding::{Finding, Findings};
use super::loaded::Origin;
use super::place::{Place, quote};
use super::scalar::Scalar;
use super::sections::StackConfig;
use super::setting::{MOST, Refused, Setting, Shape, real, whole};
use super::suggest::nearest;
use super::table::Section;

/// The section that they are in, and the name that their tables begin with.
const OUTER: &str = "guardian";
/// See above.
pub(super) const TABLE: &str = "quota";
/// The guardian's own quota.
const TOKENS: &str = "tokens";
/// Bytes of a token, by which `guardian.max_memory_bytes` is a limit on them.
const TOKEN_BYTES: u64 = 64;
/// The longest name, in characters.
const LONGEST: usize = 100;

/// One `[guardian.quota.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct QuotaConfig {
    /// Its name.
    pub name: String,
    /// The quota or pool that it is in; `None` makes it a quota on something of its own.
    pub parent: Option<String>,
    /// Units in use at once; `u64::MAX` leaves it to the pool above.
    pub limit: u64,
    /// Units that a holder takes at a time without asking again.
    pub max_lease: u64,
    /// The domain whose tokens count in it.
    pub domain: Option<u8>,
    /// Share of the limit at which it is told; 0 tells nothing.
    pub soft_mark: f64,
    /// Units a second; 0 sets no rate.
    pub rate_per_second: u64,
    /// Units at once after a pause, where there is a rate.
    pub rate_burst: u64,
}

impl QuotaConfig {
    /// What a table without a key says.
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            parent: None,
            limit: u64::MAX,
            max_lease: 1024,
            domain: None,
            soft_mark: 0.0,
            rate_per_second: 0,
            rate_burst: 100_000,
        }
    }
}

/// All of them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NamedQuotas(Vec<QuotaConfig>);

/// One key of a table.
struct Key {
    name: &'static str,
    about: &'static str,
    shape: fn() -> Shape,
    /// `None` where it is not set and has no default that could be written.
    get: fn(&QuotaConfig) -> Option<Scalar<'_>>,
    set: fn(&mut QuotaConfig, &Scalar<'_>) -> Result<(), Refused>,
}

/// A key that is set like any other.
macro_rules! key {
    ($name:ident: $type:ty, $limits:expr, $about:literal) => {
        Key {
            name: stringify!($name),
            about: $about,
            shape: || <$type as Setting>::shape(&$limits),
            get: |quota| Some(quota.$name.show()),
            set: |quota, scalar| {
                quota.$name = Setting::read(scalar, &$limits)?;
                Ok(())
            },
        }
    };
}

const KEYS: &[Key] = &[
    Key {
        name: "parent",
        about: "What it is in: `\"tokens\"`, or another of these by name. Without one it is a quota on something of its own, whose units are called by its name, such as `connections`.",
        shape: || String::shape(&()),
        get: |quota| quota.parent.as_ref().map(Setting::show),
        set: |quota, scalar| {
            quota.parent = Some(Setting::read(scalar, &())?);
            Ok(())
        },
    },
    Key {
        name: "limit",
        about: "Units in use at once, in it and in what is within it, beyond which one is refused; at most the limit of what it is in. It must be given where there is no `parent`.",
        shape: || u64::shape(&whole(1, MOST)),
        get: |quota| (quota.limit != u64::MAX).then(|| quota.limit.show()),
        set: |quota, scalar| {
            quota.limit = Setting::read(scalar, &whole(1, MOST))?;
            Ok(())
        },
    },
    Key {
        name: "domain",
        about: "Domain whose tokens count in it, wherever they are made and deleted; only within `tokens`, and each domain in one.",
        shape: || u8::shape(&whole(0, 15)),
        get: |quota| quota.domain.as_ref().map(Setting::show),
        set: |quota, scalar| {
            quota.domain = Some(Setting::read(scalar, &whole(0, 15))?);
            Ok(())
        },
    },
    key!(max_lease: u64, whole(1, 1 << 20), "Units that a holder takes at most at a time without asking again; within another one it is that one's. 1 suits things as few as connections."),
    key!(soft_mark: f64, real(0.0, 1.0), "Share of the limit at which a warning is recorded, once until use has sunk `guardian.rearm` below it; 0 records none."),
    key!(rate_per_second: u64, whole(0, u32::MAX as u64), "Units let in a second, beyond which one is refused; 0 sets no rate."),
    key!(rate_burst: u64, whole(1, u32::MAX as u64), "Units let in at once after a pause, where there is a rate."),
];

/// Whether `name` in a section begins such tables.
pub(super) fn is_here(section: &Section, name: &str) -> bool {
    section.name() == OUTER && name == TABLE
}

/// What such tables begin with in a section.
pub(super) fn within(section: &Section) -> Option<&'static str> {
    (section.name() == OUTER).then_some(TABLE)
}

/// Whether a table has such a key.
pub(super) fn has(key: &str) -> bool {
    KEYS.iter().any(|known| known.name == key)
}

/// A value where a table should be.
pub(super) fn no_table(place: Place, found: &str) -> Finding {
    Finding::error(place, format!("a quota is a table, and can't be {found}"))
        .help(format!("begin it with a line `[{OUTER}.{TABLE}.NAME]`"))
}

/// A table as it was read.
#[derive(Debug)]
pub(super) struct Written {
    quota: QuotaConfig,
    header: Place,
    places: BTreeMap<&'static str, Place>,
    /// A key of it was refused: what it would mean is not asked.
    refused: bool,
}

impl Written {
    pub(super) fn new(name: &str, header: Place) -> Self {
        Self { quota: QuotaConfig::new(name), header, places: BTreeMap::new(), refused: false }
    }

    pub(super) fn assign(&mut self, name: &str, scalar: &Scalar<'_>, place: Place, findings: &mut Findings) {
        let table = table(&self.quota.name);
        let Some(key) = KEYS.iter().find(|known| known.name == name) else {
            self.refused = true;
            return findings.error(|| {
                let names = || KEYS.iter().map(|known| known.name);
                let message = format!("there is no key `{}` in [{table}]", quote(name));
                let finding = Finding::error(place, message);
                match nearest(name, names()) {
                    Some(near) => finding.did_you_mean(Some(format!("`{near}`"))),
                    None => finding
                        .help(format!("what can stand here is {}", names().collect::<Vec<_>>().join(", "))),
                }
            });
        };
        if (key.set)(&mut self.quota, scalar).is_ok() {
            self.places.insert(key.name, place);
        } else {
            self.refused = true;
            findings.error(|| {
                Finding::error(place, format!("`{table}.{name}` can't be {}", scalar.found()))
                    .help(format!("write {}", (key.shape)()))
            });
        }
    }

    /// Where a key is written, or else the table.
    fn at(&self, key: &str) -> Place {
        self.places.get(key).unwrap_or(&self.header).clone()
    }
}

/// A table's name as TOML writes it.
fn table(name: &str) -> String {
    let is_bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let name = if is_bare { name.to_owned() } else { Scalar::Text(name.into()).to_string() };
    format!("{OUTER}.{TABLE}.{name}")
}

/// Puts what was read into the configuration, if it makes sense together.
pub(super) fn settle(
    written: Vec<Written>,
    config: &mut StackConfig,
    origins: &mut BTreeMap<String, Origin>,
    findings: &mut Findings,
) {
    let guardian = &config.guardian;
    let tokens = guardian.max_tokens.min(guardian.max_memory_bytes / TOKEN_BYTES);
    let all = Together { written: &written, tokens, rearm: guardian.rearm };
    for (i, one) in written.iter().enumerate() {
        all.check(i, one, findings);
    }
    for one in &written {
        for (key, place) in &one.places {
            origins.insert(format!("{}.{key}", table(&one.quota.name)), Origin::of(place));
        }
    }
    config.guardian.named = NamedQuotas(written.into_iter().map(|one| one.quota).collect());
}

/// What each is judged beside.
struct Together<'a> {
    written: &'a [Written],
    /// The guardian's own limit, in tokens.
    tokens: u64,
    rearm: f64,
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

    fn check(&self, i: usize, one: &'a Written, findings: &mut Findings) {
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
        if quota.soft_mark != 0.0 && quota.soft_mark <= self.rearm {
            findings.error(|| {
                let message = format!(
                    "`soft_mark` is {}, not above `guardian.rearm`, which is {}",
                    Scalar::Real(quota.soft_mark),
                    Scalar::Real(self.rearm)
                );
                Finding::error(one.at("soft_mark"), message)
                    .help("use could never sink that far below it: write such as 0.8, or 0 for none")
            });
        }
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

impl NamedQuotas {
    pub(super) const fn tabled() -> Self {
        Self(Vec::new())
    }

    /// Each, in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, QuotaConfig> {
        self.0.iter()
    }

    /// Adds one, for a configuration that is put together in code.
    pub fn push(&mut self, quota: QuotaConfig) {
        self.0.push(quota);
    }

    /// Whether one of them has such a key, by its full name.
    pub(super) fn has(&self, key: &str) -> bool {
        self.settings().any(|(known, _)| known == key)
    }

    /// What they set or have by default, by full name, as TOML writes it.
    pub(super) fn settings(&self) -> impl Iterator<Item = (String, String)> {
        self.0.iter().flat_map(|quota| {
            let set = KEYS.iter().filter_map(|key| Some((key.name, (key.get)(quota)?.to_string())));
            set.map(|(key, value)| (format!("{}.{key}", table(&quota.name)), value))
        })
    }

    /// As tables that are read back to the same.
    pub(super) fn to_toml(&self) -> String {
        let mut out = String::new();
        for quota in &self.0 {
            // Writing to a String can't fail.
            let _ = writeln!(out, "\n[{}]", table(&quota.name));
            for key in KEYS {
                if let Some(value) = (key.get)(quota) {
                    let _ = writeln!(out, "{} = {value}", key.name);
                }
            }
        }
        out
    }
}

impl<'a> IntoIterator for &'a NamedQuotas {
    type Item = &'a QuotaConfig;
    type IntoIter = std::slice::Iter<'a, QuotaConfig>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// A key of a table as data.
pub(super) struct KeyShape {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) shape: Shape,
    pub(super) default: Option<Scalar<'static>>,
}

/// Every key of a table.
pub(super) fn keys() -> impl Iterator<Item = KeyShape> {
    let plain = QuotaConfig::new("");
    KEYS.iter().map(move |key| {
        let default = (key.get)(&plain).and_then(|scalar| match scalar {
            Scalar::Whole(number) => Some(Scalar::Whole(number)),
            Scalar::Real(number) => Some(Scalar::Real(number)),
            // What is not a number has no default here.
            _ => None,
        });
        KeyShape { name: key.name, about: key.about, shape: (key.shape)(), default }
    })
}

/// Tables to begin with, each line a comment.
pub(super) fn example() -> String {
    EXAMPLE.lines().fold(String::from("\n# Quotas by name, as many as are wanted.\n"), |out, line| {
        let blank = if line.is_empty() { "" } else { " " };
        format!("{out}#{blank}{line}\n")
    })
}

/// A tenant whose tokens are those of domain 3, and a quota on something else.
const EXAMPLE: &str = "\
[guardian.quota.acme]
parent = \"tokens\"
domain = 3
limit = 2_000_000
soft_mark = 0.8

[guardian.quota.connections]
limit = 1000
max_lease = 1
rate_per_second = 100
rate_burst = 200
";

/// Their part of the reference.
pub(super) fn reference() -> String {
    let mut out = format!(
        "\n## [{OUTER}.{TABLE}.NAME]\n\nQuotas and pools by name, as many as are wanted; no variable sets \
         them.\nNeeds the Cargo feature `guardian`.\n\n```toml\n{EXAMPLE}```\n\n\
         | key | takes | default | meaning |\n|---|---|---|---|\n"
    );
    let plain = QuotaConfig::new("NAME");
    for key in KEYS {
        let default = (key.get)(&plain).map_or_else(|| "none".to_owned(), |value| format!("`{value}`"));
        // Writing to a String can't fail.
        let _ = writeln!(out, "| `{}` | {} | {default} | {} |", key.name, (key.shape)(), key.about);
    }
    out
}
