//! Runs [`invariants::client_body`] on whatever libFuzzer comes up with.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| invariants::client_body(data));
