//! Opening a spool whose files were changed in any way: see `src/spool/fuzz.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| assent::fuzz::recovery(input));
