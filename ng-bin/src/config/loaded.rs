//! A configuration that was read, and where each of its values came from.

use std::collections::BTreeMap;
use std::fmt;

use super::finding::Finding;
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
            Self::Variable(name) => f.write_str(name),
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

    /// [`StackConfig::fingerprint`] of the values in effect.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.config.fingerprint()
    }
}
