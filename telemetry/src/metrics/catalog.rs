//! Which metrics there are: names and labels by Prometheus' rules, one type to a name, and a cap
//! on how many series there may be. It holds no values.
//!
//! Rules: <https://prometheus.io/docs/concepts/data_model/#metric-names-and-labels>.

use std::{collections::BTreeMap, sync::Arc};

use ng_core::metrics::{MetricDesc, RegisterError, Scale};

use super::text::{HISTOGRAM_SERIES, shown_labels};

/// A metric's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
    /// A gauge of 1 whose labels are what it says.
    Info,
}

impl Kind {
    /// As `# TYPE` of the text format calls it, which has no name for an info.
    pub(crate) const fn label(self) -> &'static str {
        ["counter", "gauge", "histogram", "gauge"][self as usize]
    }

    /// How many lines one of it takes in a scrape, and so how many series it counts for.
    const fn weight(self) -> usize {
        match self {
            Self::Counter | Self::Gauge | Self::Info => 1,
            Self::Histogram => HISTOGRAM_SERIES,
        }
    }
}

/// Who knows a series' value.
#[derive(Clone)]
pub(crate) enum Source {
    /// Cells of the registry's own, by the id within the kind.
    Owned(u32),
    /// A counter that another layer keeps.
    Count(Arc<dyn Fn() -> u64 + Send + Sync>),
    /// A gauge that another layer keeps.
    Level(Arc<dyn Fn() -> f64 + Send + Sync>),
}

/// One set of labels of a name.
#[derive(Clone)]
struct Series {
    source: Source,
    /// The id that it was given, if ever.
    id: Option<u32>,
}

/// All series of a name.
#[derive(Clone)]
pub(crate) struct Family {
    pub(crate) kind: Kind,
    pub(crate) help: Arc<str>,
    pub(crate) unit: &'static str,
    pub(crate) scale: Scale,
    /// By their labels as they are shown (`a="b",c="d"`, escaped), in the alphabet's order of names:
    /// labels are a set, whatever order they come in. The one text is all that a series keeps of
    /// them.
    series: BTreeMap<Arc<str>, Series>,
}

/// A family as a scrape takes it away, to read it without the catalog's lock.
pub(crate) struct Listed {
    pub(crate) name: Arc<str>,
    pub(crate) kind: Kind,
    pub(crate) help: Arc<str>,
    pub(crate) unit: &'static str,
    pub(crate) scale: Scale,
    /// Labels as they are shown, and who knows the value; ordered by the labels.
    pub(crate) series: Vec<(Arc<str>, Source)>,
}

/// The catalog.
pub(crate) struct Catalog {
    families: BTreeMap<Arc<str>, Family>,
    ids_given: [u32; 4],
    used: usize,
    limit: usize,
}

impl Catalog {
    /// Empty, with room for `limit` series.
    pub(crate) fn new(limit: usize) -> Self {
        Self { families: BTreeMap::new(), ids_given: [0; 4], used: 0, limit }
    }

    /// Registers a metric that the registry keeps itself, and gives its id.
    pub(crate) fn own(&mut self, desc: &MetricDesc, kind: Kind) -> Result<u32, RegisterError> {
        let next = self.ids_given[kind as usize];
        let series = self.entry(desc, kind, || Source::Owned(next))?;
        let id = *series.id.get_or_insert(next);
        series.source = Source::Owned(id);
        self.ids_given[kind as usize] = next.max(id + 1);
        Ok(id)
    }

    /// Registers a metric that is asked for; a later source replaces an earlier one.
    pub(crate) fn ask(
        &mut self,
        desc: &MetricDesc,
        kind: Kind,
        source: &Source,
    ) -> Result<(), RegisterError> {
        self.entry(desc, kind, || source.clone())?.source = source.clone();
        Ok(())
    }

    /// As [`Self::ask`], outside the cap: for what the registry says of itself.
    pub(crate) fn ask_uncounted(
        &mut self,
        desc: &MetricDesc,
        kind: Kind,
        source: &Source,
    ) -> Result<(), RegisterError> {
        let (limit, used) = (self.limit, self.used);
        self.limit = usize::MAX;
        let asked = self.ask(desc, kind, source);
        (self.limit, self.used) = (limit, used);
        asked
    }

    /// How many ids of a kind have been given out.
    pub(crate) fn ids_given(&self, kind: Kind) -> u32 {
        self.ids_given[kind as usize]
    }

    /// All families by name, each with its series by labels.
    pub(crate) fn list(&self) -> Vec<Listed> {
        let listed = self.families.iter().map(|(name, family)| Listed {
            name: Arc::clone(name),
            kind: family.kind,
            help: Arc::clone(&family.help),
            unit: family.unit,
            scale: family.scale,
            series: family
                .series
                .iter()
                .map(|(labels, series)| (Arc::clone(labels), series.source.clone()))
                .collect(),
        });
        listed.collect()
    }

    fn entry(
        &mut self,
        desc: &MetricDesc,
        kind: Kind,
        source: impl FnOnce() -> Source,
    ) -> Result<&mut Series, RegisterError> {
        check_name(&desc.name)?;
        check_unit(desc, kind)?;
        check_labels(desc, kind)?;
        self.check_kind(&desc.name, kind)?;

        let labels = shown_labels(&desc.labels);
        let known =
            self.families.get(desc.name.as_str()).is_some_and(|f| f.series.contains_key(labels.as_str()));
        if !known {
            if self.used + kind.weight() > self.limit {
                return Err(RegisterError::TooMany { name: desc.name.clone(), limit: self.limit });
            }
            self.used += kind.weight();
        }
        let family = self.families.entry(desc.name.as_str().into()).or_insert_with(|| Family {
            kind,
            help: desc.help.as_str().into(),
            unit: desc.unit,
            scale: desc.scale,
            series: BTreeMap::new(),
        });
        Ok(family.series.entry(labels.into()).or_insert_with(|| Series { source: source(), id: None }))
    }

    /// A name has one type, and a histogram has three names more.
    fn check_kind(&self, name: &str, asked: Kind) -> Result<(), RegisterError> {
        const PARTS: [&str; 3] = ["_bucket", "_sum", "_count"];
        let clash = |name: &str, existing: Kind| {
            Err(RegisterError::OtherType {
                name: name.to_owned(),
                existing: existing.label(),
                asked: asked.label(),
            })
        };
        if let Some(family) = self.families.get(name)
            && family.kind != asked
        {
            return clash(name, family.kind);
        }
        let whole = PARTS.iter().find_map(|part| self.families.get(name.strip_suffix(part)?));
        if whole.is_some_and(|family| family.kind == Kind::Histogram) {
            return clash(name, Kind::Histogram);
        }
        if asked == Kind::Histogram {
            for part in PARTS.map(|part| format!("{name}{part}")) {
                if let Some(family) = self.families.get(part.as_str()) {
                    return clash(&part, family.kind);
                }
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Catalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&Arc<str>> = self.families.keys().collect();
        f.debug_struct("Catalog")
            .field("names", &names)
            .field("used", &self.used)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

fn is_name(name: &str, also: &[char]) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || also.contains(&c);
    !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(fits)
}

fn check_name(name: &str) -> Result<(), RegisterError> {
    if is_name(name, &[':']) { Ok(()) } else { Err(RegisterError::BadName(name.to_owned())) }
}

/// OpenMetrics 1.0.0: "If a unit is specified, it MUST be the suffix of the MetricFamily name".
fn check_unit(desc: &MetricDesc, kind: Kind) -> Result<(), RegisterError> {
    let family = if kind == Kind::Counter { without_total(&desc.name) } else { &desc.name };
    let fits = desc.unit.is_empty() || family.strip_suffix(desc.unit).is_some_and(|name| name.ends_with('_'));
    if fits { Ok(()) } else { Err(RegisterError::BadUnit { name: desc.name.clone(), unit: desc.unit }) }
}

/// A counter's name as OpenMetrics calls the family.
pub(crate) fn without_total(name: &str) -> &str {
    name.strip_suffix("_total").unwrap_or(name)
}

fn check_labels(desc: &MetricDesc, kind: Kind) -> Result<(), RegisterError> {
    for (at, (label, _)) in desc.labels.iter().enumerate() {
        let why = if !is_name(label, &[]) {
            "it is not [a-zA-Z_][a-zA-Z0-9_]*"
        } else if label.starts_with("__") {
            "names that begin with __ are Prometheus' own"
        } else if kind == Kind::Histogram && label == "le" {
            "a histogram's buckets use it"
        } else if desc.labels[..at].iter().any(|(earlier, _)| earlier == label) {
            "it stands twice"
        } else {
            continue;
        };
        return Err(RegisterError::BadLabel { metric: desc.name.clone(), label: label.clone(), why });
    }
    Ok(())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn labels_are_a_set_whatever_order_they_come_in() {
        let mut catalog = Catalog::new(10);
        let one = MetricDesc::new("x_total", "").label("a", "1").label("b", "2");
        let other = MetricDesc::new("x_total", "").label("b", "2").label("a", "1");
        let id = catalog.own(&one, Kind::Counter).unwrap();
        assert_eq!(catalog.own(&other, Kind::Counter).unwrap(), id);
        assert_eq!(catalog.list()[0].series.len(), 1);
    }

    #[test]
    fn a_histograms_parts_and_another_metric_never_share_a_name() {
        let mut catalog = Catalog::new(1_000);
        catalog.own(&MetricDesc::new("x", ""), Kind::Histogram).unwrap();
        let error = catalog.own(&MetricDesc::new("x_count", ""), Kind::Counter).unwrap_err();
        assert!(matches!(error, RegisterError::OtherType { existing: "histogram", asked: "counter", .. }));
        catalog.own(&MetricDesc::new("y_sum", ""), Kind::Gauge).unwrap();
        let error = catalog.own(&MetricDesc::new("y", ""), Kind::Histogram).unwrap_err();
        assert!(matches!(error, RegisterError::OtherType { existing: "gauge", asked: "histogram", .. }));
    }

    #[test]
    fn a_unit_that_the_name_does_not_end_with_is_refused() {
        let mut catalog = Catalog::new(1_000);
        let desc = |name| MetricDesc::new(name, "").unit("seconds", Scale::Nano);
        for bad in ["x", "seconds_total", "xseconds_total", "x_seconds_y_total"] {
            let error = catalog.own(&desc(bad), Kind::Counter).unwrap_err();
            assert_eq!(error, RegisterError::BadUnit { name: bad.into(), unit: "seconds" });
        }
        catalog.own(&desc("x_seconds_total"), Kind::Counter).unwrap();
        catalog.own(&desc("y_seconds"), Kind::Histogram).unwrap();
        catalog.own(&desc("y_seconds_total"), Kind::Gauge).unwrap_err();
    }

    #[test]
    fn a_histogram_takes_as_many_series_as_it_shows_lines() {
        let mut catalog = Catalog::new(HISTOGRAM_SERIES);
        catalog.own(&MetricDesc::new("x", ""), Kind::Histogram).unwrap();
        let error = catalog.own(&MetricDesc::new("y", ""), Kind::Counter).unwrap_err();
        assert_eq!(error, RegisterError::TooMany { name: "y".into(), limit: HISTOGRAM_SERIES });
        catalog.own(&MetricDesc::new("x", ""), Kind::Histogram).expect("it is there already");
    }

    #[test]
    fn a_counter_that_was_asked_for_and_is_then_owned_gets_one_id_for_good() {
        let mut catalog = Catalog::new(10);
        let desc = MetricDesc::new("x_total", "");
        catalog.ask(&desc, Kind::Counter, &Source::Count(Arc::new(|| 1))).unwrap();
        let id = catalog.own(&desc, Kind::Counter).unwrap();
        catalog.ask(&desc, Kind::Counter, &Source::Count(Arc::new(|| 2))).unwrap();
        assert_eq!(catalog.own(&desc, Kind::Counter).unwrap(), id);
        assert_ne!(catalog.own(&MetricDesc::new("y_total", ""), Kind::Counter).unwrap(), id);
    }
}
