//! What of a program, beside the stack, follows its configuration.

use std::path::PathBuf;

use crate::config::StackConfig;
use crate::stack::Overruled;

/// The part of the program that puts the section `[serve]` in force.
///
/// Whatever can fail happens in [`prepare`](Self::prepare), so that a configuration is taken whole or
/// not at all.
pub trait Part: Send + Sync {
    /// Files that `config` names and this part reads. Where the configuration is looked at now and
    /// then, so are they: another certificate is taken although the configuration has not changed.
    fn files(&self, config: &StackConfig) -> Vec<PathBuf>;

    /// Reads and checks what `after` needs. Nothing changes before [`Prepared::commit`].
    ///
    /// # Errors
    /// Words that say which key or file is wrong, and what to do.
    fn prepare(&self, after: &StackConfig) -> Result<Prepared, String>;
}

/// What a [`Part`] will do.
pub struct Prepared {
    /// Live keys that are not put in force, and why.
    pub overruled: Vec<Overruled>,
    /// What was read anew from files and is not as it was, such as `the certificate`.
    pub renewed: Vec<&'static str>,
    /// Puts it in force; it can't fail.
    pub commit: Box<dyn FnOnce() + Send>,
}
