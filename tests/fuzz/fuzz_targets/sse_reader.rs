//! Runs [`invariants::sse_reader`] on whatever libFuzzer comes up with.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| invariants::sse_reader(data));
