//! What the records of a history add up to: which versions there are, which is in force, which may
//! not be. It reads and writes no file.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a record says was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// A document was found sound and kept.
    Staged,
    /// A version came in force.
    Activated,
    /// An earlier version came in force again.
    RolledBack,
    /// A version may not come in force.
    Quarantined,
    /// It may again.
    Released,
}

/// One record of the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// From 1 on, without a gap.
    pub number: u64,
    /// Seconds since 1970, by the clock of whoever wrote it.
    pub unix_seconds: u64,
    /// What was done.
    pub act: Act,
    /// With which version; from 1 on.
    pub version: u64,
    /// Why, in the words of whoever did it.
    pub note: String,
    /// The document, where it was staged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
}

/// What a version is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum VersionState {
    /// It can be activated.
    Staged,
    /// It is in force.
    Active,
    /// It can't be activated until it is released.
    Quarantined,
}

/// A version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Its number.
    pub version: u64,
    /// Its document.
    pub document: String,
    /// Whether it may not come in force.
    pub quarantined: bool,
}

/// All records, and what they add up to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct History {
    records: Vec<Record>,
    versions: BTreeMap<u64, Version>,
    /// Versions in the order in which they were in force; the last is.
    reign: Vec<u64>,
}

impl History {
    /// The records, oldest first.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// A version.
    #[must_use]
    pub fn version(&self, version: u64) -> Option<&Version> {
        self.versions.get(&version)
    }

    /// All versions, lowest first, and what each is.
    pub fn versions(&self) -> impl Iterator<Item = (&Version, VersionState)> {
        self.versions.values().map(|version| {
            let state = if self.active() == Some(version.version) {
                VersionState::Active
            } else if version.quarantined {
                VersionState::Quarantined
            } else {
                VersionState::Staged
            };
            (version, state)
        })
    }

    /// The version in force; `None` if none ever was.
    #[must_use]
    pub fn active(&self) -> Option<u64> {
        self.reign.last().copied()
    }

    /// The version that a rollback goes to: the last one in force before, that is not in
    /// quarantine.
    #[must_use]
    pub fn previous(&self) -> Option<u64> {
        let active = self.active()?;
        let may =
            |version: &u64| *version != active && self.versions.get(version).is_some_and(|v| !v.quarantined);
        self.reign.iter().rev().copied().find(may)
    }

    /// Adds a record, or says why it can't follow those before it.
    pub(super) fn push(&mut self, record: Record) -> Result<(), String> {
        let expected = self.records.len() as u64 + 1;
        if record.number != expected {
            return Err(format!("it is record {} where {expected} was due", record.number));
        }
        let version = record.version;
        match (record.act, &record.document) {
            (Act::Staged, Some(document)) => {
                let next = self.versions.len() as u64 + 1;
                if version != next {
                    return Err(format!("it stages version {version} where {next} was due"));
                }
                let document = document.clone();
                self.versions.insert(version, Version { version, document, quarantined: false });
            }
            (Act::Staged, None) => return Err("it stages no document".to_owned()),
            (_, Some(_)) => return Err("it has a document and stages none".to_owned()),
            (act, None) => {
                let Some(known) = self.versions.get_mut(&version) else {
                    return Err(format!("there is no version {version}"));
                };
                match act {
                    Act::Quarantined => known.quarantined = true,
                    Act::Released => known.quarantined = false,
                    _ if known.quarantined => return Err(format!("version {version} is in quarantine")),
                    _ => self.reign.push(version),
                }
            }
        }
        self.records.push(record);
        Ok(())
    }
}
