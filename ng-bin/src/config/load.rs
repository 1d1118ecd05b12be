//! Reading a configuration: defaults, then the profile, then the file, then the environment.
//!
//! A load either gives a configuration in which every rule holds, or every reason why it can't.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use super::cross::RULES;
use super::document::{Assignment, Document};
use super::features::Features;
use super::finding::{ConfigErrors, Finding, Findings};
use super::input::read_file;
use super::loaded::{Loaded, Origin};
use super::named;
use super::place::{Place, Source};
use super::profile::Profile;
use super::scalar::Scalar;
use super::sections::StackConfig;
use super::setting::{Refused, Shape};
use super::table::{Field, Section};
use super::variables;

/// What a configuration is read from.
#[derive(Debug)]
enum Input {
    Nothing,
    File(PathBuf),
    Text(Source),
}

/// Reads a configuration.
///
/// ```
/// use ng_stack::config::Loader;
///
/// let loaded = Loader::new()
///     .text("ng.toml", "[log]\nlevel = \"warn\"")
///     .env([("NG_LOG__LEVEL", "debug")])
///     .load()?;
/// assert_eq!(loaded.config.log.level.name(), "debug");
///
/// let refused = Loader::new().text("ng.toml", "[log]\nlevle = \"warn\"").load().unwrap_err();
/// assert_eq!(refused.findings()[0].help, ["did you mean `level`?"]);
/// # Ok::<(), ng_stack::config::ConfigErrors>(())
/// ```
#[derive(Debug)]
#[must_use = "nothing is read before `load`"]
pub struct Loader {
    input: Input,
    variables: Vec<(OsString, OsString)>,
    profile: Profile,
    features: Features,
}

impl Default for Loader {
    fn default() -> Self {
        Self::new()
    }
}

impl Loader {
    /// Reads nothing: the defaults.
    pub const fn new() -> Self {
        Self {
            input: Input::Nothing,
            variables: Vec::new(),
            profile: Profile::Default,
            features: Features::COMPILED,
        }
    }

    /// Reads this file, instead of any file or text given before. At most 1 MiB, UTF-8.
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.input = Input::File(path.into());
        self
    }

    /// Reads this text, instead of any file or text given before; messages call it `name`.
    pub fn text(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.input = Input::Text(Source::new(name, text));
        self
    }

    /// Reads these environment variables too, mostly `std::env::vars_os()`. Those that are not the
    /// stack's are passed over. Of a name given twice, the last value holds.
    pub fn env<K: Into<OsString>, V: Into<OsString>>(
        mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.variables.extend(variables.into_iter().map(|(name, value)| (name.into(), value.into())));
        self
    }

    /// Starts from this profile, if neither the file nor the environment names one.
    pub const fn profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// Takes these layers for compiled in, instead of [`Features::COMPILED`]: a configuration for
    /// another program can be checked so.
    pub const fn features(mut self, features: Features) -> Self {
        self.features = features;
        self
    }

    /// Reads, checks, and gives the configuration.
    ///
    /// # Errors
    /// Everything that is wrong with the file and the environment, at once.
    pub fn load(self) -> Result<Loaded, ConfigErrors> {
        let mut findings = Findings::default();
        let source = match self.input {
            Input::Nothing => None,
            Input::File(path) => read_file(&path, &mut findings),
            Input::Text(source) => Some(source),
        };
        let mut document = source.map(|source| Document::read(&source, &mut findings)).unwrap_or_default();
        let mut assignments = std::mem::take(&mut document.assignments);
        assignments.extend(variables::read(&self.variables, &mut findings));

        let mut build = Build::from_profile(chosen(&assignments).unwrap_or(self.profile), self.features);
        for assignment in assignments {
            build.assign(assignment, &mut findings);
        }
        build.check_layers(&document, self.features, &mut findings);
        build.check_rules(&mut findings);
        named::settle(
            std::mem::take(&mut document.named),
            &mut build.config,
            &mut build.origins,
            &mut findings,
        );
        let warnings = findings.done()?;
        Ok(Loaded { config: build.config, warnings, origins: build.origins, given: build.given })
    }
}

/// The profile that the assignments name; a name that is none is found when they are applied.
fn chosen(assignments: &[Assignment<'_>]) -> Option<Profile> {
    let mut scratch = StackConfig::tabled();
    assignments
        .iter()
        .filter(|assignment| assignment.field.path() == "profile")
        .filter(|assignment| (assignment.field.set)(&mut scratch, &assignment.scalar).is_ok())
        .count()
        .gt(&0)
        .then_some(scratch.profile)
}

/// A configuration in the making.
struct Build {
    config: StackConfig,
    origins: BTreeMap<String, Origin>,
    given: BTreeMap<String, Vec<(String, Origin)>>,
    /// Where each value that the file or the environment gave is written, and the order of giving.
    places: BTreeMap<String, (usize, Place)>,
    /// Keys whose given value was refused, which therefore hold one that nobody asked for.
    refused: Vec<String>,
}

impl Build {
    fn from_profile(profile: Profile, features: Features) -> Self {
        let plain = StackConfig::tabled();
        let mut config = plain.clone();
        profile.apply(&mut config);
        let origins: BTreeMap<String, Origin> = Field::all()
            .filter(|field| (field.get)(&plain) != (field.get)(&config) && field.path() != "profile")
            .map(|field| (field.path(), Origin::Profile(profile)))
            .collect();
        features.limit(&mut config);
        let shown = |path: &str| Field::named(path).map(|field| (field.get)(&config).to_string());
        let given = origins
            .iter()
            .filter_map(|(path, origin)| Some((path.clone(), vec![(shown(path)?, origin.clone())])))
            .collect();
        Self { config, origins, given, places: BTreeMap::new(), refused: Vec::new() }
    }

    fn assign(&mut self, assignment: Assignment<'_>, findings: &mut Findings) {
        let Assignment { field, scalar, place } = assignment;
        let path = field.path();
        match (field.set)(&mut self.config, &scalar) {
            Ok(()) => {
                let origin = Origin::of(&place);
                let shown = (field.get)(&self.config).to_string();
                self.given.entry(path.clone()).or_default().push((shown, origin.clone()));
                self.origins.insert(path.clone(), origin);
                self.places.insert(path, (self.places.len(), place));
            }
            Err(refused) => {
                findings.error(|| refusal(field, &scalar, place, refused));
                self.refused.push(path);
            }
        }
    }

    /// A layer that is not compiled in may be mentioned only to switch it off.
    fn check_layers(&self, document: &Document, features: Features, findings: &mut Findings) {
        for section in StackConfig::SECTIONS {
            let Some(layer) = section.layer.filter(|layer| !features.has(*layer)) else { continue };
            let Some(kind) = section.field("kind") else { continue };
            let opened = document.sections.iter().find(|(opened, _)| opened.name() == section.name());
            let place = match (self.places.get(&kind.path()), opened) {
                (Some(_), _) if (kind.get)(&self.config) == Scalar::Text("off".into()) => continue,
                (Some((_, place)), _) | (None, Some((_, place))) => place,
                (None, None) => continue,
            };
            if !self.refused.contains(&kind.path()) {
                findings.error(|| not_compiled_in(section, layer.feature(), place.clone()));
            }
        }
    }

    fn check_rules(&self, findings: &mut Findings) {
        for rule in RULES {
            let refused = rule.keys.iter().any(|key| self.refused.iter().any(|refused| refused == key));
            if refused || (rule.holds)(&self.config) {
                continue;
            }
            // The one given last made it so. Profiles keep the rules, so one was given.
            let last =
                rule.keys.iter().filter_map(|key| self.places.get(*key)).max_by_key(|(order, _)| *order);
            let place =
                last.map_or_else(|| Place::File { name: rule.keys.join(", ") }, |(_, place)| place.clone());
            findings.error(|| {
                Finding::error(place, (rule.message)(&self.config)).help((rule.help)(&self.config))
            });
        }
    }
}

fn refusal(field: &Field, scalar: &Scalar<'_>, place: Place, refused: Refused) -> Finding {
    let shape = (field.shape)();
    let kind = match (scalar, shape) {
        (Scalar::Text(_), Shape::Whole(_) | Shape::Real(_) | Shape::Switch) => "the string ",
        _ => "",
    };
    let because = refused.because.map(|because| format!(": {because}")).unwrap_or_default();
    let message = format!("`{}` can't be {kind}{}{because}", field.path(), scalar.found());
    let default = StackConfig::tabled();
    Finding::error(place, message)
        .did_you_mean(refused.nearest)
        .did_you_mean(without_quotes(field, scalar))
        .help(format!("write {shape}; the default is {}", (field.get)(&default)))
}

/// What a string would be without its quotes, if the field takes that.
fn without_quotes(field: &Field, scalar: &Scalar<'_>) -> Option<String> {
    let Scalar::Text(text) = scalar else { return None };
    let bare = (field.shape)().scan(text);
    let taken = (field.set)(&mut StackConfig::tabled(), &bare).is_ok();
    taken.then(|| format!("{bare}, without quotes"))
}

fn not_compiled_in(section: &Section, feature: &str, place: Place) -> Finding {
    let instead = match &place {
        Place::Variable { name, .. } => format!("unset {name}"),
        Place::Text(_) | Place::File { .. } => "write kind = \"off\"".to_owned(),
    };
    Finding::error(place, format!("this program was built without what {} configures", section.label()))
        .help(format!("build ng-stack with the Cargo feature `{feature}`, or {instead}"))
}
