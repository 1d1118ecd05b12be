//! One key, or the keys of a section, in full: what it means, takes and holds, and since where.

use std::fmt;

use serde_json::{Value, json};

use super::features::Features;
use super::loaded::{Loaded, SettingOrigin};
use super::reference::takes;
use super::sections::StackConfig;
use super::setting::Shape;
use super::suggest::nearest;
use super::table::{Field, Section};

/// What there is to say of a key.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// Full name, as in `wal.every`.
    pub key: String,
    /// What it means, with its unit.
    pub about: String,
    /// What it takes, in words.
    pub takes: String,
    /// The names that it takes with their meaning, if it takes names.
    pub names: Vec<(String, String)>,
    /// Its environment variable.
    pub variable: String,
    /// Whether a running stack follows a change.
    pub live: bool,
    /// The Cargo feature that it needs, if it needs one that this program lacks.
    pub lacks: Option<&'static str>,
    /// Every value that it was given, the default first and the one in effect last.
    pub history: Vec<SettingOrigin>,
}

/// There is no such key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no key `{key}`{}", .nearest.as_ref().map(|near| format!("; did you mean `{near}`?")).unwrap_or_default())]
pub struct NoSuchKey {
    /// What was asked for.
    pub key: String,
    /// What was probably meant.
    pub nearest: Option<String>,
}

impl Loaded {
    /// What there is to say of `key`, or of each key of the section `key`.
    ///
    /// ```
    /// use ng_stack::config::Loader;
    ///
    /// let loaded = Loader::new().text("ng.toml", "[tracing]\nrate = 0.5").load()?;
    /// let told = loaded.explain("tracing.rate").unwrap();
    /// assert!(told[0].live);
    /// assert_eq!(told[0].history.last().unwrap().value, "0.5");
    /// assert_eq!(loaded.explain("tracing.rte").unwrap_err().nearest.as_deref(), Some("tracing.rate"));
    /// # Ok::<(), ng_stack::config::ConfigErrors>(())
    /// ```
    ///
    /// # Errors
    /// If there is neither a key nor a section of that name.
    pub fn explain(&self, key: &str) -> Result<Vec<Explanation>, NoSuchKey> {
        let key = key.trim_matches(['[', ']', ' ']);
        if let Some(field) = Field::named(key) {
            return Ok(vec![self.explanation(field)]);
        }
        if let Some(section) = Section::named(key).filter(|section| !section.name().is_empty()) {
            return Ok(section.fields.iter().map(|field| self.explanation(field)).collect());
        }
        let paths: Vec<String> = Field::all().map(Field::path).collect();
        // A last part alone is taken for what it most probably is.
        let last = || Field::all().find(|field| field.key == key).map(Field::path);
        let near = nearest(key, paths.iter().map(String::as_str)).map(str::to_owned).or_else(last);
        Err(NoSuchKey { key: key.to_owned(), nearest: near })
    }

    fn explanation(&self, field: &'static Field) -> Explanation {
        let key = field.path();
        let names = match (field.shape)() {
            Shape::Choice(names, _) => {
                names.iter().map(|name| (name.name.to_owned(), name.about.to_owned())).collect()
            }
            _ => Vec::new(),
        };
        let layer = StackConfig::SECTIONS
            .iter()
            .find(|section| section.prefix == field.prefix)
            .and_then(|section| section.layer)
            .filter(|layer| !Features::COMPILED.has(*layer));
        Explanation {
            about: field.about.join(" "),
            takes: takes(field),
            names,
            variable: field.variable(),
            live: field.live,
            lacks: layer.map(super::Layer::feature),
            history: self.history(&key).unwrap_or_default(),
            key,
        }
    }
}

impl Explanation {
    /// As one JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let names: Vec<Value> =
            self.names.iter().map(|(name, about)| json!({"name": name, "about": about})).collect();
        let history: Vec<Value> = self
            .history
            .iter()
            .map(|given| json!({"value": given.value, "from": given.origin.to_string()}))
            .collect();
        json!({
            "key": self.key, "about": self.about, "takes": self.takes, "names": names,
            "variable": self.variable, "live": self.live, "lacks_feature": self.lacks,
            "values": history,
        })
    }
}

/// A few lines for a person, the last one not ended.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.key)?;
        writeln!(f, "  {}", self.about)?;
        writeln!(f, "  takes     {}", self.takes)?;
        for (name, about) in &self.names {
            writeln!(f, "            \"{name}\": {about}")?;
        }
        writeln!(f, "  variable  {}", self.variable)?;
        let live = if self.live { "at once, when the configuration is read again" } else { "with a restart" };
        writeln!(f, "  changes   {live}")?;
        if let Some(feature) = self.lacks {
            writeln!(f, "  lacking   this program was built without the Cargo feature `{feature}`")?;
        }
        for (at, given) in self.history.iter().enumerate() {
            let label = if at + 1 == self.history.len() { "in effect" } else { "given" };
            let end = if at + 1 == self.history.len() { "" } else { "\n" };
            write!(f, "  {label:<9} {}  # {}{end}", given.value, given.origin)?;
        }
        Ok(())
    }
}
