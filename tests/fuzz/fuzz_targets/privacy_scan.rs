//! Runs [`invariants::privacy_scan`] on whatever libFuzzer comes up with.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| invariants::privacy_scan(data));
