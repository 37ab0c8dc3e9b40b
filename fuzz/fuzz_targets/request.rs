//! Requests of any content: see `src/ingress/fuzz.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| assent::fuzz::request(input));
