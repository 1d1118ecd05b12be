//! Why a stack did not start. Nothing runs then.

use std::path::{Path, PathBuf};

use ng_core::metrics::RegisterError;
use ng_core::store::StoreError;
use ng_core::wal::AppendError;

use crate::config::ConfigErrors;

/// Why a stack did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StackError {
    /// The configuration has faults; each is shown at its place.
    #[error("{}", .0.render(false))]
    Config(#[from] ConfigErrors),
    /// A path that the configuration names can't be used.
    #[error("{key} = {:?}: {why}; give {key} a directory that this user may write to", path.display().to_string())]
    Path {
        /// The key of the configuration.
        key: &'static str,
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A layer did not start.
    #[error("{layer}: {source}")]
    Layer {
        /// Which one, by its section in the configuration.
        layer: &'static str,
        /// Its own error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The log can't be put back into the store.
    #[error("recovery of {}: {source}", dir.display())]
    Recovery {
        /// The log's directory.
        dir: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store has no memory or no such domain.
    #[error("store: {0}")]
    Store(#[from] StoreError),
    /// The log is closed or poisoned.
    #[error("log: {0}")]
    Log(#[from] AppendError),
    /// A metric could not be registered.
    #[error("metrics: {0}")]
    Metric(#[from] RegisterError),
    /// The operating system gave no thread.
    #[error("no thread for the clock: {0}")]
    Clock(std::io::Error),
}

impl StackError {
    #[cfg(any(feature = "wal", feature = "guardian", feature = "telemetry", feature = "blackbox"))]
    pub(super) fn layer(layer: &'static str) -> impl Fn(Box<dyn std::error::Error + Send + Sync>) -> Self {
        move |source| Self::Layer { layer, source }
    }

    /// The exit code of a program that could not start for this reason: 78 (`EX_CONFIG`) where
    /// the configuration must change, 74 (`EX_IOERR`) otherwise.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Path { .. } => crate::config::EX_CONFIG,
            _ => 74,
        }
    }
}

/// Looks whether a directory could be made at `path`, and makes nothing.
pub(super) fn preflight(key: &'static str, path: &Path) -> Result<(), StackError> {
    let fault = |why: String| StackError::Path { key, path: path.to_path_buf(), why };
    let absolute = std::path::absolute(path).map_err(|error| fault(error.to_string()))?;
    for ancestor in absolute.ancestors() {
        match std::fs::metadata(ancestor) {
            Ok(found) if !found.is_dir() => {
                return Err(fault(format!("{} is not a directory", ancestor.display())));
            }
            Ok(_) if !writable(ancestor) => {
                return Err(fault(format!("this user may not write to {}", ancestor.display())));
            }
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(fault(format!("{}: {error}", ancestor.display()))),
        }
    }
    Err(fault("no part of this path exists".to_owned()))
}

#[cfg(unix)]
#[expect(unsafe_code, reason = "access(2) has no safe wrapper in std")]
fn writable(dir: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let Ok(path) = std::ffi::CString::new(dir.as_os_str().as_bytes()) else { return false };
    // SAFETY: `path` is a C string that outlives the call; access(2) writes nothing.
    unsafe { libc::access(path.as_ptr(), libc::W_OK | libc::X_OK) == 0 }
}

#[cfg(not(unix))]
fn writable(dir: &Path) -> bool {
    std::fs::metadata(dir).is_ok_and(|found| !found.permissions().readonly())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_below_a_file_is_refused_and_nothing_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "x").unwrap();
        let error = preflight("wal.dir", &file.join("wal")).unwrap_err();
        assert!(error.to_string().contains("wal.dir"), "{error}");
        assert_eq!(error.exit_code(), 78);
        preflight("wal.dir", &dir.path().join("a/b/c")).unwrap();
        assert!(!dir.path().join("a").exists());
    }
}
