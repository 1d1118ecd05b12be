//! A configuration that was read, and where each of its values came from.

use std::collections::BTreeMap;
use std::fmt;

use super::finding::{ConfigErrors, Finding, Findings};
use super::place::Place;
use super::profile::Profile;
use super::sections::StackConfig;
use super::table::Field;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The table of defaults.
    Default,
    /// A profile that differs from it.
    Profile(Profile),
    /// A file, or another named text.
    File {
        /// Its name.
        name: String,
        /// Line, from 1.
        line: usize,
    },
    /// An environment variable.
    Variable(String),
    /// An option on the command line.
    Option(String),
}

impl Origin {
    pub(super) fn of(place: &Place) -> Self {
        match place {
            Place::Text(at) => Self::File { name: at.name.clone(), line: at.line },
            Place::Variable { name, .. } => Self::Variable(name.clone()),
            Place::File { name } => Self::File { name: name.clone(), line: 1 },
        }
    }
}

/// In the words that follow "from".
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Profile(profile) => write!(f, "profile {}", profile.name()),
            Self::File { name, line } => write!(f, "{name}:{line}"),
            Self::Variable(name) | Self::Option(name) => f.write_str(name),
        }
    }
}

/// One key of a loaded configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct SettingOrigin {
    /// Full name, as in `wal.every`.
    pub key: String,
    /// Value in effect, as TOML writes it.
    pub value: String,
    /// Where the value came from.
    pub origin: Origin,
}

/// A configuration, and how it came to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The values in effect.
    pub config: StackConfig,
    /// What does not do what it seems to. Nothing is refused for it.
    pub warnings: Vec<Finding>,
    /// Of the keys that do not have their default.
    pub(super) origins: BTreeMap<String, Origin>,
    /// Every value that each such key was given, in the order of giving: the last one holds.
    pub(super) given: BTreeMap<String, Vec<(String, Origin)>>,
}

impl Loaded {
    /// Where the value of a key came from; `None` if there is no such key.
    ///
    /// ```
    /// use ng_stack::config::{Loader, Origin};
    ///
    /// let loaded = Loader::new().text("ng.toml", "[log]\nlevel = \"warn\"").load()?;
    /// let origin = Origin::File { name: "ng.toml".to_owned(), line: 2 };
    /// assert_eq!(loaded.origin("log.level"), Some(origin));
    /// assert_eq!(loaded.origin("log.format"), Some(Origin::Default));
    /// # Ok::<(), ng_stack::config::ConfigErrors>(())
    /// ```
    #[must_use]
    pub fn origin(&self, key: &str) -> Option<Origin> {
        if Field::named(key).is_none() && !self.config.guardian.named.has(key) {
            return None;
        }
        Some(self.origins.get(key).cloned().unwrap_or(Origin::Default))
    }

    /// Every key with its value and where that came from, in the order of the reference; what named
    /// quotas set comes last.
    #[must_use]
    pub fn settings(&self) -> Vec<SettingOrigin> {
        Field::all()
            .map(|field| {
                let key = field.path();
                let origin = self.origins.get(&key).cloned().unwrap_or(Origin::Default);
                SettingOrigin { key, value: (field.get)(&self.config).to_string(), origin }
            })
            .chain(self.config.guardian.named.settings().map(|(key, value)| {
                let origin = self.origins.get(&key).cloned().unwrap_or(Origin::Default);
                SettingOrigin { key, value, origin }
            }))
            .collect()
    }

    /// Takes the values of these keys over from another, with where they came from.
    pub(crate) fn adopt<'k>(&mut self, other: &Self, keys: impl IntoIterator<Item = &'k str>) {
        for key in keys {
            // A value that was shown by its own type is read back by it.
            let taken = match Field::named(key) {
                Some(field) => (field.set)(&mut self.config, &(field.get)(&other.config)).is_ok(),
                None => self.config.guardian.named.adopt(&other.config.guardian.named, key),
            };
            if taken {
                let _ = match other.origins.get(key) {
                    Some(origin) => self.origins.insert(key.to_owned(), origin.clone()),
                    None => self.origins.remove(key),
                };
                let _ = match other.given.get(key) {
                    Some(given) => self.given.insert(key.to_owned(), given.clone()),
                    None => self.given.remove(key),
                };
            }
        }
    }

    /// Every value that a key was given, its default first and the one in effect last; `None` if
    /// there is no such key.
    ///
    /// ```
    /// use ng_stack::config::Loader;
    ///
    /// let loaded = Loader::new().text("ng.toml", "[log]\nlevel = \"warn\"").env([("NG_LOG__LEVEL", "debug")]).load()?;
    /// let values: Vec<String> = loaded.history("log.level").unwrap().into_iter().map(|given| given.value).collect();
    /// assert_eq!(values, ["\"info\"", "\"warn\"", "\"debug\""]);
    /// # Ok::<(), ng_stack::config::ConfigErrors>(())
    /// ```
    #[must_use]
    pub fn history(&self, key: &str) -> Option<Vec<SettingOrigin>> {
        let field = Field::named(key)?;
        let default = ((field.get)(&StackConfig::default()).to_string(), Origin::Default);
        let later = self.given.get(key).into_iter().flatten().cloned();
        let all = std::iter::once(default).chain(later);
        Some(all.map(|(value, origin)| SettingOrigin { key: key.to_owned(), value, origin }).collect())
    }

    /// Sets `key` to `value` over everything else, as the option `name` of a command line asks for it.
    /// The rules between two keys are not looked at again.
    ///
    /// ```
    /// use ng_stack::config::Loader;
    ///
    /// let mut loaded = Loader::new().load()?;
    /// loaded.overrule("wal.dir", "/tmp/wal", "--wal")?;
    /// assert_eq!(loaded.origin("wal.dir").unwrap().to_string(), "--wal");
    /// assert!(loaded.overrule("wal.every", "0", "--every").is_err());
    /// # Ok::<(), ng_stack::config::ConfigErrors>(())
    /// ```
    ///
    /// # Errors
    /// If there is no such key, or the value is none of its own; nothing was changed then.
    pub fn overrule(&mut self, key: &str, value: &str, name: &str) -> Result<(), ConfigErrors> {
        let mut findings = Findings::default();
        let place = Place::variable(name, value);
        let Some(field) = Field::named(key) else {
            findings.error(|| {
                Finding::error(place, format!("there is no key `{key}`"))
                    .help("`ng config reference` lists all keys")
            });
            return findings.done().map(drop);
        };
        match (field.set)(&mut self.config, &(field.shape)().scan(value)) {
            Ok(()) => {
                let origin = Origin::Option(name.to_owned());
                let shown = (field.get)(&self.config).to_string();
                self.given.entry(key.to_owned()).or_default().push((shown, origin.clone()));
                self.origins.insert(key.to_owned(), origin);
            }
            Err(_) => findings.error(|| {
                Finding::error(place, format!("`{name}` can't be \"{value}\""))
                    .help(format!("give {}", (field.shape)()))
            }),
        }
        findings.done().map(drop)
    }

    /// [`StackConfig::fingerprint`] of the values in effect.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.config.fingerprint()
    }
}
