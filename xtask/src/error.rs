//! Why a chore could not be carried out. A failed test or a broken rule is a result, not an error.

use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("could not run `{command}`: {source}; is it installed and on the PATH?")]
    Start { command: String, source: io::Error },

    #[error("lost the output of `{command}`: {source}; run it by hand to see what it does")]
    Output { command: String, source: io::Error },

    #[error("`{command}` failed ({status}); run it by hand to see why:\n{stderr}")]
    Failed { command: String, status: String, stderr: String },

    #[error("could not read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },

    #[error("could not write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },

    #[error("`{layer}` has no rivals; those that have: {known}")]
    NoRivals { layer: String, known: String },

    #[error("could not remove {} of an earlier run: {source}", path.display())]
    Remove { path: PathBuf, source: io::Error },

    #[error("{path} is not the TOML that cargo takes: {source}")]
    Manifest { path: String, source: Box<toml::de::Error> },
}
