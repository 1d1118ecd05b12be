//! The fuzz target itself, for some inputs, so that it compiles and holds with every change here: the
//! package `wal/fuzz` is none of the workspace's.
#![allow(clippy::expect_used, reason = "the target reports by panicking")]
#![cfg(not(loom))]

#[path = "../fuzz/fuzz_targets/round.rs"]
mod round;

/// Inputs by a seed, as the fuzzer makes them: up to eight changes.
#[test]
fn the_fuzz_target_holds_for_three_hundred_inputs() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..300 {
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let length = 12 * (next() % 9) as usize;
        let input: Vec<u8> = (0..length).map(|_| next() as u8).collect();
        round::run(&input);
    }
}
