//! The constitution (CDNA) as an operator keeps it: a document in TOML, a history that can't be
//! changed unseen, and a trial for each version that comes in force. Lanes know none of it: they
//! see bounds.
//!
//! | idea | module |
//! |---|---|
//! | what a document says, and what is wrong with it | `document` |
//! | the chained file, and what breaks the chain | `history` |
//! | staged, active, quarantined: what the records add up to | `versions` |
//! | whether refusals explode under a new version | `trial` |
//! | what the guardian's thread does with all of it | `court` |

mod court;
mod document;
mod history;
#[cfg(all(test, not(loom)))]
mod tests;
mod trial;
mod versions;

pub(crate) use court::{Court, Verdict};
pub use document::{Charter, CharterError, CharterProfile, TrialTerms};
pub use history::{HistoryError, HistoryWriter, read_history};
pub use versions::{Act, History, Record, Version, VersionState};
