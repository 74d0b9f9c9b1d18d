//! Runs [`invariants::whole_reply`] on whatever libFuzzer comes up with.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| invariants::whole_reply(data));
