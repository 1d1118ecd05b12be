//! The stack as a service: tokens over HTTP, and what an operator asks for.
//!
//! | idea | modules |
//! |---|---|
//! | the life of the service | `run`, `recovery`, `reload`, `signals`, `notify`, `phase` |
//! | where it listens, and whom it lets in | `listen`, `connection`, `stall`, `terms`, `tls`, `auth`, `limits` |
//! | a body, piece by piece, to tokens | `body`, `post`, `making`, `lanes` |
//! | one token | `token` |
//! | the operator's side | `admin`, `live`, `recent`, `stress` |
//! | what both share | `service`, `answer`, `wishes`, `counters` |
//!
//! It makes tokens through lanes only, as any engine does, and keeps none itself. Nothing waits for
//! a disk on a thread that serves connections.

mod admin;
mod answer;
mod auth;
mod body;
mod connection;
mod counters;
mod error;
mod gateway;
mod lanes;
mod limits;
mod listen;
mod live;
mod making;
mod notify;
mod phase;
mod post;
mod recent;
mod recovery;
mod reload;
mod run;
mod service;
mod signals;
mod stall;
mod stress;
mod terms;
mod tls;
mod token;
mod wishes;

pub use error::ServeError;
pub use run::{Ended, Ready, Say, run};
