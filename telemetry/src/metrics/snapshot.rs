//! Everything that is counted, as of one moment: what the text formats and OTLP are written from.
//!
//! It reads cells and asks callbacks; it formats nothing.

use std::sync::Arc;

use ng_core::metrics::{Exemplar, HistogramSnapshot, Scale};

use super::catalog::Kind;

/// A family's series.
#[derive(Debug, Clone)]
pub(crate) struct FamilySnapshot {
    pub(crate) name: Arc<str>,
    pub(crate) kind: Kind,
    pub(crate) help: Arc<str>,
    pub(crate) unit: &'static str,
    pub(crate) scale: Scale,
    pub(crate) series: Vec<SeriesSnapshot>,
}

/// One series.
#[derive(Debug, Clone)]
pub(crate) struct SeriesSnapshot {
    /// Its labels: `a="b",c="d"`, escaped.
    pub(crate) shown: Arc<str>,
    pub(crate) value: SeriesValue,
}

/// What a series holds.
#[derive(Debug, Clone)]
pub(crate) enum SeriesValue {
    /// A counter's, in steps.
    Count(u64),
    /// A gauge's or an info's.
    Level(f64),
    /// A histogram's, in steps, with an exemplar for some of its shown buckets. Elsewhere, since most
    /// series are a number.
    Histogram(Box<(HistogramSnapshot, Vec<Exemplar>)>),
}
