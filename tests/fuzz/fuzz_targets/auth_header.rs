//! Runs [`invariants::auth_header`] on whatever libFuzzer comes up with.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| invariants::auth_header(data));
