#![no_main]
//! See `drover_tests::fuzz::jobspec`.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drover_tests::fuzz::jobspec(bytes));
