//! The reader under a fuzzer: see `round`.
#![no_main]

mod round;

libfuzzer_sys::fuzz_target!(|input: &[u8]| round::run(input));
