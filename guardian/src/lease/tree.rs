//! The books of one tree of pools: who holds how much of what, under one lock that a thread takes
//! about once per lease, not once per unit. It reads no owner's mind: what an owner does meanwhile
//! is the business of `words`.
//!
//! Each node has a limit. What was handed out below it (the ceilings of its leases, what ended
//! leases left in use, and the same of its children) and its `free` units add up to that limit. A
//! lease counts at its own node and at each one above, so no sum of children passes its parent.

use super::pool::{Level, Shortfall};
use super::words::Words;
use crate::sync::{heavy, needs_full_fence};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many holders a [`Shortfall`] names.
const TOP: usize = 3;

/// How leases that have ended are called in a [`Shortfall`]: what they left in use has no other
/// owner.
const ENDED: &str = "(ended)";

/// The first node: the one without a parent.
pub(super) const ROOT: usize = 0;

/// The books. See the [module](self).
#[derive(Debug)]
pub(super) struct Tree {
    nodes: Vec<Option<Node>>,
    rows: BTreeMap<u64, Row>,
    next_key: u64,
}

#[derive(Debug)]
struct Node {
    parent: Option<usize>,
    name: Arc<str>,
    limit: i64,
    /// Below zero after the limit was set below what is in use; every lease below is recalled
    /// then.
    free: i64,
    /// What ended leases left in use; below zero if they released what others took.
    ended: i64,
    /// Leases here and below.
    sharers: i64,
    refused: u64,
    /// The level that is told of once; `i64::MAX` for none.
    alarm: i64,
    /// Whether something is asked at each take here and below: then no lease is quick.
    rated: bool,
}

#[derive(Debug)]
struct Row {
    node: usize,
    name: Arc<str>,
    words: Arc<Words>,
    /// The ceiling that this row accounts for, which is not in the words while it is recalled.
    ceiling: i64,
    recalled: bool,
    /// The most that it was to get unused at its last refill.
    grant: i64,
}

impl Row {
    /// The most that it is to get unused now: a sixteenth of the largest lease at first and once somebody
    /// else needed it, and twice as much with each lease that its owner has used up.
    fn demand(&self, max_lease: i64) -> i64 {
        let first = first_lease(max_lease);
        if self.recalled { first } else { (2 * self.grant).clamp(first, max_lease) }
    }

    /// What its owner has in use. A take that is pending counts once it was counted as taken.
    fn spent(&self) -> i64 {
        self.words.committed(self.ceiling)
    }
}

/// What a lease begins with.
fn first_lease(max_lease: i64) -> i64 {
    (max_lease / 16).max(1)
}

fn count(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

impl Tree {
    pub(super) fn new(limit: i64) -> Self {
        let root = Node::new(None, "".into(), limit);
        Self { nodes: vec![Some(root)], rows: BTreeMap::new(), next_key: 0 }
    }

    /// A node below `parent`.
    pub(super) fn open_node(&mut self, parent: usize, name: &str, limit: i64) -> usize {
        let node = Node::new(Some(parent), name.into(), limit);
        match self.nodes.iter().position(Option::is_none) {
            Some(empty) => {
                self.nodes[empty] = Some(node);
                empty
            }
            None => {
                self.nodes.push(Some(node));
                self.nodes.len() - 1
            }
        }
    }

    /// A node without leases and children goes; what is in use there is its parent's from now on.
    pub(super) fn close_node(&mut self, at: usize) {
        let Some(node) = self.nodes.get_mut(at).and_then(Option::take) else { return };
        if let Some(parent) = node.parent.and_then(|parent| self.node_mut(parent)) {
            parent.ended += node.ended;
        }
    }

    /// A new lease, empty until its first use.
    pub(super) fn open(&mut self, node: usize, name: &str, words: &Arc<Words>) -> u64 {
        let words = Arc::clone(words);
        words.set_careful(needs_full_fence() || self.is_rated(node));
        let key = self.next_key;
        self.next_key += 1;
        self.rows.insert(key, Row { node, name: name.into(), words, ceiling: 0, recalled: true, grant: 0 });
        self.upwards(node, |node| node.sharers += 1);
        key
    }

    /// A lease ends: its unused units are free, what it has in use stays in use.
    pub(super) fn end(&mut self, key: u64) {
        let Some(row) = self.rows.remove(&key) else { return };
        let spent = row.spent();
        self.upwards(row.node, |node| {
            node.free += row.ceiling - spent;
            node.sharers -= 1;
        });
        if let Some(node) = self.node_mut(row.node) {
            node.ended += spent;
        }
    }

    /// `n` units in use by one lease are another's, of the same node, from now on. Only the owner
    /// of both may ask.
    pub(super) fn hand_over(&mut self, from: u64, to: u64, n: i64) {
        let Some(row) = self.rows.get_mut(&from) else { return };
        row.words.take_granted(-n);
        let ceiling = row.ceiling - n;
        row.ceiling = ceiling;
        if !row.recalled {
            row.words.set_ceiling(ceiling);
        }
        if let Some(row) = self.rows.get_mut(&to) {
            row.words.take_granted(n);
            row.ceiling += n;
        }
    }

    pub(super) fn limit(&self, at: usize) -> i64 {
        self.node(at).map_or(0, |node| node.limit)
    }

    pub(super) fn set_limit(&mut self, at: usize, limit: i64) {
        let Some(node) = self.node_mut(at) else { return };
        node.free += limit - node.limit;
        node.limit = limit;
        if node.free < 0 {
            self.recall_below(at, None);
        }
    }

    pub(super) fn set_alarm(&mut self, at: usize, level: i64) -> bool {
        let Some(node) = self.node_mut(at) else { return false };
        node.alarm = level;
        self.reached(at)
    }

    /// Whether each take here and below goes to the cold path from now on. Leases that were quick are
    /// recalled: what their owners took before stands.
    pub(super) fn set_rated(&mut self, at: usize, rated: bool) {
        let Some(node) = self.node_mut(at) else { return };
        node.rated = rated;
        let careful = |tree: &Self, row: &Row| needs_full_fence() || tree.is_rated(row.node);
        let below = |tree: &Self, row: &Row| is_below(&tree.nodes, row.node, at);
        if !self.rows.values().any(|row| below(self, row) && row.words.is_careful() != careful(self, row)) {
            return;
        }
        // A recalled lease has no ceiling in either cell, so it may get its next one in the other.
        self.recall_below(at, None);
        for row in self.rows.values().filter(|row| below(self, row)) {
            row.words.set_careful(careful(self, row));
        }
    }

    fn is_rated(&self, at: usize) -> bool {
        self.path(at).any(|(_, node)| node.rated)
    }

    /// What is in use at a node and below it.
    pub(super) fn level(&self, at: usize) -> Level {
        let used = self.spent_below(at) + self.ended_below(at);
        let (limit, refused) = self.node(at).map_or((0, 0), |node| (node.limit, node.refused));
        Level { used: count(used), limit: count(limit), refused }
    }

    /// `n` units that are in use already, whatever the limits say: nothing more is given where they are
    /// passed, until use has sunk. Only the owner may ask.
    pub(super) fn adopt(&mut self, key: u64, n: i64) {
        let Some(row) = self.rows.get_mut(&key) else { return };
        let at = row.node;
        row.words.take_granted(n);
        row.ceiling += n;
        if !row.recalled {
            row.words.set_ceiling(row.ceiling);
        }
        self.upwards(at, |node| node.free -= n);
        if let Some(short) = self.path(at).filter(|(_, node)| node.free < 0).map(|(at, _)| at).last() {
            self.recall_below(short, None);
        }
    }

    /// The caller's own take of `n` units that found no room: `true` if it stands, because its lease was
    /// recalled after the take and the units were counted as taken. Otherwise it is undone, also where a
    /// limit was set below what is in use: what the lease has unused is owed then.
    pub(super) fn settle(&mut self, key: u64, n: i64) -> bool {
        let Some(row) = self.rows.get(&key).filter(|_| n != 0) else { return false };
        let owes = self.path(row.node).any(|(_, node)| node.free < 0);
        let stands = !owes && row.words.is_counted(row.ceiling);
        row.words.take_granted(if stands { 0 } else { -n });
        stands
    }

    /// Whether the alarm of a pool that a lease counts in was reached: told once.
    pub(super) fn alarm_reached(&mut self, key: u64) -> bool {
        let at = self.rows.get(&key).map(|row| row.node);
        at.is_some_and(|at| self.any_reached(at))
    }

    /// `n` units and a new lease for a row, recalling others if it must.
    pub(super) fn take(&mut self, key: u64, n: u64, max_lease: i64) -> Result<bool, Shortfall> {
        let of_row = self.rows.get(&key).map(|row| (row.node, row.demand(max_lease)));
        let Some((at, demand)) = of_row else { return Ok(false) };
        self.take_back(key, 0);
        let wanted = i64::try_from(n).unwrap_or(i64::MAX);
        // The highest node that has too little: recalling below it recalls below the others too.
        if let Some(short) = self.path(at).filter(|(_, node)| node.free < wanted).map(|(at, _)| at).last() {
            self.recall_below(short, Some(key));
        }
        // The nearest node is the one to tell of: whoever asks knows it best.
        let short = self.path(at).find(|(_, node)| node.free < wanted).map(|(at, _)| at);
        if let Some(short) = short {
            self.recall_own(key);
            self.upwards(at, |node| node.refused = node.refused.saturating_add(n));
            let alarm = self.any_reached(at);
            return Err(Shortfall {
                level: self.level(short),
                path: self.name_of(short),
                at_root: short == ROOT,
                top: self.top(short),
                alarm,
            });
        }
        self.upwards(at, |node| node.free -= wanted);
        let lease = self.lease_size(at, demand, max_lease);
        self.upwards(at, |node| node.free -= lease);
        if let Some(row) = self.rows.get_mut(&key) {
            // What it had unused was given back, so this is what it has in use.
            let spent = row.words.committed(i64::MAX) + wanted;
            row.words.take_granted(wanted);
            row.ceiling = spent + lease;
            row.grant = demand;
            row.recalled = false;
            row.words.set_ceiling(row.ceiling);
        }
        Ok(self.any_reached(at))
    }

    /// A lease with much unused keeps what it would get now.
    pub(super) fn give_back(&mut self, key: u64, max_lease: i64) {
        let of_row = self.rows.get(&key).map(|row| (row.node, row.grant.max(first_lease(max_lease))));
        let Some((at, grant)) = of_row else { return };
        let keep = self.lease_size(at, grant, max_lease);
        self.take_back(key, keep);
    }

    /// Leases shrink near the limit, so that a recall is needed a few times per lane, not once
    /// per unit: each refill leaves half of what is free, shared among all. And they end one
    /// short of an alarm, so that the unit which reaches it is asked for here; where so much is handed out
    /// that it may be reached at any time, they are short ones.
    fn lease_size(&self, at: usize, demand: i64, max_lease: i64) -> i64 {
        let of_node = |node: &Node| {
            let share = node.free / (2 * node.sharers.max(1));
            let before_alarm = node.alarm - 1 - node.handed_out();
            share.min(if before_alarm >= 0 { before_alarm } else { first_lease(max_lease) })
        };
        self.path(at).map(|(_, node)| of_node(node)).min().unwrap_or(0).clamp(0, demand)
    }

    /// The caller's own lease: all that is unused but `keep` units goes back to the pool. Only
    /// its owner may ask, since no one else knows that it isn't taking just now.
    fn take_back(&mut self, key: u64, keep: i64) {
        let Some(row) = self.rows.get_mut(&key) else { return };
        let unused = row.ceiling - row.spent();
        let back = (unused - keep).max(0);
        row.ceiling -= back;
        if !row.recalled {
            row.words.set_ceiling(row.ceiling);
        }
        let at = row.node;
        self.upwards(at, |node| node.free += back);
    }

    /// The caller's own lease, after [`Tree::take_back`] of all of it: needs no fence, because
    /// its owner is here and in no take.
    fn recall_own(&mut self, key: u64) {
        let Some(row) = self.rows.get_mut(&key) else { return };
        row.words.recall();
        row.recalled = true;
    }

    /// Takes every lease's unused units at a node and below it back, but for those of the caller,
    /// who has given them back already. What is free afterwards is, at one moment during this
    /// call, all the room there was.
    fn recall_below(&mut self, top: usize, own: Option<u64>) {
        let Self { nodes, rows, .. } = self;
        let mut needs_fence = false;
        for (_, row) in rows
            .iter_mut()
            .filter(|(key, row)| !row.recalled && Some(**key) != own && is_below(nodes, row.node, top))
        {
            row.words.recall();
            row.recalled = true;
            needs_fence = true;
        }
        if needs_fence {
            heavy();
        }
        for row in rows.values_mut().filter(|row| row.recalled) {
            let spent = row.spent();
            let back = row.ceiling - spent;
            row.ceiling = spent;
            if back != 0 {
                upwards(nodes, row.node, |node| node.free += back);
            }
        }
    }

    /// The alarm of a node or of one above it.
    fn any_reached(&mut self, at: usize) -> bool {
        let mut next = Some(at);
        let mut any = false;
        while let Some(at) = next {
            any |= self.reached(at);
            next = self.node(at).and_then(|node| node.parent);
        }
        any
    }

    /// Summing up touches every lane's cache line, so it is done only once so much was handed
    /// out that the alarm may have been reached.
    fn reached(&mut self, at: usize) -> bool {
        let Some(node) = self.node(at) else { return false };
        if node.handed_out() < node.alarm || self.level(at).used < count(node.alarm) {
            return false;
        }
        if let Some(node) = self.node_mut(at) {
            node.alarm = i64::MAX;
        }
        true
    }

    fn spent_below(&self, top: usize) -> i64 {
        self.rows.values().filter(|row| is_below(&self.nodes, row.node, top)).map(Row::spent).sum()
    }

    fn ended_below(&self, top: usize) -> i64 {
        let below = |at: &usize| is_below(&self.nodes, *at, top);
        (0..self.nodes.len()).filter(below).filter_map(|at| self.node(at)).map(|node| node.ended).sum()
    }

    /// The largest holders at a node and below it, by their way from there.
    fn top(&self, top: usize) -> Vec<(String, u64)> {
        let rows = self.rows.values().map(|row| (row.node, &*row.name, row.spent()));
        let ended = (0..self.nodes.len()).filter_map(|at| Some((at, ENDED, self.node(at)?.ended)));
        let mut held: Vec<_> = rows
            .chain(ended)
            .filter(|(at, _, spent)| *spent > 0 && is_below(&self.nodes, *at, top))
            .collect();
        held.sort_by_key(|held| std::cmp::Reverse(held.2));
        held.into_iter().take(TOP).map(|(at, name, spent)| (self.way(at, top) + name, count(spent))).collect()
    }

    /// The names from below `top` to `at`, each with a slash behind it.
    fn way(&self, at: usize, top: usize) -> String {
        let below_top = self.path(at).take_while(|(at, _)| *at != top);
        let names: Vec<_> = below_top.map(|(_, node)| format!("{}/", node.name)).collect();
        names.into_iter().rev().collect()
    }

    /// A node's way from the root, without the root's own name.
    fn name_of(&self, at: usize) -> String {
        self.way(at, ROOT).trim_end_matches('/').to_owned()
    }

    fn node(&self, at: usize) -> Option<&Node> {
        self.nodes.get(at).and_then(Option::as_ref)
    }

    fn node_mut(&mut self, at: usize) -> Option<&mut Node> {
        self.nodes.get_mut(at).and_then(Option::as_mut)
    }

    /// A node and all above it, nearest first.
    fn path(&self, at: usize) -> impl Iterator<Item = (usize, &Node)> {
        std::iter::successors(self.node(at).map(|node| (at, node)), |(_, node)| {
            let parent = node.parent?;
            Some((parent, self.node(parent)?))
        })
    }

    fn upwards(&mut self, at: usize, change: impl FnMut(&mut Node)) {
        upwards(&mut self.nodes, at, change);
    }
}

impl Node {
    fn new(parent: Option<usize>, name: Arc<str>, limit: i64) -> Self {
        Self {
            parent,
            name,
            limit,
            free: limit,
            ended: 0,
            sharers: 0,
            refused: 0,
            alarm: i64::MAX,
            rated: false,
        }
    }

    const fn handed_out(&self) -> i64 {
        self.limit - self.free
    }
}

fn upwards(nodes: &mut [Option<Node>], at: usize, mut change: impl FnMut(&mut Node)) {
    let mut next = Some(at);
    while let Some(node) = next.and_then(|at| nodes.get_mut(at)).and_then(Option::as_mut) {
        change(node);
        next = node.parent;
    }
}

/// Whether `at` is `top` or below it.
fn is_below(nodes: &[Option<Node>], at: usize, top: usize) -> bool {
    let parent = |at: &usize| nodes.get(*at).and_then(Option::as_ref).and_then(|node| node.parent);
    top == ROOT || std::iter::successors(Some(at), parent).any(|at| at == top)
}
