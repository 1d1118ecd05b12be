//! The token store: direct-addressed by id, 64 bytes a token, never moved.
//!
//! A token's id is its slot, so there is no index. Memory comes in huge-page chunks of 32,768
//! slots, and grows without moving a token. Each lane fills ranges of its own through a
//! [`StoreWriter`]; any thread reads, and sees a whole token or none.
//!
//! The store does not check what a token says, does not log it and does not count it against a
//! quota: the [lane](crate::lane) does.

mod chunk;
mod domain_set;
mod freed;
mod glance;
mod ranges;
mod restore;
mod slot;
mod snapshot;
mod writer;

pub use chunk::NoMemory;
pub use domain_set::DomainSet;
pub use freed::{Freed, FreedSlot};
pub use glance::Glance;
pub use restore::{RestoreError, Restored, RestoredRun, Restorer};
pub use snapshot::AtWork;
pub use writer::{Live, Run, StoreWriter};

use crate::sync::{AtomicU64, Mutex, Ordering};
use crate::token::{TOKEN_BYTES, Token, TokenId};
use chunk::{CHUNK_BYTES, CHUNK_SLOTS, Chunk};
use ranges::{Owner, RANGE_SLOTS, Range, RangeState};
use slot::Slot;
use std::sync::{Arc, OnceLock, PoisonError};

/// Domains in a store: bits 28–31 of an id.
pub const DOMAINS: u8 = 16;

/// A range with this many holes is filled again before an untouched one is begun.
const WORTH_FILLING: u32 = RANGE_SLOTS / 8;

/// Why a token has no place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Each slot of the domain holds a token.
    #[error("domain {domain} is full: all {capacity} slots hold tokens; delete some or use another domain")]
    Full {
        /// The domain.
        domain: u8,
        /// How many slots it has.
        capacity: u32,
    },
    /// The id is in use.
    #[error("id {id} is taken (domain:entity:local; the entity type makes no difference)")]
    Taken {
        /// The id that was asked for.
        id: TokenId,
    },
    /// The id lies beyond the store's last slot.
    #[error("id {id} lies beyond the {capacity} slots of its domain")]
    Beyond {
        /// The id that was asked for.
        id: TokenId,
        /// How many slots the domain has.
        capacity: u32,
    },
    /// The domain doesn't exist.
    #[error("there is no domain {0}: choose 0–15")]
    NoDomain(u8),
    /// The operating system has no memory.
    #[error(transparent)]
    NoMemory(#[from] NoMemory),
}

/// A store for up to 16 × 2²⁴ tokens. See the [module](self).
#[derive(Debug)]
pub struct TokenStore {
    domain_slots: u32,
    chunks: Box<[OnceLock<Chunk>]>,
    ranges: Box<[Range]>,
    domains: [Domain; DOMAINS as usize],
    /// Tokens put there, and live tokens overwritten or emptied, by recovery.
    restored: AtomicU64,
    superseded: AtomicU64,
    shared: Mutex<Shared>,
}

#[derive(Debug, Default)]
struct Domain {
    /// Slots that became free, ever.
    freed: AtomicU64,
}

#[derive(Debug, Default)]
struct Shared {
    owners: Vec<Arc<Owner>>,
    retired_created: u64,
    retired_removed: u64,

    cursors: [Cursor; DOMAINS as usize],
}

#[derive(Debug, Clone, Copy, Default)]
struct Cursor {
    /// No range before this one is untouched.
    untouched: u32,
    /// Where the search for holes goes on.
    holes: u32,
    /// A search found nothing when so many slots had become free.
    fruitless_at: Option<u64>,
}

impl Default for TokenStore {
    fn default() -> Self {
        Self::new()
    }
}

impl TokenStore {
    /// A store with all slots that ids can name, and no memory for any of them yet.
    #[must_use]
    pub fn new() -> Self {
        Self::with_domain_slots(TokenId::LOCALS)
    }

    /// A store whose domains have `slots` slots each: rounded up to whole chunks, at most 2²⁴.
    #[must_use]
    pub fn with_domain_slots(slots: u32) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "2^15 at most")]
        let chunk = CHUNK_SLOTS as u32;
        let domain_slots = slots.clamp(1, TokenId::LOCALS).next_multiple_of(chunk);
        let (chunks, ranges) = (domain_slots / chunk, domain_slots / RANGE_SLOTS);
        let count = |per_domain: u32| 0..per_domain * u32::from(DOMAINS);
        Self {
            domain_slots,
            chunks: count(chunks).map(|_| OnceLock::new()).collect(),
            ranges: count(ranges).map(|_| Range::new()).collect(),
            domains: std::array::from_fn(|_| Domain::default()),
            restored: AtomicU64::new(0),
            superseded: AtomicU64::new(0),
            shared: Mutex::new(Shared::default()),
        }
    }

    /// How many tokens a domain can hold.
    #[must_use]
    pub const fn domain_capacity(&self) -> u32 {
        self.domain_slots
    }

    /// A writing side for one thread.
    ///
    /// # Errors
    /// [`StoreError::NoDomain`] if `domain` is above 15.
    pub fn writer(self: &Arc<Self>, domain: u8) -> Result<StoreWriter, StoreError> {
        if domain >= DOMAINS {
            return Err(StoreError::NoDomain(domain));
        }
        // The fence's strategy is chosen before the first lane needs it.
        let _ = crate::fence::strategy();
        let owner = Arc::new(Owner::new());
        self.lock().owners.push(Arc::clone(&owner));
        Ok(StoreWriter::new(Arc::clone(self), owner, domain))
    }

    /// The token with this very id, entity type included.
    #[must_use]
    #[inline]
    pub fn get(&self, id: TokenId) -> Option<Token> {
        let (token, _) = self.slot(id.slot())?.read(id.slot())?;
        (token.id() == id).then_some(token)
    }

    /// Each live token with its generation, by slot. Tokens that are made or removed meanwhile
    /// may be missing or there; none is torn.
    pub fn iter(&self) -> impl Iterator<Item = (Token, u32)> + '_ {
        self.chunks
            .iter()
            .enumerate()
            .filter_map(|(i, chunk)| Some((self.first_slot(i), chunk.get()?)))
            .flat_map(|(first, chunk)| {
                (first..).zip(chunk.slots()).filter_map(|(slot, cell)| cell.read(slot))
            })
    }

    /// Some of the live tokens of some domains: about one slot in `step`, chosen at random by `seed`, so
    /// that no pattern in what is stored can hide from it. At least 1 is taken for `step`.
    pub fn sample(
        &self,
        domains: DomainSet,
        step: usize,
        seed: u64,
    ) -> impl Iterator<Item = (Token, u32)> + '_ {
        let mut state = seed | 1;
        // Steps of 1 to 2 × step − 1 are `step` on average.
        let widest = 2 * step.max(1) - 1;
        let mut skip = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % widest
        };
        self.chunks_of(domains).flat_map(move |(first, slots)| {
            let mut picked = Vec::with_capacity(slots.len() / step.max(1) + 1);
            let mut at = skip();
            while let Some(cell) = slots.get(at) {
                #[expect(clippy::cast_possible_truncation, reason = "a slot within a chunk")]
                picked.extend(cell.read(first + at as u32));
                at += 1 + skip();
            }
            picked
        })
    }

    /// The memory that some domains have, with the first slot of each piece.
    fn chunks_of(&self, domains: DomainSet) -> impl Iterator<Item = (u32, &[Slot; CHUNK_SLOTS])> {
        let chunks = self.chunks.iter().enumerate().map(|(i, chunk)| (self.first_slot(i), chunk));
        chunks
            .filter(move |(first, _)| domains.contains((first >> 24) as u8))
            .filter_map(|(first, chunk)| Some((first, chunk.get()?.slots())))
    }

    /// How many tokens live here. Exact when no writer is at work.
    #[must_use]
    pub fn len(&self) -> u64 {
        let shared = self.lock();
        // Removals first: a token counted as removed was counted as created before.
        let mut removed = shared.retired_removed + self.superseded.load(Ordering::Acquire);
        removed += shared.owners.iter().map(|owner| owner.removed.load(Ordering::Acquire)).sum::<u64>();
        let mut created = shared.retired_created + self.restored.load(Ordering::Acquire);
        created += shared.owners.iter().map(|owner| owner.created.load(Ordering::Acquire)).sum::<u64>();
        created.saturating_sub(removed)
    }

    /// Whether no token lives here. As exact as [`Self::len`].
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the tokens that live here: 64 each.
    #[must_use]
    pub fn live_bytes(&self) -> u64 {
        self.len() * TOKEN_BYTES as u64
    }

    /// Bytes of address space taken for tokens, in whole chunks of 2 MiB. What of it is resident
    /// is for the operating system to say.
    #[must_use]
    pub fn reserved_bytes(&self) -> u64 {
        (self.chunks.iter().filter(|chunk| chunk.get().is_some()).count() * CHUNK_BYTES) as u64
    }

    /// Takes the memory for the first `tokens` slots of a domain and touches it now, so that no
    /// lane pays for cold pages later.
    ///
    /// # Errors
    /// [`StoreError::NoDomain`], [`StoreError::NoMemory`].
    pub fn populate(&self, domain: u8, tokens: u32) -> Result<(), StoreError> {
        if domain >= DOMAINS {
            return Err(StoreError::NoDomain(domain));
        }
        let _one_at_a_time = self.lock();
        for local in (0..tokens.min(self.domain_slots)).step_by(CHUNK_SLOTS) {
            self.chunk_for((u32::from(domain) << 24) | local)?.populate();
        }
        Ok(())
    }

    fn lock(&self) -> crate::sync::MutexGuard<'_, Shared> {
        // What the lock guards is valid after each single step, so a panic elsewhere spoils none.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn chunk_index(&self, slot: u32) -> Option<usize> {
        let (domain, local) = (slot >> 24, slot & 0x00ff_ffff);
        (local < self.domain_slots).then(|| {
            (domain * (self.domain_slots / CHUNK_SLOTS as u32)) as usize + local as usize / CHUNK_SLOTS
        })
    }

    fn first_slot(&self, chunk: usize) -> u32 {
        let per_domain = self.domain_slots as usize / CHUNK_SLOTS;
        #[expect(clippy::cast_possible_truncation, reason = "28 bits")]
        let slot = (((chunk / per_domain) << 24) | ((chunk % per_domain) * CHUNK_SLOTS)) as u32;
        slot
    }

    fn range_index(&self, slot: u32) -> usize {
        let (domain, local) = (slot >> 24, slot & 0x00ff_ffff);
        (domain * (self.domain_slots / RANGE_SLOTS) + local / RANGE_SLOTS) as usize
    }

    #[inline(always)]
    fn slot(&self, slot: u32) -> Option<&Slot> {
        let chunk = self.chunks.get(self.chunk_index(slot)?)?.get()?;
        Some(&chunk.slots()[slot as usize % CHUNK_SLOTS])
    }

    /// `n` slots in a row of one range.
    #[inline(always)]
    fn run(&self, first: u32, n: u32) -> Option<&[Slot]> {
        let chunk = self.chunks.get(self.chunk_index(first)?)?.get()?;
        let begin = first as usize % CHUNK_SLOTS;
        chunk.slots().get(begin..begin + n as usize)
    }

    fn range(&self, slot: u32) -> &Range {
        &self.ranges[self.range_index(slot)]
    }

    /// Under the lock.
    fn chunk_for(&self, slot: u32) -> Result<&Chunk, StoreError> {
        let full = StoreError::Full { domain: domain_of(slot), capacity: self.domain_slots };
        let cell = self.chunk_index(slot).and_then(|index| self.chunks.get(index)).ok_or(full)?;
        if cell.get().is_none() {
            // Only the holder of the lock sets it, so the value is never lost.
            let _ = cell.set(Chunk::new()?);
        }
        cell.get().ok_or(StoreError::Full { domain: domain_of(slot), capacity: self.domain_slots })
    }

    /// `n` slots of the range around `slot`.
    fn freed(&self, slot: u32, n: u32) {
        self.range(slot).add_holes(n);
        self.domains[domain_of(slot) as usize].freed.fetch_add(u64::from(n), Ordering::Release);
    }

    /// Makes the range around `slot` one in which single slots may be claimed.
    fn open_for(&self, slot: u32) -> Result<(), StoreError> {
        if self.chunk_index(slot).is_none() {
            let id = TokenId::from_slot(slot, 0);
            return Err(StoreError::Beyond { id, capacity: self.domain_slots });
        }
        if self.range(slot).state() == RangeState::Open {
            return Ok(());
        }
        let shared = self.lock();
        self.chunk_for(slot)?;
        match self.range(slot).state() {
            RangeState::Open => {}
            RangeState::Untouched => self.open(slot, RANGE_SLOTS),
            RangeState::Owned => {
                let range = slot - slot % RANGE_SLOTS;
                match shared.owners.iter().find(|owner| owner.range() == range) {
                    Some(owner) => self.revoke(owner),
                    // Its owner filled it and has not been back for another.
                    None => self.open(slot, 0),
                }
            }
        }
        Ok(())
    }

    fn count_restored(&self, added: u64, overwritten: u64) {
        self.restored.fetch_add(added, Ordering::Release);
        self.superseded.fetch_add(overwritten, Ordering::Release);
    }

    /// Under the lock.
    fn open(&self, slot: u32, unused: u32) {
        self.range(slot).open(unused);
        self.domains[domain_of(slot) as usize].freed.fetch_add(u64::from(unused), Ordering::Release);
    }

    /// Under the lock.
    fn revoke(&self, owner: &Owner) {
        if let Some((range, next)) = owner.revoke() {
            self.open(range, range + RANGE_SLOTS - next);
        }
    }

    /// Gives a writer free slots: of an untouched range whose memory was taken already, else holes where
    /// there are many, else a range in new memory, else whatever is left, be it another writer's.
    fn refill(&self, writer: &mut StoreWriter) -> Result<(), StoreError> {
        let mut shared = self.lock();
        self.revoke(&writer.owner);
        let domain = writer.domain;
        let untouched = self.untouched(&mut shared, domain);
        let has_memory = |first: &u32| self.run(*first, RANGE_SLOTS).is_some();
        if untouched.as_ref().is_none_or(|first| !has_memory(first))
            && self.collect_holes(&mut shared, writer, WORTH_FILLING)
        {
            return Ok(());
        }
        if let Some(first) = untouched {
            self.chunk_for(first)?;
            self.range(first).own();
            writer.begin(first);
            return Ok(());
        }
        if self.collect_holes(&mut shared, writer, 1) {
            return Ok(());
        }
        for owner in shared
            .owners
            .iter()
            .filter(|owner| owner.range() != Owner::NONE && domain_of(owner.range()) == domain)
        {
            self.revoke(owner);
        }
        if self.collect_holes(&mut shared, writer, 1) {
            return Ok(());
        }
        Err(StoreError::Full { domain, capacity: self.domain_slots })
    }

    /// The first slot of the first range that nobody has used.
    fn untouched(&self, shared: &mut Shared, domain: u8) -> Option<u32> {
        let cursor = &mut shared.cursors[domain as usize];
        while cursor.untouched < self.domain_slots / RANGE_SLOTS {
            let first = (u32::from(domain) << 24) | (cursor.untouched * RANGE_SLOTS);
            if self.range(first).state() == RangeState::Untouched {
                return Some(first);
            }
            cursor.untouched += 1;
        }
        None
    }

    /// Fills the writer's list from one range with at least `least` holes.
    fn collect_holes(&self, shared: &mut Shared, writer: &mut StoreWriter, least: u32) -> bool {
        let freed = self.domains[writer.domain as usize].freed.load(Ordering::Acquire);
        let cursor = &mut shared.cursors[writer.domain as usize];
        if freed == 0 || cursor.fruitless_at == Some(freed) {
            return false;
        }
        let ranges = self.domain_slots / RANGE_SLOTS;
        for step in 0..ranges {
            let range = (cursor.holes + step) % ranges;
            let first = (u32::from(writer.domain) << 24) | (range * RANGE_SLOTS);
            if self.range(first).holes() < least {
                continue;
            }
            // An owned range's untouched slots are its owner's.
            let youngest_free = u32::from(self.range(first).state() == RangeState::Owned);
            let Some(cells) = self.run(first, RANGE_SLOTS) else { continue };
            let free = (first..).zip(cells).filter(|(_, cell)| {
                let head = cell.head();
                head.is_free() && head.generation() >= youngest_free
            });
            writer.free.extend(free.map(|(slot, _)| slot));
            if !writer.free.is_empty() {
                // The writer pops from the end: lowest slots first.
                writer.free.reverse();
                cursor.holes = range + 1;
                return true;
            }
        }
        if least == 1 {
            cursor.fruitless_at = Some(freed);
        }
        false
    }

    /// A writer ends: its unused slots are open to all, its counts are kept.
    fn retire(&self, owner: &Arc<Owner>) {
        let mut shared = self.lock();
        self.revoke(owner);
        shared.owners.retain(|other| !Arc::ptr_eq(other, owner));
        shared.retired_created += owner.created.load(Ordering::Relaxed);
        shared.retired_removed += owner.removed.load(Ordering::Relaxed);
    }
}

const fn domain_of(slot: u32) -> u8 {
    (slot >> 24 & 0xf) as u8
}

#[cfg(all(test, not(loom)))]
mod tests;

#[cfg(all(test, loom))]
mod loom_tests;
