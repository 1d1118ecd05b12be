//! Stealable leases: an exact limit on a counted resource, shared by threads that hardly ever
//! meet. It knows nothing of tokens, marks or memory: any quota can be built on it.
//!
//! A [`LeasePool`] holds the limit; each thread's [`Lease`] holds a *ceiling* up to which it may
//! take without asking. Three facts make it exact, and each is kept by one writer:
//!
//! 1. the ceilings, what ended leases left in use, and the pool's free units add up to the limit
//!    (all of it under the pool's lock);
//! 2. no lease has more in use than its ceiling (a take that passes it is not had, but told apart and
//!    settled under the lock);
//! 3. so what is in use, the sum over all leases, never passes the limit.
//!
//! And no one is refused while anyone holds unused room: a refill that finds too little in the
//! pool *recalls* the others' leases. The ceiling of each is replaced with one that nothing fits
//! under, then comes `sync::heavy`; now whatever an owner took without asking is seen, and what lies
//! between that and the old ceiling goes back to the pool. An owner that took just then finds itself
//! recalled, comes to the lock, and learns whether its take was seen. Nobody waits for an owner.
//! A recalled lease stays recalled until its owner comes for more, so a storm of refusals at the
//! limit recalls once and then only reads.
//!
//! A lease may release what another took: its `spent` is then below zero, and nothing changes in
//! the above.
//!
//! Pools form a tree. A lease is of one pool and counts in each above it, so the three facts hold
//! at each; a refill needs room at all of them, and recalls below the highest that has too little.

#[cfg(loom)]
pub(crate) mod fences;
#[cfg(all(test, loom))]
mod model;
mod owner;
mod pool;
#[cfg(all(test, not(loom)))]
mod tests;
mod tree;
mod words;

pub(crate) use owner::Lease;
pub(crate) use pool::{LeasePool, Shortfall};
