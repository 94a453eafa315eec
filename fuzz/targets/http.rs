#![no_main]
//! See `drover_tests::fuzz::http`.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drover_tests::fuzz::http(bytes));
