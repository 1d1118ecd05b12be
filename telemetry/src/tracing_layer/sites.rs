//! Which callsites are roots, and at which rate each is sampled.

use std::{
    collections::HashMap,
    sync::{
        OnceLock, PoisonError, RwLock,
        atomic::{AtomicU8, Ordering},
    },
};

use tracing::Metadata;

use crate::sampling::{Operation, Shared};

/// The field by which a callsite says that it may begin a trace though it is also a child.
pub(super) const ROOT_FIELD: &str = "sampling.root";

/// What is known of a callsite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// Nothing yet.
    New = 0,
    /// It was outside of all spans whenever it was seen.
    Root = 1,
    /// It was within a span.
    Child = 2,
    /// It says that it may begin a trace.
    Marked = 3,
}

/// A callsite.
#[derive(Debug)]
pub(super) struct Site {
    kind: AtomicU8,
    pub(super) operation: &'static Operation,
    pub(super) name: &'static str,
    /// The module, once a span of it was made.
    target: OnceLock<&'static str>,
    /// Names of its fields, by their indices.
    fields: Box<[&'static str]>,
}

impl Site {
    /// The module that it lies in; empty if no span of it was ever made.
    pub(super) fn target(&self) -> &'static str {
        self.target.get().copied().unwrap_or_default()
    }

    /// A span of it is made.
    #[inline]
    pub(super) fn is_made(&self, metadata: &'static Metadata<'static>) {
        self.target.get_or_init(|| metadata.target());
    }

    /// The name of a field.
    #[inline]
    pub(super) fn field(&self, index: usize) -> &'static str {
        self.fields.get(index).copied().unwrap_or_default()
    }

    pub(super) fn kind(&self) -> Kind {
        match self.kind.load(Ordering::Relaxed) {
            0 => Kind::New,
            1 => Kind::Root,
            2 => Kind::Child,
            _ => Kind::Marked,
        }
    }

    /// Learns; whether that changes what lanes do.
    fn learn(&self, from: &[Kind], to: Kind) -> bool {
        let known = self.kind();
        from.contains(&known)
            && self.kind.compare_exchange(known as u8, to as u8, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// It was seen within a span.
    pub(super) fn is_within(&self, shared: &Shared) {
        if self.learn(&[Kind::New, Kind::Root], Kind::Child) {
            shared.bump();
        }
    }

    /// It was seen outside of all spans for the first time.
    pub(super) fn is_outside(&self) -> bool {
        self.learn(&[Kind::New], Kind::Root)
    }
}

/// All callsites of one layer. There are as many as the program has, and they stay.
#[derive(Debug, Default)]
pub(super) struct Sites(RwLock<HashMap<usize, &'static Site>>);

/// A callsite's identity.
#[inline(always)]
pub(super) fn key(metadata: &Metadata<'_>) -> usize {
    std::ptr::from_ref(metadata).addr()
}

impl Sites {
    pub(super) fn get(&self, metadata: &'static Metadata<'static>, shared: &Shared) -> &'static Site {
        self.find(key(metadata), metadata, shared)
    }

    /// One that is known already.
    pub(super) fn known(&self, key: usize) -> Option<&'static Site> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&key).copied()
    }

    /// As [`Self::get`], by metadata of which only the address lives long.
    pub(super) fn find(&self, key: usize, metadata: &Metadata<'_>, shared: &Shared) -> &'static Site {
        if let Some(site) = self.known(key) {
            return site;
        }
        let mut sites = self.0.write().unwrap_or_else(PoisonError::into_inner);
        sites.entry(key).or_insert_with(|| {
            let marked = metadata.fields().field(ROOT_FIELD).is_some();
            let kind = if marked { Kind::Marked } else { Kind::New };
            // Kept for good, as tracing keeps its callsites: a program has a fixed number.
            Box::leak(Box::new(Site {
                kind: AtomicU8::new(kind as u8),
                operation: shared.operation(metadata.name()),
                name: metadata.name(),
                target: OnceLock::new(),
                fields: metadata.fields().iter().map(|field| field.name()).collect(),
            }))
        })
    }
}
