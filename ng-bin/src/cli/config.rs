//! `ng config`.

use std::path::PathBuf;

use super::output::print;
use super::{Failure, load};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Words {
    /// Say whether a file, with the environment over it, makes a configuration.
    Check {
        /// The file.
        file: PathBuf,
    },
    /// Print a file with every default, to begin with.
    Default,
    /// Print the values in force and where each is from.
    Show {
        /// The file; the defaults without one.
        file: Option<PathBuf>,
    },
    /// Print the reference of all keys.
    Reference,
}

pub(super) fn run(words: &Words) -> Result<u8, Failure> {
    match words {
        Words::Check { file } => {
            load(Some(file))?;
            print(|out| writeln!(out, "{}: sound", file.display()))?;
        }
        Words::Default => print(|out| write!(out, "{}", crate::config::render_default()))?,
        Words::Show { file } => {
            let loaded = load(file.as_ref())?;
            print(|out| {
                for setting in loaded.settings() {
                    writeln!(out, "{} = {}  # {}", setting.key, setting.value, setting.origin)?;
                }
                Ok(())
            })?;
        }
        Words::Reference => print(|out| write!(out, "{}", crate::config::render_reference()))?,
    }
    Ok(0)
}
