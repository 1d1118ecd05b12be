//! `ng top`: a running stack in a terminal, once a second.
//!
//! | idea | modules |
//! |---|---|
//! | what is known at one moment | [`live`] |
//! | where it comes from: the admin address, or the rings | [`source`], `admin`, `rings` |
//! | what it looks like | [`screen`], `words` |
//! | the terminal, its keys, and how it is given back | [`terminal`] |
//!
//! It only reads, and changes nothing in the process it looks at. What is not known is shown as `–`.
//! Nothing is said by colour alone.

mod admin;
pub mod live;
#[cfg(feature = "blackbox")]
mod rings;
pub mod screen;
pub mod source;
pub mod terminal;
mod words;

pub use live::{History, Live};
pub use source::{Source, SourceError};
