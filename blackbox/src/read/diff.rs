//! Two processes, or one at two moments, side by side: what differs in what they are and did.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Cause, Snapshot};

/// What differs between two snapshots.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Diff {
    /// How each ended.
    pub cause: [Cause; 2],
    /// Whether both wrote with the same program.
    pub same_build: bool,
    /// Whether both ran with the same configuration.
    pub same_config: bool,
    /// By thread and tier, how many events each recorded, where that differs.
    pub recorded: Vec<Row>,
    /// By kind, how many events of it are in each one's windows, where that differs.
    pub kinds: Vec<Row>,
}

/// A name, and a number of each side's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Row {
    /// What is counted.
    pub name: String,
    /// How many there are on either side.
    pub counts: [u64; 2],
}

impl Diff {
    /// Of two snapshots.
    #[must_use]
    pub fn of(one: &Snapshot, other: &Snapshot) -> Self {
        let both = [one, other];
        let same = |get: fn(&Snapshot) -> Option<(String, u64)>| get(one) == get(other);
        let build = |snapshot: &Snapshot| snapshot.process.as_ref().map(|it| (it.build.clone(), 0));
        let config =
            |snapshot: &Snapshot| snapshot.process.as_ref().map(|it| (String::new(), it.config_hash));
        Self {
            cause: both.map(Cause::of),
            same_build: same(build),
            same_config: same(config),
            recorded: rows(both.map(|snapshot| {
                snapshot.rings.iter().flat_map(|ring| {
                    ring.tiers
                        .iter()
                        .map(|tier| (format!("{} {}", ring.thread, tier.tier.label()), tier.recorded))
                })
            })),
            kinds: rows(both.map(|snapshot| snapshot.events.iter().map(|event| (event.label.clone(), 1)))),
        }
    }

    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let [one, other] = &self.cause;
        one == other
            && self.same_build
            && self.same_config
            && self.recorded.is_empty()
            && self.kinds.is_empty()
    }
}

fn rows(both: [impl Iterator<Item = (String, u64)>; 2]) -> Vec<Row> {
    let mut counts: BTreeMap<String, [u64; 2]> = BTreeMap::new();
    for (side, names) in both.into_iter().enumerate() {
        for (name, n) in names {
            counts.entry(name).or_default()[side] += n;
        }
    }
    let differs = counts.into_iter().filter(|(_, [one, other])| one != other);
    differs.map(|(name, counts)| Row { name, counts }).collect()
}
