//! In what two configurations differ.

use std::collections::{BTreeMap, BTreeSet};

use super::loaded::{Loaded, Origin};
use super::table::Field;

/// A key that has two values.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Full name, as in `wal.every`.
    pub key: String,
    /// The value in the first, as TOML writes it.
    pub before: String,
    /// Where that came from.
    pub before_from: Origin,
    /// The value in the second.
    pub after: String,
    /// Where that came from.
    pub after_from: Origin,
    /// Whether a running stack follows the change.
    pub live: bool,
}

impl Loaded {
    /// The keys whose values in effect differ, in the order of the reference. A profile's name is
    /// none of them, what it sets is.
    ///
    /// ```
    /// use ng_stack::config::Loader;
    ///
    /// let plain = Loader::new().load()?;
    /// let other = Loader::new().text("ng.toml", "[tracing]\nrate = 0.5\n[log]\nlevel = \"info\"").load()?;
    /// let found = plain.diff(&other);
    /// assert_eq!(found.len(), 1);
    /// assert_eq!((found[0].key.as_str(), found[0].live), ("tracing.rate", true));
    /// # Ok::<(), ng_stack::config::ConfigErrors>(())
    /// ```
    #[must_use]
    pub fn diff(&self, other: &Self) -> Vec<Difference> {
        let differing = Field::all().filter(|field| field.path() != "profile");
        differing
            .filter(|field| (field.get)(&self.config) != (field.get)(&other.config))
            .map(|field| {
                let key = field.path();
                let from = |loaded: &Self| loaded.origins.get(&key).cloned().unwrap_or(Origin::Default);
                Difference {
                    before: (field.get)(&self.config).to_string(),
                    before_from: from(self),
                    after: (field.get)(&other.config).to_string(),
                    after_from: from(other),
                    live: field.live,
                    key,
                }
            })
            .chain(self.named_diff(other))
            .collect()
    }

    /// The keys of named quotas that differ; one that only one of the two has is "unset" in the other.
    /// A running stack keeps its trees of pools, and follows what can change of each.
    fn named_diff(&self, other: &Self) -> Vec<Difference> {
        let (mine, theirs) = (self.named_settings(), other.named_settings());
        let keys: BTreeSet<&String> = mine.keys().chain(theirs.keys()).collect();
        keys.into_iter()
            .filter_map(|key| {
                let value = |settings: &BTreeMap<String, String>| {
                    settings.get(key).map_or("unset", String::as_str).to_owned()
                };
                let (before, after) = (value(&mine), value(&theirs));
                let from = |loaded: &Self| loaded.origins.get(key).cloned().unwrap_or(Origin::Default);
                (before != after).then(|| Difference {
                    key: key.clone(),
                    before,
                    before_from: from(self),
                    after,
                    after_from: from(other),
                    live: self.config.guardian.named.follows(&other.config.guardian.named, key),
                })
            })
            .collect()
    }

    fn named_settings(&self) -> BTreeMap<String, String> {
        self.config.guardian.named.settings().collect()
    }
}
