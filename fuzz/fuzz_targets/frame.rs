//! Frames and blocks of any content: see `src/delivery/fuzz.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| assent::fuzz::frame(input));
