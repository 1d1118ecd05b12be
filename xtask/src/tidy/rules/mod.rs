//! One rule a file; each says in its first lines what it holds and why.

pub(super) mod commands;
pub(super) mod dead;
pub(super) mod edges;
pub(super) mod layout;
pub(super) mod length;
pub(super) mod links;
pub(super) mod machine;
mod markdown;
pub(super) mod opening;
pub(super) mod safety;
pub(super) mod unfinished;
