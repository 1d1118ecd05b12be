//! Where figures come from. Something behind this trait is asked once an interval, on a thread of its
//! own, so that a service that does not answer holds up no key.

use std::path::PathBuf;

use super::live::Live;

/// Why there are no figures now. All of these may pass.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Nobody answers.
    #[error("{url} does not answer: {why}; is `ng serve` running there?")]
    Silent {
        /// What was asked.
        url: String,
        /// What the client says.
        why: String,
    },
    /// The service wants its token.
    #[error("{url} asks for its token: set NEUROGRAPH_TOKEN or give --token-file")]
    Token {
        /// What was asked.
        url: String,
    },
    /// It answers something else.
    #[error("{url} answered {what}")]
    Answer {
        /// What was asked.
        url: String,
        /// What came.
        what: String,
    },
    /// No process has rings there.
    #[error("{} holds no process's rings: is blackbox.dir of the running stack another?", dir.display())]
    NoRings {
        /// Where was looked.
        dir: PathBuf,
    },
    /// The rings can't be read.
    #[error("read the rings: {why}")]
    Rings {
        /// What the reader says.
        why: String,
    },
}

/// Something that knows.
pub trait Source: Send {
    /// What it is called in the head of the screen.
    fn name(&self) -> String;

    /// What is known now.
    ///
    /// # Errors
    /// [`SourceError`]; the next call may succeed.
    fn poll(&mut self) -> Result<Live, SourceError>;

    /// The document as it came, for `--json`; what was read of it where there is no other.
    ///
    /// # Errors
    /// As [`Source::poll`].
    fn document(&mut self) -> Result<serde_json::Value, SourceError> {
        let live = self.poll()?;
        Ok(serde_json::to_value(live).unwrap_or_default())
    }
}

/// The admin address of `ng serve`, such as `127.0.0.1:9464`.
#[must_use]
pub fn admin(address: &str, token: Option<String>) -> Box<dyn Source> {
    Box::new(super::admin::Admin::new(address, token))
}

/// The rings in a directory.
///
/// # Errors
/// In words, where the flight recorder is not compiled in.
pub fn rings(dir: &std::path::Path) -> Result<Box<dyn Source>, &'static str> {
    #[cfg(feature = "blackbox")]
    {
        Ok(Box::new(super::rings::Rings::new(dir.to_owned())))
    }
    #[cfg(not(feature = "blackbox"))]
    {
        let _ = dir;
        Err("this program was built without the feature `blackbox`, which reads rings")
    }
}
