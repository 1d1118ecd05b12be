//! The contract of the guardian: who is let in, and what a token may look like.
//!
//! Admission is exact: the N-th is let in, the N+1-th is not, and no one is refused while any lane
//! holds unused room. It never reads the process's memory on the hot path; that is a watcher's.

use crate::store::DomainSet;
use crate::token::Token;

/// Why something was not let in. Nothing has happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{quota} quota: {asked} more would pass the limit of {limit} (in use {used}){}{}", holders(.top), note(.reason))]
pub struct Refusal {
    /// Which quota: `tokens`, `bytes`, …
    pub quota: &'static str,
    /// What was asked for, in the quota's unit.
    pub asked: u64,
    /// What is in use, in the quota's unit.
    pub used: u64,
    /// The limit, in the quota's unit.
    pub limit: u64,
    /// The largest holders and what each uses, largest first.
    pub top: Vec<(String, u64)>,
    /// What else the caller should know, such as a cleanup that could not free enough.
    pub reason: Option<&'static str>,
}

fn holders(top: &[(String, u64)]) -> String {
    if top.is_empty() {
        return String::new();
    }
    let named: Vec<_> = top.iter().map(|(name, used)| format!("{name} {used}")).collect();
    format!("; top holders: {}", named.join(", "))
}

fn note(reason: &Option<&'static str>) -> String {
    reason.map_or_else(String::new, |reason| format!("; {reason}"))
}

/// A token that the constitution forbids.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("{field} = {value} is outside the constitution's {min}..={max} (version {version})")]
pub struct Violation {
    /// The token's field.
    pub field: &'static str,
    /// Its value.
    pub value: f32,
    /// The least allowed.
    pub min: f32,
    /// The most allowed.
    pub max: f32,
    /// The constitution's version.
    pub version: u64,
}

/// What an admission counts. Counts never go backwards; `used` and `limit` are levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AdmissionStats {
    /// In use now, in tokens.
    pub used: u64,
    /// The limit in force, in tokens; `u64::MAX` if there is none.
    pub limit: u64,
    /// Tokens refused for a quota.
    pub refused: u64,
    /// Tokens that violated the constitution, refused or passed.
    pub violations: u64,
    /// Cleanups finished.
    pub cleanups: u64,
    /// Tokens that cleanups freed.
    pub freed: u64,
    /// The process's resident memory as the watcher last read it, in bytes; 0 if none watches.
    pub resident_bytes: u64,
}

/// What can free tokens when a mark is crossed. Called on the guardian's own thread, never twice
/// at once.
pub trait Reclaim: Send + Sync {
    /// Frees up to `tokens`, and returns how many it did free. Each is given back with
    /// [`AdmissionLane::release`] by the time that this returns.
    fn reclaim(&self, tokens: u64) -> u64;

    /// The same for one pool, whose own mark was crossed: only tokens of its domains may go. One that
    /// does not know of domains frees none.
    fn reclaim_in(&self, pool: &PoolReclaim<'_>) -> u64 {
        let _ = pool;
        0
    }
}

/// What a cleanup of one pool is about.
pub struct PoolReclaim<'a> {
    /// The pool's way from the root, such as `tokens/acme`.
    pub pool: &'a str,
    /// The domains whose tokens count in it.
    pub domains: DomainSet,
    /// How many tokens to free.
    pub tokens: u64,
    /// What is in use in it now, and of how much.
    pub level: &'a (dyn Fn() -> (u64, u64) + Sync),
}

impl std::fmt::Debug for PoolReclaim<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { pool, domains, tokens, level } = self;
        f.debug_struct("PoolReclaim")
            .field("pool", pool)
            .field("domains", domains)
            .field("tokens", tokens)
            .field("level", &level())
            .finish()
    }
}

/// The shared side of admission: one per stack.
pub trait Admission: Send + Sync {
    /// A new lane, for one thread. `name` is how refusals call this holder.
    fn lane(&self, name: &str) -> Box<dyn AdmissionLane>;

    /// A new lane, for one thread that makes tokens of `domain`: where domains have quotas of their
    /// own, [`AdmissionLane::admit`] and [`AdmissionLane::release`] mean this one's.
    fn lane_in(&self, domain: u8, name: &str) -> Box<dyn AdmissionLane> {
        let _ = domain;
        self.lane(name)
    }

    /// Says what frees tokens once a mark is crossed; replaces what was said before.
    fn set_reclaim(&self, reclaim: std::sync::Weak<dyn Reclaim>);

    /// What it counts.
    fn stats(&self) -> AdmissionStats;
}

/// One thread's side of admission.
pub trait AdmissionLane: Send {
    /// Lets `n` tokens in, all or none.
    ///
    /// # Errors
    /// [`Refusal`]; nothing has happened then.
    fn admit(&mut self, n: u64) -> Result<(), Refusal>;

    /// Gives `n` tokens back that some lane of this admission let in.
    fn release(&mut self, n: u64);

    /// Lets `n` tokens of a domain in, all or none: for ids that the caller chose.
    ///
    /// # Errors
    /// [`Refusal`]; nothing has happened then.
    fn admit_in(&mut self, domain: u8, n: u64) -> Result<(), Refusal> {
        let _ = domain;
        self.admit(n)
    }

    /// Gives `n` tokens of a domain back, whichever lane let them in: an id says its domain, so what
    /// is deleted is given back to the quota that it was taken from.
    fn release_in(&mut self, domain: u8, n: u64) {
        let _ = domain;
        self.release(n);
    }

    /// Looks whether the constitution changed; called once per batch.
    fn refresh(&mut self) {}

    /// Checks one token against the constitution. Its id and time may be placeholders.
    ///
    /// # Errors
    /// [`Violation`] if the token is to be refused. Violations that are merely counted pass.
    fn check(&mut self, token: &Token) -> Result<(), Violation>;

    /// Whether the constitution lets tokens be deleted, as of the last [`AdmissionLane::refresh`].
    /// Asked once per deletion or per batch of them.
    ///
    /// # Errors
    /// [`Violation`] if nothing may be deleted.
    fn may_delete(&mut self) -> Result<(), Violation> {
        Ok(())
    }
}

impl<L: AdmissionLane + ?Sized> AdmissionLane for Box<L> {
    #[inline]
    fn admit(&mut self, n: u64) -> Result<(), Refusal> {
        (**self).admit(n)
    }

    #[inline]
    fn release(&mut self, n: u64) {
        (**self).release(n);
    }

    fn admit_in(&mut self, domain: u8, n: u64) -> Result<(), Refusal> {
        (**self).admit_in(domain, n)
    }

    #[inline]
    fn release_in(&mut self, domain: u8, n: u64) {
        (**self).release_in(domain, n);
    }

    #[inline]
    fn refresh(&mut self) {
        (**self).refresh();
    }

    #[inline]
    fn check(&mut self, token: &Token) -> Result<(), Violation> {
        (**self).check(token)
    }

    #[inline]
    fn may_delete(&mut self) -> Result<(), Violation> {
        (**self).may_delete()
    }
}

/// The admission that is switched off: lets everyone in and counts nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoAdmission;

impl Admission for NoAdmission {
    fn lane(&self, _name: &str) -> Box<dyn AdmissionLane> {
        Box::new(Self)
    }

    fn set_reclaim(&self, _reclaim: std::sync::Weak<dyn Reclaim>) {}

    fn stats(&self) -> AdmissionStats {
        AdmissionStats { limit: u64::MAX, ..AdmissionStats::default() }
    }
}

impl AdmissionLane for NoAdmission {
    #[inline(always)]
    fn admit(&mut self, _n: u64) -> Result<(), Refusal> {
        Ok(())
    }

    #[inline(always)]
    fn release(&mut self, _n: u64) {}

    #[inline(always)]
    fn check(&mut self, _token: &Token) -> Result<(), Violation> {
        Ok(())
    }
}
