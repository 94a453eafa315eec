#![no_main]
//! See `drover_tests::fuzz::agent_step`.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drover_tests::fuzz::agent_step(bytes));
