//! `ng serve` as its callers see it: real processes, curl as a client that nobody here wrote, and
//! sockets by hand for what curl is too polite to do.
#![cfg(all(
    unix,
    feature = "serve",
    feature = "wal",
    feature = "guardian",
    feature = "telemetry",
    feature = "blackbox"
))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on fails")]
#![allow(clippy::print_stdout, reason = "a test says why it was skipped")]

mod access;
mod bodies;
mod end;
mod kill;
mod nasty;
mod operator;
mod page;
mod reload;
mod sampling;
mod service;
