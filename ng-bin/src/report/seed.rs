//! What the seed published of itself, and what a re-run of it showed.
//!
//! Published: the stress results of NeuroGraph v0.44.1. Re-run: the same program on a machine with 2
//! cores like the one that ours are measured on, in November 2026; the full stack took 266,664 ms in one
//! run and 284,417 in another, and both are given.

/// Tokens in the seed's runs, all of them made by one thread.
pub const TOKENS: u64 = 9_500_000;

/// Nothing on, as published, in milliseconds.
pub const BASELINE_PUBLISHED_MS: f64 = 430.0;
/// Everything on, a record for each 1,000th token, as published, in milliseconds.
pub const FULL_PUBLISHED_MS: f64 = 417_843.0;

/// Nothing on, re-run: the slower and the faster, in milliseconds.
pub const BASELINE_RERUN_MS: [f64; 2] = [350.0, 355.0];
/// Everything on, re-run twice, in milliseconds.
pub const FULL_RERUN_MS: [f64; 2] = [266_664.0, 284_417.0];

/// What the page says of where these are from.
pub const SOURCE: &str = "The seed's figures: as published in the stress results of NeuroGraph v0.44.1, and from \
a re-run of it on 2 cores in November 2026. It dropped its tokens as soon as they were made, and read \
/proc/self/status twice for each; ours keeps them.";
