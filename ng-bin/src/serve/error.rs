//! Why the service did not start, or did not end in good order, and the exit codes of that.

use std::path::PathBuf;

use crate::config::EX_CONFIG;
use crate::stack::StackError;

/// Why the service did not start, or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// An address can't be read.
    #[error("{key} = {given:?} is no address: {why}; write ADDRESS:PORT, such as 127.0.0.1:7700")]
    Address {
        /// The key of the configuration.
        key: &'static str,
        /// Its value.
        given: String,
        /// What is wrong with it.
        why: String,
    },
    /// There is nothing to listen on.
    #[error("nothing to listen on: serve.listen and serve.unix_socket are both empty")]
    Nowhere,
    /// An address beyond loopback, and no token.
    #[error(
        "{key} = {given} listens beyond loopback, and there is no token: give serve.token_file or the \
         variable NEUROGRAPH_TOKEN, or let everyone write with serve.insecure = true"
    )]
    Open {
        /// The key of the configuration.
        key: &'static str,
        /// The address.
        given: String,
    },
    /// The token can't be used.
    #[error("the token of {from}: {why}")]
    Token {
        /// The file or the variable.
        from: String,
        /// What is wrong with it.
        why: String,
    },
    /// The certificate or its key can't be used.
    #[error("{key} = {:?}: {why}", path.display().to_string())]
    Tls {
        /// The key of the configuration.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// An address is taken, or may not be listened on.
    #[error("can't listen on {at} ({key}): {source}")]
    Listen {
        /// The key of the configuration.
        key: &'static str,
        /// The address or the path.
        at: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another process has the log.
    #[error("the log in {} is in use by process {owner}: stop it, or choose another wal.dir", dir.display())]
    Running {
        /// The log's directory.
        dir: PathBuf,
        /// The process that says so.
        owner: String,
    },
    /// The stack did not start.
    #[error(transparent)]
    Stack(#[from] StackError),
    /// The operating system gave no thread.
    #[error("no threads for the service: {0}")]
    Threads(std::io::Error),
    /// Work was still under way when the time for it was over; what was acknowledged is durable.
    #[error(
        "{in_flight} requests were still under way after serve.drain_ms and were cut off; the log is flushed"
    )]
    NotDrained {
        /// Requests that were cut off.
        in_flight: u64,
    },
    /// What was appended could not be made durable at the end.
    #[error("the end: {0}")]
    NotFlushed(ng_core::wal::WaitError),
}

impl ServeError {
    /// The exit code of a program that ends for this reason: 78 (`EX_CONFIG`) where the
    /// configuration must change, 75 (`EX_TEMPFAIL`) where requests were cut off, 74 (`EX_IOERR`)
    /// otherwise.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Address { .. }
            | Self::Nowhere
            | Self::Open { .. }
            | Self::Token { .. }
            | Self::Tls { .. } => EX_CONFIG,
            Self::Stack(error) => error.exit_code(),
            Self::NotDrained { .. } => 75,
            Self::Listen { .. } | Self::Running { .. } | Self::Threads(_) | Self::NotFlushed(_) => 74,
        }
    }
}
