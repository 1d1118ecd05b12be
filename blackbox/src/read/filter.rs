//! Which events are asked for.

use ng_core::events::Tier;

use super::Snapshot;

/// What an event must be to be shown; an empty list lets everything pass.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Names or ids of threads.
    pub threads: Vec<String>,
    /// Tiers.
    pub tiers: Vec<Tier>,
    /// Labels or numbers of kinds.
    pub kinds: Vec<String>,
    /// Not before this, in nanoseconds since 1970.
    pub from_unix_ns: Option<u64>,
    /// Not after this.
    pub to_unix_ns: Option<u64>,
}

impl Snapshot {
    /// Takes out what `filter` does not let pass, and says how many events that were. An event
    /// without a time passes no limit of time.
    pub fn retain(&mut self, filter: &Filter) -> usize {
        let had = self.events.len();
        let wanted: Vec<bool> = self
            .rings
            .iter()
            .map(|ring| {
                filter.threads.is_empty()
                    || filter.threads.iter().any(|name| *name == ring.thread || *name == ring.tid.to_string())
            })
            .collect();
        self.events.retain(|event| {
            let kind = || event.kind.to_string();
            wanted.get(event.ring).copied().unwrap_or(false)
                && (filter.tiers.is_empty() || filter.tiers.contains(&event.tier))
                && (filter.kinds.is_empty()
                    || filter.kinds.iter().any(|name| *name == event.label || *name == kind()))
                && filter.from_unix_ns.is_none_or(|from| event.unix_ns.is_some_and(|at| at >= from))
                && filter.to_unix_ns.is_none_or(|to| event.unix_ns.is_some_and(|at| at <= to))
        });
        had - self.events.len()
    }

    /// Keeps the last `last` events.
    pub fn keep_last(&mut self, last: usize) {
        self.events.drain(..self.events.len().saturating_sub(last));
    }
}
