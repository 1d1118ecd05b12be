//! An operation by its name, and the rate in force for it. Rates are set by the sampler and its
//! controller; here they are kept.

use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

use ng_core::sampling::Reason;

use super::{controller::Average, rules::RuleAction};

/// A number that each lane reads at each operation. It has its cache lines to itself: nothing that is
/// written often may lie beside it.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Rate(pub(super) AtomicU64);

impl Rate {
    pub(super) fn new(rate: f64) -> Self {
        Self(AtomicU64::new(rate.to_bits()))
    }

    /// The rate's bits: what a lane compares.
    #[inline(always)]
    pub(crate) fn bits(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn set(&self, rate: f64) {
        self.0.store(rate.to_bits(), Ordering::Relaxed);
    }
}

/// An operation by its name.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(super) name: Box<str>,
    pub(super) action: Option<RuleAction>,
    /// In force.
    pub(crate) rate: Rate,
    /// Told by lanes, if anybody asks.
    operations: AtomicU64,
    /// Whether a controller asks.
    is_asked: bool,
    pub(super) average: Mutex<Average>,
}

impl Operation {
    /// Kept for good: lanes hold it without counting references.
    pub(super) fn leak(name: &str, action: Option<RuleAction>, rate: f64, is_asked: bool) -> &'static Self {
        Box::leak(Box::new(Self {
            name: name.into(),
            action,
            rate: Rate::new(rate),
            operations: AtomicU64::new(0),
            is_asked,
            average: Mutex::default(),
        }))
    }

    /// How many of it lanes told.
    pub(super) fn told(&self) -> u64 {
        self.operations.load(Ordering::Relaxed)
    }

    /// Why it is sampled when its countdown says so.
    pub(crate) const fn reason(&self) -> Reason {
        if self.action.is_some() { Reason::Rule } else { Reason::Rate }
    }

    /// So many of it were passed over, or sampled.
    #[inline]
    pub(crate) fn passed(&self, operations: u64) {
        if self.is_asked {
            self.operations.fetch_add(operations, Ordering::Relaxed);
        }
    }
}
