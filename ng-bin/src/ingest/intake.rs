//! What takes the specs: the stack's lane, or a test's list.
//!
//! It says of each spec whether it became a token. It never sees a row's text.

use std::error::Error;

use ng_core::TokenSpec;

/// A taker of specs.
pub trait Intake {
    /// Makes tokens of `specs`, in order; each is made unless `verdicts` is told otherwise.
    ///
    /// # Errors
    /// [`Stopped`] if nothing more can be taken; the run ends there.
    fn take(&mut self, specs: &[TokenSpec], verdicts: &mut Verdicts) -> Result<(), Stopped>;
}

/// The taker can't go on: its log failed, for example.
#[derive(Debug)]
pub struct Stopped {
    /// How many specs, from the first of the batch on, were made or refused before.
    pub settled: usize,
    /// Why.
    pub cause: Box<dyn Error + Send + Sync>,
}

/// One spec that was not made.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) index: usize,
    pub(super) reason: &'static str,
    pub(super) detail: String,
}

/// What became of a batch.
#[derive(Debug, Default)]
pub struct Verdicts {
    pub(super) refused: Vec<Verdict>,
    pub(super) marks: Vec<bool>,
}

impl Verdicts {
    pub(super) fn begin(&mut self, batch: usize) {
        self.refused.clear();
        self.marks.clear();
        self.marks.resize(batch, false);
    }

    /// The spec at `index` was not made. `reason` is one of a few (it is counted by), such as
    /// `"quota"`; `detail` is for the reader. The first refusal of a spec counts.
    ///
    /// # Panics
    /// If the batch has no such spec.
    pub fn refuse(&mut self, index: usize, reason: &'static str, detail: impl std::fmt::Display) {
        assert!(index < self.marks.len(), "spec {index} of a batch of {}", self.marks.len());
        if !std::mem::replace(&mut self.marks[index], true) {
            self.refused.push(Verdict { index, reason, detail: detail.to_string() });
        }
    }
}
