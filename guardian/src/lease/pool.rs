//! What the leases of one quota share: the limit, the free units, and who holds what. All of it
//! under one lock that a thread takes about once per lease, not once per unit.

use super::owner::Lease;
use super::words::{MAX_UNITS, Words};
use crate::sync::{Mutex, lock};
use ng_core::fence;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many holders a [`Shortfall`] names.
const TOP: usize = 3;

/// How leases that have ended are called in a [`Shortfall`]: what they left in use has no other
/// owner.
const ENDED: &str = "(ended)";

/// An exact limit. See the [module](super).
#[derive(Debug)]
pub(crate) struct LeasePool {
    state: Mutex<State>,
    max_lease: i64,
}

/// What is in use, and of how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Level {
    /// Units in use. Exact while no lease is being used; otherwise each lease's part is as of
    /// some moment during the call.
    pub(crate) used: u64,
    /// The limit.
    pub(crate) limit: u64,
    /// Units refused since the pool was made.
    pub(crate) refused: u64,
}

/// Why units were not given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shortfall {
    /// What was in use and allowed.
    pub(crate) level: Level,
    /// The leases that hold most, largest first.
    pub(crate) top: Vec<(Arc<str>, u64)>,
    /// This refusal is what noticed that the alarm was reached.
    pub(crate) alarm: bool,
}

/// A lease, as its owner names itself to the pool.
#[derive(Debug)]
pub(super) struct Holder {
    key: u64,
    pub(super) words: Arc<Words>,
}

#[derive(Debug)]
struct Row {
    name: Arc<str>,
    words: Arc<Words>,
    /// The ceiling that this row accounts for, which is not in the words while it is recalled.
    ceiling: i64,
    recalled: bool,
}

#[derive(Debug)]
struct State {
    limit: i64,
    /// Below zero after the limit was set below what is in use; every lease is recalled then.
    free: i64,
    /// What ended leases left in use; below zero if they released what others took.
    ended: i64,
    alarm: i64,
    refused: u64,
    next_key: u64,
    rows: BTreeMap<u64, Row>,
}

fn units(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(MAX_UNITS).min(MAX_UNITS)
}

fn count(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

impl LeasePool {
    /// A pool of `limit` units whose leases are of up to `max_lease`; both are capped at 2⁶⁰.
    pub(crate) fn new(limit: u64, max_lease: u64) -> Arc<Self> {
        // Chosen here, so that no owner meets the first choice inside a take.
        let _ = fence::strategy();
        let limit = units(limit);
        let state = State {
            limit,
            free: limit,
            ended: 0,
            alarm: i64::MAX,
            refused: 0,
            next_key: 0,
            rows: BTreeMap::new(),
        };
        Arc::new(Self { state: Mutex::new(state), max_lease: units(max_lease) })
    }

    /// A new lease, empty until its first use.
    pub(crate) fn open(self: &Arc<Self>, name: &str) -> Lease {
        let words = Arc::new(Words::new());
        let row = Row { name: name.into(), words: Arc::clone(&words), ceiling: 0, recalled: true };
        let mut state = lock(&self.state);
        let key = state.next_key;
        state.next_key += 1;
        state.rows.insert(key, row);
        Lease::new(Arc::clone(self), Holder { key, words }, self.max_lease)
    }

    /// What is in use, and of how much.
    pub(crate) fn level(&self) -> Level {
        lock(&self.state).level()
    }

    /// Changes the limit, at most 2⁶⁰. Below what is in use, nothing is given until it has sunk.
    pub(crate) fn set_limit(&self, limit: u64) {
        let mut state = lock(&self.state);
        let limit = units(limit);
        state.free += limit - state.limit;
        state.limit = limit;
        if state.free < 0 {
            state.recall_all_but(None);
        }
    }

    /// Asks that the first request to the pool which finds `units` or more in use says so, once.
    /// `true` if so many are in use already; then nothing is set.
    pub(crate) fn set_alarm(&self, at: u64) -> bool {
        let mut state = lock(&self.state);
        state.alarm = i64::try_from(at).unwrap_or(i64::MAX);
        state.alarm_reached()
    }

    pub(super) fn take(&self, holder: &Holder, n: u64) -> Result<bool, Shortfall> {
        if n == 0 {
            return Ok(false);
        }
        let mut state = lock(&self.state);
        state.take_back(holder.key, 0);
        let wanted = i64::try_from(n).unwrap_or(i64::MAX);
        if state.free < wanted {
            state.recall_all_but(Some(holder.key));
        }
        if state.free < wanted {
            state.recall_own(holder.key);
            state.refused = state.refused.saturating_add(n);
            let alarm = state.alarm_reached();
            return Err(Shortfall { level: state.level(), top: state.top(), alarm });
        }
        state.free -= wanted;
        let lease = self.lease_size(&state);
        state.free -= lease;
        holder.words.take_granted(wanted);
        state.set_ceiling(holder.key, holder.words.spent() + lease);
        Ok(state.alarm_reached())
    }

    pub(super) fn give_back(&self, holder: &Holder) {
        let mut state = lock(&self.state);
        let keep = self.lease_size(&state);
        state.take_back(holder.key, keep);
    }

    pub(super) fn end(&self, holder: &Holder) {
        let mut state = lock(&self.state);
        if let Some(row) = state.rows.remove(&holder.key) {
            let spent = holder.words.spent();
            state.free += row.ceiling - spent;
            state.ended += spent;
        }
    }

    /// Leases shrink near the limit, so that a recall is needed a few times per lane, not once
    /// per unit: each refill leaves half of what is free, shared among all. And they end one
    /// short of the alarm, so that the unit which reaches it is asked for here.
    fn lease_size(&self, state: &State) -> i64 {
        let sharers = i64::try_from(state.rows.len()).unwrap_or(i64::MAX / 2).max(1);
        let share = (state.free / (2 * sharers)).clamp(0, self.max_lease);
        let before_alarm = state.alarm - 1 - (state.limit - state.free);
        if before_alarm >= 0 { share.min(before_alarm) } else { share }
    }
}

impl State {
    fn level(&self) -> Level {
        let used = self.ended + self.rows.values().map(|row| row.words.spent()).sum::<i64>();
        Level { used: count(used), limit: count(self.limit), refused: self.refused }
    }

    /// The caller's own lease: all that is unused but `keep` units goes back to the pool. Only
    /// its owner may ask, since no one else knows that it isn't taking just now.
    fn take_back(&mut self, key: u64, keep: i64) {
        let Some(row) = self.rows.get_mut(&key) else { return };
        let unused = row.ceiling - row.words.spent();
        let back = (unused - keep).max(0);
        row.ceiling -= back;
        self.free += back;
        if !row.recalled {
            row.words.set_ceiling(row.ceiling);
        }
    }

    fn set_ceiling(&mut self, key: u64, ceiling: i64) {
        let Some(row) = self.rows.get_mut(&key) else { return };
        row.ceiling = ceiling;
        row.recalled = false;
        row.words.set_ceiling(ceiling);
    }

    /// The caller's own lease, after [`State::take_back`] of all of it: needs no fence, because
    /// its owner is here and in no take.
    fn recall_own(&mut self, key: u64) {
        let Some(row) = self.rows.get_mut(&key) else { return };
        row.words.recall();
        row.recalled = true;
    }

    /// Takes every lease's unused units back into the pool, but for those of the caller, who has
    /// given them back already. What is free afterwards is, at one moment during this call, all
    /// the room there was.
    fn recall_all_but(&mut self, own: Option<u64>) {
        let mut needs_fence = false;
        for (_, row) in self.rows.iter_mut().filter(|(key, row)| !row.recalled && Some(**key) != own) {
            row.words.recall();
            row.recalled = true;
            needs_fence = true;
        }
        if needs_fence {
            fence::heavy();
            for row in self.rows.values() {
                row.words.settle();
            }
        }
        for row in self.rows.values_mut() {
            let spent = row.words.spent();
            self.free += row.ceiling - spent;
            row.ceiling = spent;
        }
    }

    /// Summing up touches every lane's cache line, so it is done only once so much was handed
    /// out that the alarm may have been reached.
    fn alarm_reached(&mut self) -> bool {
        let handed_out = self.limit - self.free;
        if handed_out < self.alarm || self.level().used < count(self.alarm) {
            return false;
        }
        self.alarm = i64::MAX;
        true
    }

    fn top(&self) -> Vec<(Arc<str>, u64)> {
        let mut held: Vec<_> =
            self.rows.values().map(|row| (&row.name, row.words.spent())).filter(|held| held.1 > 0).collect();
        let ended: Arc<str> = ENDED.into();
        if self.ended > 0 {
            held.push((&ended, self.ended));
        }
        held.sort_by_key(|held| std::cmp::Reverse(held.1));
        held.into_iter().take(TOP).map(|(name, spent)| (Arc::clone(name), count(spent))).collect()
    }
}
