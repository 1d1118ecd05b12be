//! A configuration that is read again while the stack runs.
//!
//! | idea | module |
//! |---|---|
//! | read, compare, apply or refuse, and tell | `reloader` |
//! | whether a file has changed | `file_watch` |
//! | what follows beside the stack | `part` |
//! | what became of it | `outcome` |
//!
//! A file with a fault changes nothing. Of a sound one, the keys that are marked live in
//! docs/configuration.md are applied, all or none of them; the others are named and wait for a
//! restart. What a change does to a layer is `Stack::follow`'s business. Nothing here starts a
//! thread or takes a signal: the program does, and asks.

mod file_watch;
mod outcome;
mod part;
mod reloader;

pub use outcome::{Cause, Outcome, Waiting};
pub use part::{Part, Prepared};
pub use reloader::Reloader;
