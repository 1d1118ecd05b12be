//! Quotas and pools by name: `[guardian.quota.NAME]`, as many as are wanted.
//!
//! Their names are the user's, so they stand beside the table of keys in `sections.rs`; what each of
//! them can say is the table here. Whether they make trees is asked once all are read (`named_rules`). No
//! variable of the environment sets them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::finding::{Finding, Findings};
use super::loaded::Origin;
use super::named_rules::Together;
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
/// Bytes of a token, by which `guardian.max_memory_bytes` is a limit on them.
const TOKEN_BYTES: u64 = 64;

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
    /// Share of the limit above which a cleanup of its own starts; 0 starts none.
    pub cleanup_mark: f64,
    /// Share of the limit that such a cleanup brings use down to.
    pub cleanup_target: f64,
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
            cleanup_mark: 0.0,
            cleanup_target: 0.8,
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
    /// Whether a running stack follows a change, where the quota was there before.
    live: bool,
    shape: fn() -> Shape,
    /// `None` where it is not set and has no default that could be written.
    get: fn(&QuotaConfig) -> Option<Scalar<'_>>,
    set: fn(&mut QuotaConfig, &Scalar<'_>) -> Result<(), Refused>,
    /// From one to another, also where it is not set.
    copy: fn(&mut QuotaConfig, &QuotaConfig),
}

/// A key that is set like any other.
macro_rules! key {
    ($name:ident: $type:ty, $limits:expr, live $live:literal, $about:literal) => {
        Key {
            name: stringify!($name),
            about: $about,
            live: $live,
            shape: || <$type as Setting>::shape(&$limits),
            get: |quota| Some(quota.$name.show()),
            set: |quota, scalar| {
                quota.$name = Setting::read(scalar, &$limits)?;
                Ok(())
            },
            copy: |to, from| to.$name = from.$name,
        }
    };
}

const KEYS: &[Key] = &[
    Key {
        name: "parent",
        about: "What it is in: `\"tokens\"`, or another of these by name. Without one it is a quota on something of its own, whose units are called by its name, such as `connections`.",
        live: false,
        shape: || String::shape(&()),
        get: |quota| quota.parent.as_ref().map(Setting::show),
        set: |quota, scalar| {
            quota.parent = Some(Setting::read(scalar, &())?);
            Ok(())
        },
        copy: |to, from| to.parent.clone_from(&from.parent),
    },
    Key {
        name: "limit",
        about: "Units in use at once, in it and in what is within it, beyond which one is refused; at most the limit of what it is in. It must be given where there is no `parent`.",
        live: true,
        shape: || u64::shape(&whole(1, MOST)),
        get: |quota| (quota.limit != u64::MAX).then(|| quota.limit.show()),
        set: |quota, scalar| {
            quota.limit = Setting::read(scalar, &whole(1, MOST))?;
            Ok(())
        },
        copy: |to, from| to.limit = from.limit,
    },
    Key {
        name: "domain",
        about: "Domain whose tokens count in it, wherever they are made and deleted; only within `tokens`, and each domain in one.",
        live: false,
        shape: || u8::shape(&whole(0, 15)),
        get: |quota| quota.domain.as_ref().map(Setting::show),
        set: |quota, scalar| {
            quota.domain = Some(Setting::read(scalar, &whole(0, 15))?);
            Ok(())
        },
        copy: |to, from| to.domain = from.domain,
    },
    key!(max_lease: u64, whole(1, 1 << 20), live false, "Units that a holder takes at most at a time without asking again; within another one it is that one's. 1 suits things as few as connections."),
    key!(soft_mark: f64, real(0.0, 1.0), live true, "Share of the limit at which a warning is recorded, once until use has sunk `guardian.rearm` below it; 0 records none."),
    key!(cleanup_mark: f64, real(0.0, 1.0), live true, "Share of the limit above which a cleanup starts that deletes tokens of its domains, and of those of the pools within it, and no others; above `soft_mark`, only within `tokens`, and where `guardian.cleanup` is on. 0 starts none."),
    key!(cleanup_target: f64, real(0.01, 1.0), live true, "Share of the limit that such a cleanup brings use down to; below `cleanup_mark`."),
    key!(rate_per_second: u64, whole(0, u32::MAX as u64), live true, "Units let in a second, beyond which one is refused; 0 sets no rate."),
    key!(rate_burst: u64, whole(1, u32::MAX as u64), live true, "Units let in at once after a pause, where there is a rate."),
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
    pub(super) quota: QuotaConfig,
    pub(super) header: Place,
    places: BTreeMap<&'static str, Place>,
    /// A key of it was refused: what it would mean is not asked.
    pub(super) refused: bool,
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
    pub(super) fn at(&self, key: &str) -> Place {
        self.places.get(key).unwrap_or(&self.header).clone()
    }
}

/// A table's name as TOML writes it.
pub(super) fn table(name: &str) -> String {
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

    /// One by its name.
    pub(super) fn named(&self, name: &str) -> Option<&QuotaConfig> {
        self.0.iter().find(|quota| quota.name == name)
    }

    /// Those that a running stack changes, from here to there: each as it is then, with the full names of
    /// the keys that differ.
    pub(crate) fn followed(&self, other: &Self) -> Vec<(QuotaConfig, Vec<String>)> {
        let of = |mine: &QuotaConfig| {
            let theirs = other.named(&mine.name)?;
            let mut then = mine.clone();
            let mut keys = Vec::new();
            for key in KEYS.iter().filter(|key| key.live && (key.get)(mine) != (key.get)(theirs)) {
                (key.copy)(&mut then, theirs);
                keys.push(format!("{}.{}", table(&mine.name), key.name));
            }
            (!keys.is_empty()).then_some((then, keys))
        };
        self.0.iter().filter_map(of).collect()
    }

    /// Whether a running stack follows a change of this key from here to there: it is one of those that
    /// can, and the quota is on both sides.
    pub(super) fn follows(&self, other: &Self, key: &str) -> bool {
        let live = |one: &Self| {
            one.0.iter().any(|quota| {
                KEYS.iter().any(|known| known.live && key == format!("{}.{}", table(&quota.name), known.name))
            })
        };
        live(self) && live(other)
    }

    /// Takes the value of a key over from another; `false` if there is none to take, or none that takes it.
    pub(super) fn adopt(&mut self, other: &Self, key: &str) -> bool {
        for mine in &mut self.0 {
            let label = table(&mine.name);
            let known = KEYS.iter().find(|known| key == format!("{label}.{}", known.name));
            if let (Some(known), Some(theirs)) = (known, other.named(&mine.name)) {
                (known.copy)(mine, theirs);
                return true;
            }
        }
        false
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
    pub(super) live: bool,
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
        KeyShape { name: key.name, about: key.about, live: key.live, shape: (key.shape)(), default }
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
cleanup_mark = 0.95

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
         them.\nNeeds the Cargo feature `guardian`.\n\nOne that is added or removed needs a restart.\n\n\
         ```toml\n{EXAMPLE}```\n\n\
         | key | takes | default | live | meaning |\n|---|---|---|---|---|\n"
    );
    let plain = QuotaConfig::new("NAME");
    for key in KEYS {
        let default = (key.get)(&plain).map_or_else(|| "none".to_owned(), |value| format!("`{value}`"));
        // Writing to a String can't fail.
        let (shape, live) = ((key.shape)(), if key.live { "yes" } else { "" });
        let _ = writeln!(out, "| `{}` | {shape} | {default} | {live} | {} |", key.name, key.about);
    }
    out
}
