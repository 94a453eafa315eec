#![no_main]
//! See `drover_tests::fuzz::sim_entropy`.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drover_tests::fuzz::sim_entropy(bytes));
