//! The history's file. It is append-only to its reader: each record is chained to all before it, so
//! that no byte can change unseen.
//!
//! ```text
//! neurograph-cdna 1\n                                   the first link is SHA-256 of this line
//! <SHA-256 of the link before and the record, hex> <record as JSON>\n      …
//! ```
//!
//! Beside it `history.head` holds the last link, so that a history whose end was cut off is found
//! too. Both are written under another name, synced, and renamed: a crash leaves the old file or
//! the new one, and a file that ends within a record was not left by a crash.

use super::document::{Charter, CharterError};
use super::versions::{Act, History, Record};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The first line, less the format's number.
const MAGIC: &str = "neurograph-cdna ";

/// The format that is written and read.
const FORMAT: u32 = 1;

const FILE: &str = "history";
const HEAD: &str = "history.head";
const LOCK: &str = "history.lock";

/// Why a history can't be read or written. It is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// The operating system refused.
    #[error("{operation} {}: {source}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A byte is not what was written, or a record is missing.
    #[error("{}:{line} (byte {offset}): the chain is broken: {why}; nothing of it was put in force: restore the file from a copy", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// From 1 on.
        line: usize,
        /// Where that line begins.
        offset: usize,
        /// What is wrong.
        why: String,
    },
    /// Written by a later version of this program.
    #[error("{}:1: the history has format {found}, and this program reads {FORMAT}: use the later program", path.display())]
    Future {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// Another process is writing.
    #[error("{} is in use by another process: try again when it is done", dir.display())]
    Locked {
        /// The history's directory.
        dir: PathBuf,
    },
    /// There is no such version.
    #[error("there is no version {version}: `ng cdna log` shows those there are")]
    NoVersion {
        /// The number given.
        version: u64,
    },
    /// The version may not come in force.
    #[error("version {version} is in quarantine: release it first, or choose another")]
    Quarantined {
        /// The number given.
        version: u64,
    },
    /// The version in force can't be put in quarantine.
    #[error("version {version} is in force: roll back first")]
    InForce {
        /// The number given.
        version: u64,
    },
    /// There is nothing before the version in force.
    #[error("no other version was in force before that may be again")]
    NothingBefore,
    /// The document is not sound.
    #[error(transparent)]
    Charter(#[from] CharterError),
}

fn io(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> HistoryError {
    move |source| HistoryError::Io { operation, path: path.to_owned(), source }
}

fn link(before: &str, record: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(before.as_bytes());
    hash.update(record.as_bytes());
    hex(&hash.finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn first_line() -> String {
    format!("{MAGIC}{FORMAT}\n")
}

/// A history with its bytes and its last link.
#[derive(Debug, Default)]
struct Chain {
    history: History,
    text: String,
    last: String,
}

impl Chain {
    fn empty() -> Self {
        let text = first_line();
        Self { history: History::default(), last: link("", &text), text }
    }

    fn parse(path: &Path, bytes: &[u8]) -> Result<(Self, Vec<String>), HistoryError> {
        let mut chain = Self::empty();
        let mut links = vec![chain.last.clone()];
        let mut offset = 0;
        for (i, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let broken =
                |why: String| HistoryError::Broken { path: path.to_owned(), line: i + 1, offset, why };
            let text = std::str::from_utf8(line).map_err(|error| broken(error.to_string()))?;
            if i == 0 {
                let format = text.strip_prefix(MAGIC).and_then(|rest| rest.trim_end().parse::<u32>().ok());
                if let Some(found) = format.filter(|format| *format > FORMAT) {
                    return Err(HistoryError::Future { path: path.to_owned(), found });
                }
                if text != first_line() {
                    return Err(broken("this is no history of a constitution".to_owned()));
                }
            } else {
                let record = text.strip_suffix('\n').ok_or_else(|| broken("it has no end".to_owned()))?;
                let (given, record) =
                    record.split_once(' ').ok_or_else(|| broken("it has no link".to_owned()))?;
                let computed = link(&chain.last, record);
                if given != computed {
                    return Err(broken("what it says is not what was linked".to_owned()));
                }
                let parsed: Record =
                    serde_json::from_str(record).map_err(|error| broken(error.to_string()))?;
                chain.history.push(parsed).map_err(broken)?;
                chain.text.push_str(text);
                links.push(computed.clone());
                chain.last = computed;
            }
            offset += line.len();
        }
        if bytes.is_empty() {
            let why = "the file is empty".to_owned();
            return Err(HistoryError::Broken { path: path.to_owned(), line: 1, offset: 0, why });
        }
        Ok((chain, links))
    }

    /// An empty one if there is no file.
    fn read(dir: &Path) -> Result<Self, HistoryError> {
        let (path, head) = (dir.join(FILE), dir.join(HEAD));
        let head_text = match std::fs::read(&head) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(io("read", &head)(error)),
        };
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound && head_text.is_none() => {
                return Ok(Self::empty());
            }
            Err(error) => return Err(io("read", &path)(error)),
        };
        let (chain, links) = Self::parse(&path, &bytes)?;
        // The head is written second, so it may be one record behind.
        let fits = |link: &String| head_text.as_deref() == Some(format!("{link}\n").as_bytes());
        let ends: Vec<_> = links.iter().rev().take(2).collect();
        if !(ends.iter().any(|link| fits(link)) || head_text.is_none() && links.len() <= 2) {
            let why = "its last link is not one of the history's last two: the end was cut off, or this file was changed";
            return Err(HistoryError::Broken { path: head, line: 1, offset: 0, why: why.to_owned() });
        }
        Ok(chain)
    }
}

/// Reads and verifies a history; an empty one if the directory has none.
///
/// # Errors
/// [`HistoryError::Broken`] at the first byte that is not what was written, [`HistoryError::Future`],
/// [`HistoryError::Io`].
pub fn read_history(dir: &Path) -> Result<History, HistoryError> {
    Ok(Chain::read(dir)?.history)
}

/// Replaces a file as a whole, durably.
fn replace(dir: &Path, name: &str, text: &str) -> Result<(), HistoryError> {
    let (path, temporary) = (dir.join(name), dir.join(format!("{name}.new")));
    let mut file = File::create(&temporary).map_err(io("create", &temporary))?;
    file.write_all(text.as_bytes()).map_err(io("write", &temporary))?;
    file.sync_all().map_err(io("sync", &temporary))?;
    std::fs::rename(&temporary, &path).map_err(io("rename", &path))?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io("sync", dir))
}

/// The one writer of a history; others are refused while it exists.
#[derive(Debug)]
pub struct HistoryWriter {
    dir: PathBuf,
    chain: Chain,
    _lock: File,
}

impl HistoryWriter {
    /// Locks and verifies the history in `dir`, which is made if it is missing.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn open(dir: &Path) -> Result<Self, HistoryError> {
        std::fs::create_dir_all(dir).map_err(io("create", dir))?;
        let path = dir.join(LOCK);
        let lock = File::create(&path).map_err(io("create", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(HistoryError::Locked { dir: dir.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(io("lock", &path)(error)),
        }
        Ok(Self { dir: dir.to_owned(), chain: Chain::read(dir)?, _lock: lock })
    }

    /// What is in it.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.chain.history
    }

    /// Keeps a sound document as the next version. It is not in force.
    ///
    /// # Errors
    /// [`HistoryError::Charter`], [`HistoryError::Io`].
    pub fn stage(&mut self, document: &str, note: &str) -> Result<u64, HistoryError> {
        Charter::parse(document)?;
        let version = self.chain.history.versions().count() as u64 + 1;
        self.append(Act::Staged, version, note, Some(document.to_owned()))?;
        Ok(version)
    }

    /// Puts a version in force, all at once: whoever reads the history sees it or the one before.
    ///
    /// # Errors
    /// [`HistoryError::NoVersion`], [`HistoryError::Quarantined`], [`HistoryError::Charter`] if this
    /// program finds a document unsound that another one staged, [`HistoryError::Io`].
    pub fn activate(&mut self, version: u64, note: &str) -> Result<(), HistoryError> {
        self.may_reign(version)?;
        self.append(Act::Activated, version, note, None)
    }

    /// Puts an earlier version in force again: `to`, or the last one before that is not in
    /// quarantine. Returns which.
    ///
    /// # Errors
    /// As with [`Self::activate`], and [`HistoryError::NothingBefore`].
    pub fn rollback(&mut self, to: Option<u64>, note: &str) -> Result<u64, HistoryError> {
        let version = to.or_else(|| self.chain.history.previous()).ok_or(HistoryError::NothingBefore)?;
        self.may_reign(version)?;
        self.append(Act::RolledBack, version, note, None)?;
        Ok(version)
    }

    /// Says that a version may not come in force.
    ///
    /// # Errors
    /// [`HistoryError::NoVersion`], [`HistoryError::InForce`], [`HistoryError::Io`].
    pub fn quarantine(&mut self, version: u64, note: &str) -> Result<(), HistoryError> {
        self.known(version)?;
        if self.chain.history.active() == Some(version) {
            return Err(HistoryError::InForce { version });
        }
        self.append(Act::Quarantined, version, note, None)
    }

    /// Says that a version may come in force again.
    ///
    /// # Errors
    /// [`HistoryError::NoVersion`], [`HistoryError::Io`].
    pub fn release(&mut self, version: u64, note: &str) -> Result<(), HistoryError> {
        self.known(version)?;
        self.append(Act::Released, version, note, None)
    }

    fn known(&self, version: u64) -> Result<&super::Version, HistoryError> {
        self.chain.history.version(version).ok_or(HistoryError::NoVersion { version })
    }

    fn may_reign(&self, version: u64) -> Result<(), HistoryError> {
        let known = self.known(version)?;
        if known.quarantined {
            return Err(HistoryError::Quarantined { version });
        }
        Charter::parse(&known.document)?;
        Ok(())
    }

    fn append(
        &mut self,
        act: Act,
        version: u64,
        note: &str,
        document: Option<String>,
    ) -> Result<(), HistoryError> {
        let unix_seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let number = self.chain.history.records().len() as u64 + 1;
        let record = Record { number, unix_seconds, act, version, note: note.to_owned(), document };
        let broken =
            |why: String| HistoryError::Broken { path: self.dir.join(FILE), line: 0, offset: 0, why };
        let text = serde_json::to_string(&record).map_err(|error| broken(error.to_string()))?;
        let mut history = self.chain.history.clone();
        history.push(record).map_err(broken)?;
        let last = link(&self.chain.last, &text);
        let whole = format!("{}{last} {text}\n", self.chain.text);
        replace(&self.dir, FILE, &whole)?;
        self.chain = Chain { history, text: whole, last };
        replace(&self.dir, HEAD, &format!("{}\n", self.chain.last))
    }
}
