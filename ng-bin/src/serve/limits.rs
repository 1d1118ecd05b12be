//! Open files: each connection is one, and the usual soft limit of 1,024 is less than
//! `serve.max_connections`.

/// Raises the soft limit on open files to the hard one, and says what it is then; `None` where
/// there is none.
#[cfg(unix)]
pub(super) fn raise_open_files() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: now.maximum, maximum: now.maximum };
    match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => now.maximum,
        Err(_) => now.current,
    }
}

/// As on Unix.
#[cfg(not(unix))]
pub(super) const fn raise_open_files() -> Option<u64> {
    None
}
