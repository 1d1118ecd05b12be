//! How rivals are measured: all of them do the same work in turn, round after round, so that a slow
//! minute of the machine hits each; what is reported is a median with the distance of its quartiles.
//!
//! It knows no layer and no rival.

mod document;
mod machine;
mod rounds;
mod table;

pub use document::{Args, finish, write_json};
pub use machine::Machine;
pub use rounds::{Case, Spread, in_turn, per_operation};
pub use table::write_table;
