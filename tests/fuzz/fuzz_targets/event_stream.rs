//! Runs [`invariants::event_stream`] on whatever libFuzzer comes up with.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| invariants::event_stream(data));
