//! Runs [`invariants::translated_stream`] on whatever libFuzzer comes up with.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| invariants::translated_stream(data));
