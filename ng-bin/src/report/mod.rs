//! The stress document as pictures: one self-contained page, and an SVG for each chart.
//!
//! | idea | modules |
//! |---|---|
//! | what is read of the documents | [`figures`] |
//! | the seed's figures, and where they are from | [`seed`] |
//! | which charts there are | [`charts`] |
//! | how a chart is drawn, in light and dark | `draw` |
//! | the page | `page` |
//!
//! It measures nothing and invents nothing: a figure that a document does not have is left out, and
//! the page says so. Charts are drawn by plotters; each has its figures in a table beside it.

pub mod charts;
mod draw;
pub mod figures;
mod page;
pub mod seed;

pub use draw::svg;
pub use page::html;

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The text is not the document it should be.
    #[error("{path} is no document of `{command}`: {source}")]
    Document {
        /// The file.
        path: String,
        /// What writes such a document.
        command: &'static str,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A chart could not be drawn.
    #[error("draw the chart {chart:?}: {why}")]
    Draw {
        /// Its title.
        chart: String,
        /// What plotters says.
        why: String,
    },
}
