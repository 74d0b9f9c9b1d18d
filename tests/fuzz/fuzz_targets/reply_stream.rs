//! Runs [`invariants::reply_stream`] on whatever libFuzzer comes up with.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| invariants::reply_stream(data));
